// SPDX-License-Identifier: Apache-2.0

package elementwise

import (
	"errors"
	"math"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/vec"
)

type number interface {
	int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64 | float32 | float64
}

// zip is an operation on two inputs, or on any number of them from left to right.
type zip struct {
	kernel  vec.Op
	has     bool // a kernel for FP32
	ints    bool // integers are covered
	float32 func(x, y float32) float32
	float64 func(x, y float64) float64
	// wide and narrow are of signed and unsigned integers.
	wide   func(x, y int64) int64
	narrow func(x, y uint64) uint64
	// mean divides the sum of all inputs by their number.
	mean bool
}

func zipOperators() []op.Definition {
	add := zip{kernel: vec.OpAdd, has: true, ints: true, float64: func(x, y float64) float64 { return x + y },
		wide: func(x, y int64) int64 { return x + y }, narrow: func(x, y uint64) uint64 { return x + y }}
	sub := zip{kernel: vec.OpSub, has: true, ints: true, float64: func(x, y float64) float64 { return x - y },
		wide: func(x, y int64) int64 { return x - y }, narrow: func(x, y uint64) uint64 { return x - y }}
	mul := zip{kernel: vec.OpMul, has: true, ints: true, float64: func(x, y float64) float64 { return x * y },
		wide: func(x, y int64) int64 { return x * y }, narrow: func(x, y uint64) uint64 { return x * y }}
	div := zip{kernel: vec.OpDiv, has: true, ints: true, float64: func(x, y float64) float64 { return x / y },
		wide: divide, narrow: divideUnsigned}
	maximum := zip{kernel: vec.OpMax, has: true, ints: true, float64: func(x, y float64) float64 { return max(x, y) },
		wide: func(x, y int64) int64 { return max(x, y) }, narrow: func(x, y uint64) uint64 { return max(x, y) }}
	minimum := zip{kernel: vec.OpMin, has: true, ints: true, float64: func(x, y float64) float64 { return min(x, y) },
		wide: func(x, y int64) int64 { return min(x, y) }, narrow: func(x, y uint64) uint64 { return min(x, y) }}
	mean := add
	mean.mean, mean.ints = true, false
	return []op.Definition{
		{Name: "Add", Since: 7, Build: add.build(2)}, {Name: "Sub", Since: 7, Build: sub.build(2)},
		{Name: "Mul", Since: 7, Build: mul.build(2)}, {Name: "Div", Since: 7, Build: div.build(2)},
		{Name: "Max", Since: 8, Build: maximum.build(0)}, {Name: "Min", Since: 8, Build: minimum.build(0)},
		{Name: "Sum", Since: 8, Build: add.build(0)}, {Name: "Mean", Since: 8, Build: mean.build(0)},
		{Name: "Pow", Since: 7, Build: buildPow}, {Name: "Mod", Since: 10, Build: buildMod},
		{Name: "PRelu", Since: 9, Build: buildPRelu},
	}
}

// divide rounds towards zero. A division by zero, which the standard leaves open, is 0
// instead of an end of the program.
func divide(x, y int64) int64 {
	if y == 0 {
		return 0
	}
	return x / y
}

func divideUnsigned(x, y uint64) uint64 {
	if y == 0 {
		return 0
	}
	return x / y
}

// build makes Build for operators of exactly so many inputs, any number for 0.
func (o zip) build(inputs int) func(n *op.Node) (op.Operator, error) {
	return func(n *op.Node) (op.Operator, error) {
		if inputs == 0 {
			return &o, n.Arity(1, 1<<16, 1, 1)
		}
		return &o, n.Arity(inputs, inputs, 1, 1)
	}
}

// buildPRelu is x where it is positive, and slope*x elsewhere.
func buildPRelu(n *op.Node) (op.Operator, error) {
	o := zip{
		float32: func(x, slope float32) float32 {
			if x < 0 {
				return x * slope
			}
			return x
		},
		float64: func(x, slope float64) float64 {
			if x < 0 {
				return x * slope
			}
			return x
		},
	}
	return &o, n.Arity(2, 2, 1, 1)
}

// buildMod has the sign of the divisor, or of the dividend with fmod.
func buildMod(n *op.Node) (op.Operator, error) {
	o := zip{ints: true, wide: modulo, narrow: func(x, y uint64) uint64 {
		if y == 0 {
			return 0
		}
		return x % y
	}}
	if n.Int("fmod", 0) != 0 {
		o.wide = func(x, y int64) int64 {
			if y == 0 {
				return 0
			}
			return x % y
		}
		o.float64 = math.Mod
		o.float32 = func(x, y float32) float32 { return float32(math.Mod(float64(x), float64(y))) }
	}
	return &o, n.Arity(2, 2, 1, 1)
}

