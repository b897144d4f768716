// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/proto/inference"
)

// Models that are unlike most, and models that misbehave.

func floatRequest(model, name string, shape []int64, values ...float32) *inference.ModelInferRequest {
	return &inference.ModelInferRequest{
		ModelName: model, Inputs: []*inference.ModelInferRequest_InferInputTensor{input(name, "FP32", shape...)}, RawInputContents: [][]byte{floatBytes(values...)},
	}
}

// TestReshape: requests and answers have the declared shapes, the model its own.
func TestReshape(t *testing.T) {
	config := func(batch, dims, reshape string) string {
		side := `name: "X" data_type: TYPE_FP32 dims: [ ` + dims + ` ] reshape { shape: [ ` + reshape + ` ] }`
		return `backend: "scripted" max_batch_size: ` + batch + ` input { ` + side + ` } output { ` + strings.Replace(side, `"X"`, `"Y"`, 1) + ` }`
	}
	for _, c := range []struct {
		name, config string
		model        tensor.Shape // what the model takes, by its signature
		sent         []int64
		want         string // the shape the model sees
	}{
		{"batched", config("4", "4", "2, 2"), tensor.Shape{-1, 2, 2}, []int64{3, 4}, "[3,2,2]"},
		{"not batched", config("0", "4", "1, 4, 1"), tensor.Shape{1, 4, 1}, []int64{4}, "[1,4,1]"},
		{"variable", config("4", "2, -1", "2, 1, -1"), tensor.Shape{-1, 2, 1, -1}, []int64{2, 2, 5}, "[2,2,1,5]"},
		{"two variable", config("0", "-1, 3, -1", "-1, 1, 3, -1"), tensor.Shape{-1, 1, 3, -1}, []int64{4, 3, 5}, "[4,1,3,5]"},
		{"to rank 0", config("4", "1", ""), tensor.Shape{-1}, []int64{3, 1}, "[3]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var mu sync.Mutex
			seen := ""
			backend := &scriptedBackend{signature: signatureOf(c.model, []string{"X"}, []string{"Y"}), run: func(b *engine.Binding) error {
				mu.Lock()
				defer mu.Unlock()
				seen = b.Inputs[0].Shape.String()
				return nil
			}}
			ts := startServer(t, modelFiles{"m/config.pbtxt": c.config, "m/1/model.onnx": ""}, withBackend(backend))
			elements, err := tensor.Shape(c.sent).Elements()
			if err != nil {
				t.Fatal(err)
			}
			answer, err := ts.inference.ModelInfer(testContext(t), floatRequest("m", "X", c.sent, make([]float32, elements)...))
			if err != nil {
				t.Fatal(err)
			}
			mu.Lock()
			defer mu.Unlock()
			if seen != c.want {
				t.Errorf("the model saw %s, want %s", seen, c.want)
			}
			if got := tensor.Shape(answer.Outputs[0].Shape).String(); got != tensor.Shape(c.sent).String() {
				t.Errorf("answered with shape %s, want that of the request, %v", got, c.sent)
			}
		})
	}
}

// TestUnbatchedModel: without max_batch_size, shapes are whole and nothing is joined.
func TestUnbatchedModel(t *testing.T) {
	ts := startServer(t, modelFiles{"m/config.pbtxt": `backend: "identity"
		input { name: "X" data_type: TYPE_FP32 dims: [ -1, 2 ] } output { name: "Y" data_type: TYPE_FP32 dims: [ -1, 2 ] }`})
	for _, rows := range []int64{0, 1, 100} {
		values := make([]float32, 2*rows)
		answer, err := ts.inference.ModelInfer(testContext(t), floatRequest("m", "X", []int64{rows, 2}, values...))
		if err != nil || answer.Outputs[0].Shape[0] != rows || len(answer.RawOutputContents) != 1 || len(answer.RawOutputContents[0]) != int(8*rows) {
			t.Errorf("%d rows: %v, %v", rows, answer, err)
		}
	}
	if got := ts.stats.Snapshot("m")[0]; got.ExecutionCount != 3 || got.InferenceCount != 3 {
		t.Errorf("statistics: %+v", got)
	}
}

