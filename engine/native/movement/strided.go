// SPDX-License-Identifier: Apache-2.0

package movement

import (
	"math"
	"slices"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// strided is an operator with one output that is a strided copy of its first input.
type strided struct {
	// plan works out the output's shape, and how far apart in the input neighbours
	// along each dimension of it are, from the first element on.
	plan func(in []*op.Value) (shape tensor.Shape, src []int, first int, err error)
	// rows reports whether the first dimension stays what it is.
	rows func(in []*op.Value) bool
}

func (o *strided) Infer(in, out []*op.Value) error {
	shape, _, _, err := o.plan(in)
	if err != nil {
		return err
	}
	return out[0].Set(in[0].Type, shape...)
}

func (o *strided) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	shape, src, first, err := o.plan(in)
	if err != nil {
		return nil, err
	}
	return newMover(dimsOf(shape, strides(shape), src), 0, first).bind(out[0], in[0]), nil
}

func (o *strided) Rowwise(in []*op.Value, carries []bool) bool {
	return carries[0] && in[0].Rank() > 0 && o.rows(in)
}

func dimsOf(shape tensor.Shape, dst, src []int) []dim {
	dims := make([]dim, len(shape))
	for i, d := range shape {
		dims[i] = dim{extent: int(d), dst: dst[i], src: src[i]}
	}
	return dims
}

func buildTranspose(n *op.Node) (op.Operator, error) {
	order := n.Ints("perm")
	permutation := func(rank int) ([]int, error) {
		if order == nil {
			reverse := make([]int, rank)
			for i := range reverse {
				reverse[i] = rank - 1 - i
			}
			return reverse, nil
		}
		axes, err := axesOf(order, rank)
		if err == nil && len(axes) != rank {
			err = op.Invalid("perm %v of a value with %d dimensions", order, rank)
		}
		return axes, err
	}
	plan := func(in []*op.Value) (tensor.Shape, []int, int, error) {
		axes, err := permutation(in[0].Rank())
		if err != nil {
			return nil, nil, 0, err
		}
		from := strides(in[0].Shape)
		shape, src := make(tensor.Shape, len(axes)), make([]int, len(axes))
		for i, axis := range axes {
			shape[i], src[i] = in[0].Shape[axis], from[axis]
		}
		return shape, src, 0, nil
	}
	rows := func(in []*op.Value) bool {
		axes, err := permutation(in[0].Rank())
		return err == nil && axes[0] == 0
	}
	return &strided{plan, rows}, n.Arity(1, 1, 1, 1)
}

func buildExpand(n *op.Node) (op.Operator, error) {
	plan := func(in []*op.Value) (tensor.Shape, []int, int, error) {
		dims, err := constInts(in[1], "shape")
		if err != nil {
			return nil, nil, 0, err
		}
		shape, err := op.Broadcast(in[0].Shape, dims)
		if err != nil {
			return nil, nil, 0, err
		}
		return shape, repeating(in[0].Shape, shape), 0, nil
	}
	rows := func(in []*op.Value) bool {
		shape, _, _, err := plan(in)
		return err == nil && len(shape) == in[0].Rank() && shape[0] == in[0].Shape[0]
	}
	return &strided{plan, rows}, n.Arity(2, 2, 1, 1)
}

// repeating are the strides that read an array of shape from as if it had shape to.
func repeating(from, to tensor.Shape) []int {
	own := strides(from)
	skip := len(to) - len(from)
	list := make([]int, len(to))
	for i, d := range from {
		if d != 1 {
			list[skip+i] = own[i]
		}
	}
	return list
}

// tile repeats the whole input along each axis.
type tile struct{}

func buildTile(n *op.Node) (op.Operator, error) { return tile{}, n.Arity(2, 2, 1, 1) }

func (tile) Infer(in, out []*op.Value) error {
	repeats, err := constInts(in[1], "repeats")
	if err != nil {
		return err
	}
	if len(repeats) != in[0].Rank() {
		return op.Invalid("repeats %v for shape %v", repeats, in[0].Shape)
	}
	shape := slices.Clone(in[0].Shape)
	for i, r := range repeats {
		if r < 0 || (r > 0 && shape[i] > math.MaxInt32/r) {
			return op.Invalid("repeats %v for shape %v", repeats, in[0].Shape)
		}
		shape[i] *= r
	}
	return out[0].Set(in[0].Type, shape...)
}

