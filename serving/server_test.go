// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/builtin"
	"github.com/millrace-ml/millrace/engine/repository"
	"github.com/millrace-ml/millrace/proto/inference"
	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

// testServer is a server on loopback, its repository, and clients of it.
type testServer struct {
	*Server
	dir       string
	conn      *grpc.ClientConn
	inference inference.GRPCInferenceServiceClient
	admin     millracev1.AdminClient
	http      string // base address
	metrics   string
	stop      func() error
}

// modelFiles are the files of a repository, by slash-separated path.
type modelFiles map[string]string

func writeModels(t testing.TB, dir string, files modelFiles) {
	t.Helper()
	for name, content := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// startServer serves files and ends with the test.
func startServer(t testing.TB, files modelFiles, change ...func(*Options)) *testServer {
	t.Helper()
	dir := t.TempDir()
	writeModels(t, dir, files)
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	o := Options{
		GRPC: listen(), HTTP: listen(), Metrics: listen(),
		Version: "test", LatencyHistograms: true, StrictReadiness: true, ExitTimeout: time.Minute,
		Repository: repository.Options{Paths: []string{dir}, Mode: repository.ModeExplicit, LoadModels: []string{"*"}, Backends: builtin.Backends()},
		Logger:     slog.New(slog.DiscardHandler),
	}
	for _, f := range change {
		f(&o)
	}
	ts := &testServer{dir: dir, http: "http://" + o.HTTP.Addr().String(), metrics: "http://" + o.Metrics.Addr().String()}
	var err error
	if ts.Server, err = NewServer(o); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- ts.Serve(ctx) }()
	select {
	case <-ts.Ready():
	case err := <-served:
		t.Fatal(err)
	}
	ts.conn, err = grpc.NewClient(o.GRPC.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithDefaultCallOptions(grpc.MaxCallRecvMsgSize(1<<31-1), grpc.MaxCallSendMsgSize(1<<31-1)))
	if err != nil {
		t.Fatal(err)
	}
	ts.inference = inference.NewGRPCInferenceServiceClient(ts.conn)
	ts.admin = millracev1.NewAdminClient(ts.conn)
	stopped := false
	ts.stop = func() error {
		if stopped {
			return nil
		}
		stopped = true
		cancel()
		return <-served
	}
	t.Cleanup(func() {
		ts.conn.Close()
		if err := ts.stop(); err != nil {
			t.Error(err)
		}
		checkLeaks(t)
	})
	return ts
}

func testContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	t.Cleanup(cancel)
	return ctx
}

var _ engine.Backend = (*scriptedBackend)(nil)

const identityConfig = `
backend: "identity"
max_batch_size: 8
input { name: "X" data_type: TYPE_FP32 dims: [ 2 ] }
output { name: "Y" data_type: TYPE_FP32 dims: [ 2 ] }
dynamic_batching { }
`

// identityRequest asks the model of identityConfig for rows of two numbers.
func identityRequest(model string, values ...float32) *inference.ModelInferRequest {
	return &inference.ModelInferRequest{
		ModelName:        model,
		Inputs:           []*inference.ModelInferRequest_InferInputTensor{{Name: "X", Datatype: "FP32", Shape: []int64{int64(len(values) / 2), 2}}},
		RawInputContents: [][]byte{floatBytes(values...)},
	}
}

func TestInferAnswersWithTheInput(t *testing.T) {
	ts := startServer(t, modelFiles{"echo/config.pbtxt": identityConfig})
	q := identityRequest("echo", 1, 2, 3, 4)
	q.Id = "seven"
	answer, err := ts.inference.ModelInfer(testContext(t), q)
	if err != nil {
		t.Fatal(err)
	}
	if answer.ModelName != "echo" || answer.ModelVersion != "1" || answer.Id != "seven" || len(answer.Outputs) != 1 {
		t.Fatalf("answer: %v", answer)
	}
	if out := answer.Outputs[0]; out.Name != "Y" || out.Datatype != "FP32" || len(out.Shape) != 2 || out.Shape[0] != 2 {
		t.Errorf("output: %v", out)
	}
	if string(answer.RawOutputContents[0]) != string(floatBytes(1, 2, 3, 4)) {
		t.Errorf("contents: %v", answer.RawOutputContents)
	}
}
