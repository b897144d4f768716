// SPDX-License-Identifier: Apache-2.0

// Command wide generates the matrix kernels of kernels/quant for processors without
// VPDPBUSD. The older product of bytes, VPMADDUBSW, saturates its sums of two at 16
// bits, so both factors are widened to 16 bits, whose products VPMADDWD adds exactly.
// The kernels leave plain sums, which finish then turns into outputs row by row.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"

	gen "github.com/millrace-ml/millrace/kernels/_gen/internal/quantgen"
)

const (
	panelBytes = 128 // of one step: 32 columns of four weights
	unroll     = 2
)

// isa is a width of vectors: of so many bytes, in so many rows of two.
type isa struct {
	name  string
	bytes int
	rows  int
	reg   func() VecVirtual
}

func main() {
	ConstraintExpr("!purego")
	for _, v := range []isa{{"AVX2", 32, 6, YMM}, {"AVX512", 64, 12, ZMM}} {
		for m := 1; m <= v.rows; m++ {
			v.tile(m)
		}
	}
	finish()
	Generate()
}

// tile is the kernel of m rows: it goes over panels, in each over as many columns as two
// vectors hold, and leaves the sums of 32 columns of each panel, existing or not.
func (v isa) tile(m int) {
	TEXT(fmt.Sprintf("tile%sx%d", v.name, m), NOSPLIT, "func(t *byte)")
	Doc(fmt.Sprintf("tile%sx%d computes the sums of %d rows of activations widened to 16 bits.", v.name, m, m))
	Pragma("noescape")
	args := gen.LoadArgs()
	a := gen.NewRows(m, args.Get(gen.A), args.Get(gen.LDA))
	out, ld, left := args.Get(gen.Out), args.Get(gen.OutStride), args.Get(gen.Columns)
	b, part := args.Get(gen.B), GP64()
	Label("panel")
	XORQ(part, part)
	Label("part")
	acc := v.multiply(args, a, b, part)
	v.store(acc, out, ld)
	ADDQ(U32(uint32(v.bytes)), out) // two vectors of pairs of sums are one of sums
	ADDQ(U32(uint32(v.bytes)), part)
	CMPQ(part, U32(panelBytes))
	JL(LabelRef("part"))
	depth := args.Get(gen.Steps)
	SHLQ(U8(7), depth)
	ADDQ(depth, b)
	SUBQ(U32(32), left)
	JG(LabelRef("panel"))
	VZEROUPPER()
	RET()
}

// multiply adds up the products of the part of a panel that begins at a byte. Of each
// column there are two sums, of the even and the odd pairs of products, side by side.
func (v isa) multiply(args gen.Args, a gen.Rows, panel, part Register) []VecVirtual {
	acc := make([]VecVirtual, 2*a.Len())
	for i := range acc {
		acc[i] = v.reg()
		VXORPS(acc[i], acc[i], acc[i])
	}
	b, steps := GP64(), args.Get(gen.Steps)
	LEAQ(Mem{Base: panel, Index: part, Scale: 1}, b)
	SUBQ(U32(unroll), steps)
	JL(LabelRef("rest"))
	Label("loop")
	for i := range unroll {
		v.step(i, a, b, acc)
	}
	a.Advance(U32(8 * unroll))
	ADDQ(U32(panelBytes*unroll), b)
	SUBQ(U32(unroll), steps)
	JGE(LabelRef("loop"))
	Label("rest")
	ADDQ(U32(unroll), steps)
	JE(LabelRef("end"))
	Label("single")
	v.step(0, a, b, acc)
	a.Advance(U32(8))
	ADDQ(U32(panelBytes), b)
	DECQ(steps)
	JNE(LabelRef("single"))
	Label("end")
	depth := args.Get(gen.Steps)
	SHLQ(U8(3), depth)
	a.Back(depth)
	return acc
}

func (v isa) step(i int, a gen.Rows, b Register, acc []VecVirtual) {
	b0, b1 := v.reg(), v.reg()
	VPMOVSXBW(Mem{Base: b, Disp: panelBytes * i}, b0)
	VPMOVSXBW(Mem{Base: b, Disp: panelBytes*i + v.bytes/2}, b1)
	for r := range a.Len() {
		x, y := v.reg(), v.reg()
		VPBROADCASTQ(a.At(r, 8*i), x)
		VPMADDWD(b0, x, y)
		VPMADDWD(b1, x, x)
		VPADDD(y, acc[2*r], acc[2*r])
		VPADDD(x, acc[2*r+1], acc[2*r+1])
	}
}

// store adds the pairs and writes them in the order of the columns.
func (v isa) store(acc []VecVirtual, out, ld Register) {
	p := GP64()
	MOVQ(out, p)
	for i := 0; i < len(acc); i += 2 {
		if v.bytes == 32 {
			VPHADDD(acc[i+1], acc[i], acc[i])
			VPERMQ(U8(0xd8), acc[i], acc[i])
			VMOVUPS(acc[i], Mem{Base: p})
		} else {
			for h, x := range acc[i : i+2] {
				odd := v.reg()
				VPSRLQ(U8(32), x, odd)
				VPADDD(odd, x, x)
				VPMOVQD(x, Mem{Base: p, Disp: 32 * h})
			}
		}
		ADDQ(ld, p)
	}
}

