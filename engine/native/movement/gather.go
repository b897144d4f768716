// SPDX-License-Identifier: Apache-2.0

package movement

import (
	"fmt"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/vec"
)

// indexReader gives the index at a place of an INT32 or INT64 value, counted from 0,
// or an error where it is not within extent.
func indexReader(v *op.Value) (func(i, extent int) (int, error), error) {
	switch v.Type {
	case tensor.Int64:
		list := op.As[int64](v)
		return func(i, extent int) (int, error) { return checkIndex(list[i], extent) }, nil
	case tensor.Int32:
		list := op.As[int32](v)
		return func(i, extent int) (int, error) { return checkIndex(int64(list[i]), extent) }, nil
	}
	return nil, op.NotCovered("indices of type %s", v.Type)
}

func checkIndex(index int64, extent int) (int, error) {
	if index < -int64(extent) || index >= int64(extent) {
		return 0, fmt.Errorf("index %d of an axis of %d", index, extent)
	}
	if index < 0 {
		index += int64(extent)
	}
	return int(index), nil
}

// gather looks entries up along an axis.
type gather struct{ axis int64 }

func buildGather(n *op.Node) (op.Operator, error) {
	return &gather{n.Int("axis", 0)}, n.Arity(2, 2, 1, 1)
}

// sizes are the number of entries before the axis, along it and below it.
func (o *gather) sizes(data *op.Value) (axis, outer, extent, inner int, err error) {
	if axis, err = op.Axis(o.axis, data.Rank()); err != nil {
		return 0, 0, 0, 0, err
	}
	s := data.Shape
	return axis, product(s[:axis]), int(s[axis]), product(s[axis+1:]), nil
}

func (o *gather) Infer(in, out []*op.Value) error {
	axis, _, _, _, err := o.sizes(in[0])
	if err != nil {
		return err
	}
	if err := op.Want(in[1], "indices", tensor.Int64, tensor.Int32); err != nil {
		return err
	}
	shape := append(tensor.Shape{}, in[0].Shape[:axis]...)
	shape = append(append(shape, in[1].Shape...), in[0].Shape[axis+1:]...)
	return out[0].Set(in[0].Type, shape...)
}

func (o *gather) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	_, outer, extent, inner, err := o.sizes(in[0])
	if err != nil {
		return nil, err
	}
	data := in[0]
	if outer == 1 && data.Type != tensor.Bytes && in[1].Type == tensor.Int64 {
		rowBytes, indices := inner*data.Type.Size(), op.As[int64](in[1])
		return func() error {
			return vec.GatherRows(out[0].Data, data.Data, rowBytes, indices, extent)
		}, nil
	}
	at, err := indexReader(in[1])
	if err != nil {
		return nil, err
	}
	g := gatherLoop{outer, extent, inner, in[1].Len(), at}
	switch data.Type.Size() {
	case 0:
		return func() error { return runGather(&g, out[0].Strings, data.Strings) }, nil
	case 1:
		return bindGather[uint8](&g, out[0], data), nil
	case 2:
		return bindGather[uint16](&g, out[0], data), nil
	case 4:
		return bindGather[uint32](&g, out[0], data), nil
	}
	return bindGather[uint64](&g, out[0], data), nil
}

type gatherLoop struct {
	outer, extent, inner, indices int
	at                            func(i, extent int) (int, error)
}

func bindGather[T op.Element](g *gatherLoop, out, data *op.Value) op.Run {
	dst, src := op.As[T](out), op.As[T](data)
	return func() error { return runGather(g, dst, src) }
}

func runGather[T any](g *gatherLoop, dst, src []T) error {
	for k := range g.indices {
		index, err := g.at(k, g.extent)
		if err != nil {
			return err
		}
		to, from := k*g.inner, index*g.inner
		for range g.outer {
			copy(dst[to:to+g.inner], src[from:from+g.inner])
			to, from = to+g.indices*g.inner, from+g.extent*g.inner
		}
	}
	return nil
}

// Rowwise holds when either the data is cut below its rows, or the indices are rows
// that look something up in a table.
func (o *gather) Rowwise(in []*op.Value, carries []bool) bool {
	axis, _, _, _, err := o.sizes(in[0])
	if err != nil || carries[0] == carries[1] {
		return false
	}
	return (carries[0] && axis != 0) || (carries[1] && axis == 0 && in[1].Rank() > 0)
}

func (o *gather) Describe(in, _ []*op.Value) string {
	if o.axis == 0 && in[1].Type == tensor.Int64 {
		return "row gather"
	}
	return ""
}

