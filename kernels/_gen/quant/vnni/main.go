// SPDX-License-Identifier: Apache-2.0

// Command vnni generates the matrix kernels of kernels/quant that use VPDPBUSD: one for
// each number of rows up to 14, each of which goes over any number of panels.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"

	gen "github.com/millrace-ml/millrace/kernels/_gen/internal/quantgen"
)

const (
	rowsMax    = 14
	panelBytes = 128 // of one step: 32 columns of four weights
	unroll     = 4
)

// kernel is one TEXT being written.
type kernel struct {
	rows  int
	args  gen.Args
	a     gen.Rows
	b     Register
	out   Register
	ld    Register    // bytes between rows of the output
	left  Register    // columns from this panel on
	col   Register    // bytes from the first column to this panel in arrays of 4-byte elements
	masks [2]Register // of each half
	all   Register    // of both
	order Mem         // indices of the lowest bytes of two vectors
	// acc are the sums: of row i and half h of the panel at [phase][2*i+h]. Few rows
	// take turns with several sets, since one instruction's result takes four cycles.
	acc [][]VecVirtual
}

func main() {
	ConstraintExpr("!purego")
	order := GLOBL("lowBytes", RODATA|NOPTR)
	for i := range 64 {
		DATA(i, U8(uint8(4*i)))
	}
	for m := 1; m <= rowsMax; m++ {
		tile(m, order)
	}
	peak()
	Generate()
}

func tile(m int, order Mem) {
	TEXT(fmt.Sprintf("tileVNNIx%d", m), NOSPLIT, "func(t *byte)")
	Doc(fmt.Sprintf("tileVNNIx%d computes all outputs of %d rows. t points to a tile.", m, m))
	Pragma("noescape")
	args := gen.LoadArgs()
	k := &kernel{rows: m, args: args, order: order, b: args.Get(gen.B), out: args.Get(gen.Out), ld: args.Get(gen.OutStride), left: args.Get(gen.Columns), col: GP64()}
	k.a = gen.NewRows(m, args.Get(gen.A), args.Get(gen.LDA))
	XORQ(k.col, k.col)
	Label("panel")
	k.setMasks()
	k.initialise()
	k.multiply()
	k.rowZeros()
	k.store()
	Label("next")
	ADDQ(U32(panelBytes), k.col)
	SUBQ(U32(32), k.left)
	JG(LabelRef("panel"))
	VZEROUPPER()
	RET()
}

// setMasks selects the columns that exist.
func (k *kernel) setMasks() {
	count, full, bits := GP64(), GP64(), GP64()
	MOVQ(k.left, count)
	MOVQ(U32(32), full)
	CMPQ(count, full)
	CMOVQGT(full, count)
	MOVQ(I32(-1), bits)
	BZHIQ(count, bits, bits)
	k.masks, k.all = [2]Register{K(), K()}, K()
	KMOVD(bits.As32(), k.all)
	KMOVW(bits.As32(), k.masks[0])
	SHRQ(U8(16), bits)
	KMOVW(bits.As32(), k.masks[1])
}

// initialise starts the sums with what does not depend on the row: the zero point of
// the activations and the integer bias.
func (k *kernel) initialise() {
	phases := 1
	for k.rows*phases < 3 {
		phases *= 2
	}
	k.acc = make([][]VecVirtual, phases)
	for p := range k.acc {
		k.acc[p] = make([]VecVirtual, 2*k.rows)
		for i := range k.acc[p] {
			k.acc[p][i] = ZMM()
		}
	}
	first := k.acc[0][:2]
	p, zero := k.args.Get(gen.Correct), ZMM()
	VPBROADCASTD(k.args.Field(gen.MinusZero), zero)
	VPMULLD(Mem{Base: p, Index: k.col, Scale: 1}, zero, first[0])
	VPMULLD(Mem{Base: p, Index: k.col, Scale: 1, Disp: 64}, zero, first[1])
	bias := k.args.Get(gen.Bias32)
	TESTQ(bias, bias)
	JE(LabelRef("start"))
	VPADDD(Mem{Base: bias, Index: k.col, Scale: 1}, first[0], k.masks[0], first[0])
	VPADDD(Mem{Base: bias, Index: k.col, Scale: 1, Disp: 64}, first[1], k.masks[1], first[1])
	Label("start")
	for i := 2; i < 2*k.rows; i++ {
		VMOVDQA64(first[i%2], k.acc[0][i])
	}
	for _, set := range k.acc[1:] {
		for _, v := range set {
			VPXORD(v, v, v)
		}
	}
}

