// SPDX-License-Identifier: Apache-2.0

package repository_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/builtin"
	"github.com/millrace-ml/millrace/engine/repository"
)

const identity = `max_batch_size: 4
input [{ name: "INPUT0" data_type: TYPE_INT32 dims: [ 2 ] }]
output [{ name: "OUTPUT0" data_type: TYPE_INT32 dims: [ 2 ] }]
`

func failOn(when string) string {
	return identity + `backend: "failing" parameters: { key: "fail_on" value: { string_value: "` + when + `" } }`
}

// Built-in models are a configuration alone, and go through the same life as others.
func TestBuiltinModels(t *testing.T) {
	dir := t.TempDir()
	for name, config := range map[string]string{
		"identity": identity + `backend: "identity"`,
		"repeat":   `backend: "repeat" model_transaction_policy { decoupled: true }`,
		"run":      failOn("run"),
		"warmup":   failOn("warmup"),
		"load":     failOn("load"),
	} {
		if err := errors.Join(os.Mkdir(filepath.Join(dir, name), 0o755),
			os.WriteFile(filepath.Join(dir, name, "config.pbtxt"), []byte(config), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	r, err := repository.New(repository.Options{Paths: []string{dir}, Backends: builtin.Backends(), Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	if err := r.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"identity", "repeat", "run"} {
		v, err := r.Acquire(name, "1")
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		_, streams := v.Instances[0].(engine.Streamer)
		if streams != (name == "repeat") {
			t.Errorf("%s streams: %v", name, streams)
		}
		v.Release()
	}
	failed := r.InitialErrors()
	for name, want := range map[string]string{"warmup": "failed to run warmup sample 'batch size 1'", "load": "Invalid argument: invalid model"} {
		if failed[name] == nil || !strings.Contains(failed[name].Error(), want) {
			t.Errorf("%s: got %v, want %q", name, failed[name], want)
		}
	}
	if len(failed) != 2 {
		t.Errorf("failures %v", failed)
	}
}
