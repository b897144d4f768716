// SPDX-License-Identifier: Apache-2.0

// Command reduce_simd generates the reductions of rows and columns of float32.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"

	"github.com/millrace-ml/millrace/kernels/_gen/internal/vecgen"
)

// The reductions, numbered as kernels/vec numbers them.
var ops = []string{"sum", "squares", "abs", "max", "min", "maxabs"}

// lanes is the count of partial results, which decides the order of a sum.
const lanes = 64

func main() {
	ConstraintExpr("!purego")
	table := vecgen.MaskTable("reduceMasks", lanes)
	for _, l := range vecgen.Levels {
		reduceRows(l, table)
		dot(l, table)
		reduceCols(l, table)
		indexOf(l)
	}
	Generate()
}

// reduction is the code of one operation.
type reduction struct {
	vecgen.Level
	op        string
	identity  VecVirtual
	magnitude VecVirtual // all bits but the sign
}

func newReduction(l vecgen.Level, op string) *reduction {
	r := &reduction{Level: l, op: op}
	switch op {
	case "max":
		r.identity = l.Broadcast(0xff800000)
	case "min":
		r.identity = l.Broadcast(0x7f800000)
	default:
		r.identity = l.Zero()
	}
	if op == "abs" || op == "maxabs" {
		r.magnitude = l.Broadcast(0x7fffffff)
	}
	return r
}

// start makes accumulators.
func (r *reduction) start(acc []VecVirtual) {
	for _, a := range acc {
		VMOVAPS(r.identity, a)
	}
}

// take takes the elements at m into acc; mask, if any, says which.
func (r *reduction) take(acc VecVirtual, m Mem, mask Op) {
	v := r.load(m, mask)
	switch r.op {
	case "squares":
		VMULPS(v, v, v)
	case "abs", "maxabs":
		VANDPS(r.magnitude, v, v)
	}
	r.merge(acc, v)
}

// load makes what is not of the mask the identity.
func (r *reduction) load(m Mem, mask Op) VecVirtual {
	v := r.Vec()
	switch {
	case mask == nil:
		VMOVUPS(m, v)
	case r.Wide():
		VMOVAPS(r.identity, v)
		VMOVUPS(m, mask, v)
	default:
		bits := r.Vec()
		VMOVUPS(mask, bits)
		VMASKMOVPS(m, bits, v)
		if r.op == "max" || r.op == "min" {
			VBLENDVPS(bits, v, r.identity, v)
		}
	}
	return v
}

// merge sets p to the combination of p and q, of whatever width. The instructions give
// q where either is NaN, so that a p that is NaN must be kept.
func (r *reduction) merge(p, q Op) {
	switch r.op {
	case "max", "maxabs", "min":
	default:
		VADDPS(q, p, p)
		return
	}
	pick := VMAXPS
	if r.op == "min" {
		pick = VMINPS
	}
	if r.Wide() {
		number := K()
		VCMPPS(Imm(7), p, p, number) // ordered
		pick(q, p, number, p)
		return
	}
	nan, t := same(p), same(p)
	VCMPPS(Imm(3), p, p, nan) // unordered
	pick(q, p, t)
	VBLENDVPS(nan, p, t, p)
}

// same is a new register as wide as p.
func same(p Op) Op {
	if p.(Register).Size() == 16 {
		return XMM()
	}
	return YMM()
}

// fold combines upper halves with lower ones until the first element of acc[0] is the
// result.
func (r *reduction) fold(acc []VecVirtual) {
	for half := len(acc) / 2; half > 0; half /= 2 {
		for j := range half {
			r.merge(acc[j], acc[j+half])
		}
	}
	first := acc[0]
	if r.Wide() {
		upper := YMM()
		VEXTRACTF64X4(Imm(1), first, upper)
		r.merge(first.AsY(), upper)
	}
	x := first.AsX()
	upper := XMM()
	VEXTRACTF128(Imm(1), first.AsY(), upper)
	r.merge(x, upper)
	VPSHUFD(Imm(0xee), x, upper)
	r.merge(x, upper)
	VPSHUFD(Imm(0x55), x, upper)
	r.merge(x, upper)
}