// TestModelWithoutInputs answers with what it has.
func TestModelWithoutInputs(t *testing.T) {
	backend := &scriptedBackend{signature: signatureOf(tensor.Shape{1}, nil, []string{"Y"}), run: func(b *engine.Binding) error {
		b.Outputs[0].Shape, b.Outputs[0].Data = tensor.Shape{1}, floatBytes(42)
		return nil
	}}
	ts := startServer(t, modelFiles{"m/config.pbtxt": `backend: "scripted"`, "m/1/model.onnx": ""}, withBackend(backend))
	answer, err := ts.inference.ModelInfer(testContext(t), &inference.ModelInferRequest{ModelName: "m"})
	if err != nil || !bytes.Equal(answer.RawOutputContents[0], floatBytes(42)) {
		t.Errorf("%v, %v", answer, err)
	}
}

// TestOptionalInputsLeftOut: with none at all a request is one row.
func TestOptionalInputsLeftOut(t *testing.T) {
	backend := &scriptedBackend{signature: signatureOf(tensor.Shape{-1, 1}, []string{"A", "B"}, []string{"Y"}), run: func(b *engine.Binding) error {
		present := float32(0)
		for _, in := range b.Inputs {
			present = 2*present + float32(len(in.Shape)/2)
		}
		b.Outputs[0].Shape, b.Outputs[0].Data = tensor.Shape{1, 1}, floatBytes(present)
		return nil
	}}
	for i := range backend.signature.Inputs {
		backend.signature.Inputs[i].Optional = true
	}
	ts := startServer(t, modelFiles{"m/1/model.onnx": "", "m/config.pbtxt": `backend: "scripted" max_batch_size: 4
		input [ { name: "A" data_type: TYPE_FP32 dims: [ 1 ] optional: true }, { name: "B" data_type: TYPE_FP32 dims: [ 1 ] optional: true } ]
		output { name: "Y" data_type: TYPE_FP32 dims: [ 1 ] }`}, withBackend(backend))
	for want, q := range map[float32]*inference.ModelInferRequest{
		0: {ModelName: "m"}, 1: floatRequest("m", "B", []int64{1, 1}, 7), 2: floatRequest("m", "A", []int64{1, 1}, 7),
	} {
		answer, err := ts.inference.ModelInfer(testContext(t), q)
		if err != nil || !bytes.Equal(answer.RawOutputContents[0], floatBytes(want)) {
			t.Errorf("want inputs %v present: %v, %v", want, answer, err)
		}
	}
}

// TestOutputWithoutBatchDimension: a model that does not keep the rows apart cannot
// be batched, which its first answer says.
func TestOutputWithoutBatchDimension(t *testing.T) {
	shape := tensor.Shape{}
	backend := &scriptedBackend{signature: signatureOf(tensor.Shape{-1, 2}, []string{"X"}, []string{"Y"}), run: func(b *engine.Binding) error {
		b.Outputs[0].Shape, b.Outputs[0].Data = shape, floatBytes(1)
		return nil
	}}
	for _, got := range []tensor.Shape{{}, {1, 1}} {
		shape = got
		ts := startServer(t, modelFiles{"m/config.pbtxt": `backend: "scripted" max_batch_size: 4`, "m/1/model.onnx": ""}, withBackend(backend))
		_, err := ts.inference.ModelInfer(testContext(t), identityRequest("m", 1, 2, 3, 4))
		want := "output 'Y' of model 'm' has shape " + got.String() + " for a batch of 2 rows: the model does not keep the batch dimension, so it needs max_batch_size: 0"
		if status.Code(err) != codes.Internal || status.Convert(err).Message() != want {
			t.Errorf("%v", err)
		}
		ts.conn.Close()
		if err := ts.stop(); err != nil {
			t.Error(err)
		}
	}
}