// multiply adds the products of the whole depth of the panel.
func (k *kernel) multiply() {
	steps := k.args.Get(gen.Steps)
	SUBQ(U32(unroll), steps)
	JL(LabelRef("rest"))
	Label("loop")
	for i := range unroll {
		k.step(i, k.acc[i%len(k.acc)])
	}
	k.a.Advance(U32(4 * unroll))
	ADDQ(U32(panelBytes*unroll), k.b)
	SUBQ(U32(unroll), steps)
	JGE(LabelRef("loop"))
	Label("rest")
	ADDQ(U32(unroll), steps)
	JE(LabelRef("end"))
	Label("single")
	k.step(0, k.acc[0])
	k.a.Advance(U32(4))
	ADDQ(U32(panelBytes), k.b)
	DECQ(steps)
	JNE(LabelRef("single"))
	Label("end")
	depth := k.args.Get(gen.Steps)
	SHLQ(U8(2), depth)
	k.a.Back(depth)
	for _, set := range k.acc[1:] {
		for i, v := range set {
			VPADDD(v, k.acc[0][i], k.acc[0][i])
		}
	}
}

// step adds four products to each sum; i is the step within the unrolled loop.
func (k *kernel) step(i int, acc []VecVirtual) {
	at := Mem{Base: k.b, Disp: panelBytes * i}
	ahead := prefetch(k.rows)
	if ahead > 0 {
		PREFETCHT0(at.Offset(ahead))
		PREFETCHT0(at.Offset(ahead + 64))
	}
	if k.rows == 1 {
		a := ZMM()
		VPBROADCASTD(k.a.At(0, 4*i), a)
		VPDPBUSD(at, a, acc[0])
		VPDPBUSD(at.Offset(64), a, acc[1])
		return
	}
	b0, b1 := ZMM(), ZMM()
	VMOVDQU64(at, b0)
	VMOVDQU64(at.Offset(64), b1)
	for r := range k.rows {
		a := ZMM()
		VPBROADCASTD(k.a.At(r, 4*i), a)
		VPDPBUSD(b0, a, acc[2*r])
		VPDPBUSD(b1, a, acc[2*r+1])
	}
}

// prefetch is how many bytes of weights ahead of use are asked for.
func prefetch(rows int) int {
	if rows <= 6 {
		return 2048
	}
	return 1024
}

// rowZeros takes off what the zero points of the weights contribute, which is in
// proportion to the sum of the row's activations.
func (k *kernel) rowZeros() {
	zeros := k.args.Get(gen.Zeros)
	TESTQ(zeros, zeros)
	JE(LabelRef("finish"))
	sums := k.args.Get(gen.Sums)
	for h := range 2 {
		z, t := ZMM(), ZMM()
		VMOVDQU32(Mem{Base: zeros, Index: k.col, Scale: 1, Disp: 64 * h}, z)
		for r := range k.rows {
			VPMULLD_BCST(Mem{Base: sums, Disp: 4 * r}, z, t)
			VPSUBD(t, k.acc[0][2*r+h], k.acc[0][2*r+h])
		}
	}
	Label("finish")
}

// store writes the outputs of the panel in the form that is asked for.
func (k *kernel) store() {
	kind := k.args.Get(gen.OutKind)
	CMPQ(kind, U8(gen.KindFloats))
	JE(LabelRef("floats"))
	JG(LabelRef("bytes"))
	for h := range 2 {
		k.eachRow(h, func(v VecVirtual, to Mem) { VMOVDQU32(v, k.masks[h], to) })
	}
	ADDQ(U32(128), k.out)
	JMP(LabelRef("next"))

	Label("floats")
	for h := range 2 {
		scale, bias := k.scaleAndBias("Floats", h)
		lo, hi := ZMM(), ZMM()
		VBROADCASTSS(k.args.Field(gen.Lo), lo)
		VBROADCASTSS(k.args.Field(gen.Hi), hi)
		k.eachRow(h, func(v VecVirtual, to Mem) {
			affine(v, scale, bias)
			// The value comes second: of NaN and a bound, or of two zeros, it stays.
			VMAXPS(v, lo, v)
			VMINPS(v, hi, v)
			VMOVUPS(v, k.masks[h], to)
		})
	}
	ADDQ(U32(128), k.out)
	JMP(LabelRef("next"))

	Label("bytes")
	for h := range 2 {
		scale, bias := k.scaleAndBias("Bytes", h)
		for r := range k.rows {
			v := k.acc[0][2*r+h]
			affine(v, scale, bias)
			// The bound comes second: NaN becomes the lowest value.
			VMAXPS_BCST(k.args.Field(gen.Lo), v, v)
			VMINPS_BCST(k.args.Field(gen.Hi), v, v)
			VCVTPS2DQ(v, v)
		}
	}
	k.storeBytes()
}

