// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const echoConfig = `backend: "identity"
max_batch_size: 4
dynamic_batching { }
input [ { name: "IN" data_type: TYPE_FP32 dims: [ 2 ] } ]
output [ { name: "OUT" data_type: TYPE_FP32 dims: [ 2 ] } ]
`

// runningServer is a serve command that runs in this process.
type runningServer struct {
	addresses map[string]string // by face
	stop      context.CancelFunc
	status    <-chan int
}

// startServer runs the serve command until it says that it is ready.
func startServer(t *testing.T, args ...string) *runningServer {
	t.Helper()
	return startCommand(t, append([]string{"serve"}, args...)...)
}

// exitTimeout is how long a server may take to end: a machine that stands still for a while
// cuts no requests.
const exitTimeout = "--exit-timeout-secs=120"

// startCommand runs a command that serves until it says that it is ready. Its log is
// where the ports that it chose can be read.
func startCommand(t *testing.T, args ...string) *runningServer {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	t.Cleanup(stop)
	logReader, logWriter := io.Pipe()
	status := make(chan int, 1)
	go func() {
		args := append(args, "--http-port=0", "--grpc-port=0", "--metrics-port=0", "--log-format=json", exitTimeout)
		status <- execute(ctx, args, strings.NewReader(""), io.Discard, logWriter)
		logWriter.Close()
	}()

	server := &runningServer{addresses: map[string]string{}, stop: stop, status: status}
	lines := bufio.NewScanner(logReader)
	for lines.Scan() {
		var line struct{ Msg, Face, Address string }
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatalf("log line %s: %v", lines.Text(), err)
		}
		switch line.Msg {
		case "listening":
			server.addresses[line.Face] = strings.Replace(line.Address, "[::]", "127.0.0.1", 1)
		case "ready":
			go io.Copy(io.Discard, logReader) // ends when the server does
			return server
		}
	}
	t.Fatalf("the server ended with status %d before it was ready", <-status)
	return nil
}

// TestServe runs the server on a built-in model, asks it over all faces, and stops it.
func TestServe(t *testing.T) {
	repository := t.TempDir()
	if err := os.MkdirAll(filepath.Join(repository, "echo"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(repository, "echo", "config.pbtxt"), []byte(echoConfig), 0o644); err != nil {
		t.Fatal(err)
	}
	server := startServer(t, "--model-repository", repository)

	status, stdout, stderr := runCommand(t, "", "predict", "--url", server.addresses["grpc"], "--model", "echo", "--input", "IN=[1.5,-2,3,4]", "--format", "json")
	want := `{"model_name":"echo","model_version":"1","outputs":[{"name":"OUT","datatype":"FP32","shape":[2,2],"data":[1.5,-2,3,4]}]}` + "\n"
	if status != exitOK || stdout != want {
		t.Errorf("predict: status %d, %s%s, want %s", status, stdout, stderr, want)
	}
	body := fetch(t, http.MethodPost, "http://"+server.addresses["http"]+"/v2/models/echo/infer",
		`{"inputs":[{"name":"IN","datatype":"FP32","shape":[1,2],"data":[5,6]}]}`)
	if !strings.Contains(body, `"data":[5,6]`) {
		t.Errorf("REST answered %s", body)
	}
	if status, stdout, stderr := runCommand(t, "", "models", "list", "--url", server.addresses["grpc"]); status != exitOK || !strings.Contains(stdout, "READY") {
		t.Errorf("models list: status %d, %s%s", status, stdout, stderr)
	}
	metrics := fetch(t, http.MethodGet, "http://"+server.addresses["metrics"]+"/metrics", "")
	if !strings.Contains(metrics, `nv_inference_request_success{model="echo",version="1"} 2`) {
		t.Error("the metrics do not count the two requests")
	}

	server.stop()
	select {
	case status := <-server.status:
		if status != exitOK {
			t.Errorf("the server ended with status %d", status)
		}
	case <-time.After(2 * time.Minute):
		t.Error("the server did not stop")
	}
}

func fetch(t *testing.T, method, url, body string) string {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("%s %s: %s, %v", method, url, response.Status, err)
	}
	return string(content)
}

func TestServePortTaken(t *testing.T) {
	_, address := startFake(t)
	port := address[strings.LastIndex(address, ":")+1:]
	repository := t.TempDir()
	status, _, stderr := runCommand(t, "", "serve", "--model-repository", repository, "--http-port=0", "--metrics-port=0", "--grpc-address=127.0.0.1", "--grpc-port", port)
	if status != exitFailure || !strings.Contains(stderr, "--grpc-port: ") || !strings.Contains(stderr, "choose another, or 0") {
		t.Errorf("status %d, error %s", status, stderr)
	}
}

func TestServeWithoutRepository(t *testing.T) {
	status, _, stderr := runCommand(t, "", "serve", "--model-repository", "/nowhere/models", "--http-port=0", "--metrics-port=0", "--grpc-port=0")
	if status != exitFailure || !strings.Contains(stderr, "/nowhere/models") {
		t.Errorf("status %d, error %s", status, stderr)
	}
}

func TestDemoRepository(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "demo")
	status, stdout, stderr := runCommand(t, "", "demo-repository", folder)
	if status != exitOK || !strings.Contains(stdout, "wrote 9 models") {
		t.Fatalf("status %d: %s%s", status, stdout, stderr)
	}
	for _, file := range []string{"simple/1/model.onnx", "simple/config.pbtxt", "mlp_small/1/model.onnx", "mlp_small/2/model.onnx", "trees_small/2/model.onnx", "mlp_middle/1/model.onnx", "repeat_int32/config.pbtxt"} {
		if info, err := os.Stat(filepath.Join(folder, file)); err != nil || info.Size() == 0 {
			t.Errorf("%s: %v", file, err)
		}
	}
	first, err1 := os.ReadFile(filepath.Join(folder, "mlp_small/1/model.onnx"))
	second, err2 := os.ReadFile(filepath.Join(folder, "mlp_small/2/model.onnx"))
	if err1 != nil || err2 != nil || bytes.Equal(first, second) {
		t.Errorf("the versions of mlp_small are the same model: %v, %v", err1, err2)
	}
	if status, _, stderr := runCommand(t, "", "demo-repository", folder); status != exitOK {
		t.Errorf("written again: status %d: %s", status, stderr)
	}
	status, _, stderr = runCommand(t, "", "demo-repository", filepath.Join(folder, "simple"))
	if status != exitFailure || !strings.Contains(stderr, "not empty") {
		t.Errorf("a folder with other things: status %d: %s", status, stderr)
	}
}
