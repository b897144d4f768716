// SPDX-License-Identifier: Apache-2.0

// Command expand generates the kernels that turn the bit planes of places into one word
// per threshold.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

const (
	planeNaN = 8
	planeSet = 9

	majority = 0xe8
	orAnd    = 0xec // second OR (first AND third)
)

func main() {
	ConstraintExpr("!purego")
	expand(1)
	expand(4)
	Generate()
}

// expand writes the kernel for tiles of that many words of 64 rows.
//
// Word j says of which rows the place is above j. With x for the words of the bits
// below, bit b of the place, and j's bit b, that is (b AND x) where j has a 1 and
// (b OR x) where it has a 0. A vector holds the words of the lowest bits of j, a bank
// of registers those of the bits above; all that the bits above those do to x is of the
// form B OR (A AND x).
func expand(words int) {
	TEXT(fmt.Sprintf("expand%dAVX512", 64*words), NOSPLIT|NOFRAME,
		"func(expansions *uint32, n int, planes, truth *uint64)")
	Doc("It stores the words of truth of n expansions, a vector at a time.")
	Pragma("noescape")
	list, n := Load(Param("expansions"), GP64()), Load(Param("n"), GP64())
	planes, truth := Load(Param("planes"), GP64()), Load(Param("truth"), GP64())
	inVector, inBank := 3, 3
	if words == 4 {
		inVector, inBank = 1, 4
	}
	var zeros [3]VecVirtual // by bit: ones in the lanes of words j that lack it
	for b := range inVector {
		zeros[b] = ZMM()
		VMOVDQU64(lacking(words, b), zeros[b])
	}
	zero, ones := ZMM(), ZMM()
	VPXORQ(zero, zero, zero)
	VPTERNLOGQ(U8(0xff), ones, ones, ones)

	Label("expansion")
	set, left, to := GP64(), GP64(), GP64()
	MOVL(Mem{Base: list}, set.As32())
	IMUL3Q(U32(planeSet*8*uint64(words)), set, set)
	ADDQ(planes, set)
	MOVL(Mem{Base: list}.Offset(4), left.As32())
	MOVL(Mem{Base: list}.Offset(8), to.As32())
	if words == 4 {
		SHLQ(U8(2), to)
	}
	LEAQ(Mem{Base: truth, Index: to, Scale: 8}, to)
	nan := ZMM()
	plane := func(b int) VecVirtual {
		v := ZMM()
		at := Mem{Base: set}.Offset(8 * words * b)
		if words == 4 {
			VBROADCASTI64X4(at, v)
		} else {
			VPBROADCASTQ(at, v)
		}
		if b != planeNaN {
			VPORQ(nan, v, v)
		}
		return v
	}
	high := GP64()
	MOVL(Mem{Base: list}.Offset(12), high.As32())
	NEGQ(high)
	mask := ZMM()
	VPBROADCASTQ(high, mask)
	VPANDQ(plane(planeNaN), mask, nan)

	x := plane(0)
	VPANDQ(zeros[0], x, x)
	for b := 1; b < inVector; b++ {
		VPTERNLOGQ(U8(majority), plane(b), zeros[b], x)
	}
	bank := []VecVirtual{x}
	for b := inVector; b < inVector+inBank; b++ {
		p := plane(b)
		n := len(bank)
		for i := range n {
			and := ZMM()
			VPANDQ(p, bank[i], and)
			VPORQ(p, bank[i], bank[i])
			bank = append(bank, and)
		}
	}
	var top []VecVirtual
	for b := inVector + inBank; b < planeNaN; b++ {
		top = append(top, plane(b))
	}
	store(bank, top, zero, ones, to, left, 8/words)
	Label("next")
	ADDQ(U32(16), list)
	DECQ(n)
	JNE(LabelRef("expansion"))
	VZEROUPPER()
	RET()
}

// store applies the top bits to the bank, for as many words as are left.
func store(bank, top []VecVirtual, zero, ones VecVirtual, to, left GPVirtual, perVector int) {
	for j := range 1 << len(top) {
		a, b := ZMM(), ZMM()
		VMOVDQA64(ones, a)
		VMOVDQA64(zero, b)
		for i, p := range top {
			if j>>i&1 != 0 {
				VPANDQ(p, a, a)
				VPANDQ(p, b, b)
			} else {
				VPORQ(p, a, a)
				VPORQ(p, b, b)
			}
		}
		for i, x := range bank {
			v := ZMM()
			VMOVDQA64(a, v)
			VPTERNLOGQ(U8(orAnd), x, b, v)
			VMOVDQU64(v, Mem{Base: to})
			ADDQ(U32(64), to)
			if words := (i + 1) * perVector; words%8 == 0 { // of which expansions have multiples
				SUBQ(U8(8), left)
				JLE(LabelRef("next"))
			}
		}
	}
}

// lacking is the vector of zeros[b] in expand.
func lacking(words, b int) Mem {
	m := GLOBL(fmt.Sprintf("lacking%dbit%d", 64*words, b), RODATA|NOPTR)
	for lane := range 8 {
		v := uint64(0)
		if lane/words>>b&1 == 0 {
			v = ^v
		}
		DATA(8*lane, U64(v))
	}
	return m
}
