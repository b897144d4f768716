// SPDX-License-Identifier: Apache-2.0

package control

import (
	"slices"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// join puts tensors together along an axis, or along a new one.
type join struct {
	axis    int64
	newAxis bool
}

// plan works out the output's shape and the axis.
func (o *join) plan(in []*op.Value) (tensor.Shape, int, error) {
	first := in[0].Shape
	if o.newAxis {
		axis, err := op.Axis(o.axis, len(first)+1)
		if err != nil {
			return nil, 0, err
		}
		for _, v := range in {
			if v.Type != in[0].Type || !slices.Equal(v.Shape, first) {
				return nil, 0, op.Invalid("elements that are %s%v and %s%v", in[0].Type, first, v.Type, v.Shape)
			}
		}
		return with(first, axis, int64(len(in))), axis, nil
	}
	axis, err := op.Axis(o.axis, len(first))
	if err != nil {
		return nil, 0, err
	}
	shape := append(tensor.Shape{}, first...)
	shape[axis] = 0
	for _, v := range in {
		if v.Type != in[0].Type || v.Rank() != len(first) || !slices.Equal(without(v.Shape, axis), without(first, axis)) {
			return nil, 0, op.Invalid("elements that are %s%v and %s%v", in[0].Type, first, v.Type, v.Shape)
		}
		shape[axis] += v.Shape[axis]
	}
	return shape, axis, nil
}

func (o *join) Infer(in, out []*op.Value) error {
	shape, _, err := o.plan(in)
	if err != nil {
		return err
	}
	return out[0].Set(in[0].Type, shape...)
}

func (o *join) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	_, axis, err := o.plan(in)
	if err != nil {
		return nil, err
	}
	to := linesOf(out[0].Shape, axis)
	pieces := make([]lines, len(in))
	for i, v := range in {
		if pieces[i] = (lines{to.outer, 1, to.inner}); !o.newAxis {
			pieces[i] = linesOf(v.Shape, axis)
		}
	}
	return func() error {
		at := 0
		for i, v := range in {
			copyLines(out[0], to, at, v, pieces[i], 0, pieces[i].extent)
			at += pieces[i].extent
		}
		return nil
	}, nil
}

// piece is some of the lines of a tensor along an axis; drop takes the axis away.
type piece struct {
	axis, from, count int
	drop              bool
}

func (o *piece) Infer(in, out []*op.Value) error {
	shape := without(in[0].Shape, o.axis)
	if !o.drop {
		shape = with(shape, o.axis, int64(o.count))
	}
	return out[0].Set(in[0].Type, shape...)
}

func (o *piece) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	from := linesOf(in[0].Shape, o.axis)
	to := lines{from.outer, o.count, from.inner}
	return func() error {
		copyLines(out[0], to, 0, in[0], from, o.from, o.count)
		return nil
	}, nil
}

// Rowwise implements op.Rowwiser.
func (o *piece) Rowwise(_ []*op.Value, carries []bool) bool { return carries[0] && o.axis > 0 }