// finish turns sums of one row into outputs.
func finish() {
	TEXT("finishAVX2", NOSPLIT, "func(t *byte)")
	Doc("finishAVX2 computes the outputs of one row from the sums at a. Columns is a multiple",
		"of 8, and not 0.")
	Pragma("noescape")
	args := gen.LoadArgs()
	a, out, left, col := args.Get(gen.A), args.Get(gen.Out), args.Get(gen.Columns), GP64()
	zero := YMM()
	VPBROADCASTD(args.Field(gen.MinusZero), zero)
	XORQ(col, col)
	Label("loop")
	x := YMM()
	at := func(base Register) Mem { return Mem{Base: base, Index: col, Scale: 1} }
	VPMULLD(at(args.Get(gen.Correct)), zero, x)
	VPADDD(at(a), x, x)
	optional(args.Get(gen.Zeros), "bias32", func(p Register) {
		sum, t := YMM(), args.Get(gen.Sums)
		VPBROADCASTD(Mem{Base: t}, sum)
		VPMULLD(at(p), sum, sum)
		VPSUBD(sum, x, x)
	})
	optional(args.Get(gen.Bias32), "kind", func(p Register) { VPADDD(at(p), x, x) })
	CMPQ(args.Field(gen.OutKind), U8(gen.KindFloats))
	JE(LabelRef("floats"))
	JG(LabelRef("bytes"))
	VMOVUPS(x, at(out))
	JMP(LabelRef("next"))
	Label("floats")
	finishFloats(args, x, at, out)
	JMP(LabelRef("next"))
	Label("bytes")
	finishBytes(args, x, at, out)
	Label("next")
	ADDQ(U32(32), col)
	SUBQ(U32(8), left)
	JG(LabelRef("loop"))
	VZEROUPPER()
	RET()
}

// optional runs body with a pointer that is not nil; the label is where it goes on.
func optional(p Register, label string, body func(p Register)) {
	TESTQ(p, p)
	JE(LabelRef(label))
	body(p)
	Label(label)
}

func finishFloats(args gen.Args, x VecVirtual, at func(Register) Mem, out Register) {
	scale, bias := scaleAndBias("Floats", args, at)
	affine(x, scale, bias)
	bound := YMM()
	// The value comes second: of NaN and a bound, or of two zeros, it stays.
	VBROADCASTSS(args.Field(gen.Lo), bound)
	VMAXPS(x, bound, x)
	VBROADCASTSS(args.Field(gen.Hi), bound)
	VMINPS(x, bound, x)
	VMOVUPS(x, at(out))
}

func finishBytes(args gen.Args, x VecVirtual, at func(Register) Mem, out Register) {
	scale, bias := scaleAndBias("Bytes", args, at)
	c := YMM()
	VBROADCASTSS(args.Field(gen.OutScale), c)
	VDIVPS(c, scale, scale)
	VBROADCASTSS(args.Field(gen.OutInvert), c)
	VMULPS(c, bias, bias)
	affine(x, scale, bias)
	// The bound comes second: NaN becomes the lowest value.
	VBROADCASTSS(args.Field(gen.Lo), c)
	VMAXPS(c, x, x)
	VBROADCASTSS(args.Field(gen.Hi), c)
	VMINPS(c, x, x)
	VCVTPS2DQ(x, x)
	VBROADCASTSS(args.Field(gen.OutZero), c)
	VPADDD(c, x, x)
	VPACKSSDW(x, x, x)
	VPERMQ(U8(0x08), x, x)
	VPACKUSWB(x.AsX(), x.AsX(), x.AsX())
	VBROADCASTSS(args.Field(gen.Flip), c)
	VPXOR(c.AsX(), x.AsX(), x.AsX())
	// The column's offset is that of elements of four bytes.
	p := GP64()
	MOVQ(at(out).Index, p)
	SHRQ(U8(2), p)
	VMOVQ(x.AsX(), Mem{Base: out, Index: p, Scale: 1})
}

func scaleAndBias(kind string, args gen.Args, at func(Register) Mem) (scale, bias VecVirtual) {
	scale, bias = YMM(), YMM()
	p := args.Get(gen.WScale)
	VBROADCASTSS(Mem{Base: p}, scale)
	optional(args.Get(gen.WStep), "scaled"+kind, func(Register) { VMOVUPS(at(p), scale) })
	c := YMM()
	VBROADCASTSS(args.Field(gen.AScale), c)
	VMULPS(c, scale, scale)
	VXORPS(bias, bias, bias)
	optional(args.Get(gen.Bias), "biased"+kind, func(q Register) { VMOVUPS(at(q), bias) })
	return scale, bias
}

// affine turns sums into scaled floats, with the roundings of separate operations.
func affine(x, scale, bias VecVirtual) {
	VCVTDQ2PS(x, x)
	VMULPS(scale, x, x)
	VADDPS(bias, x, x)
}
