// SPDX-License-Identifier: Apache-2.0

package modelconfig

import (
	"slices"
	"strings"

	"github.com/millrace-ml/millrace/engine/tensor"
)

// checkModel compares the configuration with the model it is for.
func (c *Config) checkModel(io ModelIO) []error {
	if io.unknown() {
		return nil
	}
	return slices.Concat(
		c.checkInputCount(io.Inputs),
		c.checkAgainst(c.inputs(), io.Inputs),
		c.checkOptional(io.Inputs),
		c.checkAgainst(c.outputs(), io.Outputs),
	)
}

// checkInputCount wants every input of the model that is not optional. Outputs may
// be left out: they are computed and not answered.
func (c *Config) checkInputCount(model []TensorInfo) []error {
	expected := len(c.Input) + len(c.BatchInput)
	required := 0
	for _, t := range model {
		if !t.Optional {
			required++
		}
	}
	if required <= expected && expected <= len(model) {
		return nil
	}
	return []error{invalidf("unable to load model '%s', configuration expects %d inputs, model provides %d",
		c.Name, expected, len(model))}
}

func (c *Config) checkAgainst(configured []configTensor, model []TensorInfo) []error {
	var problems []error
	for _, t := range configured {
		provided := findTensor(model, t.name)
		var err error
		switch {
		case provided == nil:
			err = invalidf("unexpected inference %s '%s', allowed %ss are: %s", t.role, t.name, t.role, tensorNames(model))
		case t.kind.Datatype != provided.Datatype:
			err = invalidf("unable to load model '%s', configuration expects datatype %s for %s '%s', model provides %s",
				c.Name, t.kind.configName(), t.role, t.name, Datatype{provided.Datatype}.configName())
		default:
			err = c.checkShape(t, provided.Shape)
		}
		if err != nil {
			problems = append(problems, err)
		}
	}
	return problems
}

func findTensor(tensors []TensorInfo, name string) *TensorInfo {
	for i := range tensors {
		if tensors[i].Name == name {
			return &tensors[i]
		}
	}
	return nil
}

func tensorNames(tensors []TensorInfo) string {
	names := make([]string, len(tensors))
	for i, t := range tensors {
		names[i] = t.Name
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func (c *Config) checkShape(t configTensor, model tensor.Shape) error {
	dims := t.modelDims()
	switch {
	case c.MaxBatchSize > 0:
		return c.checkBatchedShape(t.name, dims, model)
	case len(model) == 0:
		return c.checkScalar(t.name, dims)
	case fits(model, dims):
		return nil
	}
	return invalidf("model '%s', tensor '%s': the model expects %d dimensions (shape %s)"+
		" but the model configuration specifies %d dimensions (shape %s)",
		c.Name, t.name, len(model), model, len(dims), tensor.Shape(dims))
}

func (c *Config) checkBatchedShape(name string, dims []int64, model tensor.Shape) error {
	if len(model) == 0 || model[0] != -1 {
		return invalidf("model '%s', tensor '%s': for the model to support batching the shape should have at least"+
			" 1 dimension and the first dimension must be -1; but shape expected by the model is %s", c.Name, name, model)
	}
	full := append(tensor.Shape{-1}, dims...)
	if fits(model, full) {
		return nil
	}
	return invalidf("model '%s', tensor '%s': the model expects %d dimensions (shape %s)"+
		" but the model configuration specifies %d dimensions (an initial batch dimension because max_batch_size > 0"+
		" followed by the explicit tensor shape, making complete shape %s)",
		c.Name, name, len(model), model, len(full), full)
}

// checkScalar takes a scalar of the model as [1], since dims are never empty.
func (c *Config) checkScalar(name string, dims []int64) error {
	if !slices.ContainsFunc(dims, func(dim int64) bool { return dim != 1 }) {
		return nil
	}
	return invalidf("unable to load model '%s', scalar tensor '%s', should only provide 1 in the model configuration"+
		" when the model doesn't support batching. Model configuration provided: %s.", c.Name, name, tensor.Shape(dims))
}

// fits reports whether configured dims agree with the model's: they may narrow an
// extent the model leaves open, not open one the model fixes.
func fits(model, dims []int64) bool {
	return tensor.Shape(model).Matches(dims)
}

// checkOptional refuses optional inputs that the model cannot run without.
func (c *Config) checkOptional(model []TensorInfo) []error {
	var problems []error
	for _, in := range c.Input {
		if t := findTensor(model, in.Name); in.Optional && t != nil && !t.Optional {
			problems = append(problems, invalidf("input '%s' of model '%s' is optional in the configuration but the model"+
				" requires it; remove 'optional'", in.Name, c.Name))
		}
	}
	return problems
}
