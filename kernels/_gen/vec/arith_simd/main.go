// SPDX-License-Identifier: Apache-2.0

// Command arith_simd generates the operations on two and three rows of float32.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"

	"github.com/millrace-ml/millrace/kernels/_gen/internal/vecgen"
)

// The operations, numbered as kernels/vec numbers them.
var ops = []string{"add", "sub", "mul", "div", "min", "max", "revsub", "revdiv"}

func main() {
	ConstraintExpr("!purego")
	for _, l := range vecgen.Levels {
		binaryRows(l)
		binaryColumn(l)
		ternary(l)
		ternaryScalar(l)
		axpy(l)
	}
	Generate()
}

// apply sets a to a op b.
func apply(s vecgen.Step, op string, a, b VecVirtual) {
	switch op {
	case "add":
		VADDPS(b, a, a)
	case "sub":
		VSUBPS(b, a, a)
	case "mul":
		VMULPS(b, a, a)
	case "div":
		VDIVPS(b, a, a)
	case "revsub":
		VSUBPS(a, b, a)
	case "revdiv":
		VDIVPS(a, b, a)
	default:
		extreme(s, op, a, b)
	}
}

// extreme is min and max. The instructions give b where either is NaN, so that an a
// that is NaN must be kept.
func extreme(s vecgen.Step, op string, a, b VecVirtual) {
	pick, pickMasked := VMINPS, VMINPS
	if op == "max" {
		pick, pickMasked = VMAXPS, VMAXPS
	}
	if s.Wide() {
		number := K()
		VCMPPS(Imm(7), a, a, number) // ordered
		pickMasked(b, a, number, a)
		return
	}
	nan, t := s.Fit(YMM()), s.Fit(YMM())
	VCMPPS(Imm(3), a, a, nan) // unordered
	pick(b, a, t)
	VBLENDVPS(nan, a, t, a)
}

// cases branches to the code of each operation, which body writes.
func cases(op Register, count int, body func(op string)) {
	for i := range count {
		next := fmt.Sprintf("not_%s", ops[i])
		CMPQ(op, Imm(uint64(i)))
		JNE(LabelRef(next))
		body(ops[i])
		Label(next)
	}
	vecgen.Finish()
}

func binaryRows(l vecgen.Level) {
	l.Begin("binaryRows", "func(op uint64, dst, a, b *float32, rows, cols, stepA, stepB int)",
		"sets dst[r*cols+c] = a[r*stepA+c] op b[r*stepB+c].")
	op, dst, a, b := vecgen.Arg("op"), vecgen.Arg("dst"), vecgen.Arg("a"), vecgen.Arg("b")
	rows, cols, stepA, stepB := vecgen.Arg("rows"), vecgen.Arg("cols"), vecgen.Arg("stepA"), vecgen.Arg("stepB")
	mask := restMask(l, cols)
	cases(op, 6, func(op string) {
		Label(op)
		l.Sweep(op, cols, mask, 4, func(s vecgen.Step) {
			x := s.Load(a)
			apply(s, op, x, s.Load(b))
			s.Store(x, dst)
		})
		LEAQ(Mem{Base: dst, Index: cols, Scale: 4}, dst)
		LEAQ(Mem{Base: a, Index: stepA, Scale: 4}, a)
		LEAQ(Mem{Base: b, Index: stepB, Scale: 4}, b)
		DECQ(rows)
		JNZ(LabelRef(op))
		vecgen.Finish()
	})
}

func binaryColumn(l vecgen.Level) {
	l.Begin("binaryColumn", "func(op uint64, dst, a, column *float32, rows, cols int)",
		"sets dst[r*cols+c] = a[r*cols+c] op column[r].")
	op, dst, a, column := vecgen.Arg("op"), vecgen.Arg("dst"), vecgen.Arg("a"), vecgen.Arg("column")
	rows, cols := vecgen.Arg("rows"), vecgen.Arg("cols")
	mask := restMask(l, cols)
	cases(op, len(ops), func(op string) {
		Label(op)
		v := l.Vec()
		VBROADCASTSS(Mem{Base: column}, v)
		l.Sweep(op, cols, mask, 4, func(s vecgen.Step) {
			x := s.Load(a)
			apply(s, op, x, s.Fit(v))
			s.Store(x, dst)
		})
		LEAQ(Mem{Base: dst, Index: cols, Scale: 4}, dst)
		LEAQ(Mem{Base: a, Index: cols, Scale: 4}, a)
		ADDQ(Imm(4), column)
		DECQ(rows)
		JNZ(LabelRef(op))
		vecgen.Finish()
	})
}

// combine sets x to the operation on three numbers.
func combine(scale bool, x, b, c VecVirtual) {
	if scale {
		VSUBPS(b, x, x)
		VMULPS(c, x, x)
		return
	}
	VMULPS(b, x, x)
	VADDPS(c, x, x)
}

// forms writes the code of (a-b)*c, number 0, and a*b+c.
func forms(op Register, body func(name string, scale bool)) {
	TESTQ(op, op)
	JNZ(LabelRef("muladd"))
	body("scale", true)
	body("muladd", false)
}

func ternary(l vecgen.Level) {
	l.Begin("ternary", "func(op uint64, dst, a, b, c *float32, rows, cols int)",
		"meets every row of a with the rows b and c.")
	op, dst, a := vecgen.Arg("op"), vecgen.Arg("dst"), vecgen.Arg("a")
	b, c := vecgen.Arg("b"), vecgen.Arg("c")
	rows, cols := vecgen.Arg("rows"), vecgen.Arg("cols")
	mask := restMask(l, cols)
	forms(op, func(name string, scale bool) {
		Label(name)
		l.Sweep(name, cols, mask, 2, func(s vecgen.Step) {
			x := s.Load(a)
			combine(scale, x, s.Load(b), s.Load(c))
			s.Store(x, dst)
		})
		LEAQ(Mem{Base: dst, Index: cols, Scale: 4}, dst)
		LEAQ(Mem{Base: a, Index: cols, Scale: 4}, a)
		DECQ(rows)
		JNZ(LabelRef(name))
		vecgen.Finish()
	})
}

func ternaryScalar(l vecgen.Level) {
	l.Begin("ternaryScalar", "func(op uint64, dst, a *float32, n int, b, c float32)",
		"meets every element of a with b and c.")
	op, dst, a, n := vecgen.Arg("op"), vecgen.Arg("dst"), vecgen.Arg("a"), vecgen.Arg("n")
	b, c := vecgen.Scalar(l, "b"), vecgen.Scalar(l, "c")
	mask := restMask(l, n)
	forms(op, func(name string, scale bool) {
		Label(name)
		l.Sweep(name, n, mask, 4, func(s vecgen.Step) {
			x := s.Load(a)
			combine(scale, x, s.Fit(b), s.Fit(c))
			s.Store(x, dst)
		})
		vecgen.Finish()
	})
}

func axpy(l vecgen.Level) {
	l.Begin("axpy", "func(dst *float32, a float32, x *float32, n int)", "adds a*x[i] to dst[i].")
	dst, x, n := vecgen.Arg("dst"), vecgen.Arg("x"), vecgen.Arg("n")
	a := vecgen.Scalar(l, "a")
	l.Sweep("row", n, restMask(l, n), 4, func(s vecgen.Step) {
		t := s.Load(x)
		VMULPS(s.Fit(a), t, t)
		VADDPS(t, s.Load(dst), t)
		s.Store(t, dst)
	})
	vecgen.Finish()
}

func restMask(l vecgen.Level, n Register) Register {
	if !l.Wide() {
		return nil
	}
	return vecgen.RestMask(n)
}
