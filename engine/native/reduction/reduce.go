// SPDX-License-Identifier: Apache-2.0

package reduction

import (
	"math"
	"slices"
	"unsafe"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/act"
	"github.com/millrace-ml/millrace/kernels/vec"
)

// reduction is one way to make a number of many: start, then step for each element,
// then finish with their number.
type reduction struct {
	name string
	// axesInput is the version from which the axes are an input.
	axesInput int64
	kernel    vec.Reduction
	has       bool // the kernel does it for FP32, but for last
	last      func(dst, src []float32)
	start     float64
	step      func(sum, x float64) float64
	finish    func(sum float64, n int) float64
	// ints says that integers are covered, which never need finish.
	ints bool
}

func reduceOperators() []op.Definition {
	add := func(sum, x float64) float64 { return sum + x }
	square := func(sum, x float64) float64 { return sum + x*x }
	all := []reduction{
		{name: "ReduceSum", axesInput: 13, kernel: vec.ReduceSum, has: true, step: add, ints: true},
		{name: "ReduceMean", axesInput: 18, kernel: vec.ReduceMean, has: true, step: add,
			finish: func(sum float64, n int) float64 { return sum / float64(n) }},
		{name: "ReduceMax", axesInput: 18, kernel: vec.ReduceMax, has: true, start: math.Inf(-1),
			step: func(sum, x float64) float64 { return max(sum, x) }, ints: true},
		{name: "ReduceMin", axesInput: 18, kernel: vec.ReduceMin, has: true, start: math.Inf(1),
			step: func(sum, x float64) float64 { return min(sum, x) }, ints: true},
		{name: "ReduceProd", axesInput: 18, start: 1, step: func(sum, x float64) float64 { return sum * x }, ints: true},
		{name: "ReduceSumSquare", axesInput: 18, kernel: vec.ReduceSumSquares, has: true, step: square, ints: true},
		{name: "ReduceL1", axesInput: 18, kernel: vec.ReduceSumAbs, has: true,
			step: func(sum, x float64) float64 { return sum + math.Abs(x) }, ints: true},
		{name: "ReduceL2", axesInput: 18, kernel: vec.ReduceSumSquares, has: true, last: act.Sqrt, step: square,
			finish: func(sum float64, _ int) float64 { return math.Sqrt(sum) }},
		{name: "ReduceLogSum", axesInput: 18, kernel: vec.ReduceSum, has: true, last: act.Log, step: add,
			finish: func(sum float64, _ int) float64 { return math.Log(sum) }},
	}
	list := []op.Definition{{Name: "ReduceLogSumExp", Since: 1, Build: buildLogSumExp}}
	for _, r := range all {
		list = append(list, op.Definition{Name: r.name, Since: 1, Build: r.build})
	}
	return list
}

// reduce is a reduction along axes.
type reduce struct {
	reduction
	axes     func(in []*op.Value) ([]int64, error)
	keepDims bool
	// noop says that no axes mean none, not all.
	noop bool
	// logSumExp subtracts the largest element before and adds it after.
	logSumExp bool
}

func (r reduction) build(n *op.Node) (op.Operator, error) {
	return &reduce{
		reduction: r,
		axes:      axesOf(n, r.axesInput),
		keepDims:  n.Int("keepdims", 1) != 0,
		noop:      n.Int("noop_with_empty_axes", 0) != 0,
	}, n.Arity(1, 2, 1, 1)
}

func buildLogSumExp(n *op.Node) (op.Operator, error) {
	r := reduction{name: "ReduceLogSumExp", axesInput: 18}
	built, err := r.build(n)
	built.(*reduce).logSumExp = true
	return built, err
}

// reduced are the axes, sorted.
func (o *reduce) reduced(in []*op.Value) ([]int, error) {
	given, err := o.axes(in)
	if err != nil {
		return nil, err
	}
	var axes []int
	for _, a := range given {
		axis, err := op.Axis(a, in[0].Rank())
		if err != nil {
			return nil, err
		}
		axes = append(axes, axis)
	}
	if len(given) == 0 && !o.noop {
		for axis := range in[0].Rank() {
			axes = append(axes, axis)
		}
	}
	slices.Sort(axes)
	return slices.Compact(axes), nil
}

func (o *reduce) Infer(in, out []*op.Value) error {
	axes, err := o.reduced(in)
	if err != nil {
		return err
	}
	types := []tensor.Datatype{tensor.FP32, tensor.FP64}
	if o.ints {
		types = append(types, tensor.Int64, tensor.Int32)
	}
	if err := op.Want(in[0], "input", types...); err != nil {
		return err
	}
	shape := tensor.Shape{}
	for i, d := range in[0].Shape {
		switch {
		case !slices.Contains(axes, i):
			shape = append(shape, d)
		case o.keepDims:
			shape = append(shape, 1)
		}
	}
	return out[0].Set(in[0].Type, shape...)
}

