// SPDX-License-Identifier: Apache-2.0

package bench_test

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/millrace-ml/millrace/bench"
	"github.com/millrace-ml/millrace/bench/loadgen"
	"github.com/millrace-ml/millrace/bench/workload"
	"github.com/millrace-ml/millrace/proto/inference"
)

// identity is a server of one model that gives back what it gets.
type identity struct {
	inference.UnimplementedGRPCInferenceServiceServer
}

func (identity) ModelMetadata(_ context.Context, r *inference.ModelMetadataRequest) (*inference.ModelMetadataResponse, error) {
	if r.Name != "identity" {
		return nil, status.Errorf(codes.NotFound, "no model %q", r.Name)
	}
	return &inference.ModelMetadataResponse{Name: r.Name, Inputs: []*inference.ModelMetadataResponse_TensorMetadata{
		{Name: "x", Datatype: "INT32", Shape: []int64{-1, 3}},
	}}, nil
}

func (identity) ModelInfer(_ context.Context, r *inference.ModelInferRequest) (*inference.ModelInferResponse, error) {
	return answer(r), nil
}

func answer(r *inference.ModelInferRequest) *inference.ModelInferResponse {
	in := r.Inputs[0]
	response := &inference.ModelInferResponse{
		ModelName: r.ModelName, ModelVersion: "1", RawOutputContents: r.RawInputContents,
		Outputs: []*inference.ModelInferResponse_InferOutputTensor{
			{Name: "y", Datatype: in.Datatype, Shape: in.Shape, Contents: in.Contents},
		},
	}
	return response
}

func (identity) ModelStreamInfer(stream inference.GRPCInferenceService_ModelStreamInferServer) error {
	for {
		r, err := stream.Recv()
		if err != nil {
			return nil
		}
		if err := stream.Send(&inference.ModelStreamInferResponse{InferResponse: answer(r)}); err != nil {
			return err
		}
	}
}

// startIdentity returns the server's address.
func startIdentity(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	inference.RegisterGRPCInferenceServiceServer(server, identity{})
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

func TestEveryAnswerIsRightUnderLoad(t *testing.T) {
	file := filepath.Join(t.TempDir(), "requests.json")
	text := `{"inputs":[{"name":"x","datatype":"INT32","shape":[1,3],"data":[1,2,3]}]}`
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	url := startIdentity(t)
	for name, o := range map[string]bench.Options{
		"random":      {Requests: workload.Spec{Rows: 2, Distinct: 8}},
		"from a file": {File: file},
		"stream":      {Load: loadgen.Options{Stream: true, Streams: 2}, Connections: 2},
	} {
		t.Run(name, func(t *testing.T) {
			o.URL, o.Requests.Model = url, "identity"
			o.Load.CheckEvery = 1
			w, err := bench.Prepare(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			var got *bench.Outcome
			// A busy machine may stand still for all of a short run.
			for d := 50 * time.Millisecond; (got == nil || got.Result.Requests == 0) && d < 20*time.Second; d *= 2 {
				o.Load.Duration = d
				if got, err = bench.Run(t.Context(), w, o); err != nil {
					t.Fatal(err)
				}
			}
			if r := got.Result; r.Requests == 0 || r.Failed != 0 || r.Checked != r.Requests {
				t.Errorf("%d answers, %d checked, %d failed: %v", r.Requests, r.Checked, r.Failed, r.Errors)
			}
			if !strings.HasPrefix(got.Workload, "identity, ") || !strings.Contains(got.Load, "closed loop") {
				t.Errorf("the outcome is described as %q, %q", got.Workload, got.Load)
			}
		})
	}
}

func TestFaultsAreFoundBeforeTheLoad(t *testing.T) {
	url := startIdentity(t)
	if _, err := bench.Prepare(t.Context(), bench.Options{URL: url, Requests: workload.Spec{Model: "other"}}); status.Code(err) != codes.NotFound {
		t.Errorf("an unknown model gives %v", err)
	}
	if _, err := bench.Prepare(t.Context(), bench.Options{URL: url, File: "nowhere.json"}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a missing file gives %v", err)
	}
	w := workload.New("identity", "", 1)
	if _, err := bench.Run(t.Context(), w, bench.Options{URL: url, Load: loadgen.Options{Duration: time.Second}}); !errors.Is(err, loadgen.ErrInvalidOptions) {
		t.Errorf("no requests give %v", err)
	}
}
