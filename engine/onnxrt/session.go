// SPDX-License-Identifier: Apache-2.0

//go:build cgo && unix

package onnxrt

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
)

// versionLeast is the first release with the interface that the binding asks for.
const versionLeast = "1.24"

// supported says that this build can reach the library.
const supported = true

// initialise loads the library and creates its environment. It is called under the
// process lock, at most once with success.
func initialise(file string) (version string, err error) {
	limitHeap()
	ort.SetSharedLibraryPath(file)
	// What goes wrong comes back as an error. The library would print it as well, for
	// every bad request.
	if err := ort.InitializeEnvironment(ort.WithLogLevelFatal()); err != nil {
		return "", loadError(file, err)
	}
	if err := ort.DisableTelemetry(); err != nil {
		return "", fmt.Errorf("disable telemetry: %w", err)
	}
	return ort.GetVersion(), nil
}

// loadError takes the binding's own words off an error, and explains the number
// that it gives for a library without the interface it asks for.
func loadError(file string, err error) error {
	if strings.Contains(err.Error(), "setting ORT API base") {
		return fmt.Errorf("%s is too old: ONNX Runtime %s or newer is needed", file, versionLeast)
	}
	if inner := errors.Unwrap(err); inner != nil {
		return inner
	}
	return err
}

// openSession loads a model file for a placement.
func openSession(file string, g *graph, s settings, placement engine.Placement) (*ort.DynamicAdvancedSession, error) {
	options, err := ort.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	defer options.Destroy()
	if err := s.apply(options, placement); err != nil {
		return nil, fmt.Errorf("%w: session options: %w", engine.ErrInvalidModel, err)
	}
	if placement.Kind == modelconfig.KindGPU {
		if err := useCUDA(options, placement.GPU, s.cuda); err != nil {
			return nil, err
		}
	}
	session, err := ort.NewDynamicAdvancedSession(file, names(g.signature.Inputs), names(g.signature.Outputs), options)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", engine.ErrInvalidModel, libraryError(err))
	}
	return session, nil
}

// graphLevels translates optimization.graph.level, which starts at -1.
var graphLevels = [...]ort.GraphOptimizationLevel{
	ort.GraphOptimizationLevelEnableBasic,
	ort.GraphOptimizationLevelEnableAll,
	ort.GraphOptimizationLevelEnableExtended,
	ort.GraphOptimizationLevelDisableAll,
}

func (s settings) apply(o *ort.SessionOptions, placement engine.Placement) error {
	mode := ort.ExecutionMode(ort.ExecutionModeSequential)
	if s.parallel {
		mode = ort.ExecutionModeParallel
	}
	for _, set := range []func() error{
		func() error { return o.SetLogSeverityLevel(ort.LoggingLevelFatal) },
		func() error { return o.SetGraphOptimizationLevel(graphLevels[s.graphLevel+1]) },
		func() error { return o.SetExecutionMode(mode) },
		func() error { return o.SetIntraOpNumThreads(s.threads(placement)) },
		func() error { return o.SetInterOpNumThreads(s.interThreads) },
		func() error { return o.SetCpuMemArena(s.memArena) },
		func() error { return o.SetMemPattern(s.memPattern) },
	} {
		if err := set(); err != nil {
			return err
		}
	}
	for _, key := range s.entryKeys() {
		if err := o.AddSessionConfigEntry(key, s.entries[key]); err != nil {
			return fmt.Errorf("%s: %w", key, err)
		}
	}
	return nil
}

// useCUDA puts the CUDA execution provider before the CPU's. The library finds out
// only here whether it has the provider and whether the provider finds CUDA.
func useCUDA(o *ort.SessionOptions, device int, settings map[string]string) error {
	unavailable := func(err error) error {
		return fmt.Errorf("%w: no CUDA execution provider: install the GPU build of ONNX Runtime (scripts/fetch-onnxruntime.sh --gpu) with CUDA and cuDNN, or use KIND_CPU: %w",
			engine.ErrUnavailable, err)
	}
	cuda, err := ort.NewCUDAProviderOptions()
	if err != nil {
		return unavailable(err)
	}
	defer cuda.Destroy()
	values := map[string]string{"device_id": strconv.Itoa(device)}
	for key, value := range settings {
		values[key] = value
	}
	if err := cuda.Update(values); err != nil {
		return unavailable(err)
	}
	if err := o.AppendExecutionProviderCUDA(cuda); err != nil {
		return unavailable(err)
	}
	return nil
}

func names(specs []engine.TensorSpec) []string {
	list := make([]string, len(specs))
	for i, spec := range specs {
		list[i] = spec.Name
	}
	return list
}
