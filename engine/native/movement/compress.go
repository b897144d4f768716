// SPDX-License-Identifier: Apache-2.0

package movement

import (
	"slices"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// compress keeps the slices along an axis for which a condition holds, or the elements
// of the flattened input. How many those are must be known before the run, so the
// condition has to be constant.
type compress struct {
	axis int64
	flat bool
}

func buildCompress(n *op.Node) (op.Operator, error) {
	return &compress{n.Int("axis", 0), n.Attribute("axis") == nil}, n.Arity(2, 2, 1, 1)
}

// plan is the input's shape less what is flattened, the axis, and the places that stay.
func (o *compress) plan(in []*op.Value) (shape tensor.Shape, axis int, kept []int, err error) {
	shape = slices.Clone(in[0].Shape)
	if o.flat {
		shape = tensor.Shape{int64(in[0].Len())}
	}
	if axis, err = op.Axis(o.axis, len(shape)); err != nil {
		return nil, 0, nil, err
	}
	condition := in[1]
	switch {
	case condition.Type != tensor.Bool || condition.Rank() != 1:
		return nil, 0, nil, op.Invalid("condition that is %s%v", condition.Type, condition.Shape)
	case !condition.Const:
		return nil, 0, nil, op.NotCovered("condition that is not known before the run")
	}
	for i, holds := range op.As[uint8](condition) {
		if holds == 0 {
			continue
		}
		if int64(i) >= shape[axis] {
			return nil, 0, nil, op.Invalid("condition keeps place %d of %d", i, shape[axis])
		}
		kept = append(kept, i)
	}
	return shape, axis, kept, nil
}

func (o *compress) Infer(in, out []*op.Value) error {
	shape, axis, kept, err := o.plan(in)
	if err != nil {
		return err
	}
	shape[axis] = int64(len(kept))
	return out[0].Set(in[0].Type, shape...)
}

func (o *compress) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	shape, axis, kept, err := o.plan(in)
	if err != nil {
		return nil, err
	}
	blocks, extent, inner := product(shape[:axis]), int(shape[axis]), product(shape[axis+1:])
	return func() error {
		if in[0].Type == tensor.Bytes {
			keep(out[0].Strings, in[0].Strings, blocks, extent, inner, kept)
		} else {
			keep(out[0].Data, in[0].Data, blocks, extent, inner*in[0].Type.Size(), kept)
		}
		return nil
	}, nil
}

// keep copies some of the lines of every block.
func keep[T any](dst, src []T, blocks, extent, width int, kept []int) {
	for block := range blocks {
		for _, at := range kept {
			from := (block*extent + at) * width
			dst = dst[copy(dst, src[from:from+width]):]
		}
	}
}

// Rowwise implements op.Rowwiser.
func (o *compress) Rowwise(in []*op.Value, carries []bool) bool {
	axis, err := op.Axis(o.axis, in[0].Rank())
	return err == nil && !o.flat && axis > 0 && carries[0] && !carries[1]
}
