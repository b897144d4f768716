// SPDX-License-Identifier: Apache-2.0

package reduction

import (
	"cmp"
	"slices"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/vec"
)

func selectOperators() []op.Definition {
	return []op.Definition{
		{Name: "ArgMax", Since: 1, Build: buildArg(true)},
		{Name: "ArgMin", Since: 1, Build: buildArg(false)},
		{Name: "TopK", Since: 10, Build: buildTopK},
		{Name: "CumSum", Since: 11, Build: buildCumSum},
	}
}

// compare orders numbers. As in the kernels, NaN counts as larger than all numbers.
func compare[T cmp.Ordered](a, b T) int {
	if nanA, nanB := a != a, b != b; nanA != nanB {
		return -cmp.Compare(a, b) // which counts NaN as smaller
	}
	return cmp.Compare(a, b)
}

// arg finds the place of the largest or smallest element along an axis, or of NaN.
type arg struct {
	largest        bool
	axis           int64
	keepDims, last bool
}

func buildArg(largest bool) func(n *op.Node) (op.Operator, error) {
	return func(n *op.Node) (op.Operator, error) {
		return &arg{largest, n.Int("axis", 0), n.Int("keepdims", 1) != 0, n.Int("select_last_index", 0) != 0}, n.Arity(1, 1, 1, 1)
	}
}

func (o *arg) Infer(in, out []*op.Value) error {
	axis, err := op.Axis(o.axis, in[0].Rank())
	if err != nil {
		return err
	}
	if err := op.Want(in[0], "input", tensor.FP32, tensor.FP64, tensor.Int64, tensor.Int32); err != nil {
		return err
	}
	shape := slices.Clone(in[0].Shape)
	if shape[axis] == 0 {
		return op.Invalid("an axis without elements")
	}
	shape[axis] = 1
	if !o.keepDims {
		shape = slices.Delete(shape, axis, axis+1)
	}
	return out[0].Set(tensor.Int64, shape...)
}

func (o *arg) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	axis, err := op.Axis(o.axis, in[0].Rank())
	if err != nil {
		return nil, err
	}
	l := linesOf(in[0].Shape, axis)
	switch in[0].Type {
	case tensor.FP32:
		if x, y := op.Floats(in[0]), op.As[int64](out[0]); l.inner == 1 && !o.last {
			return func() error {
				for i := range y {
					y[i] = int64(o.ofRow(x[i*l.extent:][:l.extent]))
				}
				return nil
			}, nil
		}
		return bindArg[float32](o, l, in[0], out[0]), nil
	case tensor.FP64:
		return bindArg[float64](o, l, in[0], out[0]), nil
	case tensor.Int64:
		return bindArg[int64](o, l, in[0], out[0]), nil
	}
	return bindArg[int32](o, l, in[0], out[0]), nil
}

func (o *arg) ofRow(row []float32) int {
	if o.largest {
		return vec.ArgMax(row)
	}
	return vec.ArgMin(row)
}

func bindArg[T int32 | int64 | float32 | float64](o *arg, l lines, in, out *op.Value) op.Run {
	x, y := op.As[T](in), op.As[int64](out)
	return func() error {
		i := 0
		l.each(func(first int) {
			best := 0
			for k := range l.extent {
				order := compare(x[first+k*l.inner], x[first+best*l.inner])
				if !o.largest {
					order = cmp.Compare(x[first+best*l.inner], x[first+k*l.inner])
				}
				if order > 0 || (order == 0 && o.last) {
					best = k
				}
			}
			y[i] = int64(best)
			i++
		})
		return nil
	}
}

func (o *arg) Rowwise(in []*op.Value, carries []bool) bool {
	axis, err := op.Axis(o.axis, in[0].Rank())
	return err == nil && axis != 0 && carries[0]
}

// topK finds the k largest or smallest elements along an axis.
type topK struct {
	axis            int64
	largest, sorted bool
}

func buildTopK(n *op.Node) (op.Operator, error) {
	return &topK{n.Int("axis", -1), n.Int("largest", 1) != 0, n.Int("sorted", 1) != 0}, n.Arity(2, 2, 1, 2)
}

func (o *topK) k(in []*op.Value) (axis int, k int64, err error) {
	if axis, err = op.Axis(o.axis, in[0].Rank()); err != nil {
		return 0, 0, err
	}
	if !in[1].Const || in[1].Type != tensor.Int64 || in[1].Len() != 1 {
		return 0, 0, op.NotCovered("a k that is not known before the run")
	}
	if k = op.As[int64](in[1])[0]; k < 0 || k > in[0].Shape[axis] {
		return 0, 0, op.Invalid("k is %d for an axis of %d", k, in[0].Shape[axis])
	}
	return axis, k, nil
}

