// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"

	"github.com/millrace-ml/millrace/engine/onnxrt"
)

// runtimeFacts describe the ONNX Runtime library of this machine.
type runtimeFacts struct {
	path      string
	version   string
	providers []string
	gpus      []int
}

func openRuntime() (runtimeFacts, error) {
	runtime, err := onnxrt.Open(onnxrt.Options{})
	if err != nil {
		return runtimeFacts{}, err
	}
	return runtimeFacts{runtime.Library(), runtime.Version(), runtime.Providers(), runtime.GPUs()}, nil
}

// checkRuntime looks for ONNX Runtime, and for the GPUs that it can use.
func checkRuntime(open func() (runtimeFacts, error)) []finding {
	facts, err := open()
	if err != nil {
		return []finding{{fail, "onnxruntime", err.Error(), "make onnxruntime fetches it; or set ONNXRUNTIME_LIB to the library's file or folder"}}
	}
	runtime := finding{ok, "onnxruntime", fmt.Sprintf("%s, %s (%s)", facts.version, facts.path, strings.Join(facts.providers, ", ")), ""}
	gpus := "none: models run on the CPU"
	if len(facts.gpus) > 0 {
		gpus = fmt.Sprintf("%d usable", len(facts.gpus))
	}
	return []finding{runtime, {ok, "gpu", gpus, ""}}
}
