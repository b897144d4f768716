// SPDX-License-Identifier: Apache-2.0

package movement

import (
	"slices"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// pad puts elements around its input, or with negative pads takes some away.
type pad struct {
	mode string
	// pads before and after each axis, and the value to put there.
	pads  func(in []*op.Value) (before, after []int64, err error)
	value func(in []*op.Value) *op.Value
}

func buildPad(n *op.Node) (op.Operator, error) {
	o := &pad{mode: n.Text("mode", "constant")}
	switch o.mode {
	case "constant", "reflect", "edge", "wrap":
	default:
		return nil, op.Invalid("mode %q", o.mode)
	}
	if n.Version < 11 {
		list := n.Ints("pads")
		number := onnx.TensorOf("", []float32{n.Float("value", 0)})
		value, err := op.Constant(&number)
		if err != nil {
			return nil, err
		}
		o.pads = func(in []*op.Value) ([]int64, []int64, error) { return padsOf(list, nil, in[0].Rank()) }
		o.value = func([]*op.Value) *op.Value { return value }
		return o, n.Arity(1, 1, 1, 1)
	}
	o.pads = func(in []*op.Value) ([]int64, []int64, error) {
		list, err := constInts(in[1], "pads")
		if err != nil {
			return nil, nil, err
		}
		var axes []int64
		if len(in) > 3 && in[3] != nil {
			if axes, err = constInts(in[3], "axes"); err != nil {
				return nil, nil, err
			}
		}
		return padsOf(list, axes, in[0].Rank())
	}
	o.value = func(in []*op.Value) *op.Value {
		if len(in) > 2 {
			return in[2]
		}
		return nil
	}
	return o, n.Arity(2, 4, 1, 1)
}

func padsOf(list, given []int64, rank int) (before, after []int64, err error) {
	axes := make([]int, rank)
	for i := range axes {
		axes[i] = i
	}
	if given != nil {
		if axes, err = axesOf(given, rank); err != nil {
			return nil, nil, err
		}
	}
	if len(list) != 2*len(axes) {
		return nil, nil, op.Invalid("%d pads for %d axes", len(list), len(axes))
	}
	before, after = make([]int64, rank), make([]int64, rank)
	for i, axis := range axes {
		before[axis], after[axis] = list[i], list[len(axes)+i]
	}
	return before, after, nil
}

func (o *pad) Infer(in, out []*op.Value) error {
	before, after, err := o.pads(in)
	if err != nil {
		return err
	}
	if in[0].Type == tensor.Bytes {
		return op.NotCovered("type %s", in[0].Type)
	}
	if v := o.value(in); v != nil && (v.Type != in[0].Type || v.Len() != 1) {
		return op.NotCovered("a value of type %s and shape %v around %s", v.Type, v.Shape, in[0].Type)
	}
	shape := slices.Clone(in[0].Shape)
	for i := range shape {
		extent := shape[i]
		if before[i] < -extent || after[i] < -extent || before[i] > 1<<31 || after[i] > 1<<31 {
			return op.Invalid("pads %d and %d of an axis of %d", before[i], after[i], extent)
		}
		if (o.mode == "reflect" && max(before[i], after[i]) >= extent && max(before[i], after[i]) > 0) || (o.mode != "constant" && extent == 0) {
			return op.Invalid("pads %d and %d of an axis of %d, mode %s", before[i], after[i], extent, o.mode)
		}
		shape[i] += before[i] + after[i]
	}
	return out[0].Set(in[0].Type, shape...)
}

func (o *pad) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	before, _, err := o.pads(in)
	if err != nil {
		return nil, err
	}
	switch in[0].Type.Size() {
	case 1:
		return bindPad[uint8](o, in, out[0], before), nil
	case 2:
		return bindPad[uint16](o, in, out[0], before), nil
	case 4:
		return bindPad[uint32](o, in, out[0], before), nil
	}
	return bindPad[uint64](o, in, out[0], before), nil
}

func bindPad[T op.Element](o *pad, in []*op.Value, out *op.Value, before []int64) op.Run {
	dst, src, fill := op.As[T](out), op.As[T](in[0]), o.value(in)
	if o.mode != "constant" {
		from := o.sources(in[0].Shape, out.Shape, before)
		return func() error {
			for i, at := range from {
				dst[i] = src[at]
			}
			return nil
		}
	}
	m := padMover(in[0].Shape, out.Shape, before)
	return func() error {
		var element T
		if fill != nil {
			element = op.As[T](fill)[0]
		}
		for i := range dst {
			dst[i] = element
		}
		move(m, dst, src)
		return nil
	}
}

// padMover copies what is left of the input to its place.
func padMover(from, to tensor.Shape, before []int64) *mover {
	src, dst := strides(from), strides(to)
	dims := make([]dim, len(from))
	first, at := 0, 0
	for i := range from {
		skip := max(0, -before[i])
		start := max(0, before[i])
		extent := max(0, min(from[i]-skip, to[i]-start))
		dims[i] = dim{int(extent), dst[i], src[i]}
		first, at = first+int(skip)*src[i], at+int(start)*dst[i]
	}
	return newMover(dims, at, first)
}

// sources is, for each element of the output, the one of the input that it repeats.
func (o *pad) sources(from, to tensor.Shape, before []int64) []int {
	src, index := strides(from), make([]int64, len(to))
	list := make([]int, product(to))
	for i := range list {
		for axis, k := range index {
			list[i] += src[axis] * int(o.source(k-before[axis], from[axis]))
		}
		for axis := len(index) - 1; axis >= 0; axis-- {
			if index[axis]++; index[axis] < to[axis] {
				break
			}
			index[axis] = 0
		}
	}
	return list
}

// source is the place along an axis that place k, possibly outside, repeats.
func (o *pad) source(k, extent int64) int64 {
	switch o.mode {
	case "edge":
		return min(max(k, 0), extent-1)
	case "wrap":
		return ((k % extent) + extent) % extent
	}
	if k < 0 {
		k = -k
	}
	if k >= extent {
		k = 2*(extent-1) - k
	}
	return k
}

func (o *pad) Rowwise(in []*op.Value, carries []bool) bool {
	before, after, err := o.pads(in)
	return err == nil && carries[0] && before[0] == 0 && after[0] == 0
}
