// SPDX-License-Identifier: Apache-2.0

package movement

import (
	"slices"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// cut is a range along each axis named.
type cut struct{ starts, ends, axes, steps []int64 }

// cutOf reads a cut from attributes, or from the inputs in later versions.
func cutOf(n *op.Node) func(in []*op.Value) (cut, error) {
	if n.Version < 10 {
		c := cut{n.Ints("starts"), n.Ints("ends"), n.Ints("axes"), nil}
		return func([]*op.Value) (cut, error) { return c, nil }
	}
	return func(in []*op.Value) (c cut, err error) {
		for i, list := range []*[]int64{&c.starts, &c.ends, &c.axes, &c.steps} {
			if i+1 >= len(in) || (i >= 2 && in[i+1] == nil) {
				continue
			}
			if *list, err = constInts(in[i+1], []string{"starts", "ends", "axes", "steps"}[i]); err != nil {
				return cut{}, err
			}
		}
		return c, nil
	}
}

func buildSlice(n *op.Node) (op.Operator, error) {
	read := cutOf(n)
	plan := func(in []*op.Value) (tensor.Shape, []int, int, error) {
		c, err := read(in)
		if err != nil {
			return nil, nil, 0, err
		}
		return c.plan(in[0].Shape)
	}
	rows := func(in []*op.Value) bool {
		c, err := read(in)
		axes, axesErr := c.axesOf(in[0].Rank())
		return err == nil && axesErr == nil && !slices.Contains(axes, 0)
	}
	return &strided{plan, rows}, n.Arity(1, 5, 1, 1)
}

func (c *cut) axesOf(rank int) ([]int, error) {
	if c.axes != nil {
		return axesOf(c.axes, rank)
	}
	list := make([]int, len(c.starts))
	for i := range list {
		list[i] = i
	}
	if len(list) > rank {
		return nil, op.Invalid("%d starts for %d dimensions", len(list), rank)
	}
	return list, nil
}

func (c *cut) plan(from tensor.Shape) (tensor.Shape, []int, int, error) {
	axes, err := c.axesOf(len(from))
	if err != nil {
		return nil, nil, 0, err
	}
	if len(c.starts) != len(axes) || len(c.ends) != len(axes) || (c.steps != nil && len(c.steps) != len(axes)) {
		return nil, nil, 0, op.Invalid("starts %v, ends %v, axes %v and steps %v differ in length", c.starts, c.ends, c.axes, c.steps)
	}
	shape, src, first := slices.Clone(from), strides(from), 0
	for i, axis := range axes {
		step := int64(1)
		if c.steps != nil {
			step = c.steps[i]
		}
		if step == 0 {
			return nil, nil, 0, op.Invalid("a step of 0")
		}
		start, n := span(c.starts[i], c.ends[i], step, from[axis])
		shape[axis] = n
		first += int(start) * src[axis]
		if n > 1 {
			src[axis] *= int(step)
		}
	}
	return shape, src, first, nil
}

// span is where a range along an axis starts and how many elements it has. Bounds
// count from the end where negative, and are cut to the extent.
func span(start, end, step, extent int64) (first, n int64) {
	if start < 0 {
		start += extent
	}
	if end < 0 {
		end += extent
	}
	if step > 0 {
		start, end = min(max(start, 0), extent), min(max(end, 0), extent)
		if end <= start {
			return 0, 0
		}
		return start, (end-start-1)/step + 1
	}
	start, end = min(max(start, -1), extent-1), min(max(end, -1), extent-1)
	if end >= start {
		return 0, 0
	}
	// The quotient is of what is left after the first, so that no step overflows.
	if back := start - end - 1; step < -back {
		return start, 1
	}
	return start, (start-end-1)/(-step) + 1
}

// concat joins its inputs along an axis.
type concat struct{ axis int64 }

func buildConcat(n *op.Node) (op.Operator, error) {
	return &concat{n.Int("axis", 1)}, n.Arity(1, 1<<16, 1, 1)
}

func (o *concat) Infer(in, out []*op.Value) error {
	axis, err := op.Axis(o.axis, in[0].Rank())
	if err != nil {
		return err
	}
	shape := slices.Clone(in[0].Shape)
	for _, v := range in[1:] {
		if v == nil || v.Type != in[0].Type || v.Rank() != len(shape) {
			return op.Invalid("inputs of different datatypes or ranks")
		}
		for i, d := range v.Shape {
			if i == axis {
				shape[i] += d
			} else if d != shape[i] {
				return op.Invalid("shapes %v and %v are joined along axis %d", in[0].Shape, v.Shape, axis)
			}
		}
	}
	return out[0].Set(in[0].Type, shape...)
}

func (o *concat) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	axis, err := op.Axis(o.axis, in[0].Rank())
	if err != nil {
		return nil, err
	}
	var runs []op.Run
	dst, at := strides(out[0].Shape), 0
	for _, v := range in {
		if v.Len() > 0 {
			runs = append(runs, newMover(dimsOf(v.Shape, dst, strides(v.Shape)), at, 0).bind(out[0], v))
		}
		at += int(v.Shape[axis]) * dst[axis]
	}
	return all(runs), nil
}

