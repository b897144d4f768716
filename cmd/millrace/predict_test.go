// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/proto/inference"
)

// fakeServer answers with the inputs as outputs, and keeps the last request. On a
// stream it answers twice, the second time with an error when the id is "bad".
type fakeServer struct {
	inference.UnimplementedGRPCInferenceServiceServer
	last *inference.ModelInferRequest
}

func (s *fakeServer) ModelMetadata(_ context.Context, r *inference.ModelMetadataRequest) (*inference.ModelMetadataResponse, error) {
	if r.Name != "pair" {
		return nil, status.Errorf(codes.NotFound, "Request for unknown model: '%s' is not found", r.Name)
	}
	return &inference.ModelMetadataResponse{Name: r.Name, Inputs: []*inference.ModelMetadataResponse_TensorMetadata{
		{Name: "NUMBERS", Datatype: "INT32", Shape: []int64{-1, 3}},
		{Name: "WORDS", Datatype: "BYTES", Shape: []int64{-1, -1}},
	}}, nil
}

func (s *fakeServer) ModelInfer(_ context.Context, r *inference.ModelInferRequest) (*inference.ModelInferResponse, error) {
	s.last = proto.CloneOf(r)
	response := &inference.ModelInferResponse{Id: r.Id, ModelName: r.ModelName, ModelVersion: "1", RawOutputContents: r.RawInputContents}
	for _, in := range r.Inputs {
		response.Outputs = append(response.Outputs, &inference.ModelInferResponse_InferOutputTensor{Name: in.Name, Datatype: in.Datatype, Shape: in.Shape})
	}
	return response, nil
}

func (s *fakeServer) ModelStreamInfer(stream grpc.BidiStreamingServer[inference.ModelInferRequest, inference.ModelStreamInferResponse]) error {
	request, err := stream.Recv()
	if err != nil {
		return err
	}
	response, err := s.ModelInfer(stream.Context(), request)
	if err != nil {
		return err
	}
	second := &inference.ModelStreamInferResponse{InferResponse: response}
	if request.Id == "bad" {
		second = &inference.ModelStreamInferResponse{ErrorMessage: "element 2 is bad"}
	}
	return errors.Join(stream.Send(&inference.ModelStreamInferResponse{InferResponse: response}), stream.Send(second))
}

// serveFake runs a fake server until the test ends and returns its address.
func serveFake(t *testing.T, register func(*grpc.Server), options ...grpc.ServerOption) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer(options...)
	register(server)
	done := make(chan error, 1)
	go func() { done <- server.Serve(listener) }()
	t.Cleanup(func() {
		server.Stop()
		if err := <-done; err != nil && !errors.Is(err, grpc.ErrServerStopped) { // stopped before it began
			t.Error(err)
		}
	})
	return listener.Addr().String()
}

func startFake(t *testing.T) (*fakeServer, string) {
	fake := new(fakeServer)
	return fake, serveFake(t, func(s *grpc.Server) { inference.RegisterGRPCInferenceServiceServer(s, fake) })
}

func TestPredict(t *testing.T) {
	fake, address := startFake(t)
	status, stdout, stderr := runCommand(t, "", "predict", "--url", address, "--model", "pair", "--model-version", "champion", "--request-id", "r1",
		"--input", "NUMBERS=[1,2,3,4,5,6]", "--shape", "NUMBERS:2,3", "--input", `WORDS=[["a","b"],["c","d"]]`, "--output", "NUMBERS", "--format", "json")
	if status != exitOK {
		t.Fatalf("status %d: %s", status, stderr)
	}
	want := `{"id":"r1","model_name":"pair","model_version":"1","outputs":[` +
		`{"name":"NUMBERS","datatype":"INT32","shape":[2,3],"data":[1,2,3,4,5,6]},` +
		`{"name":"WORDS","datatype":"BYTES","shape":[2,2],"data":["a","b","c","d"]}]}` + "\n"
	if stdout != want {
		t.Errorf("answer %s, want %s", stdout, want)
	}
	if fake.last.ModelVersion != "champion" || len(fake.last.Outputs) != 1 || fake.last.Outputs[0].Name != "NUMBERS" {
		t.Errorf("the server got %v", fake.last)
	}
}

func TestPredictTable(t *testing.T) {
	_, address := startFake(t)
	numbers := "[" + strings.Repeat("7,", 17) + "7]"
	status, stdout, stderr := runCommand(t, "", "predict", "--url", address, "--model", "pair", "--input", "NUMBERS="+numbers)
	if status != exitOK || !strings.Contains(stdout, "model pair version 1\n") || !strings.Contains(stdout, "[6,3]") ||
		!strings.Contains(stdout, "["+strings.Repeat("7,", 15)+"7] ...") {
		t.Errorf("status %d, answer %q %q", status, stdout, stderr)
	}
}

