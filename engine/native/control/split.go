// SPDX-License-Identifier: Apache-2.0

package control

import (
	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// buildSplitToSequence makes the operator that cuts a tensor into pieces along an axis:
// of one line each, of so many lines, or of as many as a list says.
func buildSplitToSequence(n *op.Node) (op.Operator, error) {
	axis, keep := n.Int("axis", 0), n.Int("keepdims", 1) != 0
	return expanderOf(func(in []*op.Value, p op.Plan) (*op.Value, error) {
		if in[0].Sequence {
			return nil, op.Invalid("a sequence in place of a tensor")
		}
		axis, err := op.Axis(axis, in[0].Rank())
		if err != nil {
			return nil, err
		}
		single := len(in) < 2 || in[1] == nil
		counts, err := pieces(in, int(in[0].Shape[axis]))
		if err != nil {
			return nil, err
		}
		var list []*op.Value
		from := 0
		for _, count := range counts {
			out, err := p.Add(&piece{axis: axis, from: from, count: count, drop: single && !keep}, in[:1], 1)
			if err != nil {
				return nil, err
			}
			list = append(list, out[0])
			from += count
		}
		return sequenceOf(list)
	}), n.Arity(1, 2, 1, 1)
}

// piecesMax bounds the pieces of one tensor.
const piecesMax = 1 << 16

// pieces are the lines of each piece.
func pieces(in []*op.Value, extent int) ([]int, error) {
	each := 1
	if len(in) > 1 && in[1] != nil {
		sizes, err := sizesOf(in[1])
		if err != nil {
			return nil, err
		}
		if in[1].Rank() > 0 {
			return list(sizes, extent)
		}
		if sizes[0] < 1 {
			return nil, op.Invalid("pieces of %d", sizes[0])
		}
		each = int(min(sizes[0], int64(max(extent, 1))))
	}
	if extent/each >= piecesMax {
		return nil, op.NotCovered("%d pieces of %d", extent/each, each)
	}
	var counts []int
	for at := 0; at < extent; at += each {
		counts = append(counts, min(each, extent-at))
	}
	return counts, nil
}

// list checks sizes that are listed. Whether they fit can depend on extents that were
// guessed, so that the graph need not be at fault.
func list(sizes []int64, extent int) ([]int, error) {
	if len(sizes) > piecesMax {
		return nil, op.NotCovered("%d pieces", len(sizes))
	}
	counts, left := make([]int, len(sizes)), int64(extent)
	for i, size := range sizes {
		if size < 0 || size > left {
			return nil, op.NotCovered("pieces %v of %d", sizes, extent)
		}
		counts[i] = int(size)
		left -= size
	}
	if left != 0 {
		return nil, op.NotCovered("pieces %v of %d", sizes, extent)
	}
	return counts, nil
}

func sizesOf(v *op.Value) ([]int64, error) {
	if v.Sequence || !v.Const {
		return nil, op.NotCovered("sizes that are not known before the run")
	}
	switch v.Type {
	case tensor.Int64:
		return op.As[int64](v), nil
	case tensor.Int32:
		var wide []int64
		for _, x := range op.As[int32](v) {
			wide = append(wide, int64(x))
		}
		return wide, nil
	}
	return nil, op.Invalid("sizes of type %s", v.Type)
}
