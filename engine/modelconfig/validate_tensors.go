// SPDX-License-Identifier: Apache-2.0

package modelconfig

import (
	"slices"

	"github.com/millrace-ml/millrace/engine/tensor"
)

// configTensor is what inputs and outputs have in common.
type configTensor struct {
	role    string // "input" or "output"
	name    string
	kind    Datatype
	dims    []int64
	reshape *Reshape
}

func (c *Config) inputs() []configTensor {
	tensors := make([]configTensor, len(c.Input))
	for i, in := range c.Input {
		tensors[i] = configTensor{"input", in.Name, in.DataType, in.Dims, in.Reshape}
	}
	return tensors
}

func (c *Config) outputs() []configTensor {
	tensors := make([]configTensor, len(c.Output))
	for i, out := range c.Output {
		tensors[i] = configTensor{"output", out.Name, out.DataType, out.Dims, out.Reshape}
	}
	return tensors
}

// modelDims are the dimensions the model sees, without those of the batch.
func (t configTensor) modelDims() []int64 {
	if t.reshape != nil {
		return t.reshape.Shape
	}
	return t.dims
}

// checkTensors covers inputs and outputs as far as they can be judged alone.
func (c *Config) checkTensors() []error {
	var problems []error
	for _, tensors := range [][]configTensor{c.inputs(), c.outputs()} {
		names := map[string]bool{}
		for _, t := range tensors {
			if err := c.checkTensor(t); err != nil {
				problems = append(problems, err)
			}
			if names[t.name] {
				problems = append(problems, invalidf("model %s '%s' is specified more than once for %s", t.role, t.name, c.Name))
			}
			names[t.name] = true
		}
	}
	for _, input := range c.Input {
		if input.Format != FormatNone && len(input.Dims) != 3 {
			problems = append(problems, invalidf("model input NHWC/NCHW require 3 dims for %s", c.Name))
		}
	}
	return problems
}

func (c *Config) checkTensor(t configTensor) error {
	if t.name == "" {
		return invalidf("model %s must specify 'name' for %s", t.role, c.Name)
	}
	fail := func(what string) error {
		return invalidf("model %s '%s' %s for %s", t.role, t.name, what, c.Name)
	}
	switch {
	case t.kind.Datatype == tensor.Invalid:
		return fail("must specify 'data_type'")
	case len(t.dims) == 0:
		return fail("must specify 'dims'")
	case slices.ContainsFunc(t.dims, badExtent):
		return fail("dimension must be integer >= 1, or -1 to indicate a variable-size dimension")
	case !countable(t.dims):
		return fail("has more elements than can be counted")
	case t.reshape != nil:
		if what := c.checkReshape(t); what != "" {
			return fail(what)
		}
	}
	return nil
}

func badExtent(dim int64) bool { return dim < 1 && dim != -1 }

// countable reports whether the known extents multiply without overflow.
func countable(dims []int64) bool {
	known := slices.DeleteFunc(slices.Clone(dims), func(dim int64) bool { return dim < 0 })
	_, err := tensor.Shape(known).Elements()
	return err == nil
}

// checkReshape says what is wrong with t's reshape, "" if nothing. The two shapes
// must hold the same elements between each pair of variable dimensions.
func (c *Config) checkReshape(t configTensor) string {
	shape := t.reshape.Shape
	switch {
	case len(shape) == 0 && c.MaxBatchSize == 0:
		return "cannot have empty reshape for non-batching model as scalar tensors are not supported"
	case slices.ContainsFunc(shape, badExtent):
		return "reshape dimensions must be integer >= 1, or -1 to indicate a variable-size dimension"
	case !countable(shape):
		return "has a reshape with more elements than can be counted"
	}
	before, after := runs(t.dims), runs(shape)
	switch {
	case slices.Equal(before, after):
		return ""
	case len(before) != len(after) && len(before) > 1 && len(after) > 1:
		return "has different number of variable-size dimensions for dims and reshape"
	}
	return "has different size for dims and reshape"
}

// runs are the element counts between variable dimensions: [2,4,-1,6] has [8,6].
func runs(dims []int64) []int64 {
	counts := []int64{1}
	for _, dim := range dims {
		if dim == -1 {
			counts = append(counts, 1)
			continue
		}
		counts[len(counts)-1] *= dim
	}
	return counts
}

// checkBatchTensors covers the tensors made of a batch's composition. They are not
// run here, yet a mistake in them is worth knowing before they are removed.
func (c *Config) checkBatchTensors() []error {
	var problems []error
	for _, in := range c.BatchInput {
		if t := in.DataType.Datatype; t != tensor.Int32 && t != tensor.FP32 {
			problems = append(problems, invalidf("batch input data type must be TYPE_INT32 or TYPE_FP32 for %s", c.Name))
		}
	}
	return problems
}
