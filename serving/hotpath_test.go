// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc/mem"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/repository"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// hotPath is the way of one unary request through our code, grpc-go left out: the
// message is decoded, checked, run and answered, and the reply is given back.
func hotPath(t testing.TB) func() {
	spec := func(name string) []engine.TensorSpec {
		return []engine.TensorSpec{{Name: name, Datatype: tensor.FP32, Shape: tensor.Shape{-1, 32}}}
	}
	backend := &scriptedBackend{
		signature: engine.Signature{Inputs: spec("X"), Outputs: spec("Y")},
		run:       func(*engine.Binding) error { return nil },
	}
	ts := startServer(t, modelFiles{"hot/config.pbtxt": `backend: "scripted" max_batch_size: 64 dynamic_batching { }`, "hot/1/model.onnx": ""},
		func(o *Options) {
			o.Repository.Backends = []engine.Backend{backend}
			o.Repository.Mode = repository.ModeNone
			o.Repository.LoadModels = nil
		})
	q := identityRequest("hot", make([]float32, 32)...)
	q.Inputs[0].Shape = []int64{1, 32}
	message := encoded(t, q)
	service := &inferenceService{server: ts.Server}
	c := Codec()
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(cancel)
	received := mem.BufferSlice{mem.SliceBuffer(message)}
	decode := func(v any) error { return c.Unmarshal(received, v) }
	return func() {
		answer, err := modelInfer(service, ctx, decode, nil)
		if err != nil {
			t.Fatal(err)
		}
		reply, err := c.Marshal(answer)
		if err != nil {
			t.Fatal(err)
		}
		reply.Free()
	}
}

// TestUnaryRequestAllocations holds the promise that a steady unary request costs
// our code at most three heap allocations.
func TestUnaryRequestAllocations(t *testing.T) {
	if raceDetector {
		t.Skip("allocations cannot be counted under the race detector")
	}
	request := hotPath(t)
	for range 100 {
		request()
	}
	if got := testing.AllocsPerRun(1000, request); got > 3 {
		t.Errorf("%v allocations per request, want at most 3", got)
	}
}

// BenchmarkFronts is one request, from the caller's numbers to its answer, by a call and
// over gRPC on loopback.
func BenchmarkFronts(b *testing.B) {
	backend := &scriptedBackend{signature: signatureOf(tensor.Shape{-1, 32}, []string{"X"}, []string{"Y"}), run: func(*engine.Binding) error { return nil }}
	ts := startServer(b, modelFiles{"hot/config.pbtxt": `backend: "scripted" max_batch_size: 64 dynamic_batching { }`, "hot/1/model.onnx": ""}, withBackend(backend))
	row := floatBytes(make([]float32, 32)...)
	b.Run("front=call", func(b *testing.B) {
		b.ReportAllocs()
		call := ts.NewCall()
		for b.Loop() {
			if err := call.Begin("hot", ""); err != nil {
				b.Fatal(err)
			}
			memory, err := call.Input(0, 1)
			if err != nil {
				b.Fatal(err)
			}
			copy(memory, row)
			if err := call.Run(context.Background(), time.Time{}); err != nil {
				b.Fatal(err)
			}
			if _, err := call.Output(0); err != nil {
				b.Fatal(err)
			}
			call.Release()
		}
	})
	b.Run("front=grpc", func(b *testing.B) {
		b.ReportAllocs()
		q := floatRequest("hot", "X", []int64{1, 32}, make([]float32, 32)...)
		for b.Loop() {
			q.RawInputContents[0] = row
			if _, err := ts.inference.ModelInfer(context.Background(), q); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkCodecToResponse is the cost of a lone unary request in our code, with a
// model that does nothing.
func BenchmarkCodecToResponse(b *testing.B) {
	request := hotPath(b)
	b.ReportAllocs()
	for b.Loop() {
		request()
	}
}