// TestPanicInABackend fails the requests it happened to, is logged once, and leaves
// everything else served.
func TestPanicInABackend(t *testing.T) {
	const bad = 13
	backend := &scriptedBackend{signature: signatureOf(tensor.Shape{-1, 2}, []string{"X"}, []string{"Y"}), run: func(b *engine.Binding) error {
		if bytes.Contains(b.Inputs[0].Data, floatBytes(bad)) {
			panic("index out of range")
		}
		return nil
	}}
	var logged lockedBuffer
	ts := startServer(t, modelFiles{"m/config.pbtxt": `backend: "scripted" max_batch_size: 4 dynamic_batching { }`, "m/1/model.onnx": ""},
		withBackend(backend), func(o *Options) { o.Logger = slog.New(slog.NewTextHandler(&logged, nil)) })
	for range 3 {
		_, err := ts.inference.ModelInfer(testContext(t), identityRequest("m", bad, bad))
		if status.Code(err) != codes.Internal || status.Convert(err).Message() != "model 'm' version 1: the backend panicked: index out of range" {
			t.Errorf("a panic: %v", err)
		}
		if _, err := ts.inference.ModelInfer(testContext(t), identityRequest("m", 1, 2)); err != nil {
			t.Errorf("after a panic: %v", err)
		}
	}
	if !strings.Contains(getBody(t, ts.metrics+"/metrics"), `nv_inference_request_failure{model="m",reason="BACKEND",version="1"} 3`) {
		t.Error("the failures are not counted as the backend's")
	}
	if n := strings.Count(logged.String(), "the backend panicked"); n != 1 || !strings.Contains(logged.String(), "models_test.go") {
		t.Errorf("logged %d times:\n%s", n, logged.String())
	}
}

// lockedBuffer is a buffer that several goroutines write to.
type lockedBuffer struct {
	mu     sync.Mutex
	buffer bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}

// decoupledServer serves a decoupled model that does what stream does.
func decoupledServer(t testing.TB, stream func(ctx context.Context, inputs []tensor.Tensor, emit func([]tensor.Tensor) error) error) *testServer {
	backend := &streamingBackend{scriptedBackend{signature: signatureOf(tensor.Shape{2}, []string{"X"}, []string{"Y"})}, stream}
	return startServer(t, modelFiles{"d/config.pbtxt": `backend: "scripted" model_transaction_policy { decoupled: true }`, "d/1/model.onnx": ""}, withBackend(backend))
}

func decoupledRequest(first float32) *inference.ModelInferRequest {
	return floatRequest("d", "X", []int64{2}, first, 0)
}

// TestDecoupledFailure: a decoupled request fails in band, or ends the stream with
// its status where the client asked for that; a panic is a failure like others.
func TestDecoupledFailure(t *testing.T) {
	ts := decoupledServer(t, func(_ context.Context, inputs []tensor.Tensor, emit func([]tensor.Tensor) error) error {
		if err := emit(inputs); err != nil {
			return err
		}
		if inputs[0].Data[0] != 0 {
			panic("no luck")
		}
		return errors.New("no more")
	})
	for first, text := range map[float32]string{0: "no more", -1.1: "model 'd' version 1: the backend panicked: no luck"} {
		stream := openStream(t, ts)
		for range 2 {
			if err := stream.Send(decoupledRequest(first)); err != nil {
				t.Fatal(err)
			}
			if answer, err := stream.Recv(); err != nil || answer.ErrorMessage != "" || len(answer.InferResponse.Outputs) != 1 {
				t.Fatalf("first response: %v, %v", answer, err)
			}
			if answer, err := stream.Recv(); err != nil || answer.ErrorMessage != text || !answer.InferResponse.Parameters["triton_final_response"].GetBoolParam() {
				t.Fatalf("failure: %v, %v", answer, err)
			}
		}
		strict := openStream(t, ts, "triton_grpc_error", "true")
		if err := strict.Send(decoupledRequest(first)); err != nil {
			t.Fatal(err)
		}
		if _, err := strict.Recv(); err != nil {
			t.Fatal(err)
		}
		if _, err := strict.Recv(); status.Code(err) != codes.Internal || status.Convert(err).Message() != text {
			t.Errorf("strict: %v", err)
		}
	}
	if got := ts.stats.Snapshot("d")[0]; got.Fail.Count != 6 || got.Success.Count != 0 {
		t.Errorf("statistics: %+v", got)
	}
}