func TestPredictFromJSON(t *testing.T) {
	fake, address := startFake(t)
	request := `{"id":"r2","parameters":{"priority":2,"note":"x","flag":true,"scale":0.5},
		"inputs":[{"name":"NUMBERS","shape":[1,3],"datatype":"INT32","data":[[1,2,3]]}],"outputs":[{"name":"NUMBERS"}]}`
	file := filepath.Join(t.TempDir(), "request.json")
	if err := os.WriteFile(file, []byte(request), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, source := range []string{file, "-"} {
		if status, _, stderr := runCommand(t, request, "predict", "--url", address, "--model", "pair", "--json", source); status != exitOK {
			t.Fatalf("--json %s: status %d: %s", source, status, stderr)
		}
		p := fake.last.Parameters
		if p["priority"].GetInt64Param() != 2 || p["note"].GetStringParam() != "x" || !p["flag"].GetBoolParam() || p["scale"].GetDoubleParam() != 0.5 {
			t.Errorf("--json %s: parameters %v", source, p)
		}
	}
}

func TestPredictStream(t *testing.T) {
	_, address := startFake(t)
	arguments := []string{"predict", "--url", address, "--model", "pair", "--stream", "--input", "NUMBERS=[1,2,3]", "--format", "json"}
	status, stdout, stderr := runCommand(t, "", arguments...)
	if status != exitOK || strings.Count(stdout, "\n") != 2 {
		t.Errorf("status %d, answers %q, %s", status, stdout, stderr)
	}
	status, stdout, stderr = runCommand(t, "", append(arguments, "--request-id", "bad")...)
	if status != exitFailure || strings.Count(stdout, "\n") != 1 || !strings.Contains(stderr, "element 2 is bad") {
		t.Errorf("with an error in band: status %d, answers %q, %s", status, stdout, stderr)
	}
}

func TestPredictErrors(t *testing.T) {
	_, address := startFake(t)
	tests := []struct {
		name   string
		args   []string
		stdin  string
		status int
		text   string
	}{
		{"no model", []string{"--input", "A=[1]"}, "", exitUsage, "--model NAME is missing"},
		{"no input", []string{"--model", "pair"}, "", exitUsage, "either by --input or by --json"},
		{"two sources", []string{"--model", "pair", "--input", "A=[1]", "--json", "-"}, "", exitUsage, "either by --input or by --json"},
		{"not NAME=JSON", []string{"--model", "pair", "--input", "[1]"}, "", exitUsage, "the form is NAME=JSON"},
		{"not JSON", []string{"--model", "pair", "--input", "NUMBERS=[1"}, "", exitUsage, "--input NUMBERS: the JSON ends in the middle"},
		{"more than JSON", []string{"--model", "pair", "--input", "NUMBERS=[1] [2]"}, "", exitUsage, "text follows"},
		{"shape of nothing", []string{"--model", "pair", "--input", "NUMBERS=[1]", "--shape", "X:1"}, "", exitUsage, "there is no --input X"},
		{"shape of no name", []string{"--model", "pair", "--input", "NUMBERS=[1]", "--shape", "NUMBERS=1"}, "", exitUsage, "the form is NAME:D1,D2"},
		{"negative shape", []string{"--model", "pair", "--input", "NUMBERS=[1]", "--shape", "NUMBERS:-1"}, "", exitUsage, "extents of 0 or more"},
		{"unknown model", []string{"--model", "none", "--input", "A=[1]"}, "", exitFailure, "NotFound: Request for unknown model: 'none' is not found"},
		{"unknown input", []string{"--model", "pair", "--input", "A=[1]"}, "", exitFailure, `input "A": the model has no such input; its inputs are NUMBERS (INT32 [-1,3]), WORDS`},
		{"bad element", []string{"--model", "pair", "--input", "NUMBERS=[1,2,3.5]"}, "", exitFailure, `input "NUMBERS": element 2: 3.5 is not written as an integer, want one for INT32`},
		{"no fit", []string{"--model", "pair", "--input", "NUMBERS=[1,2,3,4]"}, "", exitFailure, "do not fit the model's shape [-1,3]"},
		{"ragged", []string{"--model", "pair", "--input", "NUMBERS=[[1,2,3],[4]]"}, "", exitFailure, "have 3 and 1 elements"},
		{"unknown field", []string{"--model", "pair", "--json", "-"}, `{"inputz":[]}`, exitFailure, `standard input: json: unknown field "inputz"`},
		{"empty request", []string{"--model", "pair", "--json", "-"}, `{}`, exitFailure, `no "inputs"`},
		{"no file", []string{"--model", "pair", "--json", "/nowhere/x"}, "", exitFailure, "--json: open /nowhere/x"},
		{"bad timeout", []string{"--model", "pair", "--input", "NUMBERS=[1,2,3]", "--timeout", "-1s"}, "", exitUsage, "--timeout"},
		{"TLS half given", []string{"--model", "pair", "--input", "NUMBERS=[1,2,3]", "--tls-ca", "x"}, "", exitUsage, "need --tls"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			args := append([]string{"predict", "--url", address}, test.args...)
			status, _, stderr := runCommand(t, test.stdin, args...)
			if status != test.status || !strings.Contains(stderr, test.text) {
				t.Errorf("status %d, error %q; want %d and %q", status, stderr, test.status, test.text)
			}
		})
	}
}

