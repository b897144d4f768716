// SPDX-License-Identifier: Apache-2.0

package onnxrt

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// defaultFile is the model file's name where the configuration gives none.
const defaultFile = "model.onnx"

// errUnallocatable is why some outputs cannot be served: the binding copies what
// the library allocates, but not these datatypes.
var errUnallocatable = errors.New("FP16 or BF16 of a shape that is known only after the run is not supported: cast the output to FP32 in the model")

func allocatable(d tensor.Datatype) bool { return d != tensor.FP16 && d != tensor.BF16 }

// graph is what the backend knows of a model before the library sees it.
type graph struct {
	signature engine.Signature
	// outputs holds the extents of each output; nil where even the rank is unknown.
	outputs [][]extent
	// left says of each output that cannot be served why it is left out.
	left []string
}

// modelFile finds the model file of a version's folder. A folder of the file's name
// holds the model together with its external data.
func modelFile(dir string, config *modelconfig.Config) (string, error) {
	name := config.DefaultModelFilename
	if name == "" {
		name = defaultFile
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
		file = filepath.Join(file, defaultFile)
	}
	return file, nil
}

// readGraph reads and checks a model file. All errors wrap engine.ErrInvalidModel.
func readGraph(file string, config *modelconfig.Config) (*graph, error) {
	m, err := onnx.ReadFile(file, onnx.ReadOptions{SkipTensorData: true})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", engine.ErrInvalidModel, err)
	}
	// The library follows whatever path the file gives; it must not get to see one
	// that leads elsewhere.
	if err := m.CheckExternal(filepath.Dir(file)); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", engine.ErrInvalidModel, file, err)
	}
	g := &graph{}
	if err := errors.Join(g.readInputs(m, config), g.readOutputs(m, config)); err != nil {
		return nil, fmt.Errorf("%w: %s: %w", engine.ErrInvalidModel, file, err)
	}
	return g, nil
}

// readInputs takes the graph's inputs. One with a default is left out unless the
// configuration lists it, since old files list all their weights among the inputs.
func (g *graph) readInputs(m *onnx.Model, config *modelconfig.Config) error {
	required := make(map[string]bool)
	for _, v := range m.Inputs() {
		required[v.Name] = true
	}
	listed := make(map[string]tensor.Shape)
	for _, in := range config.Input {
		if in.Optional && required[in.Name] {
			return fmt.Errorf("input %q is optional in the configuration, but the model has no default for it", in.Name)
		}
		listed[in.Name] = listedShape(in.Dims, in.Reshape, config)
	}
	for _, v := range m.Graph.Inputs {
		if listed[v.Name] == nil && !required[v.Name] {
			continue
		}
		spec, err := tensorSpec(v, listed[v.Name])
		if err != nil {
			return fmt.Errorf("input %q: %w", v.Name, err)
		}
		spec.Optional = !required[v.Name]
		g.signature.Inputs = append(g.signature.Inputs, spec)
	}
	if len(g.signature.Inputs) == 0 {
		return errors.New("the model has no input")
	}
	return nil
}

// readOutputs takes the graph's outputs, and works out their extents from the
// inputs, which were read before.
func (g *graph) readOutputs(m *onnx.Model, config *modelconfig.Config) error {
	listed := make(map[string]tensor.Shape)
	for _, out := range config.Output {
		listed[out.Name] = listedShape(out.Dims, out.Reshape, config)
	}
	symbols := g.symbols(m)
	for _, v := range m.Outputs() {
		if !servable(v) {
			g.left = append(g.left, unservable(v))
			continue
		}
		spec, err := tensorSpec(v, listed[v.Name])
		if err != nil {
			return fmt.Errorf("output %q: %w", v.Name, err)
		}
		extents := outputExtents(&v.Type, symbols, config.MaxBatchSize > 0)
		if !allocatable(spec.Datatype) && (extents == nil || slices.Contains(extents, unknownExtent)) {
			return fmt.Errorf("output %q: %w", v.Name, errUnallocatable)
		}
		g.signature.Outputs = append(g.signature.Outputs, spec)
		g.outputs = append(g.outputs, extents)
	}
	if len(g.signature.Outputs) == 0 {
		return fmt.Errorf("the model has no output that can be served: %s", strings.Join(g.left, "; "))
	}
	return nil
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

// tensorSpec describes an input or output. Where the file does not even say how
// many dimensions it has, the shape that the configuration lists, if any, stands in.
func tensorSpec(v onnx.ValueInfo, listed tensor.Shape) (engine.TensorSpec, error) {
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
