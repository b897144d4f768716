// SPDX-License-Identifier: Apache-2.0

// Command rows generates the kernels of kernels/gemm that prepare operands and finish
// results, row by row. They need AVX2; wider vectors would not make them faster.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

const (
	panelBytes = 128 // of a row of a panel
	ymmBytes   = 32
)

func main() {
	ConstraintExpr("!purego")
	dotRows()
	packRows()
	packColumns()
	widenPairs()
	quantise()
	Generate()
}

// countDown repeats body n times.
func countDown(n reg.Register, name string, body func()) {
	TESTQ(n, n)
	JLE(LabelRef(name + "_end"))
	Label(name)
	body()
	DECQ(n)
	JG(LabelRef(name))
	Label(name + "_end")
}

// packRows copies rows of 32 columns into a panel.
func packRows() {
	TEXT("packRowsAVX2", NOSPLIT, "func(panel, b *float32, k, ldb int)")
	Doc("packRowsAVX2 copies k rows of 32 values, ldb bytes apart.")
	Pragma("noescape")
	to, from := Load(Param("panel"), GP64()), Load(Param("b"), GP64())
	k, ldb := Load(Param("k"), GP64()), Load(Param("ldb"), GP64())
	countDown(k, "row", func() {
		var v [4]reg.VecVirtual
		for i := range v {
			v[i] = YMM()
			VMOVUPS(Mem{Base: from, Disp: i * ymmBytes}, v[i])
		}
		for i := range v {
			VMOVUPS(v[i], Mem{Base: to, Disp: i * ymmBytes})
		}
		ADDQ(ldb, from)
		ADDQ(Imm(panelBytes), to)
	})
	VZEROUPPER()
	RET()
}

// packColumns transposes. Each vector starts as four values of rows i and i+4, so that
// what is left to do is a transposition of 4 x 4 within both halves.
func packColumns() {
	TEXT("packColumnsAVX2", NOSPLIT, "func(panel, b *float32, fours, ldb int)")
	Doc("packColumnsAVX2 writes 4*fours values of each of 8 rows, ldb bytes apart, into",
		"8 columns of a panel.")
	Pragma("noescape")
	to, low := Load(Param("panel"), GP64()), Load(Param("b"), GP64())
	fours, ldb := Load(Param("fours"), GP64()), Load(Param("ldb"), GP64())
	ldb3, high := GP64(), GP64()
	LEAQ(Mem{Base: ldb, Index: ldb, Scale: 2}, ldb3)
	LEAQ(Mem{Base: low, Index: ldb, Scale: 4}, high)
	row := func(base reg.Register, i int) Mem {
		switch i {
		case 0:
			return Mem{Base: base}
		case 3:
			return Mem{Base: base, Index: ldb3, Scale: 1}
		}
		return Mem{Base: base, Index: ldb, Scale: uint8(i)}
	}
	countDown(fours, "four", func() {
		var r, pair, out [4]reg.VecVirtual
		for i := range r {
			r[i], pair[i], out[i] = YMM(), YMM(), YMM()
			VMOVUPS(row(low, i), r[i].AsX())
			VINSERTF128(Imm(1), row(high, i), r[i], r[i])
		}
		VUNPCKLPS(r[1], r[0], pair[0])
		VUNPCKHPS(r[1], r[0], pair[1])
		VUNPCKLPS(r[3], r[2], pair[2])
		VUNPCKHPS(r[3], r[2], pair[3])
		for i := range 2 {
			VUNPCKLPD(pair[i+2], pair[i], out[2*i])
			VUNPCKHPD(pair[i+2], pair[i], out[2*i+1])
		}
		for i := range out {
			VMOVUPS(out[i], Mem{Base: to, Disp: i * panelBytes})
		}
		ADDQ(Imm(16), low)
		ADDQ(Imm(16), high)
		ADDQ(U32(4*panelBytes), to)
	})
	VZEROUPPER()
	RET()
}

// widenPairs splits pairs of bf16, of which the first is the lower half of a word.
func widenPairs() {
	TEXT("widenPairsAVX2", NOSPLIT, "func(panel *float32, b *uint16, pairs int)")
	Doc("widenPairsAVX2 writes rows 2i and 2i+1 of a panel of f32 for row i of a panel of bf16.")
	Pragma("noescape")
	to, from := Load(Param("panel"), GP64()), Load(Param("b"), GP64())
	pairs := Load(Param("pairs"), GP64())
	upper := YMM()
	VPCMPEQD(upper, upper, upper)
	VPSLLD(Imm(16), upper, upper)
	countDown(pairs, "pair", func() {
		for i := range 4 {
			first, second := YMM(), YMM()
			VMOVDQU(Mem{Base: from, Disp: i * ymmBytes}, second)
			VPSLLD(Imm(16), second, first)
			VPAND(upper, second, second)
			VMOVDQU(first, Mem{Base: to, Disp: i * ymmBytes})
			VMOVDQU(second, Mem{Base: to, Disp: panelBytes + i*ymmBytes})
		}
		ADDQ(U32(panelBytes), from)
		ADDQ(U32(2*panelBytes), to)
	})
	VZEROUPPER()
	RET()
}

// quantise limits before it rounds, as the conversion knows no values beyond int32.
func quantise() {
	TEXT("quantiseAVX2", NOSPLIT, "func(dst *uint8, src *float32, eights int, scale, least, most float32)")
	Doc("quantiseAVX2 stores 8*eights values: round(min(max(x/scale, least), most)) - least.")
	Pragma("noescape")
	to, from := Load(Param("dst"), GP64()), Load(Param("src"), GP64())
	eights := Load(Param("eights"), GP64())
	var v [3]reg.VecVirtual
	for i, name := range []string{"scale", "least", "most"} {
		v[i] = YMM()
		p, _ := Param(name).Resolve()
		VBROADCASTSS(p.Addr, v[i])
	}
	scale, least, most, zero := v[0], v[1], v[2], YMM()
	VCVTPS2DQ(least, zero)
	countDown(eights, "eight", func() {
		x, high := YMM(), XMM()
		VMOVUPS(Mem{Base: from}, x)
		VDIVPS(scale, x, x)
		VMAXPS(least, x, x) // NaN becomes the operand named first
		VMINPS(most, x, x)
		VCVTPS2DQ(x, x)
		VPSUBD(zero, x, x)
		VEXTRACTI128(Imm(1), x, high)
		VPACKUSDW(high, x.AsX(), high)
		VPACKUSWB(high, high, high)
		VMOVQ(high, Mem{Base: to})
		ADDQ(Imm(ymmBytes), from)
		ADDQ(Imm(8), to)
	})
	VZEROUPPER()
	RET()
}
