// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/repository"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/proto/inference"
)

func openStream(t testing.TB, ts *testServer, pairs ...string) grpc.BidiStreamingClient[inference.ModelInferRequest, inference.ModelStreamInferResponse] {
	t.Helper()
	stream, err := ts.inference.ModelStreamInfer(metadata.AppendToOutgoingContext(testContext(t), pairs...))
	if err != nil {
		t.Fatal(err)
	}
	return stream
}

// TestStreamAnswersInOrder keeps far more requests in flight than one stream may
// have, some of them bad, and expects every answer in its place.
func TestStreamAnswersInOrder(t *testing.T) {
	ts := startServer(t, modelFiles{"echo/config.pbtxt": identityConfig}, func(o *Options) { o.Limits.StreamInFlight = 16 })
	stream := openStream(t, ts)
	const requests = 2000
	sent := make(chan error, 1)
	go func() {
		for i := range requests {
			q := identityRequest("echo", float32(i), 0)
			q.Id = strconv.Itoa(i)
			if i%7 == 0 {
				q.ModelName = "nope"
			}
			if err := stream.Send(q); err != nil {
				sent <- err
				return
			}
		}
		sent <- stream.CloseSend()
	}()
	for i := range requests {
		answer, err := stream.Recv()
		if err != nil {
			t.Fatal(err)
		}
		if answer.InferResponse.GetId() != strconv.Itoa(i) {
			t.Fatalf("answer %d has id %q", i, answer.InferResponse.GetId())
		}
		if i%7 == 0 {
			if answer.ErrorMessage != "Request for unknown model: 'nope' is not found" {
				t.Fatalf("answer %d: %q", i, answer.ErrorMessage)
			}
			continue
		}
		if answer.ErrorMessage != "" || string(answer.InferResponse.RawOutputContents[0]) != string(floatBytes(float32(i), 0)) {
			t.Fatalf("answer %d: %v", i, answer)
		}
		if !answer.InferResponse.Parameters["triton_final_response"].GetBoolParam() {
			t.Fatalf("answer %d is not marked final", i)
		}
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
	if _, err := stream.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("after the last answer: %v", err)
	}
}

// TestStreamEndsWithStatusOnRequest: a client may ask for errors as the stream's
// status instead of in band.
func TestStreamEndsWithStatusOnRequest(t *testing.T) {
	ts := startServer(t, modelFiles{"echo/config.pbtxt": identityConfig})
	stream := openStream(t, ts, "triton_grpc_error", "true")
	for _, model := range []string{"echo", "nope", "echo"} {
		if err := stream.Send(identityRequest(model, 1, 2)); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err) // EOF: the stream has ended already
		}
	}
	if answer, err := stream.Recv(); err != nil || answer.ErrorMessage != "" {
		t.Fatalf("first answer: %v, %v", answer, err)
	}
	if _, err := stream.Recv(); status.Code(err) != codes.NotFound {
		t.Errorf("second answer: %v", err)
	}
}

// blockingModel runs until it is told to go on.
func blockingModel(t testing.TB, change ...func(*Options)) (ts *testServer, started, proceed chan struct{}) {
	started, proceed = make(chan struct{}, 64), make(chan struct{})
	spec := func(name string) []engine.TensorSpec {
		return []engine.TensorSpec{{Name: name, Datatype: tensor.FP32, Shape: tensor.Shape{-1, 2}}}
	}
	warm := true
	backend := &scriptedBackend{signature: engine.Signature{Inputs: spec("X"), Outputs: spec("Y")}, run: func(*engine.Binding) error {
		if warm {
			return nil
		}
		started <- struct{}{}
		<-proceed
		return nil
	}}
	ts = startServer(t, modelFiles{"slow/config.pbtxt": `backend: "scripted" max_batch_size: 4 dynamic_batching { } instance_group { count: 1 kind: KIND_CPU }`, "slow/1/model.onnx": ""},
		append(change, func(o *Options) {
			o.Repository.Backends = []engine.Backend{backend}
			o.Repository.Mode, o.Repository.LoadModels = repository.ModeNone, nil
		})...)
	warm = false
	return ts, started, proceed
}

