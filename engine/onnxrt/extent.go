// SPDX-License-Identifier: Apache-2.0

package onnxrt

import (
	"slices"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// extent is how one dimension of an output follows from the inputs.
type extent struct {
	// size is the dimension itself where it is fixed, else -1.
	size int64
	// input and axis say which input dimension it equals; input is -1 where nothing
	// is known before the run.
	input, axis int
}

var unknownExtent = extent{size: -1, input: -1}

func fixedExtent(size int64) extent      { return extent{size: size, input: -1} }
func inputExtent(input, axis int) extent { return extent{size: -1, input: input, axis: axis} }

// of is the dimension in a run on inputs of the given shapes, -1 where unknown. An
// input that is left out tells nothing.
func (e extent) of(shapes []tensor.Shape) int64 {
	if e.size >= 0 || e.input < 0 || e.axis >= len(shapes[e.input]) {
		return e.size
	}
	return shapes[e.input][e.axis]
}

// symbols says, for each dimension that the inputs name, where to find it.
func (g *graph) symbols(m *onnx.Model) map[string]extent {
	symbols := make(map[string]extent)
	for input, spec := range g.signature.Inputs {
		i := slices.IndexFunc(m.Graph.Inputs, func(v onnx.ValueInfo) bool { return v.Name == spec.Name })
		for axis, d := range m.Graph.Inputs[i].Type.Dims {
			if _, known := symbols[d.Param]; d.Param != "" && !known {
				symbols[d.Param] = inputExtent(input, axis)
			}
		}
	}
	return symbols
}

// outputExtents works out what an output's dimensions follow from. When the model
// batches, an unnamed first dimension is the batch's.
func outputExtents(t *onnx.Type, symbols map[string]extent, batches bool) []extent {
	if !t.Ranked {
		return nil
	}
	extents := make([]extent, len(t.Dims))
	for axis, d := range t.Dims {
		named, ok := symbols[d.Param]
		switch {
		case d.Value >= 0:
			extents[axis] = fixedExtent(d.Value)
		case ok:
			extents[axis] = named
		case axis == 0 && batches:
			extents[axis] = inputExtent(0, 0)
		default:
			extents[axis] = unknownExtent
		}
	}
	return extents
}