func (o *concat) Rowwise(in []*op.Value, carries []bool) bool {
	axis, err := op.Axis(o.axis, in[0].Rank())
	return err == nil && axis != 0 && !slices.Contains(carries, false)
}

// split cuts its input along an axis into as many pieces as there are outputs.
type split struct {
	axis  int64
	sizes func(in []*op.Value) ([]int64, error) // nil: equal pieces
	// uneven lets the last piece be smaller.
	uneven bool
}

func buildSplit(n *op.Node) (op.Operator, error) {
	o := &split{axis: n.Int("axis", 0), uneven: n.Version >= 18}
	attribute := n.Ints("split")
	o.sizes = func(in []*op.Value) ([]int64, error) {
		if n.Version >= 13 && len(in) > 1 && in[1] != nil {
			return constInts(in[1], "split")
		}
		return attribute, nil
	}
	return o, n.Arity(1, 2, 1, 1<<16)
}

// pieces are the extents of the outputs along the axis.
func (o *split) pieces(in []*op.Value, n int) (axis int, sizes []int64, err error) {
	if axis, err = op.Axis(o.axis, in[0].Rank()); err != nil {
		return 0, nil, err
	}
	if sizes, err = o.sizes(in); err != nil {
		return 0, nil, err
	}
	extent := in[0].Shape[axis]
	if sizes == nil {
		if extent%int64(n) != 0 && !o.uneven {
			return 0, nil, op.Invalid("%d elements along axis %d in %d equal pieces", extent, axis, n)
		}
		each := (extent + int64(n) - 1) / int64(n)
		for left := extent; len(sizes) < n; left -= each {
			sizes = append(sizes, max(0, min(each, left)))
		}
	}
	total := int64(0)
	for _, size := range sizes {
		if size < 0 || size > extent {
			return 0, nil, op.Invalid("pieces %v", sizes)
		}
		total += size
	}
	if len(sizes) != n || total != extent {
		return 0, nil, op.Invalid("pieces %v of %d elements for %d outputs", sizes, extent, n)
	}
	return axis, sizes, nil
}

func (o *split) Infer(in, out []*op.Value) error {
	axis, sizes, err := o.pieces(in, len(out))
	if err != nil {
		return err
	}
	for i, v := range out {
		shape := slices.Clone(in[0].Shape)
		shape[axis] = sizes[i]
		if err := v.Set(in[0].Type, shape...); err != nil {
			return err
		}
	}
	return nil
}

func (o *split) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	axis, sizes, err := o.pieces(in, len(out))
	if err != nil {
		return nil, err
	}
	var runs []op.Run
	src, at := strides(in[0].Shape), 0
	for i, v := range out {
		if v != nil && v.Len() > 0 {
			runs = append(runs, newMover(dimsOf(v.Shape, strides(v.Shape), src), 0, at).bind(v, in[0]))
		}
		at += int(sizes[i]) * src[axis]
	}
	return all(runs), nil
}

func (o *split) Rowwise(in []*op.Value, carries []bool) bool {
	axis, err := op.Axis(o.axis, in[0].Rank())
	return err == nil && axis != 0 && carries[0]
}
