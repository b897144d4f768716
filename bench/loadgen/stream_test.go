// SPDX-License-Identifier: Apache-2.0

package loadgen_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/millrace-ml/millrace/bench/echo"
	"github.com/millrace-ml/millrace/bench/loadgen"
	"github.com/millrace-ml/millrace/bench/workload"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/proto/inference"
)

// listen serves until the test ends and returns the address.
func listen(t *testing.T, server interface {
	Serve(net.Listener) error
	Stop()
}) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-served; err != nil && !errors.Is(err, grpc.ErrServerStopped) { // stopped before it began
			t.Error("serve:", err)
		}
	})
	return listener.Addr().String()
}

func dial(t *testing.T, url string, n int) loadgen.Connections {
	t.Helper()
	conns, err := loadgen.Dial(url, n)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conns.Close() })
	return conns
}

// echoed is a workload whose right answer is a response's.
func echoed(t *testing.T) (*workload.Workload, *inference.ModelInferResponse) {
	t.Helper()
	w := workload.New("m", "", 1)
	answer := []tensor.Tensor{{Name: "y", Datatype: tensor.FP32, Shape: tensor.Shape{1, 1}, Data: []byte{0, 0, 0x80, 0x3f}}}
	for i := range 3 {
		input := tensor.Tensor{Name: "x", Datatype: tensor.FP32, Shape: tensor.Shape{1, 2}, Data: make([]byte, 8)}
		if err := w.Add([]tensor.Tensor{input}); err != nil {
			t.Fatal(err)
		}
		w.Expect("1", i, answer)
	}
	response, err := w.SampleResponse("1")
	if err != nil {
		t.Fatal(err)
	}
	return w, response
}

func TestLoadOnEchoServer(t *testing.T) {
	w, response := echoed(t)
	server, err := echo.New(echo.Options{Response: response})
	if err != nil {
		t.Fatal(err)
	}
	conns := dial(t, listen(t, server), 2)
	for name, o := range map[string]loadgen.Options{
		"unary closed":  {Concurrency: 4},
		"unary open":    {Rate: 500, Arrivals: loadgen.Poisson, Seed: 5},
		"stream closed": {Stream: true, Streams: 2, Window: 8},
		"stream open":   {Stream: true, Streams: 2, Window: 8, Rate: 500, Arrivals: loadgen.Constant},
	} {
		t.Run(name, func(t *testing.T) {
			o.CheckEvery = 1
			got := untilEnough(t, func(d time.Duration) (*loadgen.Result, bool) {
				o.Warmup, o.Duration = d/5, d
				got, err := loadgen.Run(t.Context(), conns, w, o)
				if err != nil {
					t.Fatal(err)
				}
				if got.Failed != 0 || got.Checked != got.Requests || got.Unsent != 0 {
					t.Errorf("%d answers, %d checked, %d failed, %d unsent: %v", got.Requests, got.Checked, got.Failed, got.Unsent, got.Errors)
				}
				return got, got.Requests >= 10
			})
			if got.Latency.P50Micros <= 0 || got.Latency.MaxMicros < got.Latency.P50Micros {
				t.Errorf("latencies are %+v", got.Latency)
			}
		})
	}
}

// untilEnough runs loads of a tenth of a second and more, each twice as long as the one
// before, until one says that it was enough: a busy machine may stand still for any one
// of them.
func untilEnough(t *testing.T, load func(time.Duration) (*loadgen.Result, bool)) *loadgen.Result {
	t.Helper()
	const longest = 20 * time.Second
	for d := 100 * time.Millisecond; ; d *= 2 {
		if got, enough := load(d); enough {
			return got
		} else if d > longest {
			t.Fatalf("not enough in %v: %+v", d, got)
		}
	}
}

// streams is a server of streams of the test's making.
type streams struct {
	inference.UnimplementedGRPCInferenceServiceServer
	serve func(inference.GRPCInferenceService_ModelStreamInferServer) error
}

func (s *streams) ModelStreamInfer(stream inference.GRPCInferenceService_ModelStreamInferServer) error {
	return s.serve(stream)
}

// streamLoad loads a server of streams and returns what the run does.
func streamLoad(t *testing.T, o loadgen.Options, serve func(inference.GRPCInferenceService_ModelStreamInferServer) error) (*loadgen.Result, error) {
	t.Helper()
	server := grpc.NewServer()
	inference.RegisterGRPCInferenceServiceServer(server, &streams{serve: serve})
	w, _ := echoed(t)
	o.Stream, o.Streams, o.Window = true, 2, 4
	return loadgen.Run(t.Context(), dial(t, listen(t, server), 1), w, o)
}

func TestErrorsInStreamAreCounted(t *testing.T) {
	refuse := func(stream inference.GRPCInferenceService_ModelStreamInferServer) error {
		for {
			if _, err := stream.Recv(); err != nil {
				return nil
			}
			if err := stream.Send(&inference.ModelStreamInferResponse{ErrorMessage: "no such model"}); err != nil {
				return err
			}
		}
	}
	got := untilEnough(t, func(d time.Duration) (*loadgen.Result, bool) {
		got, err := streamLoad(t, loadgen.Options{Duration: d}, refuse)
		if err != nil {
			t.Fatal(err)
		}
		return got, got.Failed > 0
	})
	failure := got.Errors["error in stream"]
	if failure == nil || failure.Count != got.Failed || failure.Example != "no such model" || got.Requests != 0 {
		t.Errorf("%d answers and failures %+v", got.Requests, got.Errors)
	}
}

// Whatever way all streams end early, the run ends, says so, and what was in
// flight counts as failed.
func TestBrokenStreamsEndTheRun(t *testing.T) {
	refuse := func(stream inference.GRPCInferenceService_ModelStreamInferServer) error {
		if _, err := stream.Recv(); err != nil {
			return err
		}
		return status.Error(codes.Internal, "out of order")
	}
	hangUp := func(stream inference.GRPCInferenceService_ModelStreamInferServer) error {
		_, err := stream.Recv()
		return err
	}
	for name, c := range map[string]struct {
		serve func(inference.GRPCInferenceService_ModelStreamInferServer) error
		rate  float64
		text  string
	}{
		"closed loop, status": {refuse, 0, "out of order"},
		"open loop, status":   {refuse, 2000, "out of order"},
		"closed loop, end":    {hangUp, 0, "before it answered"},
		"open loop, end":      {hangUp, 2000, "before it answered"},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			began := time.Now()
			got, err := streamLoad(t, loadgen.Options{Duration: time.Hour, Rate: c.rate}, c.serve)
			if !errors.Is(err, loadgen.ErrNoStreams) || ctx.Err() != nil {
				t.Fatalf("after %v the run ended with %v", time.Since(began), err)
			}
			if got.Failed == 0 || !strings.Contains(err.Error(), c.text) {
				t.Errorf("%d failures, error %v", got.Failed, err)
			}
		})
	}
}
