// SPDX-License-Identifier: Apache-2.0

package onnxrt

import (
	"fmt"
	"slices"

	"github.com/millrace-ml/millrace/engine/internal/modelfile"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// arenaBytesMax bounds the tensors of one run. The arithmetic of offsets stays far
// from overflow below it, and no machine this runs on has more.
const arenaBytesMax = 1 << 40

// tensorAlignment of every tensor within an arena: a cache line, and the widest
// vector registers that the library loads from.
const tensorAlignment = 64

// outputShape is the shape of output i in a run on inputs of the given shapes, nil
// where it is not known before the run. What a graph declares is not always true:
// with distrust set, dimensions are taken as unknown.
func (g *graph) outputShape(i int, shapes []tensor.Shape, distrust bool) tensor.Shape {
	extents := g.outputs[i]
	if extents == nil || distrust && len(extents) > 0 {
		return nil
	}
	shape := make(tensor.Shape, len(extents))
	for axis, e := range extents {
		if shape[axis] = e.of(shapes); shape[axis] < 0 {
			return nil
		}
	}
	return shape
}

// place is where a tensor lies in the arena. Its shape is nil for an input that is
// left out, and for an output that the library allocates.
type place struct {
	shape        tensor.Shape
	offset, size int
}

// layout is how the tensors of one run share the arena.
type layout struct {
	inputs, outputs []place
	bytes           int
}

// layOut places the tensors of a run on inputs of the given shapes. Inputs come
// first, so that their places do not depend on which outputs are known.
func (g *graph) layOut(shapes []tensor.Shape, distrust bool) (layout, error) {
	if err := modelfile.CheckShapes(g.signature.Inputs, shapes); err != nil {
		return layout{}, err
	}
	var l layout
	for i, in := range g.signature.Inputs {
		p, err := l.place(in.Datatype, slices.Clone(shapes[i]))
		if err != nil {
			return layout{}, fmt.Errorf("input %q: %w", in.Name, err)
		}
		l.inputs = append(l.inputs, p)
	}
	for i, out := range g.signature.Outputs {
		p, err := l.place(out.Datatype, g.outputShape(i, shapes, distrust))
		if err != nil {
			return layout{}, fmt.Errorf("output %q: %w", out.Name, err)
		}
		l.outputs = append(l.outputs, p)
	}
	return l, nil
}

func (l *layout) place(datatype tensor.Datatype, shape tensor.Shape) (place, error) {
	p := place{shape: shape, offset: l.bytes}
	if shape == nil || datatype == tensor.Bytes {
		return p, nil
	}
	elements, err := shape.Elements()
	if err != nil {
		return place{}, err
	}
	if elements > arenaBytesMax/8 {
		return place{}, fmt.Errorf("shape %v is too large", shape)
	}
	p.size = int(elements) * datatype.Size()
	// Even an empty tensor takes room: the library wants an address.
	l.bytes += (p.size/tensorAlignment + 1) * tensorAlignment
	if l.bytes > arenaBytesMax {
		return place{}, fmt.Errorf("the tensors of one run would take over %d bytes", arenaBytesMax)
	}
	return p, nil
}