// accumulators are enough vectors for all lanes.
func accumulators(l vecgen.Level) []VecVirtual {
	acc := make([]VecVirtual, lanes/l.Width)
	for j := range acc {
		acc[j] = l.Vec()
	}
	return acc
}

func reduceRows(l vecgen.Level, table Mem) {
	l.Begin("reduceRows", "func(op uint64, dst, src *float32, rows, cols int)",
		"reduces each row of cols elements.")
	op, dst, p := vecgen.Arg("op"), vecgen.Arg("dst"), vecgen.Arg("src")
	rows, cols := vecgen.Arg("rows"), vecgen.Arg("cols")
	n := GP64()
	for i, name := range ops {
		next := "not_" + name
		CMPQ(op, Imm(uint64(i)))
		JNE(LabelRef(next))
		r, acc := newReduction(l, name), accumulators(l)
		Label(name)
		r.start(acc)
		MOVQ(cols, n)
		l.Row(name, n, table, []Register{p}, func(j int, at []Mem, mask Op) { r.take(acc[j], at[0], mask) })
		r.fold(acc)
		VMOVSS(acc[0].AsX(), Mem{Base: dst})
		ADDQ(Imm(4), dst)
		DECQ(rows)
		JNZ(LabelRef(name))
		vecgen.Finish()
		Label(next)
	}
	vecgen.Finish()
}

func dot(l vecgen.Level, table Mem) {
	l.Begin("dot", "func(a, b *float32, n int) float32", "adds up a[i]*b[i].")
	a, b, n := vecgen.Arg("a"), vecgen.Arg("b"), vecgen.Arg("n")
	r, acc := newReduction(l, "sum"), accumulators(l)
	r.start(acc)
	l.Row("dot", n, table, []Register{a, b}, func(j int, at []Mem, mask Op) {
		v := r.load(at[0], mask)
		if mask == nil {
			VMULPS(at[1], v, v)
		} else {
			VMULPS(r.load(at[1], mask), v, v)
		}
		VADDPS(v, acc[j], acc[j])
	})
	r.fold(acc)
	Store(acc[0].AsX(), ReturnIndex(0))
	vecgen.Finish()
}

func reduceCols(l vecgen.Level, table Mem) {
	l.Begin("reduceCols", "func(op uint64, dst, src *float32, mid, cols int)",
		"reduces each of cols columns of mid elements, in their order.")
	op, dst, src := vecgen.Arg("op"), vecgen.Arg("dst"), vecgen.Arg("src")
	mid, cols := vecgen.Arg("mid"), vecgen.Arg("cols")
	stride := GP64()
	MOVQ(cols, stride)
	SHLQ(Imm(2), stride)
	for i, name := range ops {
		next := "not_" + name
		CMPQ(op, Imm(uint64(i)))
		JNE(LabelRef(next))
		r := newReduction(l, name)
		for _, vectors := range []int{8, 2, 1} {
			r.columns(fmt.Sprintf("%s_%d", name, vectors), vectors, dst, src, mid, cols, stride)
		}
		r.rest(name+"_rest", table, dst, src, mid, cols, stride)
		vecgen.Finish()
		Label(next)
	}
	vecgen.Finish()
}

// columns reduces some vectors of columns as long as there are as many.
func (r *reduction) columns(label string, vectors int, dst, src, mid, cols, stride Register) {
	width := vectors * r.Width
	Label(label)
	CMPQ(cols, U32(width))
	JLT(LabelRef(label + "_end"))
	acc := make([]VecVirtual, vectors)
	for j := range acc {
		acc[j] = r.Vec()
	}
	r.down(label, acc, src, mid, stride, nil)
	for j := range acc {
		VMOVUPS(acc[j], Mem{Base: dst, Disp: 4 * r.Width * j})
	}
	ADDQ(U32(4*width), dst)
	ADDQ(U32(4*width), src)
	SUBQ(U32(width), cols)
	JMP(LabelRef(label))
	Label(label + "_end")
}

