// SPDX-License-Identifier: Apache-2.0

// Command leaves generates the kernel that adds leaves with a value for each target.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

func main() {
	ConstraintExpr("!purego")
	TEXT("addRowsAVX2", NOSPLIT|NOFRAME, "func(ids *uint8, n int, refs *uint32, leaves *float32, k int, sums *float32)")
	Doc("addRowsAVX2 adds, to each of n rows of sums, the k values of the leaf whose number in",
		"the tree ids has; refs has the leaves by number. Rows of sums are multiples of 8",
		"values, so that they are written in whole vectors: masked stores are slow.")
	Pragma("noescape")
	ids, n := Load(Param("ids"), GP64()), Load(Param("n"), GP64())
	refs, leaves := Load(Param("refs"), GP64()), Load(Param("leaves"), GP64())
	k, to := Load(Param("k"), GP64()), Load(Param("sums"), GP64())

	// Of the last 1 to 8 values, those there are.
	masks := GLOBL("lastOfEight", RODATA|NOPTR)
	for i := range 8 {
		DATA(8*i, U64(uint64(i/4)-1))
	}
	at, base, mask := GP64(), GP64(), YMM()
	MOVQ(k, at)
	NEGQ(at)
	ANDQ(U8(7), at)
	LEAQ(masks, base)
	VMOVDQU(Mem{Base: base, Index: at, Scale: 4}, mask)

	Label("row")
	leaf, left := GP64(), GP64()
	MOVBQZX(Mem{Base: ids}, leaf)
	MOVL(Mem{Base: refs, Index: leaf, Scale: 4}, leaf.As32())
	IMULQ(k, leaf)
	LEAQ(Mem{Base: leaves, Index: leaf, Scale: 4}, leaf)
	MOVQ(k, left)
	Label("eight")
	CMPQ(left, U8(8))
	JLE(LabelRef("last"))
	v := YMM()
	VMOVUPS(Mem{Base: leaf}, v)
	VADDPS(Mem{Base: to}, v, v)
	VMOVUPS(v, Mem{Base: to})
	ADDQ(U8(32), leaf)
	ADDQ(U8(32), to)
	SUBQ(U8(8), left)
	JMP(LabelRef("eight"))
	Label("last")
	w := YMM()
	VMASKMOVPS(Mem{Base: leaf}, mask, w)
	VADDPS(Mem{Base: to}, w, w)
	VMOVUPS(w, Mem{Base: to})
	ADDQ(U8(32), to)
	INCQ(ids)
	DECQ(n)
	JNE(LabelRef("row"))
	VZEROUPPER()
	RET()
	Generate()
}
