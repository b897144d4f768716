// SPDX-License-Identifier: Apache-2.0

// Command row_bins generates the kernels that quantise one row for the row kernels:
// kernels/trees/row_bins.go tells the data they read.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// The layout of a slot, and how far its bounds are behind its pivots.
const (
	slotFeature = 0
	slotMissing = 4
	slotOffset  = 8
	slotBytes   = 12
	pivotBytes  = 16 * 4
)

// reached is the predicate "at least", false for NaN, on the value and a bound.
var reached = Imm(29)

func main() {
	ConstraintExpr("!purego")
	bins("rowBinsAVX2", "AVX2 and POPCNT", YMM, countAVX2)
	bins("rowBinsAVX512", "AVX512F and POPCNT", ZMM, countAVX512)
	Generate()
}

// countAVX512 counts which of 16 bounds the value has reached.
func countAVX512(at Mem, x VecVirtual) GPVirtual {
	k, n := K(), GP32()
	VCMPPS(reached, at, x, k)
	KMOVW(k, n)
	POPCNTL(n, n)
	return n
}

func countAVX2(at Mem, x VecVirtual) GPVirtual {
	low, high := YMM(), YMM()
	VCMPPS(reached, at, x, low)
	VCMPPS(reached, at.Offset(32), x, high)
	n, m := GP32(), GP32()
	VMOVMSKPS(low, n)
	VMOVMSKPS(high, m)
	SHLL(Imm(8), m)
	ORL(m, n)
	POPCNTL(n, n)
	return n
}

// bins generates the kernel that writes one bank of the table.
func bins(name, needs string, vec func() VecVirtual, count func(Mem, VecVirtual) GPVirtual) {
	TEXT(name, NOSPLIT, "func(x *float32, slots *[3]uint32, n int, bounds *float32, table *uint8, half int)")
	Pragma("noescape")
	Doc(name + " writes the bins of n slots to table and their complements half bytes further. It needs " + needs + ".")
	row := Load(Param("x"), GP64())
	slots := Load(Param("slots"), GP64())
	n := Load(Param("n"), GP64())
	bounds := Load(Param("bounds"), GP64())
	table := Load(Param("table"), GP64())
	half := Load(Param("half"), GP64())

	Label("slot")
	at, x := GP64(), vec()
	MOVL(Mem{Base: slots}.Offset(slotFeature), at.As32())
	VBROADCASTSS(Mem{Base: row, Index: at, Scale: 4}, x)
	pivots := GP64()
	MOVL(Mem{Base: slots}.Offset(slotOffset), pivots.As32())
	LEAQ(Mem{Base: bounds, Index: pivots, Scale: 4}, pivots)
	block := count(Mem{Base: pivots}, x)
	SHLL(Imm(3), block)
	bin := count(Mem{Base: pivots, Disp: pivotBytes, Index: block.As64(), Scale: 8}, x)
	LEAL(Mem{Base: bin, Index: block, Scale: 2}, bin)
	missing := GP32()
	XORL(missing, missing)
	VUCOMISS(x.AsX(), x.AsX())
	SETPS(missing.As8())
	NEGL(missing)
	ANDL(Mem{Base: slots}.Offset(slotMissing), missing)
	ORL(missing, bin)
	MOVB(bin.As8(), Mem{Base: table})
	NOTL(bin)
	MOVB(bin.As8(), Mem{Base: table, Index: half, Scale: 1})
	INCQ(table)
	ADDQ(Imm(slotBytes), slots)
	DECQ(n)
	JNE(LabelRef("slot"))
	VZEROUPPER()
	RET()
}
