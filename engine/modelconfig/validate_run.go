// SPDX-License-Identifier: Apache-2.0

package modelconfig

import (
	"math"
	"slices"

	"github.com/millrace-ml/millrace/engine/tensor"
)

// warmupBytesMax bounds one warm-up input as requests are bounded: by the largest
// message.
const warmupBytesMax = math.MaxInt32

// checkOptimization covers the hints that have an effect.
func (c *Config) checkOptimization() []error {
	if c.Optimization == nil {
		return nil
	}
	var problems []error
	if graph := c.Optimization.Graph; graph != nil && (graph.Level < -1 || graph.Level > 2) {
		problems = append(problems, invalidf("optimization graph level is %d for %s, it must be"+
			" -1 (basic), 0 (all), 1 (extended) or 2 (disabled)", graph.Level, c.Name))
	}
	if accelerators := c.Optimization.ExecutionAccelerators; accelerators != nil {
		problems = append(problems, checkAccelerators(accelerators.GPU, "cuda", "tensorrt")...)
		problems = append(problems, checkAccelerators(accelerators.CPU, "openvino")...)
	}
	return problems
}

func checkAccelerators(accelerators []Accelerator, known ...string) []error {
	var problems []error
	for _, a := range accelerators {
		if !slices.Contains(known, a.Name) {
			problems = append(problems, invalidf("unknown Execution Accelerator '%s' is requested", a.Name))
		}
	}
	return problems
}

// checkWarmups covers the requests run before the model is ready. One with a batch
// size of 0 is skipped, as the protocol has it.
func (c *Config) checkWarmups() []error {
	var problems []error
	for _, warmup := range c.ModelWarmup {
		if warmup.BatchSize > uint32(max(1, c.MaxBatchSize)) {
			problems = append(problems, invalidf("warmup sample '%s' of model '%s' has batch_size %d, the model takes at most %d",
				warmup.Name, c.Name, warmup.BatchSize, max(1, c.MaxBatchSize)))
		}
		for _, name := range sortedKeys(warmup.Inputs) {
			if err := c.checkWarmupInput(warmup, name); err != nil {
				problems = append(problems, err)
			}
		}
	}
	return problems
}

func (c *Config) checkWarmupInput(warmup Warmup, name string) error {
	input := warmup.Inputs[name]
	fail := func(what string) error {
		return invalidf("warmup sample '%s' of model '%s', input '%s': %s", warmup.Name, c.Name, name, what)
	}
	elements, err := tensor.Shape(input.Dims).Elements()
	switch {
	case len(c.Input) > 0 && !c.hasInput(name):
		return fail("the model has no such input")
	case input.DataType.Datatype == tensor.Invalid:
		return fail("must specify 'data_type'")
	case slices.Contains(input.Dims, -1):
		return invalidf("warmup setting expects all variable-size dimensions are specified for input '%s'", name)
	case slices.ContainsFunc(input.Dims, badExtent):
		return fail("dimension must be integer >= 1")
	case err != nil || elements > warmupBytesMax/int64(warmup.elementBytes(input)):
		return fail("has more than 2 GiB of data")
	case !input.hasOneSource():
		return fail("must specify one of 'zero_data', 'random_data' and 'input_data_file'")
	}
	return checkPath("input_data_file of warmup sample "+warmup.Name, input.InputDataFile)
}

// elementBytes is what one element takes over all rows. BYTES have at least a
// length.
func (w Warmup) elementBytes(input WarmupInput) int {
	const bytesElementMin = 4
	size := input.DataType.Size()
	if size == 0 {
		size = bytesElementMin
	}
	return size * max(1, int(w.BatchSize))
}

func (in WarmupInput) hasOneSource() bool {
	sources := 0
	for _, given := range []bool{in.ZeroData, in.RandomData, in.InputDataFile != ""} {
		if given {
			sources++
		}
	}
	return sources == 1
}

func (c *Config) hasInput(name string) bool {
	return slices.ContainsFunc(c.Input, func(in Input) bool { return in.Name == name })
}
