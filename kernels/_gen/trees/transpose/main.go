// SPDX-License-Identifier: Apache-2.0

// Command transpose generates the kernel that makes the columns of up to 16 features
// contiguous.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

func main() {
	ConstraintExpr("!purego")
	TEXT("transposeAVX512", NOSPLIT|NOFRAME, "func(x *float32, stride, rows int, mask uint64, out *float32, column int)")
	Doc("transposeAVX512 copies the columns that mask names, of the 16 that begin at x, to",
		"out, column bytes apart. Rows are stride bytes apart; there is at least one.",
		"Up to 15 copies of the last row follow it.")
	Pragma("noescape")
	x, stride := Load(Param("x"), GP64()), Load(Param("stride"), GP64())
	rows, bits := Load(Param("rows"), GP64()), Load(Param("mask"), GP64())
	out, column := Load(Param("out"), GP64()), Load(Param("column"), GP64())
	mask := K()
	KMOVQ(bits, mask)

	Label("block")
	var v [16]VecVirtual
	for i := range v {
		v[i] = ZMM()
		VMOVUPS_Z(Mem{Base: x}, mask, v[i])
		// The pointer stays on the last row.
		next := GP64()
		LEAQ(Mem{Base: x, Index: stride, Scale: 1}, next)
		DECQ(rows)
		CMOVQGT(next, x)
	}
	v = transposed(v)
	to := GP64()
	MOVQ(out, to)
	for i := range v {
		VMOVUPS(v[i], Mem{Base: to})
		if i < 15 {
			ADDQ(column, to)
		}
	}
	ADDQ(U32(64), out)
	TESTQ(rows, rows)
	JG(LabelRef("block"))
	VZEROUPPER()
	RET()
	Generate()
}

// transposed is the 16x16 transpose: pairs of rows, then quads, then lanes.
func transposed(v [16]VecVirtual) (columns [16]VecVirtual) {
	var pairs, quads [16]VecVirtual
	for i := 0; i < 16; i += 2 {
		pairs[i], pairs[i+1] = ZMM(), ZMM()
		VUNPCKLPS(v[i+1], v[i], pairs[i])
		VUNPCKHPS(v[i+1], v[i], pairs[i+1])
	}
	for i := 0; i < 16; i += 4 {
		for k := range 2 {
			quads[i+2*k], quads[i+2*k+1] = ZMM(), ZMM()
			VUNPCKLPD(pairs[i+2+k], pairs[i+k], quads[i+2*k])
			VUNPCKHPD(pairs[i+2+k], pairs[i+k], quads[i+2*k+1])
		}
	}
	lanes := func(imm uint64, b, a VecVirtual) VecVirtual {
		to := ZMM()
		VSHUFF32X4(U8(imm), b, a, to)
		return to
	}
	for c := range 4 {
		even, even2 := lanes(0x88, quads[4+c], quads[c]), lanes(0x88, quads[12+c], quads[8+c])
		odd, odd2 := lanes(0xdd, quads[4+c], quads[c]), lanes(0xdd, quads[12+c], quads[8+c])
		columns[c] = lanes(0x88, even2, even)
		columns[8+c] = lanes(0xdd, even2, even)
		columns[4+c] = lanes(0x88, odd2, odd)
		columns[12+c] = lanes(0xdd, odd2, odd)
	}
	return columns
}