func (o *reduce) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	axes, err := o.reduced(in)
	if err != nil {
		return nil, err
	}
	if in[0].Type == tensor.FP32 && o.has {
		if run := o.bindKernel(in[0], out[0], axes); run != nil {
			return run, nil
		}
	}
	to := targets(in[0].Shape, axes)
	n := 1
	for _, axis := range axes {
		n *= int(in[0].Shape[axis])
	}
	switch in[0].Type {
	case tensor.FP32:
		return bindReduce[float32](o, in[0], out[0], to, n), nil
	case tensor.FP64:
		return bindReduce[float64](o, in[0], out[0], to, n), nil
	case tensor.Int64:
		return bindIntReduce[int64](o, in[0], out[0], to), nil
	}
	return bindIntReduce[int32](o, in[0], out[0], to), nil
}

// bindKernel reduces along axes that are neighbours.
func (o *reduce) bindKernel(in, out *op.Value, axes []int) op.Run {
	if len(axes) == 0 || axes[len(axes)-1]-axes[0] != len(axes)-1 {
		return nil
	}
	blocks, mid, cols := 1, 1, 1
	for i, d := range in.Shape {
		switch {
		case i < axes[0]:
			blocks *= int(d)
		case i <= axes[len(axes)-1]:
			mid *= int(d)
		default:
			cols *= int(d)
		}
	}
	x, y, kernel := op.Floats(in), op.Floats(out), o.kernel
	return func() error {
		if cols == 1 {
			vec.ReduceRows(kernel, y, x, blocks, mid)
		} else {
			vec.ReduceCols(kernel, y, x, blocks, mid, cols)
		}
		if o.last != nil {
			o.last(y, y)
		}
		return nil
	}
}

// targets is, for each element of an array, the place of the result it goes into.
func targets(shape tensor.Shape, axes []int) []int32 {
	step, n := make([]int, len(shape)), 1
	for i := len(shape) - 1; i >= 0; i-- {
		if !slices.Contains(axes, i) {
			step[i] = n
			n *= int(shape[i])
		}
	}
	total := 1
	for _, d := range shape {
		total *= int(d)
	}
	list, index := make([]int32, total), make([]int, len(shape))
	for i := range list {
		for axis, k := range index {
			list[i] += int32(k * step[axis])
		}
		for axis := len(index) - 1; axis >= 0; axis-- {
			if index[axis]++; index[axis] < int(shape[axis]) {
				break
			}
			index[axis] = 0
		}
	}
	return list
}

func bindReduce[T float32 | float64](o *reduce, in, out *op.Value, to []int32, n int) op.Run {
	x, y, sums := op.As[T](in), op.As[T](out), make([]float64, out.Len())
	if o.logSumExp {
		largest := make([]float64, out.Len())
		return func() error {
			logSumExp(x, y, sums, largest, to)
			return nil
		}
	}
	return func() error {
		for i := range sums {
			sums[i] = o.start
		}
		for i, v := range x {
			sums[to[i]] = o.step(sums[to[i]], float64(v))
		}
		for i, sum := range sums {
			if o.finish != nil {
				sum = o.finish(sum, n)
			}
			y[i] = T(sum)
		}
		return nil
	}
}

func logSumExp[T float32 | float64](x, y []T, sums, largest []float64, to []int32) {
	for i := range sums {
		sums[i], largest[i] = 0, math.Inf(-1)
	}
	for i, v := range x {
		largest[to[i]] = max(largest[to[i]], float64(v))
	}
	for i, v := range x {
		if m := largest[to[i]]; !math.IsInf(m, 0) {
			sums[to[i]] += math.Exp(float64(v) - m)
		}
	}
	for i, m := range largest {
		y[i] = T(m)
		if !math.IsInf(m, 0) {
			y[i] = T(m + math.Log(sums[i]))
		}
	}
}

// bindIntReduce repeats the reductions in integers, which float64 would round.
func bindIntReduce[T int32 | int64](o *reduce, in, out *op.Value, to []int32) op.Run {
	x, y := op.As[T](in), op.As[T](out)
	return func() error {
		started := o.name != "ReduceMax" && o.name != "ReduceMin"
		first := T(0)
		if o.name == "ReduceProd" {
			first = 1
		}
		if !started {
			if first = least[T](); o.name == "ReduceMin" {
				first = ^first
			}
		}
		for i := range y {
			y[i] = first
		}
		for i, v := range x {
			y[to[i]] = intStep(o.name, y[to[i]], v)
		}
		return nil
	}
}

// least is the smallest number of a type.
func least[T int32 | int64]() T {
	var zero T
	return T(-1) << (8*unsafe.Sizeof(zero) - 1)
}

func intStep[T int32 | int64](name string, sum, x T) T {
	switch name {
	case "ReduceMax":
		return max(sum, x)
	case "ReduceMin":
		return min(sum, x)
	case "ReduceProd":
		return sum * x
	case "ReduceSumSquare":
		return sum + x*x
	case "ReduceL1":
		return sum + max(x, -x)
	}
	return sum + x
}

func (o *reduce) Rowwise(in []*op.Value, carries []bool) bool {
	axes, err := o.reduced(in)
	return err == nil && carries[0] && in[0].Rank() > 0 && !slices.Contains(axes, 0)
}
