// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/bench/foreigntest"
	"github.com/millrace-ml/millrace/engine/onnx/zoo"
)

const (
	grpcurlProgram = "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.4"
	ghzProgram     = "github.com/bojand/ghz/cmd/ghz@v0.120.0"

	// clientsVariable is "all" to run also the clients that cost much and show little more.
	clientsVariable = "MILLRACE_CLIENTS"
)

// TestForeignClients lets clients that others wrote, unchanged, use the binary as
// their users would. Each skips when the machine can neither fetch nor build it.
func TestForeignClients(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the binary and fetches other people's clients")
	}
	binary := foreigntest.Build(t)
	repository := filepath.Join(t.TempDir(), "models")
	foreigntest.Run(t, exec.CommandContext(t.Context(), binary, "demo-repository", repository))
	addZoo(t, repository)
	server := foreigntest.Serve(t, binary, repository, "--model-control-mode=explicit", "--load-model=*")

	t.Run("tritonclient", func(t *testing.T) {
		runPython(t, "tritonclient_check.py", "MILLRACE_URL="+server.GRPC, "MILLRACE_REPOSITORY="+repository)
	})
	t.Run("tritonclient-http", func(t *testing.T) {
		runPython(t, "tritonclient_http_check.py", "MILLRACE_URL="+server.HTTP)
	})
	t.Run("grpc-js", func(t *testing.T) {
		node, modules := foreigntest.Node(t, clientFile())
		cmd := exec.CommandContext(t.Context(), node, clientFile("client.js"), server.GRPC, filepath.Join(moduleRoot, "proto"))
		cmd.Env = append(os.Environ(), "NODE_PATH="+modules)
		foreigntest.Run(t, cmd)
	})
	t.Run("grpcurl", func(t *testing.T) { checkGrpcurl(t, server.GRPC) })
	t.Run("ghz", func(t *testing.T) {
		if os.Getenv(clientsVariable) != "all" {
			t.Skipf("another client by reflection, whose building takes a minute of CPU; %s=all runs it", clientsVariable)
		}
		checkGhz(t, server.GRPC)
	})
}

// addZoo adds the models of the zoo that the demo leaves out.
func addZoo(t *testing.T, repository string) {
	t.Helper()
	for _, entry := range zoo.Catalog() {
		if _, err := os.Stat(filepath.Join(repository, entry.Name)); err == nil {
			continue
		}
		if err := entry.Write(repository); err != nil {
			t.Fatal(err)
		}
	}
}

func clientFile(name ...string) string {
	return filepath.Join(append([]string{"testdata", "clients"}, name...)...)
}

func runPython(t *testing.T, script string, environment ...string) {
	t.Helper()
	python := foreigntest.Python(t, clientFile("requirements.txt"))
	cmd := exec.CommandContext(t.Context(), python, clientFile(script))
	cmd.Env = append(os.Environ(), environment...)
	foreigntest.Run(t, cmd)
}

// sumRequest asks the model simple for 1..16 plus and minus 1. sumAnswer is the
// first of the raw outputs as JSON holds it: 2..17.
const (
	sumRequest = `{"model_name": "simple", "inputs": [
		{"name": "INPUT0", "datatype": "INT32", "shape": [1, 16], "contents": {"int_contents": [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]}},
		{"name": "INPUT1", "datatype": "INT32", "shape": [1, 16], "contents": {"int_contents": [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1]}}]}`
	sumAnswer = "AgAAAAMAAAAEAAAABQAAAAYAAAAHAAAACAAAAAkAAAAKAAAACwAAAAwAAAANAAAADgAAAA8AAAAQAAAAEQAAAA=="
)

// checkGrpcurl explores the server by reflection alone.
func checkGrpcurl(t *testing.T, address string) {
	program := foreigntest.GoProgram(t, grpcurlProgram)
	grpcurl := func(args ...string) *exec.Cmd {
		return exec.CommandContext(t.Context(), program, append([]string{"-plaintext"}, args...)...)
	}
	for _, step := range []struct {
		args []string
		want string
	}{
		{[]string{address, "list"}, "inference.GRPCInferenceService\nmillrace.v1.Admin"},
		{[]string{address, "describe", "inference.GRPCInferenceService.ModelInfer"}, ".inference.ModelInferRequest"},
		{[]string{address, "grpc.health.v1.Health/Check"}, `"status": "SERVING"`},
		{[]string{"-d", `{"service": "inference.GRPCInferenceService"}`, address, "grpc.health.v1.Health/Check"}, `"status": "SERVING"`},
		{[]string{"-d", sumRequest, address, "inference.GRPCInferenceService/ModelInfer"}, sumAnswer},
	} {
		if output := foreigntest.Run(t, grpcurl(step.args...)); !bytes.Contains(output, []byte(step.want)) {
			t.Errorf("grpcurl %s wrote %s, which lacks %s", strings.Join(step.args, " "), output, step.want)
		}
	}

	unknown := grpcurl("-d", `{"model_name": "unknown"}`, address, "inference.GRPCInferenceService/ModelInfer")
	output, err := unknown.CombinedOutput()
	if err == nil || !bytes.Contains(output, []byte("Code: NotFound")) {
		t.Errorf("for an unknown model grpcurl ended with %v: %s", err, output)
	}
}

// checkGhz puts a short load on the server, which has to answer all of it.
func checkGhz(t *testing.T, address string) {
	const requests = 500
	program := foreigntest.GoProgram(t, ghzProgram)
	output := foreigntest.Run(t, exec.CommandContext(t.Context(), program, "--insecure", "--format=json",
		"--call=inference.GRPCInferenceService.ModelInfer", "--total", strconv.Itoa(requests), "--concurrency=8", "--data="+sumRequest, address))
	var report struct {
		Count                  int
		StatusCodeDistribution map[string]int
		ErrorDistribution      map[string]int
	}
	if err := json.Unmarshal(output, &report); err != nil {
		t.Fatalf("ghz wrote %s: %v", output, err)
	}
	if report.Count != requests || report.StatusCodeDistribution["OK"] != requests || len(report.ErrorDistribution) > 0 {
		t.Errorf("ghz reports %+v, want %d answers", report, requests)
	}
}
