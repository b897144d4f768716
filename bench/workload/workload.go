// SPDX-License-Identifier: Apache-2.0

// Package workload makes what a load generator sends: encoded inference requests
// for one model, with the answers they should get.
//
// Requests are made once, before any measurement, from the model's metadata and a
// seed, from given tensors, or from a file. The same seed gives the same bytes.
//
// A Workload is filled by one goroutine and then only read, by any number.
package workload

import (
	"errors"
	"fmt"
	"math"

	"google.golang.org/protobuf/proto"

	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/proto/inference"
)

// ErrInvalidWorkload reports requests that cannot be made as asked; the text says
// which input is wrong and how to give it.
var ErrInvalidWorkload = errors.New("invalid workload")

const (
	// messageBytesMax is what the inference protocol's messages may hold.
	messageBytesMax = math.MaxInt32
	// requestBytesMax bounds the memory of all distinct requests of a workload.
	requestBytesMax = 256 << 20
)

// Workload is a set of encoded requests for one model.
type Workload struct {
	Model   string
	Version string
	// Rows is the number of rows in each request.
	Rows int
	// Requests are encoded ModelInferRequest messages.
	Requests [][]byte

	// answers holds, by model version and request, what each should get. The version ""
	// stands for whichever version answers.
	answers map[string]map[int][]tensor.Tensor
}

// New makes an empty workload. Rows below one count as one.
func New(model, version string, rows int) *Workload {
	return &Workload{Model: model, Version: version, Rows: max(rows, 1)}
}

// Add encodes one request with the given inputs. It copies their data.
func (w *Workload) Add(inputs []tensor.Tensor) error {
	request := &inference.ModelInferRequest{ModelName: w.Model, ModelVersion: w.Version}
	for _, in := range inputs {
		request.Inputs = append(request.Inputs, &inference.ModelInferRequest_InferInputTensor{
			Name: in.Name, Datatype: in.Datatype.String(), Shape: in.Shape,
		})
		request.RawInputContents = append(request.RawInputContents, in.Data)
	}
	return w.addRequest(request)
}

func (w *Workload) addRequest(request *inference.ModelInferRequest) error {
	if size := proto.Size(request); size > messageBytesMax {
		return fmt.Errorf("%w: a request of %d bytes for model %q is larger than a message may be (%d); give fewer rows",
			ErrInvalidWorkload, size, w.Model, messageBytesMax)
	}
	encoded, err := proto.Marshal(request)
	if err != nil {
		return fmt.Errorf("%w: encode a request for model %q: %w", ErrInvalidWorkload, w.Model, err)
	}
	w.Requests = append(w.Requests, encoded)
	return nil
}

// Description says in a few words what one request is.
func (w *Workload) Description() string {
	rows := "1 row"
	if w.Rows > 1 {
		rows = fmt.Sprintf("%d rows", w.Rows)
	}
	bytes := 0
	for _, encoded := range w.Requests {
		bytes = max(bytes, len(encoded))
	}
	return fmt.Sprintf("%s, %s per request, %d distinct requests of up to %d bytes", w.Model, rows, len(w.Requests), bytes)
}
