// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/repository"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/proto/inference"
)

func stopInBackground(ts *testServer) <-chan error {
	stopped := make(chan error, 1)
	go func() { stopped <- ts.stop() }()
	return stopped
}

func isShuttingDown(err error) bool {
	return status.Code(err) == codes.Unavailable && status.Convert(err).Message() == "GRPC server is shutting down and has stopped accepting new requests."
}

// TestStopFinishesWhatIsInFlight: requests under way are answered, unary, streamed
// and over REST; new ones are refused; streams with nothing to answer end at once.
func TestStopFinishesWhatIsInFlight(t *testing.T) {
	ts, started, proceed := blockingModel(t)
	unary := make(chan error, 1)
	go func() {
		_, err := ts.inference.ModelInfer(testContext(t), identityRequest("slow", 1, 2))
		unary <- err
	}()
	<-started
	busy, idle := openStream(t, ts), openStream(t, ts)
	if err := busy.Send(identityRequest("slow", 1, 2)); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool { return queued(ts, "slow") == 1 })
	rest := make(chan restReply, 1)
	go func() {
		rest <- ts.rest(t, "POST", "/v2/models/slow/infer", `{"inputs":[{"name":"X","datatype":"FP32","shape":[1,2],"data":[1,2]}]}`)
	}()
	waitFor(t, func() bool { return queued(ts, "slow") == 2 })

	stopped := stopInBackground(ts)
	if _, err := idle.Recv(); !isShuttingDown(err) {
		t.Errorf("the idle stream ends with %v", err)
	}
	if err := busy.Send(identityRequest("slow", 3, 4)); err != nil {
		t.Fatal(err)
	}
	if _, err := ts.inference.ModelInfer(testContext(t), identityRequest("slow", 3, 4)); status.Code(err) != codes.Unavailable {
		t.Errorf("a new request: %v", err)
	}
	close(proceed)
	if err := <-unary; err != nil {
		t.Errorf("unary in flight: %v", err)
	}
	if answer, err := busy.Recv(); err != nil || answer.ErrorMessage != "" {
		t.Errorf("streamed in flight: %v, %v", answer, err)
	}
	// The new request is refused in band if it arrives before that answer leaves.
	answer, err := busy.Recv()
	if err == nil && answer.ErrorMessage == errShuttingDown.Text {
		_, err = busy.Recv()
	}
	if !isShuttingDown(err) {
		t.Errorf("the busy stream ends with %v, %v", answer, err)
	}
	if got := <-rest; got.status != 200 {
		t.Errorf("REST in flight: %+v", got)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// TestStopFinishesDecoupledRequests before it ends their stream.
func TestStopFinishesDecoupledRequests(t *testing.T) {
	proceed := make(chan struct{})
	ts := decoupledServer(t, func(_ context.Context, inputs []tensor.Tensor, emit func([]tensor.Tensor) error) error {
		if err := emit(inputs); err != nil {
			return err
		}
		<-proceed
		return emit(inputs)
	})
	stream, idle := openStream(t, ts), openStream(t, ts)
	if err := stream.Send(decoupledRequest(1)); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Recv(); err != nil {
		t.Fatal(err)
	}
	if err := idle.Send(floatRequest("nope", "X", nil)); err != nil {
		t.Fatal(err)
	}
	if _, err := idle.Recv(); err != nil { // the handler runs
		t.Fatal(err)
	}
	stopped := stopInBackground(ts)
	if _, err := idle.Recv(); !isShuttingDown(err) {
		t.Errorf("the idle stream ends with %v", err)
	}
	close(proceed)
	if answer, err := stream.Recv(); err != nil || len(answer.InferResponse.GetOutputs()) != 1 {
		t.Errorf("second response: %v, %v", answer, err)
	}
	if _, err := stream.Recv(); !isShuttingDown(err) {
		t.Errorf("the stream ends with %v", err)
	}
	if err := <-stopped; err != nil {
		t.Errorf("Serve: %v", err)
	}
}

// TestExitTimeoutCuts what takes too long, and says so.
func TestExitTimeoutCuts(t *testing.T) {
	ts, started, proceed := blockingModel(t, func(o *Options) { o.ExitTimeout = 20 * time.Millisecond })
	unary := make(chan error, 1)
	go func() {
		_, err := ts.inference.ModelInfer(testContext(t), identityRequest("slow", 1, 2))
		unary <- err
	}()
	<-started
	err := ts.stop()
	if err == nil || !strings.Contains(err.Error(), "gRPC: the exit timeout is over, requests in flight were cut") || !strings.Contains(err.Error(), "1 requests still run") {
		t.Errorf("Serve: %v", err)
	}
	if err := <-unary; status.Code(err) != codes.Unavailable {
		t.Errorf("the request that was cut: %v", err)
	}
	close(proceed)
}

// slowLoad is a backend whose loads last until they are cancelled.
type slowLoad struct {
	scriptedBackend
	began chan struct{}
}

func (s *slowLoad) Load(ctx context.Context, _ string, _ *modelconfig.Config) (engine.Model, error) {
	close(s.began)
	<-ctx.Done()
	return nil, ctx.Err()
}

// TestStopWhileLoading: until all models are loaded requests are told to come later,
// and a stop does not wait for the loads.
func TestStopWhileLoading(t *testing.T) {
	backend := &slowLoad{scriptedBackend{signature: signatureOf(tensor.Shape{-1, 2}, []string{"X"}, []string{"Y"})}, make(chan struct{})}
	dir := t.TempDir()
	writeModels(t, dir, modelFiles{"m/config.pbtxt": `backend: "scripted" max_batch_size: 4`, "m/1/model.onnx": ""})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewServer(Options{GRPC: l, Logger: slog.New(slog.DiscardHandler), Repository: repository.Options{Paths: []string{dir}, Backends: []engine.Backend{backend}}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- s.Serve(ctx) }()
	<-backend.began
	conn, err := grpc.NewClient(l.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := inference.NewGRPCInferenceServiceClient(conn)
	if _, err := client.ModelInfer(testContext(t), identityRequest("m", 1, 2)); status.Code(err) != codes.Unavailable || status.Convert(err).Message() != "Server not ready" {
		t.Errorf("a request while loading: %v", err)
	}
	if live, err := client.ServerLive(testContext(t), &inference.ServerLiveRequest{}); err != nil || !live.Live {
		t.Errorf("live: %v, %v", live, err)
	}
	if ready, err := client.ServerReady(testContext(t), &inference.ServerReadyRequest{}); err != nil || ready.Ready {
		t.Errorf("ready: %v, %v", ready, err)
	}
	cancel()
	if err := <-served; err != nil {
		t.Errorf("Serve: %v", err)
	}
	checkLeaks(t)
}

// TestStopAtOnce: a server that is stopped before its goroutines have run ends in order.
func TestStopAtOnce(t *testing.T) {
	stopped, cancel := context.WithCancel(t.Context())
	cancel()
	for range 100 {
		var faces [3]net.Listener
		for i := range faces {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			faces[i] = l
		}
		s, err := NewServer(Options{
			GRPC: faces[0], HTTP: faces[1], Metrics: faces[2], Logger: slog.New(slog.DiscardHandler),
			Repository: repository.Options{Paths: []string{t.TempDir()}, Backends: []engine.Backend{&scriptedBackend{}}},
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Serve(stopped); err != nil {
			t.Fatalf("Serve: %v", err)
		}
	}
	checkLeaks(t)
}

// TestExitOnError: a server that must have all its models does not start without.
func TestExitOnError(t *testing.T) {
	dir := t.TempDir()
	writeModels(t, dir, modelFiles{"m/config.pbtxt": `backend: "scripted" max_batch_size: -4`, "m/1/model.onnx": ""})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, err := NewServer(Options{GRPC: l, ExitOnError: true, Logger: slog.New(slog.DiscardHandler), Repository: repository.Options{Paths: []string{dir}, Backends: []engine.Backend{&scriptedBackend{}}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(t.Context()); err == nil || !strings.Contains(err.Error(), "1 models failed to load") {
		t.Errorf("Serve: %v", err)
	}
	if err := l.Close(); !errors.Is(err, net.ErrClosed) { // to dial would not do: others may get the port
		t.Errorf("the listener is still open: closing it gives %v", err)
	}
	checkLeaks(t)
}

// TestNothingToServe: a server without any face is refused.
func TestNothingToServe(t *testing.T) {
	s, err := NewServer(Options{Repository: repository.Options{Paths: []string{t.TempDir()}, Backends: []engine.Backend{&scriptedBackend{}}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Serve(t.Context()); err == nil || !strings.Contains(err.Error(), "nothing to serve") {
		t.Error(err)
	}
}