func (o *topK) Infer(in, out []*op.Value) error {
	axis, k, err := o.k(in)
	if err != nil {
		return err
	}
	if err := op.Want(in[0], "input", tensor.FP32, tensor.FP64, tensor.Int64, tensor.Int32); err != nil {
		return err
	}
	shape := slices.Clone(in[0].Shape)
	shape[axis] = k
	if err := out[0].Set(in[0].Type, shape...); err != nil {
		return err
	}
	if len(out) > 1 {
		return out[1].Set(tensor.Int64, shape...)
	}
	return nil
}

func (o *topK) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	axis, k, err := o.k(in)
	if err != nil {
		return nil, err
	}
	indices := make([]int64, out[0].Len())
	if len(out) > 1 && out[1] != nil {
		indices = op.As[int64](out[1])
	}
	l := linesOf(in[0].Shape, axis)
	switch in[0].Type {
	case tensor.FP32:
		if x, y := op.Floats(in[0]), op.Floats(out[0]); l.inner == 1 {
			return func() error {
				vec.TopK(y, indices, x, l.outer, l.extent, int(k), o.largest, o.sorted)
				return nil
			}, nil
		}
		return bindTopK[float32](o, l, int(k), in[0], out[0], indices), nil
	case tensor.FP64:
		return bindTopK[float64](o, l, int(k), in[0], out[0], indices), nil
	case tensor.Int64:
		return bindTopK[int64](o, l, int(k), in[0], out[0], indices), nil
	}
	return bindTopK[int32](o, l, int(k), in[0], out[0], indices), nil
}

func bindTopK[T int32 | int64 | float32 | float64](o *topK, l lines, k int, in, out *op.Value, indices []int64) op.Run {
	x, y, order := op.As[T](in), op.As[T](out), make([]int, l.extent)
	first := 0
	better := func(a, b int) int {
		c := compare(x[first+b*l.inner], x[first+a*l.inner])
		if !o.largest {
			c = -c
		}
		return cmp.Or(c, cmp.Compare(a, b))
	}
	return func() error {
		line := 0
		l.each(func(at int) {
			first = at
			for i := range order {
				order[i] = i
			}
			slices.SortFunc(order, better)
			to := line/l.inner*k*l.inner + line%l.inner
			for i, from := range order[:k] {
				y[to+i*l.inner], indices[to+i*l.inner] = x[first+from*l.inner], int64(from)
			}
			line++
		})
		return nil
	}
}

func (o *topK) Rowwise(in []*op.Value, carries []bool) bool {
	axis, err := op.Axis(o.axis, in[0].Rank())
	return err == nil && axis != 0 && carries[0]
}

// cumSum is the running sum along an axis.
type cumSum struct{ exclusive, reverse bool }

func buildCumSum(n *op.Node) (op.Operator, error) {
	return &cumSum{n.Int("exclusive", 0) != 0, n.Int("reverse", 0) != 0}, n.Arity(2, 2, 1, 1)
}

func (o *cumSum) axis(in []*op.Value) (int, error) {
	if !in[1].Const || in[1].Len() != 1 {
		return 0, op.NotCovered("an axis that is not known before the run")
	}
	if in[1].Type == tensor.Int32 {
		return op.Axis(int64(op.As[int32](in[1])[0]), in[0].Rank())
	}
	if in[1].Type != tensor.Int64 {
		return 0, op.Invalid("an axis of type %s", in[1].Type)
	}
	return op.Axis(op.As[int64](in[1])[0], in[0].Rank())
}

func (o *cumSum) Infer(in, out []*op.Value) error {
	if _, err := o.axis(in); err != nil {
		return err
	}
	if err := op.Want(in[0], "input", tensor.FP32, tensor.FP64, tensor.Int64, tensor.Int32); err != nil {
		return err
	}
	return out[0].Set(in[0].Type, in[0].Shape...)
}

func (o *cumSum) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	axis, err := o.axis(in)
	if err != nil {
		return nil, err
	}
	l := linesOf(in[0].Shape, axis)
	switch in[0].Type {
	case tensor.FP32:
		return bindCumSum[float32](o, l, in[0], out[0]), nil
	case tensor.FP64:
		return bindCumSum[float64](o, l, in[0], out[0]), nil
	case tensor.Int64:
		return bindCumSum[int64](o, l, in[0], out[0]), nil
	}
	return bindCumSum[int32](o, l, in[0], out[0]), nil
}

func bindCumSum[T int32 | int64 | float32 | float64](o *cumSum, l lines, in, out *op.Value) op.Run {
	x, y := op.As[T](in), op.As[T](out)
	return func() error {
		l.each(func(first int) {
			sum := T(0)
			for k := range l.extent {
				at := first + k*l.inner
				if o.reverse {
					at = first + (l.extent-1-k)*l.inner
				}
				if o.exclusive {
					y[at] = sum
				}
				sum += x[at]
				if !o.exclusive {
					y[at] = sum
				}
			}
		})
		return nil
	}
}

func (o *cumSum) Rowwise(in []*op.Value, carries []bool) bool {
	axis, err := o.axis(in)
	return err == nil && axis != 0 && carries[0]
}
