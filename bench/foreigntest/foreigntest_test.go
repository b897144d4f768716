// SPDX-License-Identifier: Apache-2.0

package foreigntest

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// inEmptyModule moves the test into a module of its own, so that it finds no cache.
func inEmptyModule(t *testing.T) {
	t.Helper()
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "go.mod"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	t.Chdir(folder)
}

func TestFetchedOnce(t *testing.T) {
	inEmptyModule(t)
	fills := 0
	fill := func(_ context.Context, folder string) error {
		fills++
		return os.WriteFile(filepath.Join(folder, "program"), []byte("v1"), 0o644)
	}
	first := fetched(t, "test", []byte("pins"), fill)
	again := fetched(t, "test", []byte("pins"), fill)
	if fills != 1 || again != first {
		t.Errorf("filled %d times, folders %s and %s", fills, first, again)
	}
	if content, err := os.ReadFile(filepath.Join(first, "program")); string(content) != "v1" {
		t.Errorf("the folder holds %q, %v", content, err)
	}
	if other := fetched(t, "test", []byte("other pins"), fill); other == first || fills != 2 {
		t.Errorf("other pins are in the same folder %s", other)
	}
}

// TestFetchedFails checks that what could not be fetched skips the test and leaves
// nothing that a later run could take for complete.
func TestFetchedFails(t *testing.T) {
	inEmptyModule(t)
	skipped := t.Run("offline", func(t *testing.T) {
		t.Cleanup(func() {
			if !t.Skipped() {
				t.Error("the test was not skipped")
			}
		})
		fetched(t, "test", []byte("pins"), func(_ context.Context, folder string) error {
			return errors.Join(os.WriteFile(filepath.Join(folder, "part"), nil, 0o644), errors.New("no network"))
		})
	})
	left, err := filepath.Glob(filepath.Join(".millrace", "foreign", "*"))
	if hidden, _ := filepath.Glob(filepath.Join(".millrace", "foreign", ".*")); !skipped || err != nil || len(left)+len(hidden) > 0 {
		t.Errorf("left %v %v, %v", left, hidden, err)
	}
}

// TestFetchesShareTheirTime checks that a network which answers nothing costs the tests
// of a process its time-out once.
func TestFetchesShareTheirTime(t *testing.T) {
	inEmptyModule(t)
	before := fetching
	defer func() { fetching = before }()
	fetching = fetchTimeout
	t.Run("late", func(t *testing.T) {
		t.Cleanup(func() {
			if !t.Skipped() {
				t.Error("the test was not skipped")
			}
		})
		fetched(t, "test", []byte("pins"), func(ctx context.Context, _ string) error {
			if ctx.Err() == nil {
				t.Error("there is time left")
			}
			return ctx.Err()
		})
	})
}

func follow(log string) *serverLog {
	l := &serverLog{ready: make(chan *Server, 1), ended: make(chan struct{})}
	l.follow(strings.NewReader(log))
	return l
}

func TestServerLog(t *testing.T) {
	l := follow(`{"msg":"listening","face":"grpc","address":"[::]:1"}
a library says something
{"msg":"listening","face":"http","address":"0.0.0.0:2"}
{"msg":"listening","face":"metrics","address":"127.0.0.1:3"}
{"msg":"ready"}
` + strings.Repeat("{}\n", 2*logLinesMax))
	server, ok := <-l.ready
	if want := (Server{GRPC: "127.0.0.1:1", HTTP: "127.0.0.1:2", Metrics: "127.0.0.1:3"}); !ok || *server != want {
		t.Errorf("server %+v, want %+v", server, want)
	}
	if len(l.tail) != logLinesMax {
		t.Errorf("kept %d lines, want %d", len(l.tail), logLinesMax)
	}
}

func TestServerLogNeverReady(t *testing.T) {
	l := follow(`{"msg":"listening","face":"grpc","address":"[::]:1"}` + "\n" + strings.Repeat("x", 1<<20))
	if server, ok := <-l.ready; ok {
		t.Errorf("ready as %+v", server)
	}
	<-l.ended
}
