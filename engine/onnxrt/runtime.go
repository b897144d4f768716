// SPDX-License-Identifier: Apache-2.0

package onnxrt

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/millrace-ml/millrace/engine"
)

// Runtime is the ONNX Runtime library, loaded into this process.
type Runtime struct {
	library string
	version string
}

// process holds the one runtime that a process can have.
var process struct {
	sync.Mutex
	runtime *Runtime
}

// Open loads the library on its first successful call and returns the same runtime
// ever after. A failure is not remembered: a later call looks again.
//
// Errors wrap engine.ErrUnavailable and say where the library was looked for.
func Open(opts Options) (*Runtime, error) {
	process.Lock()
	defer process.Unlock()
	if rt := process.runtime; rt != nil {
		return rt, rt.agrees(opts)
	}
	rt, err := open(opts)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", engine.ErrUnavailable, err)
	}
	process.runtime = rt
	return rt, nil
}

// agrees reports an error when opts name another library than the loaded one.
func (rt *Runtime) agrees(opts Options) error {
	if opts.Library == "" {
		return nil
	}
	file, err := libraryFile(libraryPlaces(opts)[0])
	if err == nil && sameFile(file, rt.library) {
		return nil
	}
	return fmt.Errorf("%w: ONNX Runtime library %s: this process already runs %s, and cannot load a second one",
		engine.ErrUnavailable, opts.Library, rt.library)
}

func sameFile(a, b string) bool {
	infoA, errA := os.Stat(a)
	infoB, errB := os.Stat(b)
	return errA == nil && errB == nil && os.SameFile(infoA, infoB)
}

// open tries each place in turn. A place that has no library is passed over, and so
// is a library that does not load, such as one too old, unless the user named it.
func open(opts Options) (*Runtime, error) {
	if !supported {
		return nil, fmt.Errorf("%w: this binary was built without cgo, which ONNX Runtime needs: build it with CGO_ENABLED=1", errors.ErrUnsupported)
	}
	var problems []string
	for _, place := range libraryPlaces(opts) {
		file, err := libraryFile(place)
		if err == nil {
			var version string
			if version, err = initialise(file); err == nil {
				return &Runtime{library: loadedLibrary(file), version: version}, nil
			}
		}
		problems = append(problems, err.Error())
	}
	if named := explicitLibrary(opts); named != "" {
		return nil, fmt.Errorf("ONNX Runtime library %s: %s: correct or unset %s, or run `make onnxruntime` to install one",
			named, problems[0], LibraryEnv)
	}
	return nil, fmt.Errorf("no ONNX Runtime library found: run `make onnxruntime` to install one, or set %s to a libonnxruntime file; looked at:\n  %s",
		LibraryEnv, strings.Join(problems, "\n  "))
}

// Version is the library's version, such as "1.30.0".
func (rt *Runtime) Version() string { return rt.version }

// Library is the file that the library was loaded from.
func (rt *Runtime) Library() string { return rt.library }

// providerLibraries are the execution providers that come as a file beside the
// library.
var providerLibraries = []struct{ provider, file string }{
	{"CUDAExecutionProvider", "libonnxruntime_providers_cuda.so"},
	{"TensorrtExecutionProvider", "libonnxruntime_providers_tensorrt.so"},
}

// Providers lists the execution providers that the library comes with, judged by
// the provider files beside it.
func (rt *Runtime) Providers() []string {
	providers := []string{"CPUExecutionProvider"}
	for _, p := range providerLibraries {
		if rt.has(p.file) {
			providers = append(providers, p.provider)
		}
	}
	return providers
}

// GPUs lists the devices that models can be placed on, by the index CUDA gives
// them. It looks at files only: whether the driver works shows when a model loads.
func (rt *Runtime) GPUs() []int {
	if !rt.has(providerLibraries[0].file) {
		return nil
	}
	devices, err := filepath.Glob("/dev/nvidia[0-9]*")
	if err != nil {
		return nil
	}
	// CUDA numbers the devices it may see from 0, whatever their file is called.
	gpus := make([]int, min(len(devices), visibleDevices(len(devices))))
	for i := range gpus {
		gpus[i] = i
	}
	return gpus
}

// has reports whether a file lies beside the library.
func (rt *Runtime) has(file string) bool {
	library, err := filepath.EvalSymlinks(rt.library)
	if err != nil {
		return false
	}
	_, err = os.Stat(filepath.Join(filepath.Dir(library), file))
	return err == nil
}

// visibleDevices is how many of a machine's devices CUDA_VISIBLE_DEVICES lets this
// process use: CUDA stops reading the list at the first entry that is no device.
func visibleDevices(devices int) int {
	list, set := os.LookupEnv("CUDA_VISIBLE_DEVICES")
	if !set {
		return devices
	}
	n := 0
	for entry := range strings.SplitSeq(list, ",") {
		if entry = strings.TrimSpace(entry); entry == "" || strings.HasPrefix(entry, "-") {
			break
		}
		n++
	}
	return n
}
