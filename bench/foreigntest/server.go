// SPDX-License-Identifier: Apache-2.0

package foreigntest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/engine/onnxrt/onnxrttest"
)

const (
	// stopTimeout is how long a server may take to stop before it is killed.
	stopTimeout = time.Minute
	// logLinesMax is how much of a server's log a failed test shows.
	logLinesMax = 50
)

// Server is a millrace process that is ready.
type Server struct {
	// GRPC, HTTP and Metrics are the addresses it listens on, as host:port.
	GRPC, HTTP, Metrics string
}

// Build builds the millrace binary, without a note of the commit: of a checkout that
// belongs to another user, as in pipelines, git does not tell it, and the build would fail.
// All tests of a checkout share the file, since linking takes several seconds, which go
// build spares when nothing has changed. One builds at a time: a program that is being
// written cannot be run.
func Build(t testing.TB) string {
	t.Helper()
	folder := filepath.Join(ModuleRoot(t), ".millrace", "foreign")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	unlock, err := lockFile(filepath.Join(folder, "build.lock"))
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	binary := filepath.Join(folder, "millrace")
	build := exec.CommandContext(t.Context(), lookPath(t, "go"), "build", "-buildvcs=false", "-o", binary, "./cmd/millrace")
	build.Dir = ModuleRoot(t)
	Run(t, build)
	return binary
}

// Serve runs a binary on a model repository until the test ends, with ports of its
// own choice, and waits until it is ready. Its log is shown when the test fails, and
// stopping it in order is part of the test. Without ONNX Runtime the test is skipped.
func Serve(t testing.TB, binary, repository string, flags ...string) *Server {
	t.Helper()
	onnxrttest.Runtime(t)
	args := append([]string{"serve", "--model-repository", repository, "--log-format=json",
		"--http-port=0", "--grpc-port=0", "--metrics-port=0"}, flags...)
	if library := onnxrttest.Options(t).Library; library != "" {
		args = append(args, "--onnxruntime-library", library)
	}
	cmd := exec.CommandContext(t.Context(), binary, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
	cmd.WaitDelay = stopTimeout
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}

	log := &serverLog{ready: make(chan *Server, 1), ended: make(chan struct{})}
	go log.follow(stderr)
	t.Cleanup(func() { // the test's context, which stops the server, has ended
		<-log.ended
		if err := cmd.Wait(); !errors.Is(err, context.Canceled) {
			t.Errorf("the server did not stop in order: %v", err)
		}
		if t.Failed() {
			t.Logf("the end of the server's log:\n%s", strings.Join(log.tail, "\n"))
		}
	})
	server, ok := <-log.ready
	if !ok {
		t.Fatal("the server ended before it was ready")
	}
	return server
}

// serverLog follows the log of a server. Its goroutine ends with the server.
type serverLog struct {
	// ready gives the server once, and is closed with the log.
	ready chan *Server
	ended chan struct{}
	tail  []string // to be read when ended is closed
}

func (l *serverLog) follow(r io.Reader) {
	defer close(l.ended)
	defer close(l.ready)
	var server Server
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if len(l.tail) == logLinesMax {
			l.tail = slices.Delete(l.tail, 0, 1)
		}
		l.tail = append(l.tail, lines.Text())
		if server.note(lines.Bytes()) {
			l.ready <- &server
		}
	}
	io.Copy(io.Discard, r) // after a line that is too long, the server must not block
}

// note takes the addresses from the log and reports whether the server became ready.
func (s *Server) note(line []byte) bool {
	var entry struct{ Msg, Face, Address string }
	if json.Unmarshal(line, &entry) != nil {
		return false // a line of a library's own
	}
	if entry.Msg == "listening" {
		_, port, _ := net.SplitHostPort(entry.Address)
		address := net.JoinHostPort("127.0.0.1", port)
		switch entry.Face {
		case "grpc":
			s.GRPC = address
		case "http":
			s.HTTP = address
		case "metrics":
			s.Metrics = address
		}
	}
	return entry.Msg == "ready"
}