// storeBytes writes the lowest bytes of both halves of each row. Zero point and flip are
// added to those, modulo 256: the result is known to fit.
func (k *kernel) storeBytes() {
	order, add, p := ZMM(), YMM(), GP64()
	VMOVDQU64(k.order, order)
	VPBROADCASTB(k.args.Field(gen.OutByte), add)
	MOVQ(k.out, p)
	for r := range k.rows {
		v := k.acc[0][2*r]
		VPERMT2B(k.acc[0][2*r+1], order, v)
		VPADDB(add, v.AsY(), v.AsY())
		VMOVDQU8(v.AsY(), k.all, Mem{Base: p})
		if r < k.rows-1 {
			ADDQ(k.ld, p)
		}
	}
	ADDQ(U32(32), k.out)
}

// eachRow calls body with the sums of half h of each row and where its outputs go.
func (k *kernel) eachRow(h int, body func(v VecVirtual, to Mem)) {
	p := GP64()
	MOVQ(k.out, p)
	for r := range k.rows {
		body(k.acc[0][2*r+h], Mem{Base: p, Disp: 64 * h})
		if r < k.rows-1 {
			ADDQ(k.ld, p)
		}
	}
}

// scaleAndBias are those of half h of the panel's columns.
func (k *kernel) scaleAndBias(kind string, h int) (scale, bias VecVirtual) {
	scale, bias = ZMM(), ZMM()
	label := func(name string) string { return fmt.Sprintf("%s%s%d", name, kind, h) }
	p, step := k.args.Get(gen.WScale), k.args.Get(gen.WStep)
	VBROADCASTSS(Mem{Base: p}, scale)
	TESTQ(step, step)
	JE(LabelRef(label("oneScale")))
	VMOVUPS_Z(Mem{Base: p, Index: k.col, Scale: 1, Disp: 64 * h}, k.masks[h], scale)
	Label(label("oneScale"))
	VMULPS_BCST(k.args.Field(gen.AScale), scale, scale)
	VXORPS(bias, bias, bias)
	q := k.args.Get(gen.Bias)
	TESTQ(q, q)
	JE(LabelRef(label("noBias")))
	VMOVUPS_Z(Mem{Base: q, Index: k.col, Scale: 1, Disp: 64 * h}, k.masks[h], bias)
	Label(label("noBias"))
	if kind == "Bytes" {
		VDIVPS_BCST(k.args.Field(gen.OutScale), scale, scale)
		VMULPS_BCST(k.args.Field(gen.OutInvert), bias, bias)
	}
	return scale, bias
}

// affine turns sums into scaled floats, with the roundings of separate operations.
func affine(v, scale, bias VecVirtual) {
	VCVTDQ2PS(v, v)
	VMULPS(scale, v, v)
	VADDPS(bias, v, v)
}

// peak is the ceiling of the kernels above: nothing but VPDPBUSD on registers.
func peak() {
	const chains = 16
	TEXT("peakVNNI", NOSPLIT, "func(n int)")
	Doc(fmt.Sprintf("peakVNNI runs n times %d independent VPDPBUSD.", chains))
	n := Load(Param("n"), GP64())
	a, b := ZMM(), ZMM()
	VPXORD(a, a, a)
	VPXORD(b, b, b)
	acc := make([]VecVirtual, chains)
	for i := range acc {
		acc[i] = ZMM()
		VPXORD(acc[i], acc[i], acc[i])
	}
	TESTQ(n, n)
	JLE(LabelRef("end"))
	Label("loop")
	for _, v := range acc {
		VPDPBUSD(a, b, v)
	}
	DECQ(n)
	JNE(LabelRef("loop"))
	Label("end")
	VZEROUPPER()
	RET()
}
