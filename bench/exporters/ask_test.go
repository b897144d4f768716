// SPDX-License-Identifier: Apache-2.0

package exporters

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"sync"
	"testing"

	"github.com/millrace-ml/millrace/proto/inference"
)

// checkModel asks for all rows in requests of several sizes at once, so that the
// server batches them in ever new ways: each size by unary calls and on a stream.
func checkModel(t *testing.T, client inference.GRPCInferenceServiceClient, m modelCase, bits *firstAnswers) {
	config, err := client.ModelConfig(t.Context(), &inference.ModelConfigRequest{Name: m.Model})
	if err != nil {
		t.Fatal(err)
	}
	rowsMax := int(config.Config.MaxBatchSize)
	if rowsMax == 0 {
		rowsMax = m.Rows // a request is a batch of its own
	}
	var asking sync.WaitGroup
	for _, size := range []int{1, 2, 3, rowsMax} {
		for name, ask := range map[string]asker{"unary": askUnary, "stream": askStream} {
			asking.Go(func() {
				answers, err := ask(t.Context(), client, m.requests(size))
				if err == nil {
					err = m.check(answers, bits)
				}
				if err != nil {
					t.Errorf("%s, %d rows in a request: %v", name, size, err)
				}
			})
		}
	}
	asking.Wait()
}

// asker sends requests and returns their answers in the same order.
type asker func(context.Context, inference.GRPCInferenceServiceClient, []*inference.ModelInferRequest) ([]*inference.ModelInferResponse, error)

func askUnary(ctx context.Context, client inference.GRPCInferenceServiceClient, requests []*inference.ModelInferRequest) ([]*inference.ModelInferResponse, error) {
	var answers []*inference.ModelInferResponse
	for _, request := range requests {
		answer, err := client.ModelInfer(ctx, request)
		if err != nil {
			return nil, err
		}
		answers = append(answers, answer)
	}
	return answers, nil
}

// askStream has all requests in flight before it takes the first answer.
func askStream(ctx context.Context, client inference.GRPCInferenceServiceClient, requests []*inference.ModelInferRequest) ([]*inference.ModelInferResponse, error) {
	stream, err := client.ModelStreamInfer(ctx)
	if err != nil {
		return nil, err
	}
	sent := make(chan error, 1)
	go func() {
		for _, request := range requests {
			if err := stream.Send(request); err != nil {
				sent <- err
				return
			}
		}
		sent <- stream.CloseSend()
	}()
	var answers []*inference.ModelInferResponse
	for {
		answer, err := stream.Recv()
		if err == io.EOF {
			return answers, <-sent
		}
		if err == nil && answer.ErrorMessage != "" {
			err = errors.New(answer.ErrorMessage)
		}
		if err != nil {
			return nil, err
		}
		answers = append(answers, answer.InferResponse)
	}
}

// firstAnswers keeps what each exact output was the first time, for later answers to
// be the same in every bit. ONNX Runtime, which comes first, adds a model's trees one
// after another in FP32, as long as they are few. The libraries themselves add in
// FP64, or begin with the base score rather than end with it, so that no exported
// graph has their bits.
type firstAnswers struct {
	mu struct {
		sync.Mutex
		values map[string][]number
	}
}

func (f *firstAnswers) compare(name string, got []number) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	want, ok := f.mu.values[name]
	if !ok {
		if f.mu.values == nil {
			f.mu.values = map[string][]number{}
		}
		f.mu.values[name] = got
		return nil
	}
	for i := range want {
		if math.Float64bits(float64(got[i])) != math.Float64bits(float64(want[i])) {
			return fmt.Errorf("element %d: %v, but %v in another batch, backend or level", i, got[i], want[i])
		}
	}
	return nil
}
