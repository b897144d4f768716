// SPDX-License-Identifier: Apache-2.0

package onnxrt

import (
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/internal/modelfile"
	"github.com/millrace-ml/millrace/engine/modelconfig"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

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

// readInputs takes the inputs that a request may give.
func (g *graph) readInputs(m *onnx.Model, config *modelconfig.Config) error {
	var err error
	g.signature.Inputs, err = modelfile.Inputs(m, config)
	return err
}

// readOutputs takes the graph's outputs, and works out their extents from the
// inputs, which were read before.
func (g *graph) readOutputs(m *onnx.Model, config *modelconfig.Config) error {
	outputs, left, err := modelfile.Outputs(m, config)
	if err != nil {
		return err
	}
	g.left = left
	symbols := g.symbols(m)
	for _, out := range outputs {
		extents := outputExtents(out.Declared, symbols, config.MaxBatchSize > 0)
		if !allocatable(out.Datatype) && (extents == nil || slices.Contains(extents, unknownExtent)) {
			return fmt.Errorf("output %q: %w", out.Name, errUnallocatable)
		}
		g.signature.Outputs = append(g.signature.Outputs, out.TensorSpec)
		g.outputs = append(g.outputs, extents)
	}
	return nil
}