func TestPredictWithoutServer(t *testing.T) {
	const address = "127.0.0.1:1" // of a port that was free a moment ago another process may have made its own
	status, _, stderr := runCommand(t, "", "predict", "--url", address, "--model", "m", "--input", "A=[1]")
	if status != exitFailure || !strings.Contains(stderr, "is a server running there?") {
		t.Errorf("status %d, error %q", status, stderr)
	}
}

func TestResolveShape(t *testing.T) {
	tests := []struct {
		name                 string
		given, nested, model tensor.Shape
		count                int64
		want                 tensor.Shape // nil for an error
	}{
		{"given", tensor.Shape{3, 2}, tensor.Shape{6}, tensor.Shape{-1, 2}, 6, tensor.Shape{3, 2}},
		{"given does not fit", tensor.Shape{3, 3}, tensor.Shape{6}, tensor.Shape{-1, 2}, 6, nil},
		{"given absurd", tensor.Shape{1 << 40, 1 << 40}, tensor.Shape{6}, nil, 6, nil},
		{"nested", nil, tensor.Shape{3, 2}, tensor.Shape{-1, 2}, 6, tensor.Shape{3, 2}},
		{"one row", nil, tensor.Shape{2}, tensor.Shape{-1, 2}, 2, tensor.Shape{1, 2}},
		{"flat rows", nil, tensor.Shape{6}, tensor.Shape{-1, 2}, 6, tensor.Shape{3, 2}},
		{"flat, no batch", nil, tensor.Shape{6}, tensor.Shape{3, 2}, 6, tensor.Shape{3, 2}},
		{"one row of any length", nil, tensor.Shape{5}, tensor.Shape{-1, -1}, 5, tensor.Shape{1, 5}},
		{"two open extents", nil, tensor.Shape{5}, tensor.Shape{-1, -1, 2}, 5, nil},
		{"nested otherwise", nil, tensor.Shape{2, 3}, tensor.Shape{-1, 2}, 6, nil},
		{"not whole rows", nil, tensor.Shape{5}, tensor.Shape{-1, 2}, 5, nil},
		{"empty", nil, tensor.Shape{0}, tensor.Shape{-1}, 0, tensor.Shape{0}},
	}
	for _, test := range tests {
		got, err := resolveShape(test.given, test.nested, test.model, test.count)
		if (err != nil) != (test.want == nil) || !slices.Equal(got, test.want) {
			t.Errorf("%s: shape %v, %v, want %v", test.name, got, err, test.want)
		}
	}
}

func TestFlatten(t *testing.T) {
	shape, values, err := flatten(decodeJSON(t, "[[1,2],[3,4],[5,6]]"))
	text, _ := json.Marshal(values)
	if err != nil || !slices.Equal(shape, tensor.Shape{3, 2}) || string(text) != "[1,2,3,4,5,6]" {
		t.Errorf("flatten: shape %v, values %s, %v", shape, text, err)
	}
	if shape, _, err := flatten(decodeJSON(t, "7")); err != nil || !slices.Equal(shape, tensor.Shape{1}) {
		t.Errorf("a lone value: shape %v, %v", shape, err)
	}
	deep := strings.Repeat("[", inputRankMax+1) + strings.Repeat("]", inputRankMax+1)
	for _, text := range []string{"null", "[1,[2]]", "[[1],2]", "[[1,2],[3]]", deep} {
		if _, _, err := flatten(decodeJSON(t, text)); err == nil {
			t.Errorf("%.20s: no error", text)
		}
	}
}

func TestOutputErrors(t *testing.T) {
	response := &inference.ModelInferResponse{
		Outputs:           []*inference.ModelInferResponse_InferOutputTensor{{Name: "A", Datatype: "INT32"}, {Name: "B", Datatype: "INT32"}},
		RawOutputContents: [][]byte{{1, 2, 3, 4, 5}},
	}
	if _, _, err := outputElements(response, 0, -1); err == nil || !strings.Contains(err.Error(), `output "A": 5 bytes are not whole elements`) {
		t.Errorf("five bytes of INT32: %v", err)
	}
	if _, _, err := outputElements(response, 1, -1); err == nil || !strings.Contains(err.Error(), "no raw contents") {
		t.Errorf("missing contents: %v", err)
	}
}