// TestDecoupledCancel: a client that goes is counted as such, and frees the instance.
func TestDecoupledCancel(t *testing.T) {
	ts := decoupledServer(t, func(ctx context.Context, inputs []tensor.Tensor, emit func([]tensor.Tensor) error) error {
		if err := emit(inputs); err != nil {
			return err
		}
		<-ctx.Done()
		return errors.New("interrupted")
	})
	for range 3 { // more often than there are instances
		ctx, cancel := context.WithCancel(testContext(t))
		stream, err := ts.inference.ModelStreamInfer(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.Send(decoupledRequest(0)); err != nil {
			t.Fatal(err)
		}
		if _, err := stream.Recv(); err != nil {
			t.Fatal(err)
		}
		cancel()
	}
	waitFor(t, func() bool { return ts.stats.Snapshot("d")[0].Fail.Count == 3 })
	if !strings.Contains(getBody(t, ts.metrics+"/metrics"), `nv_inference_request_failure{model="d",reason="CANCELED",version="1"} 3`) {
		t.Error("not counted as cancelled")
	}
}

// TestDecoupledNeedsABackendForIt: the load is refused, and nothing of it stays.
func TestDecoupledNeedsABackendForIt(t *testing.T) {
	ts := startServer(t, modelFiles{"m/config.pbtxt": identityConfig + `model_transaction_policy { decoupled: true }`})
	_, err := ts.inference.RepositoryModelLoad(testContext(t), &inference.RepositoryModelLoadRequest{ModelName: "m"})
	if status.Code(err) != codes.InvalidArgument || !strings.Contains(err.Error(), "model 'm' is configured as decoupled, but its backend 'identity' gives exactly one response per request") {
		t.Error(err)
	}
	if text := getBody(t, ts.metrics+"/metrics"); strings.Contains(text, `model="m"`) {
		t.Error("metrics tell of a model that was never served")
	}
}

// TestTextOfClients: a name that is no UTF-8 and an id without end are told back, in
// words that every client can read.
func TestTextOfClients(t *testing.T) {
	ts := startServer(t, modelFiles{"echo/config.pbtxt": identityConfig})
	huge := identityRequest("echo", 1, 2)
	huge.Id = strings.Repeat("i", 1<<20)
	answer, err := ts.inference.ModelInfer(testContext(t), huge)
	if err != nil || answer.Id != huge.Id {
		t.Errorf("a huge id: %v", err)
	}
	huge.Inputs[0].Datatype = "INT8"
	if _, err := ts.inference.ModelInfer(testContext(t), huge); status.Code(err) != codes.InvalidArgument || len(err.Error()) > 2*statusTextMax {
		t.Errorf("refused with a huge id: %v, %d bytes", status.Code(err), len(err.Error()))
	}
	unreadable := appendBytesField(nil, 1, "echo")
	unreadable = appendBytesField(unreadable, 5, appendBytesField(nil, 1, "X\xff"))
	unreadable = appendBytesField(unreadable, 7, "")
	for name, message := range map[string][]byte{
		"input name": unreadable, "model name": appendBytesField(nil, 1, "\xfe"), "version": appendBytesField(appendBytesField(nil, 1, "echo"), 2, "\xfe"), "id": appendBytesField(nil, 3, "\xfe"),
	} {
		stream, err := ts.conn.NewStream(testContext(t), &inference.GRPCInferenceService_ServiceDesc.Streams[0], inference.GRPCInferenceService_ModelStreamInfer_FullMethodName, forceRaw())
		if err != nil {
			t.Fatal(err)
		}
		if err := stream.SendMsg(rawMessage(message)); err != nil {
			t.Fatal(err)
		}
		answer := &inference.ModelStreamInferResponse{}
		if err := stream.RecvMsg(answer); err != nil || answer.ErrorMessage == "" {
			t.Errorf("%s: %v, %v", name, answer, err)
		}
		stream.CloseSend()
	}
}

// TestOutputsTheConfigurationLeavesOut are neither answered nor listed.
func TestOutputsTheConfigurationLeavesOut(t *testing.T) {
	spec := func(names ...string) (specs []engine.TensorSpec) {
		for _, name := range names {
			specs = append(specs, engine.TensorSpec{Name: name, Datatype: tensor.FP32, Shape: tensor.Shape{-1, 2}})
		}
		return specs
	}
	backend := &scriptedBackend{signature: engine.Signature{Inputs: spec("A", "B"), Outputs: spec("C", "D")}, run: func(*engine.Binding) error { return nil }}
	ts := startServer(t, modelFiles{"m/1/model.onnx": "", "m/config.pbtxt": `backend: "scripted" max_batch_size: 4
		output { name: "D" data_type: TYPE_FP32 dims: [ 2 ] }`}, withBackend(backend))
	q := floatRequest("m", "A", []int64{1, 2}, 1, 2)
	q.Inputs = append(q.Inputs, input("B", "FP32", 1, 2))
	q.RawInputContents = append(q.RawInputContents, floatBytes(3, 4))
	answer, err := ts.inference.ModelInfer(testContext(t), q)
	if err != nil {
		t.Fatal(err)
	}
	if len(answer.Outputs) != 1 || answer.Outputs[0].Name != "D" || !bytes.Equal(answer.RawOutputContents[0], floatBytes(3, 4)) {
		t.Errorf("answer: %v", answer)
	}
	q.Outputs = []*inference.ModelInferRequest_InferRequestedOutputTensor{{Name: "C"}}
	if _, err := ts.inference.ModelInfer(testContext(t), q); status.Convert(err).Message() != "unexpected inference output 'C' for model 'm'" {
		t.Errorf("asked for: %v", err)
	}
	metadata, err := ts.inference.ModelMetadata(testContext(t), &inference.ModelMetadataRequest{Name: "m"})
	if err != nil || len(metadata.Outputs) != 1 || metadata.Outputs[0].Name != "D" {
		t.Errorf("metadata: %v, %v", metadata, err)
	}
}

// TestReplyAboveTheLimit is refused in the protocol's words, and fails nobody else.
func TestReplyAboveTheLimit(t *testing.T) {
	config := strings.Replace(identityConfig, "dims: [ 2 ]", "dims: [ -1 ]", 2)
	ts := startServer(t, modelFiles{"echo/config.pbtxt": strings.Replace(config, `"Y"`, `"a name that makes the reply larger than the request"`, 1)},
		func(o *Options) { o.Limits.MessageBytesMax = 4096 })
	_, err := ts.inference.ModelInfer(testContext(t), floatRequest("echo", "X", []int64{1, 1012}, make([]float32, 1012)...))
	if status.Code(err) != codes.InvalidArgument || !strings.HasPrefix(status.Convert(err).Message(), "Response has byte size ") {
		t.Errorf("large: %v", err)
	}
	if _, err := ts.inference.ModelInfer(testContext(t), floatRequest("echo", "X", []int64{1, 2}, 1, 2)); err != nil {
		t.Errorf("small: %v", err)
	}
}
