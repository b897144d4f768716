// SPDX-License-Identifier: Apache-2.0

package onnxrt

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func touch(t *testing.T, path string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte("not a library"), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestLibraryFile(t *testing.T) {
	dir := t.TempDir()
	versioned := touch(t, filepath.Join(dir, "a", "libonnxruntime.so.1.30.0"))
	touch(t, filepath.Join(dir, "b", "lib", "libonnxruntime.so.1"))
	plain := touch(t, filepath.Join(dir, "b", "lib", "libonnxruntime.so"))
	touch(t, filepath.Join(dir, "c", "libonnxruntime_providers_cuda.so"))
	for place, want := range map[string]string{
		versioned:               versioned,
		filepath.Join(dir, "a"): versioned,
		filepath.Join(dir, "b"): plain,
		"libonnxruntime.so":     "libonnxruntime.so",
	} {
		if got, err := libraryFile(place); err != nil || got != want {
			t.Errorf("%s: got %s, %v; want %s", place, got, err, want)
		}
	}
	for _, place := range []string{filepath.Join(dir, "c"), filepath.Join(dir, "absent")} {
		if got, err := libraryFile(place); err == nil {
			t.Errorf("%s: got %s, want an error", place, got)
		}
	}
}

func TestLibraryPlaces(t *testing.T) {
	t.Setenv(LibraryEnv, "")
	dir := t.TempDir()
	t.Chdir(dir)
	t.Setenv("XDG_CACHE_HOME", "/cache")
	places := libraryPlaces(Options{})
	cwd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if want := filepath.Join(cwd, ".millrace/onnxruntime/lib"); places[0] != want {
		t.Errorf("first place is %s, want %s", places[0], want)
	}
	if !slices.Contains(places, loaderNames()[0]) {
		t.Errorf("the loader's own search is not among %v", places)
	}

	t.Setenv(LibraryEnv, "/env/libonnxruntime.so")
	if got := libraryPlaces(Options{}); !slices.Equal(got, []string{"/env/libonnxruntime.so"}) {
		t.Errorf("with %s: %v", LibraryEnv, got)
	}
	if got := libraryPlaces(Options{Library: "lib.so"}); !slices.Equal(got, []string{"./lib.so"}) {
		t.Errorf("with a relative option: %v, want it to win and to be a path", got)
	}
}

func TestOpenSaysWhatIsWrong(t *testing.T) {
	if !supported {
		t.Skip("built without cgo")
	}
	bad := touch(t, filepath.Join(t.TempDir(), "libonnxruntime.so"))
	for library, want := range map[string]string{bad: bad, "/absent/libonnxruntime.so": "no such file"} {
		_, err := open(Options{Library: library})
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), LibraryEnv) || !strings.Contains(err.Error(), "make onnxruntime") {
			t.Errorf("%s: got error %v", library, err)
		}
	}
}

func TestGPUsNeedTheProvider(t *testing.T) {
	rt := &Runtime{library: touch(t, filepath.Join(t.TempDir(), "libonnxruntime.so"))}
	if got := rt.GPUs(); len(got) != 0 {
		t.Errorf("GPUs without a CUDA provider: %v", got)
	}
	if got := rt.Providers(); !slices.Equal(got, []string{"CPUExecutionProvider"}) {
		t.Errorf("providers are %v", got)
	}
	touch(t, filepath.Join(filepath.Dir(rt.library), "libonnxruntime_providers_cuda.so"))
	if got := rt.Providers(); !slices.Contains(got, "CUDAExecutionProvider") {
		t.Errorf("providers are %v", got)
	}
}

func TestVisibleDevices(t *testing.T) {
	for list, want := range map[string]int{"": 0, "-1": 0, "0": 1, "2,3": 2, "1,-1,0": 1, "GPU-1a2b, 0": 2} {
		t.Setenv("CUDA_VISIBLE_DEVICES", list)
		if got := visibleDevices(4); got != want {
			t.Errorf("CUDA_VISIBLE_DEVICES=%q: %d, want %d", list, got, want)
		}
	}
}

func TestLibraryError(t *testing.T) {
	inner := os.ErrInvalid
	wrapped := libraryError(&os.PathError{Op: "Error running network", Err: inner})
	if got, want := wrapped.Error(), "onnx runtime error 1: invalid argument"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	named := libraryError(&textError{"node: [ONNXRuntimeError] : 2 : INVALID_ARGUMENT : bad shape"})
	if got := named.Error(); !strings.HasPrefix(got, "onnx runtime error 2: node: ") {
		t.Errorf("got %q", got)
	}
}

type textError struct{ text string }

func (e *textError) Error() string { return e.text }