func modulo(x, y int64) int64 {
	if y == 0 {
		return 0
	}
	if m := x % y; m != 0 && (m < 0) != (y < 0) {
		return m + y
	} else {
		return m
	}
}

func (o *zip) Infer(in, out []*op.Value) error {
	shape := in[0].Shape
	for _, v := range in[1:] {
		if v == nil || v.Type != in[0].Type {
			return op.Invalid("inputs of different datatypes")
		}
		var err error
		if shape, err = op.Broadcast(shape, v.Shape); err != nil {
			return err
		}
	}
	if !o.covers(in[0].Type) {
		return op.NotCovered("type %s", in[0].Type)
	}
	return out[0].Set(in[0].Type, shape...)
}

func (o *zip) covers(t tensor.Datatype) bool {
	switch t {
	case tensor.FP32:
		return o.has || o.float32 != nil
	case tensor.FP64:
		return o.float64 != nil
	case tensor.Int64, tensor.Int32, tensor.Int16, tensor.Int8, tensor.Uint64, tensor.Uint32, tensor.Uint16, tensor.Uint8:
		return o.ints
	}
	return false
}

func (o *zip) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	var runs []op.Run
	left := in[0]
	for i, right := range in[1:] {
		to := out[0]
		if i+2 < len(in) {
			// What is computed so far must be in a value of its own shape: the output's
			// may be larger.
			shape, err := op.Broadcast(left.Shape, right.Shape)
			if err != nil {
				return nil, err
			}
			to = &op.Value{Type: left.Type, Shape: shape}
			to.Allocate()
		}
		run, err := o.bindPair(to, left, right)
		if err != nil {
			return nil, err
		}
		runs, left = append(runs, run), to
	}
	if len(in) == 1 {
		runs = append(runs, func() error {
			copy(out[0].Data, in[0].Data)
			return nil
		})
	}
	if o.mean {
		runs = append(runs, divideBy(out[0], len(in)))
	}
	if len(runs) == 1 {
		return runs[0], nil
	}
	return func() error {
		var errs error
		for _, run := range runs {
			errs = errors.Join(errs, run())
		}
		return errs
	}, nil
}

func divideBy(v *op.Value, n int) op.Run {
	if v.Type == tensor.FP32 {
		x := op.Floats(v)
		return func() error {
			vec.DivScalar(x, x, float32(n))
			return nil
		}
	}
	x := op.As[float64](v)
	return func() error {
		for i := range x {
			x[i] /= float64(n)
		}
		return nil
	}
}

func (o *zip) bindPair(out, a, b *op.Value) (op.Run, error) {
	w := newWalk(out.Shape, a.Shape, b.Shape)
	switch out.Type {
	case tensor.FP32:
		if o.has {
			return o.bindKernel(w, op.Floats(out), op.Floats(a), op.Floats(b)), nil
		}
		return zipLoop(w, op.Floats(out), op.Floats(a), op.Floats(b), o.float32), nil
	case tensor.FP64:
		return zipLoop(w, op.As[float64](out), op.As[float64](a), op.As[float64](b), o.float64), nil
	case tensor.Int64:
		return zipLoop(w, op.As[int64](out), op.As[int64](a), op.As[int64](b), o.wide), nil
	case tensor.Int32:
		return zipInts[int32](w, out, a, b, o.wide), nil
	case tensor.Int16:
		return zipInts[int16](w, out, a, b, o.wide), nil
	case tensor.Int8:
		return zipInts[int8](w, out, a, b, o.wide), nil
	case tensor.Uint64:
		return zipLoop(w, op.As[uint64](out), op.As[uint64](a), op.As[uint64](b), o.narrow), nil
	case tensor.Uint32:
		return zipInts[uint32](w, out, a, b, o.narrow), nil
	case tensor.Uint16:
		return zipInts[uint16](w, out, a, b, o.narrow), nil
	case tensor.Uint8:
		return zipInts[uint8](w, out, a, b, o.narrow), nil
	}
	return nil, op.NotCovered("type %s", out.Type)
}

// zipInts computes in 64 bits and keeps what fits.
func zipInts[T number, W int64 | uint64](w *walk, out, a, b *op.Value, f func(x, y W) W) op.Run {
	return zipLoop(w, op.As[T](out), op.As[T](a), op.As[T](b), func(x, y T) T { return T(f(W(x), W(y))) })
}

