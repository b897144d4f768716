// SPDX-License-Identifier: Apache-2.0

package movement

import (
	"slices"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// view gives the memory of its input another shape.
type view struct {
	// shape works out the new shape. The other inputs of the node are in.
	shape func(in []*op.Value) (tensor.Shape, error)
}

func (view) View() bool { return true }

func (o *view) Infer(in, out []*op.Value) error {
	shape, err := o.shape(in)
	if err != nil {
		return err
	}
	if have := product(shape); have != in[0].Len() {
		return op.Invalid("shape %v has %d elements, the input of shape %v has %d", shape, have, in[0].Shape, in[0].Len())
	}
	return out[0].Set(in[0].Type, shape...)
}

func (*view) Bind(_, _ []*op.Value, _ *op.Scratch) (op.Run, error) { return nil, nil }

// Rowwise holds when the first dimension stays what it is.
func (o *view) Rowwise(in []*op.Value, carries []bool) bool {
	shape, err := o.shape(in)
	return err == nil && carries[0] && len(shape) > 0 && in[0].Rank() > 0 && shape[0] == in[0].Shape[0]
}

func buildIdentity(n *op.Node) (op.Operator, error) {
	return &view{shape: sameShape}, n.Arity(1, 1, 1, 1)
}

func sameShape(in []*op.Value) (tensor.Shape, error) { return in[0].Shape, nil }

// buildDropout makes what is left of dropout when nothing is trained. The mask, which
// would be all true, nobody has been seen to read.
func buildDropout(n *op.Node) (op.Operator, error) {
	if len(n.Outputs) > 1 && n.Outputs[1] != "" {
		return nil, op.NotCovered("the mask as an output")
	}
	if training := n.In(2); n.Has(2) && (training == nil || training.Type != tensor.Bool || training.Len() != 1 || op.As[bool](training)[0]) {
		return nil, op.NotCovered("training mode")
	}
	return &view{shape: sameShape}, n.Arity(1, 3, 1, 2)
}

func buildReshape(n *op.Node) (op.Operator, error) {
	allowZero := n.Int("allowzero", 0) != 0
	shape := func(in []*op.Value) (tensor.Shape, error) {
		dims, err := constInts(in[1], "shape")
		if err != nil {
			return nil, err
		}
		return reshaped(in[0].Shape, dims, allowZero)
	}
	return &view{shape: shape}, n.Arity(2, 2, 1, 1)
}

// reshaped fills in dimensions that are given as 0 (as in the input) and -1 (what is
// left over).
func reshaped(from tensor.Shape, dims []int64, allowZero bool) (tensor.Shape, error) {
	shape := slices.Clone(tensor.Shape(dims))
	rest, known := -1, int64(1)
	for i, d := range shape {
		switch {
		case d == 0 && !allowZero:
			if i >= len(from) {
				return nil, op.Invalid("dimension %d of %v is copied from a shape %v", i, dims, from)
			}
			shape[i] = from[i]
		case d == -1 && rest < 0:
			rest = i
			continue
		case d < 0:
			return nil, op.Invalid("shape %v", dims)
		}
		known *= shape[i]
	}
	if rest >= 0 {
		total := int64(product(from))
		if known == 0 || total%known != 0 {
			return nil, op.Invalid("shape %v for %d elements", dims, total)
		}
		shape[rest] = total / known
	}
	if shape == nil {
		shape = tensor.Shape{}
	}
	if _, err := shape.Elements(); err != nil {
		return nil, op.Invalid("shape %v: %w", dims, err)
	}
	return shape, nil
}

func buildFlatten(n *op.Node) (op.Operator, error) {
	at := n.Int("axis", 1)
	shape := func(in []*op.Value) (tensor.Shape, error) {
		rank := in[0].Rank()
		axis := at
		if axis < 0 {
			axis += int64(rank)
		}
		if axis < 0 || axis > int64(rank) {
			return nil, op.Invalid("axis %d of a value with %d dimensions", at, rank)
		}
		s := in[0].Shape
		return tensor.Shape{int64(product(s[:axis])), int64(product(s[axis:]))}, nil
	}
	return &view{shape: shape}, n.Arity(1, 1, 1, 1)
}

// axesInput reads axes from an attribute, or from the second input in later versions.
func axesInput(n *op.Node) func(in []*op.Value) (axes []int64, given bool, err error) {
	if n.Version < 13 {
		axes := n.Ints("axes")
		return func([]*op.Value) ([]int64, bool, error) { return axes, axes != nil, nil }
	}
	return func(in []*op.Value) ([]int64, bool, error) {
		if len(in) < 2 || in[1] == nil {
			return nil, false, nil
		}
		axes, err := constInts(in[1], "axes")
		return axes, true, err
	}
}

func buildSqueeze(n *op.Node) (op.Operator, error) {
	read := axesInput(n)
	shape := func(in []*op.Value) (tensor.Shape, error) {
		given, some, err := read(in)
		if err != nil {
			return nil, err
		}
		axes, err := axesOf(given, in[0].Rank())
		if err != nil {
			return nil, err
		}
		shape := tensor.Shape{}
		for i, d := range in[0].Shape {
			drop := slices.Contains(axes, i) || (!some && d == 1)
			if drop && d != 1 {
				return nil, op.Invalid("axis %d of shape %v has an extent other than 1", i, in[0].Shape)
			}
			if !drop {
				shape = append(shape, d)
			}
		}
		return shape, nil
	}
	return &view{shape: shape}, n.Arity(1, 2, 1, 1)
}

func buildUnsqueeze(n *op.Node) (op.Operator, error) {
	read := axesInput(n)
	shape := func(in []*op.Value) (tensor.Shape, error) {
		given, some, err := read(in)
		if err != nil {
			return nil, err
		}
		if !some {
			return nil, op.Invalid("axes are left out")
		}
		rank := in[0].Rank() + len(given)
		axes, err := axesOf(given, rank)
		if err != nil {
			return nil, err
		}
		shape, rest := make(tensor.Shape, rank), in[0].Shape
		for i := range shape {
			if slices.Contains(axes, i) {
				shape[i] = 1
			} else {
				shape[i], rest = rest[0], rest[1:]
			}
		}
		return shape, nil
	}
	return &view{shape: shape}, n.Arity(1, 2, 1, 1)
}