// arrayFeatureExtractor picks columns of the last axis.
type arrayFeatureExtractor struct{ gather }

func buildArrayFeatureExtractor(n *op.Node) (op.Operator, error) {
	return &arrayFeatureExtractor{gather{-1}}, n.Arity(2, 2, 1, 1)
}

func (o *arrayFeatureExtractor) Infer(in, out []*op.Value) error {
	if in[0].Rank() == 0 {
		return op.Invalid("the data has no dimensions")
	}
	shape := append(tensor.Shape{}, in[0].Shape...)
	shape[len(shape)-1] = int64(in[1].Len())
	if len(shape) == 1 {
		shape = tensor.Shape{1, int64(in[1].Len())}
	}
	if err := op.Want(in[1], "indices", tensor.Int64, tensor.Int32); err != nil {
		return err
	}
	return out[0].Set(in[0].Type, shape...)
}

// gatherElements is a lookup with one index for each element of the output, along an axis.
type gatherElements struct{ axis int64 }

func buildGatherElements(n *op.Node) (op.Operator, error) {
	return &gatherElements{n.Int("axis", 0)}, n.Arity(2, 2, 1, 1)
}

func (o *gatherElements) Infer(in, out []*op.Value) error {
	axis, err := op.Axis(o.axis, in[0].Rank())
	if err != nil {
		return err
	}
	if in[1].Rank() != in[0].Rank() {
		return op.Invalid("indices of shape %v into shape %v", in[1].Shape, in[0].Shape)
	}
	for i, d := range in[1].Shape {
		if i != axis && d > in[0].Shape[i] {
			return op.Invalid("indices of shape %v into shape %v", in[1].Shape, in[0].Shape)
		}
	}
	return out[0].Set(in[0].Type, in[1].Shape...)
}

func (o *gatherElements) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	w, err := newElementWalk(in[0].Shape, in[1], o.axis)
	if err != nil {
		return nil, err
	}
	switch in[0].Type.Size() {
	case 0:
		return func() error { return runGatherElements(w, out[0].Strings, in[0].Strings) }, nil
	case 1:
		return bindGatherElements[uint8](w, out[0], in[0]), nil
	case 2:
		return bindGatherElements[uint16](w, out[0], in[0]), nil
	case 4:
		return bindGatherElements[uint32](w, out[0], in[0]), nil
	}
	return bindGatherElements[uint64](w, out[0], in[0]), nil
}

func bindGatherElements[T op.Element](w *elementWalk, out, data *op.Value) op.Run {
	dst, src := op.As[T](out), op.As[T](data)
	return func() error { return runGatherElements(w, dst, src) }
}

func runGatherElements[T any](w *elementWalk, dst, src []T) error {
	w.reset()
	for i := range dst {
		at, err := w.next(i)
		if err != nil {
			return err
		}
		dst[i] = src[at]
	}
	return nil
}

func (o *gatherElements) Rowwise(in []*op.Value, carries []bool) bool {
	axis, err := op.Axis(o.axis, in[0].Rank())
	return err == nil && axis != 0 && carries[0] && carries[1]
}

// elementWalk visits the elements of an array of indices in order and gives, for each,
// the place in the data that it stands for.
type elementWalk struct {
	at      func(i, extent int) (int, error)
	shape   tensor.Shape // of the indices
	strides []int        // of the data
	axis    int
	extent  int // of the data along the axis
	index   []int
}

func newElementWalk(data tensor.Shape, indices *op.Value, at int64) (*elementWalk, error) {
	axis, err := op.Axis(at, len(data))
	if err != nil {
		return nil, err
	}
	reader, err := indexReader(indices)
	if err != nil {
		return nil, err
	}
	return &elementWalk{
		at: reader, shape: indices.Shape, strides: strides(data), axis: axis,
		extent: int(data[axis]), index: make([]int, len(data)),
	}, nil
}

func (w *elementWalk) reset() { clear(w.index) }

// next is the place for index i, which must be called with 0, 1, 2...
func (w *elementWalk) next(i int) (int, error) {
	chosen, err := w.at(i, w.extent)
	if err != nil {
		return 0, err
	}
	place := chosen * w.strides[w.axis]
	for axis, k := range w.index {
		if axis != w.axis {
			place += k * w.strides[axis]
		}
	}
	for axis := len(w.index) - 1; axis >= 0; axis-- {
		if w.index[axis]++; w.index[axis] < int(w.shape[axis]) {
			break
		}
		w.index[axis] = 0
	}
	return place, nil
}