// bindKernel picks the kernel for the way in which the inputs repeat.
func (o *zip) bindKernel(w *walk, out, a, b []float32) op.Run {
	inner, kernel := w.inner, o.kernel
	switch {
	case len(w.dims) == 1 && inner.a == 1 && inner.b == 1 && w.dims[0].b == 0 && w.dims[0].a == inner.extent:
		rows, cols := w.dims[0].extent, inner.extent
		return func() error {
			vec.WithRow(kernel, out, a, rows, cols, b)
			return nil
		}
	case len(w.dims) == 1 && inner.a == 1 && inner.b == 0 && w.dims[0].b == 1 && w.dims[0].a == inner.extent:
		rows, cols := w.dims[0].extent, inner.extent
		return func() error {
			vec.WithColumn(kernel, out, a, rows, cols, b)
			return nil
		}
	}
	visit := func(at, i, j int) {
		to := out[at : at+inner.extent]
		switch {
		case inner.a == 1 && inner.b == 1:
			vec.Elementwise(kernel, to, a[i:], b[j:])
		case inner.a == 1:
			vec.WithScalar(kernel, to, a[i:], b[j])
		case inner.b == 1:
			vec.WithScalar(reversed(kernel), to, b[j:], a[i])
		default: // a single element
			vec.Elementwise(kernel, to, a[i:], b[j:])
		}
	}
	return func() error {
		w.each(visit)
		return nil
	}
}

// reversed is the operation with its operands the other way round.
func reversed(kernel vec.Op) vec.Op {
	switch kernel {
	case vec.OpSub:
		return vec.OpRevSub
	case vec.OpDiv:
		return vec.OpRevDiv
	}
	return kernel
}

func (o *zip) Rowwise(in []*op.Value, carries []bool) bool { return rowwise(in, carries) }

// InPlace holds for two inputs; with more, an earlier result may still be read.
func (o *zip) InPlace() []int {
	if o.has && !o.mean {
		return []int{0, 1}
	}
	return nil
}

// pow raises to a power whose type may be another.
type pow struct{}

func buildPow(n *op.Node) (op.Operator, error) { return pow{}, n.Arity(2, 2, 1, 1) }

func (pow) Infer(in, out []*op.Value) error {
	shape, err := op.Broadcast(in[0].Shape, in[1].Shape)
	if err != nil {
		return err
	}
	for _, v := range in {
		if err := op.Want(v, "input", tensor.FP32, tensor.FP64, tensor.Int64, tensor.Int32); err != nil {
			return err
		}
	}
	return out[0].Set(in[0].Type, shape...)
}

func (pow) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	if run := powConst(in, out[0]); run != nil {
		return run, nil
	}
	w := newWalk(out[0].Shape, in[0].Shape, in[1].Shape)
	base, exponent := reader(in[0]), reader(in[1])
	write := writer(out[0])
	visit := func(at, i, j int) {
		for k := range w.inner.extent {
			write(at+k, math.Pow(base(i), exponent(j)))
			i, j = i+w.inner.a, j+w.inner.b
		}
	}
	return func() error {
		w.each(visit)
		return nil
	}, nil
}

// powConst finds a kernel for FP32 to a known power.
func powConst(in []*op.Value, out *op.Value) op.Run {
	if in[0].Type != tensor.FP32 || !in[1].IsConst() || in[1].Len() != 1 || in[0].Len() != out.Len() {
		return nil
	}
	x, y := op.Floats(in[0]), op.Floats(out)
	exponent := reader(in[1])(0)
	return func() error {
		powKernel(y, x, float32(exponent))
		return nil
	}
}

// reader and writer convert elements of the types that pow takes.
func reader(v *op.Value) func(i int) float64 {
	switch v.Type {
	case tensor.FP32:
		x := op.Floats(v)
		return func(i int) float64 { return float64(x[i]) }
	case tensor.Int64:
		x := op.As[int64](v)
		return func(i int) float64 { return float64(x[i]) }
	case tensor.Int32:
		x := op.As[int32](v)
		return func(i int) float64 { return float64(x[i]) }
	}
	x := op.As[float64](v)
	return func(i int) float64 { return x[i] }
}

func writer(v *op.Value) func(i int, y float64) {
	switch v.Type {
	case tensor.FP32:
		x := op.Floats(v)
		return func(i int, y float64) { x[i] = float32(y) }
	case tensor.Int64:
		x := op.As[int64](v)
		return func(i int, y float64) { x[i] = int64(y) }
	case tensor.Int32:
		x := op.As[int32](v)
		return func(i int, y float64) { x[i] = int32(y) }
	}
	x := op.As[float64](v)
	return func(i int, y float64) { x[i] = y }
}

func (pow) Rowwise(in []*op.Value, carries []bool) bool { return rowwise(in, carries) }
