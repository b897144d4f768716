// SPDX-License-Identifier: Apache-2.0

package workload

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"

	"google.golang.org/protobuf/encoding/protojson"

	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/proto/inference"
)

// fileBytesMax bounds a file of requests.
const fileBytesMax = requestBytesMax

// fileInput is one input in the JSON of the protocol's REST form.
type fileInput struct {
	Name     string            `json:"name"`
	Datatype string            `json:"datatype"`
	Shape    tensor.Shape      `json:"shape"`
	Data     []json.RawMessage `json:"data"`
}

type fileRequest struct {
	Inputs []fileInput `json:"inputs"`
}

// FromFile reads requests in the JSON of the protocol's REST form: one object with
// "inputs", each of name, datatype, shape and flat data, or a list of such objects.
func FromFile(path string, spec Spec) (*Workload, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open requests: %w", err)
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, fileBytesMax+1))
	if err != nil {
		return nil, fmt.Errorf("read requests: %w", err)
	}
	if len(text) > fileBytesMax {
		return nil, fmt.Errorf("%w: file %q is larger than %d MiB", ErrInvalidWorkload, path, fileBytesMax>>20)
	}
	w, err := parseRequests(text, spec)
	if err != nil {
		return nil, fmt.Errorf("file %q: %w", path, err)
	}
	return w, nil
}

func parseRequests(text []byte, spec Spec) (*Workload, error) {
	requests, err := decodeRequests(text)
	if err != nil {
		return nil, err
	}
	if len(requests) == 0 {
		return nil, fmt.Errorf("%w: no requests", ErrInvalidWorkload)
	}
	w := New(spec.Model, spec.Version, spec.Rows)
	for i, request := range requests {
		message, err := request.message(w)
		if err != nil {
			return nil, fmt.Errorf("%w: request %d: %w", ErrInvalidWorkload, i, err)
		}
		if err := w.addRequest(message); err != nil {
			return nil, err
		}
	}
	return w, nil
}

func decodeRequests(text []byte) ([]fileRequest, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	if trimmed := bytes.TrimLeft(text, " \t\r\n"); len(trimmed) > 0 && trimmed[0] == '[' {
		var requests []fileRequest
		if err := decoder.Decode(&requests); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrInvalidWorkload, err)
		}
		return requests, nil
	}
	var request fileRequest
	if err := decoder.Decode(&request); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidWorkload, err)
	}
	return []fileRequest{request}, nil
}

// message turns one request into the wire's typed contents.
func (r fileRequest) message(w *Workload) (*inference.ModelInferRequest, error) {
	if len(r.Inputs) == 0 {
		return nil, fmt.Errorf(`no "inputs"`)
	}
	message := &inference.ModelInferRequest{ModelName: w.Model, ModelVersion: w.Version}
	for _, in := range r.Inputs {
		contents, err := in.contents()
		if err != nil {
			return nil, fmt.Errorf("input %q: %w", in.Name, err)
		}
		message.Inputs = append(message.Inputs, &inference.ModelInferRequest_InferInputTensor{
			Name: in.Name, Datatype: in.Datatype, Shape: in.Shape, Contents: contents,
		})
	}
	return message, nil
}

// contentsFields names the typed field of the wire that carries each datatype.
var contentsFields = map[tensor.Datatype]string{
	tensor.Bool: "boolContents", tensor.FP32: "fp32Contents", tensor.FP64: "fp64Contents",
	tensor.Int8: "intContents", tensor.Int16: "intContents", tensor.Int32: "intContents", tensor.Int64: "int64Contents",
	tensor.Uint8: "uintContents", tensor.Uint16: "uintContents", tensor.Uint32: "uintContents", tensor.Uint64: "uint64Contents",
	tensor.Bytes: "bytesContents",
}

// contents checks the element count and lets protobuf's JSON reader check and
// convert the elements.
func (in fileInput) contents() (*inference.InferTensorContents, error) {
	datatype := tensor.ParseDatatype(in.Datatype)
	field, ok := contentsFields[datatype]
	if !ok {
		return nil, fmt.Errorf("datatype %q cannot be given in a file", in.Datatype)
	}
	elements, err := in.Shape.Elements()
	if err != nil {
		return nil, err
	}
	if elements != int64(len(in.Data)) {
		return nil, fmt.Errorf("shape %v has %d elements, but data has %d", in.Shape, elements, len(in.Data))
	}
	data := in.Data
	if datatype == tensor.Bytes {
		if data, err = base64Elements(data); err != nil {
			return nil, err
		}
	}
	object, err := json.Marshal(map[string][]json.RawMessage{field: data})
	if err != nil {
		return nil, err
	}
	var contents inference.InferTensorContents
	return &contents, protojson.Unmarshal(object, &contents)
}

// base64Elements turns texts into what protobuf's JSON has for bytes.
func base64Elements(texts []json.RawMessage) ([]json.RawMessage, error) {
	encoded := make([]json.RawMessage, len(texts))
	for i, raw := range texts {
		var text string
		if err := json.Unmarshal(raw, &text); err != nil {
			return nil, fmt.Errorf("element %d is not a text: %w", i, err)
		}
		element, err := json.Marshal([]byte(text))
		if err != nil {
			return nil, err
		}
		encoded[i] = element
	}
	return encoded, nil
}