// TestStreamCancelLeavesTheQueue: when a client goes, what it has queued is not run.
func TestStreamCancelLeavesTheQueue(t *testing.T) {
	ts, started, proceed := blockingModel(t)
	ctx, cancel := context.WithCancel(testContext(t))
	stream, err := ts.inference.ModelStreamInfer(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.Send(identityRequest("slow", 1, 2)); err != nil {
		t.Fatal(err)
	}
	<-started
	for range 8 {
		if err := stream.Send(identityRequest("slow", 1, 2)); err != nil {
			t.Fatal(err)
		}
	}
	waitFor(t, func() bool { return queued(ts, "slow") == 8 })
	cancel()
	waitFor(t, func() bool { return queued(ts, "slow") == 0 })
	close(proceed)
	waitFor(t, func() bool { return ts.stats.Snapshot("slow")[0].Fail.Count == 8 })
	if got := ts.stats.Snapshot("slow")[0]; got.InferenceCount != 1 {
		t.Errorf("%d rows were run, want the one that was running when the client went", got.InferenceCount)
	}
}

// TestUnaryCancelLeavesTheQueue, likewise.
func TestUnaryCancelLeavesTheQueue(t *testing.T) {
	ts, started, proceed := blockingModel(t)
	first := make(chan error, 1)
	go func() {
		_, err := ts.inference.ModelInfer(testContext(t), identityRequest("slow", 1, 2))
		first <- err
	}()
	<-started
	ctx, cancel := context.WithCancel(testContext(t))
	second := make(chan error, 1)
	go func() {
		_, err := ts.inference.ModelInfer(ctx, identityRequest("slow", 3, 4))
		second <- err
	}()
	waitFor(t, func() bool { return queued(ts, "slow") == 1 })
	cancel()
	if err := <-second; status.Code(err) != codes.Canceled {
		t.Errorf("cancelled request: %v", err)
	}
	waitFor(t, func() bool { return queued(ts, "slow") == 0 })
	close(proceed)
	if err := <-first; err != nil {
		t.Error(err)
	}
	// The client has its error at once, the server counts it when its handler is back.
	waitFor(t, func() bool { return ts.stats.Snapshot("slow")[0].Fail.Count > 0 })
	if got := ts.stats.Snapshot("slow")[0]; got.InferenceCount != 1 || got.Fail.Count != 1 {
		t.Errorf("%d rows ran, %d requests failed; want 1 and 1", got.InferenceCount, got.Fail.Count)
	}
}

// TestDeadlineLeavesTheQueue: a request whose deadline passes while it waits is
// answered at once, and never runs.
func TestDeadlineLeavesTheQueue(t *testing.T) {
	ts, started, proceed := blockingModel(t)
	first := make(chan error, 1)
	go func() {
		_, err := ts.inference.ModelInfer(testContext(t), identityRequest("slow", 1, 2))
		first <- err
	}()
	<-started
	ctx, cancel := context.WithTimeout(testContext(t), 20_000_000) // 20 ms
	defer cancel()
	if _, err := ts.inference.ModelInfer(ctx, identityRequest("slow", 3, 4)); status.Code(err) != codes.DeadlineExceeded {
		t.Errorf("late request: %v", err)
	}
	// The client may be done with it before the server has read it. What a connection brings is
	// read in order: with this answer the server knows that the client has gone, and a request
	// that does not hold the model by now will be refused.
	if _, err := ts.inference.ServerLive(testContext(t), &inference.ServerLiveRequest{}); err != nil {
		t.Error(err)
	}
	waitFor(t, func() bool { return held(ts, "slow") == 1 })
	if n := queued(ts, "slow"); n != 0 {
		t.Errorf("%d are still queued", n)
	}
	close(proceed)
	if err := <-first; err != nil {
		t.Error(err)
	}
	if got := ts.stats.Snapshot("slow")[0]; got.InferenceCount != 1 {
		t.Errorf("%d rows ran, want 1", got.InferenceCount)
	}
}

// TestQueueFull: what does not fit is refused with the protocol's words, counted,
// and told to metrics.
func TestQueueFull(t *testing.T) {
	ts, started, proceed := blockingModel(t, func(o *Options) { o.Limits.QueueItemsMax = 2 })
	results := make(chan error, 3)
	send := func() {
		_, err := ts.inference.ModelInfer(testContext(t), identityRequest("slow", 1, 2))
		results <- err
	}
	go send()
	<-started
	go send()
	go send()
	waitFor(t, func() bool { return queued(ts, "slow") == 2 })
	_, err := ts.inference.ModelInfer(testContext(t), identityRequest("slow", 1, 2))
	if status.Code(err) != codes.Unavailable || status.Convert(err).Message() != "[request id: <id_unknown>] Exceeds maximum queue size" {
		t.Errorf("queue full: %v", err)
	}
	close(proceed)
	for range 3 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	text := getBody(t, ts.metrics+"/metrics")
	for _, line := range []string{
		`nv_inference_request_failure{model="slow",reason="REJECTED",version="1"} 1`,
		`nv_inference_request_success{model="slow",version="1"} 3`,
	} {
		if !strings.Contains(text, line) {
			t.Errorf("metrics have no line %s", line)
		}
	}
}

// TestDecoupledModelStreamsResponses: one request, a response per element, and an
// empty last one for clients that ask for it.
func TestDecoupledModelStreamsResponses(t *testing.T) {
	ts := startServer(t, modelFiles{"repeat/config.pbtxt": repeatConfig})
	stream := openStream(t, ts)
	q := &inference.ModelInferRequest{
		ModelName: "repeat", Id: "r",
		Parameters: map[string]*inference.InferParameter{"triton_enable_empty_final_response": {ParameterChoice: &inference.InferParameter_BoolParam{BoolParam: true}}},
		Inputs: []*inference.ModelInferRequest_InferInputTensor{
			{Name: "IN", Datatype: "INT32", Shape: []int64{3}, Contents: &inference.InferTensorContents{IntContents: []int32{5, 6, 7}}},
			{Name: "DELAY", Datatype: "UINT32", Shape: []int64{3}, Contents: &inference.InferTensorContents{UintContents: []uint32{0, 0, 0}}},
			{Name: "WAIT", Datatype: "UINT32", Shape: []int64{1}, Contents: &inference.InferTensorContents{UintContents: []uint32{0}}},
		},
	}
	if err := stream.Send(q); err != nil {
		t.Fatal(err)
	}
	for i := range 3 {
		answer, err := stream.Recv()
		if err != nil || answer.ErrorMessage != "" {
			t.Fatalf("response %d: %v, %v", i, answer, err)
		}
		if got := answer.InferResponse.RawOutputContents[0][0]; int(got) != 5+i || answer.InferResponse.Id != "r" {
			t.Errorf("response %d: %v", i, answer)
		}
	}
	last, err := stream.Recv()
	if err != nil || len(last.InferResponse.Outputs) != 0 || !last.InferResponse.Parameters["triton_final_response"].GetBoolParam() {
		t.Errorf("last response: %v, %v", last, err)
	}
	if got := ts.stats.Snapshot("repeat")[0]; got.Success.Count != 1 || len(got.Responses) != 3 {
		t.Errorf("statistics: %+v", got)
	}
}

// TestOneBadRequestDoesNotFailItsBatch: when a batch fails, its requests are run one
// by one, so that only the one at fault is refused.
func TestOneBadRequestDoesNotFailItsBatch(t *testing.T) {
	const bad = 13
	spec := func(name string) []engine.TensorSpec {
		return []engine.TensorSpec{{Name: name, Datatype: tensor.Int8, Shape: tensor.Shape{-1, 1}}}
	}
	backend := &scriptedBackend{signature: engine.Signature{Inputs: spec("X"), Outputs: spec("Y")}, run: func(b *engine.Binding) error {
		for _, v := range b.Inputs[0].Data {
			if v == bad {
				return errors.New("onnx runtime error 1: bad value")
			}
		}
		return nil
	}}
	ts := startServer(t, modelFiles{"m/config.pbtxt": `backend: "scripted" max_batch_size: 64 dynamic_batching { max_queue_delay_microseconds: 20000 }`, "m/1/model.onnx": ""},
		func(o *Options) {
			o.Repository.Backends = []engine.Backend{backend}
			o.Repository.Mode, o.Repository.LoadModels = repository.ModeNone, nil
		})
	type result struct {
		value byte
		err   error
	}
	results := make(chan result, 20)
	for i := range 20 {
		go func() {
			q := &inference.ModelInferRequest{ModelName: "m", Inputs: []*inference.ModelInferRequest_InferInputTensor{input("X", "INT8", 1, 1)}, RawInputContents: [][]byte{{byte(i)}}}
			answer, err := ts.inference.ModelInfer(testContext(t), q)
			if err == nil && answer.RawOutputContents[0][0] != byte(i) {
				err = fmt.Errorf("answer %v", answer)
			}
			results <- result{byte(i), err}
		}()
	}
	for range 20 {
		r := <-results
		if r.value == bad {
			if status.Code(r.err) != codes.Internal || !strings.Contains(r.err.Error(), "bad value") {
				t.Errorf("the bad request: %v", r.err)
			}
		} else if r.err != nil {
			t.Errorf("request %d: %v", r.value, r.err)
		}
	}
}
