// SPDX-License-Identifier: Apache-2.0

// Package onnxrttest lets tests use ONNX Runtime where it is installed, and skips
// them where it is not.
package onnxrttest

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/millrace-ml/millrace/engine/onnxrt"
)

// Runtime opens the library that the environment names, or that is installed in
// the module's folder; tests run in their package's folder, where the usual search
// would not find it. Without a library it skips the test; one that does not load
// fails it.
func Runtime(t testing.TB) *onnxrt.Runtime {
	t.Helper()
	opts := Options(t)
	rt, err := onnxrt.Open(opts)
	switch {
	case err == nil:
		return rt
	case errors.Is(err, errors.ErrUnsupported):
		t.Skip(err)
	case opts.Library != "" || os.Getenv(onnxrt.LibraryEnv) != "":
		t.Fatal(err)
	default:
		t.Skip(err)
	}
	return nil
}

// Backend is the ONNX Runtime backend over the same library.
func Backend(t testing.TB) *onnxrt.Backend {
	t.Helper()
	Runtime(t)
	return onnxrt.NewBackend(Options(t))
}

// Options are those that find the library from within a test.
func Options(t testing.TB) onnxrt.Options {
	t.Helper()
	if os.Getenv(onnxrt.LibraryEnv) != "" {
		return onnxrt.Options{}
	}
	installed := filepath.Join(moduleRoot(t), ".millrace", "onnxruntime", "lib")
	if _, err := os.Stat(installed); err != nil {
		return onnxrt.Options{}
	}
	return onnxrt.Options{Library: installed}
}

// moduleRoot is the nearest folder above the test that holds a go.mod.
func moduleRoot(t testing.TB) string {
	t.Helper()
	folder, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder
		}
		parent := filepath.Dir(folder)
		if parent == folder {
			t.Fatal("no go.mod above the test's folder")
		}
		folder = parent
	}
}
