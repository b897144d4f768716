// SPDX-License-Identifier: Apache-2.0

package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// sums is the part of a kernel that adds the leaf values of the group before: each
// addition waits for the last, so they run beside the vector work of this group.
type sums struct {
	ids, words, quads GPVirtual
	stride            GPVirtual // without twigs
	first             GPVirtual // with twigs
	table             table     // with twigs
	sum               VecVirtual
}

func loadSums(twigs bool) *sums {
	s := &sums{ids: GP64(), words: GP64(), quads: GP64(), stride: GP64(), first: GP64(), sum: XMM()}
	Load(Param("before"), s.ids)
	if twigs {
		Load(Param("first"), s.first)
		Load(Param("twigs"), s.words)
	} else {
		Load(Param("words"), s.words)
		Load(Param("stride"), s.stride)
		SHLQ(Imm(2), s.stride)
	}
	Load(Param("quads"), s.quads)
	Load(Param("sum"), s.sum)
	return s
}

// add adds the values of up to n quads of trees. It changes n.
func (s *sums) add(set isa, n GPVirtual) {
	CMPQ(n, s.quads)
	CMOVQGT(s.quads, n)
	SUBQ(n, s.quads)
	TESTQ(n, n)
	JEQ(LabelRef("added"))
	Label("add")
	for i := range 4 {
		if s.table != nil {
			VADDSS(twigLeaf(set, s.table, s.ids, s.first, s.words, i), s.sum, s.sum)
			continue
		}
		id := GP64()
		MOVBQZX(Mem{Base: s.ids}.Offset(i), id)
		VADDSS(Mem{Base: s.words, Index: id, Scale: 4}, s.sum, s.sum)
		ADDQ(s.stride, s.words)
	}
	if s.table != nil {
		ADDQ(Imm(16), s.first)
	}
	ADDQ(Imm(4), s.ids)
	DECQ(n)
	JNE(LabelRef("add"))
	Label("added")
}

// sumLanes generates the kernel that adds the values of one group without twigs.
func sumLanes() {
	TEXT("rowSumLanesAVX2", NOSPLIT, "func(before *uint8, words *uint32, stride, quads int, sum float32) float32")
	Pragma("noescape")
	Doc("rowSumLanesAVX2 adds the leaf values of quads*4 trees to sum. It needs AVX.")
	sumAll(isa{}, nil)
}

// sumTwigs generates the kernel that adds the values of one group with twigs.
func (set isa) sumTwigs(half int) {
	set.text("SumTwigs", half, "func(before *uint8, first *uint32, twigs *uint8, quads int, tables *uint8, sum float32) float32",
		"adds the leaf values of quads*4 trees to sum")
	t := set.table(half)
	t.load(Load(Param("tables"), GP64()))
	sumAll(set, t)
}

func sumAll(set isa, t table) {
	s := loadSums(t != nil)
	s.table = t
	n := GP64()
	MOVQ(s.quads, n)
	s.add(set, n)
	VZEROUPPER()
	Store(s.sum, ReturnIndex(0))
	RET()
}

// The layout of a twig: where bins are, bounds, the tests that clear each leaf, and
// what the leaves give.
const (
	twigBounds = 16
	twigClears = 32
	twigWords  = 64
	twigShift  = 7
)

// twigLeaf is where that is what tree i's leaf gives: in the twig that its lane found,
// of the first leaf that no test which holds clears.
func twigLeaf(set isa, t table, ids, first, twigs GPVirtual, i int) Mem {
	at, from := GP64(), GP64()
	MOVBLZX(Mem{Base: ids}.Offset(i), at.As32())
	MOVL(Mem{Base: first}.Offset(4*i), from.As32())
	ADDQ(from, at)
	SHLQ(Imm(twigShift), at)
	ADDQ(twigs, at)
	return set.leaf(t, at, from)
}
