// SPDX-License-Identifier: Apache-2.0

// Package modelfile reads what all backends of ONNX models need to know before they
// open one: where its file is, what it takes and what it gives.
package modelfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// DefaultName is the model file's name where the configuration gives none.
const DefaultName = "model.onnx"

// Find gives the model file of a version's folder. A folder of the file's name holds
// the model together with its external data. Errors wrap engine.ErrInvalidModel.
func Find(dir string, config *modelconfig.Config) (string, error) {
	name := config.DefaultModelFilename
	if name == "" {
		name = DefaultName
	}
	if !filepath.IsLocal(name) {
		return "", fmt.Errorf("%w: default_model_filename %q leaves the version's folder", engine.ErrInvalidModel, name)
	}
	file := filepath.Join(dir, name)
	info, err := os.Stat(file)
	if err != nil {
		return "", fmt.Errorf("%w: model file: %w", engine.ErrInvalidModel, err)
	}
	if info.IsDir() {
		file = filepath.Join(file, DefaultName)
	}
	return file, nil
}

// Inputs are the graph's inputs. One with a default is left out unless the
// configuration lists it, since old files list all their weights among the inputs.
func Inputs(m *onnx.Model, config *modelconfig.Config) ([]engine.TensorSpec, error) {
	required := make(map[string]bool)
	for _, v := range m.Inputs() {
		required[v.Name] = true
	}
	listed := make(map[string]tensor.Shape)
	for _, in := range config.Input {
		if in.Optional && required[in.Name] {
			return nil, fmt.Errorf("input %q is optional in the configuration, but the model has no default for it", in.Name)
		}
		listed[in.Name] = listedShape(in.Dims, in.Reshape, config)
	}
	var inputs []engine.TensorSpec
	for _, v := range m.Graph.Inputs {
		if listed[v.Name] == nil && !required[v.Name] {
			continue
		}
		spec, err := specOf(v, listed[v.Name])
		if err != nil {
			return nil, fmt.Errorf("input %q: %w", v.Name, err)
		}
		spec.Optional = !required[v.Name]
		inputs = append(inputs, spec)
	}
	if len(inputs) == 0 {
		return nil, errors.New("the model has no input")
	}
	return inputs, nil
}

// Output is an output of the graph that can be served.
type Output struct {
	engine.TensorSpec
	// Declared is its type as the file has it.
	Declared *onnx.Type
}

// Outputs are the graph's outputs that can be served; left says of each other one why
// it cannot.
func Outputs(m *onnx.Model, config *modelconfig.Config) (outputs []Output, left []string, err error) {
	listed := make(map[string]tensor.Shape)
	for _, out := range config.Output {
		listed[out.Name] = listedShape(out.Dims, out.Reshape, config)
	}
	declared := m.Outputs()
	for i := range declared {
		v := &declared[i]
		if !servable(*v) {
			left = append(left, unservable(*v))
			continue
		}
		spec, err := specOf(*v, listed[v.Name])
		if err != nil {
			return nil, nil, fmt.Errorf("output %q: %w", v.Name, err)
		}
		outputs = append(outputs, Output{spec, &v.Type})
	}
	if len(outputs) == 0 {
		return nil, nil, fmt.Errorf("the model has no output that can be served: %s", strings.Join(left, "; "))
	}
	return outputs, left, nil
}

// servable reports whether values of v's type exist in the inference protocol.
func servable(v onnx.ValueInfo) bool {
	return v.Type.Kind == onnx.KindTensor && v.Type.Elem.Datatype() != tensor.Invalid
}

// unservable says why an output is left out, and what to do about it.
func unservable(v onnx.ValueInfo) string {
	reason := fmt.Sprintf("output %q is %s, which cannot be served", v.Name, v.Type.String())
	if v.Type.Kind == onnx.KindSequence || v.Type.Kind == onnx.KindMap {
		reason += ": export a classifier with zipmap=False to get its probabilities as a tensor"
	}
	return reason
}

// specOf describes an input or output. Where the file does not even say how many
// dimensions it has, the shape that the configuration lists, if any, stands in.
func specOf(v onnx.ValueInfo, listed tensor.Shape) (engine.TensorSpec, error) {
	if !servable(v) {
		return engine.TensorSpec{}, fmt.Errorf("%s cannot be served", v.Type.String())
	}
	shape, ranked := v.Type.Shape()
	if !ranked {
		shape = listed
	}
	if shape == nil {
		return engine.TensorSpec{}, errors.New("the model file does not say how many dimensions it has: list it with its dims in config.pbtxt")
	}
	return engine.TensorSpec{Name: v.Name, Datatype: v.Type.Elem.Datatype(), Shape: shape}, nil
}

// listedShape is the model's own shape, never nil, of an input or output that the
// configuration lists.
func listedShape(dims []int64, reshape *modelconfig.Reshape, config *modelconfig.Config) tensor.Shape {
	if reshape != nil {
		dims = reshape.Shape
	}
	shape := tensor.Shape{}
	if config.MaxBatchSize > 0 {
		shape = append(shape, -1)
	}
	return append(shape, dims...)
}

// RowShapes are the input shapes of a run of so many rows. It reports false when more
// than the rows may vary between runs.
func RowShapes(inputs []engine.TensorSpec, rows int) ([]tensor.Shape, bool) {
	shapes := make([]tensor.Shape, len(inputs))
	for i, in := range inputs {
		shape := append(tensor.Shape{}, in.Shape...)
		if rows > 0 && len(shape) > 0 && shape[0] < 0 {
			shape[0] = int64(rows)
		}
		if in.Optional || !shape.Known() {
			return nil, false
		}
		shapes[i] = shape
	}
	return shapes, true
}

// CheckShapes reports how shapes differ from what the model takes.
func CheckShapes(inputs []engine.TensorSpec, shapes []tensor.Shape) error {
	if len(shapes) != len(inputs) {
		return fmt.Errorf("%d input shapes given, the model has %d inputs", len(shapes), len(inputs))
	}
	for i, in := range inputs {
		if shapes[i] == nil && in.Optional {
			continue
		}
		if !in.Shape.Matches(shapes[i]) {
			return fmt.Errorf("input %q has shape %v, the model takes %v", in.Name, shapes[i], in.Shape)
		}
	}
	return nil
}