// down takes all rows of some columns in.
func (r *reduction) down(label string, acc []VecVirtual, src, mid, stride Register, mask Op) {
	p, m := GP64(), GP64()
	r.start(acc)
	MOVQ(src, p)
	MOVQ(mid, m)
	TESTQ(m, m)
	JZ(LabelRef(label + "_down_end"))
	Label(label + "_down")
	for j := range acc {
		r.take(acc[j], Mem{Base: p, Disp: 4 * r.Width * j}, mask)
	}
	ADDQ(stride, p)
	DECQ(m)
	JNZ(LabelRef(label + "_down"))
	Label(label + "_down_end")
}

// rest reduces the last columns, fewer than a vector.
func (r *reduction) rest(label string, table Mem, dst, src, mid, cols, stride Register) {
	TESTQ(cols, cols)
	JZ(LabelRef(label + "_end"))
	acc := r.Vec()
	if r.Wide() {
		mask := vecgen.RestMask(cols)
		r.down(label, []VecVirtual{acc}, src, mid, stride, mask)
		VMOVUPS(acc, mask, Mem{Base: dst})
	} else {
		mask := vecgen.MaskAt(table, lanes, cols)
		r.down(label, []VecVirtual{acc}, src, mid, stride, mask)
		bits := YMM()
		VMOVUPS(mask, bits)
		VMASKMOVPS(acc, bits, Mem{Base: dst})
	}
	Label(label + "_end")
}

func indexOf(l vecgen.Level) {
	l.Begin("indexOf", "func(a *float32, n int, v float32, nan bool) int",
		"is the first index of v, or of NaN, or n.")
	a, n := vecgen.Arg("a"), vecgen.Arg("n")
	nan := Load(Param("nan"), GP8())
	v := vecgen.Scalar(l, "v")
	i, found := GP64(), GP64()
	XORQ(i, i)
	TESTB(nan, nan)
	JNZ(LabelRef("nan"))
	search(l, "number", a, n, i, found, func(x, mask Op) { VCMPPS(Imm(0), x, v, mask) })
	Label("nan")
	search(l, "nan", a, n, i, found, func(x, mask Op) { VCMPPS(Imm(3), x, x, mask) })
}

// search looks for the first element that compare finds, a vector at a time while
// there is a whole one.
func search(l vecgen.Level, label string, a, n, i, found Register, compare func(x, mask Op)) {
	next := GP64()
	Label(label + "_many")
	LEAQ(Mem{Base: i, Disp: l.Width}, next)
	CMPQ(next, n)
	JGT(LabelRef(label + "_one"))
	x := l.Vec()
	VMOVUPS(Mem{Base: a, Index: i, Scale: 4}, x)
	if l.Wide() {
		k := K()
		compare(x, k)
		KMOVW(k, found.(GPVirtual).As32())
	} else {
		k := YMM()
		compare(x, k)
		VMOVMSKPS(k, found.(GPVirtual).As32())
	}
	TESTL(found.(GPVirtual).As32(), found.(GPVirtual).As32())
	JNZ(LabelRef(label + "_found"))
	MOVQ(next, i)
	JMP(LabelRef(label + "_many"))
	Label(label + "_found")
	TZCNTL(found.(GPVirtual).As32(), found.(GPVirtual).As32())
	ADDQ(found, i)
	JMP(LabelRef(label + "_end"))

	Label(label + "_one")
	CMPQ(i, n)
	JGE(LabelRef(label + "_end"))
	VMOVSS(Mem{Base: a, Index: i, Scale: 4}, x.AsX())
	single(l, x, found, compare)
	JNZ(LabelRef(label + "_end"))
	INCQ(i)
	JMP(LabelRef(label + "_one"))
	Label(label + "_end")
	Store(i, ReturnIndex(0))
	vecgen.Finish()
}

// single tests the lowest element of x, whose others are 0.
func single(l vecgen.Level, x VecVirtual, found Register, compare func(x, mask Op)) {
	if l.Wide() {
		k := K()
		compare(x, k)
		KMOVW(k, found.(GPVirtual).As32())
	} else {
		k := YMM()
		compare(x, k)
		VMOVMSKPS(k, found.(GPVirtual).As32())
	}
	ANDL(Imm(1), found.(GPVirtual).As32())
}