func (tile) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	repeats, err := constInts(in[1], "repeats")
	if err != nil {
		return nil, err
	}
	// Each dimension is two: the repetition, and the extent that is repeated.
	dst, src := strides(out[0].Shape), strides(in[0].Shape)
	var dims []dim
	for i, d := range in[0].Shape {
		dims = append(dims, dim{int(repeats[i]), dst[i] * int(d), 0}, dim{int(d), dst[i], src[i]})
	}
	return newMover(dims, 0, 0).bind(out[0], in[0]), nil
}

func (tile) Rowwise(in []*op.Value, carries []bool) bool {
	repeats, err := constInts(in[1], "repeats")
	return err == nil && carries[0] && len(repeats) > 0 && repeats[0] == 1
}

func buildDepthToSpace(n *op.Node) (op.Operator, error) {
	size := n.Int("blocksize", 0)
	mode := n.Text("mode", "DCR")
	if size < 1 || size > math.MaxInt16 || (mode != "DCR" && mode != "CRD") {
		return nil, op.Invalid("blocksize %d, mode %q", size, mode)
	}
	plan := func(in []*op.Value) (tensor.Shape, []int, int, error) {
		s := in[0].Shape
		if len(s) != 4 || s[1]%(size*size) != 0 {
			return nil, nil, 0, op.Invalid("shape %v for blocks of %d", s, size)
		}
		return tensor.Shape{s[0], s[1] / (size * size), s[2] * size, s[3] * size}, nil, 0, nil
	}
	dims := func(in, out *op.Value) []dim {
		s, dst := out.Shape, strides(out.Shape)
		b, c := int(size), int(s[1])
		plane := int(in.Shape[2] * in.Shape[3])
		row, col, channel := c*b*plane, c*plane, plane
		if mode == "CRD" {
			row, col, channel = b*plane, plane, b*b*plane
		}
		return []dim{
			{int(s[0]), dst[0], in.Len() / max(1, int(s[0]))}, {c, dst[1], channel},
			{int(in.Shape[2]), dst[2] * b, int(in.Shape[3])}, {b, dst[2], row},
			{int(in.Shape[3]), dst[3] * b, 1}, {b, dst[3], col},
		}
	}
	return &blocks{plan, dims}, n.Arity(1, 1, 1, 1)
}

func buildSpaceToDepth(n *op.Node) (op.Operator, error) {
	size := n.Int("blocksize", 0)
	mode := n.Text("mode", "DCR") // since version 27
	if size < 1 || size > math.MaxInt16 || (mode != "DCR" && mode != "CRD") {
		return nil, op.Invalid("blocksize %d, mode %q", size, mode)
	}
	plan := func(in []*op.Value) (tensor.Shape, []int, int, error) {
		s := in[0].Shape
		if len(s) != 4 || s[2]%size != 0 || s[3]%size != 0 {
			return nil, nil, 0, op.Invalid("shape %v for blocks of %d", s, size)
		}
		return tensor.Shape{s[0], s[1] * size * size, s[2] / size, s[3] / size}, nil, 0, nil
	}
	dims := func(in, out *op.Value) []dim {
		s, src := in.Shape, strides(in.Shape)
		dst := strides(out.Shape)
		b, c := int(size), int(s[1])
		row, col, channel := dst[1]*b*c, dst[1]*c, dst[1]
		if mode == "CRD" {
			row, col, channel = dst[1]*b, dst[1], dst[1]*b*b
		}
		return []dim{
			{int(s[0]), dst[0], src[0]}, {b, row, src[2]}, {b, col, 1}, {c, channel, src[1]},
			{int(out.Shape[2]), dst[2], src[2] * b}, {int(out.Shape[3]), 1, b},
		}
	}
	return &blocks{plan, dims}, n.Arity(1, 1, 1, 1)
}

// blocks is DepthToSpace, and SpaceToDepth the other way round: a transposition of a
// shape with the blocks as dimensions of their own.
type blocks struct {
	plan func(in []*op.Value) (tensor.Shape, []int, int, error)
	dims func(in, out *op.Value) []dim
}

func (o *blocks) Infer(in, out []*op.Value) error {
	shape, _, _, err := o.plan(in)
	if err != nil {
		return err
	}
	return out[0].Set(in[0].Type, shape...)
}

func (o *blocks) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	return newMover(o.dims(in[0], out[0]), 0, 0).bind(out[0], in[0]), nil
}

func (*blocks) Rowwise(_ []*op.Value, carries []bool) bool { return carries[0] }
