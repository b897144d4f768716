// SPDX-License-Identifier: Apache-2.0

// Command paths generates the kernels that divide the rows of a tile along trees.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

const treeBytes = 24 // of a pathTree

func main() {
	ConstraintExpr("!purego")
	for _, words := range []int{1, 4} {
		paths(words, true)
		paths(words, false)
	}
	Generate()
}

// kernel is what the parts of a kernel share.
type kernel struct {
	words               int
	nodes, truth, slots Register
	values              Register
	ids, sums           []VecVirtual
}

// paths writes the kernel for tiles of that many words of 64 rows: one that adds the
// values of leaves, or one that stores the numbers of leaves.
func paths(words int, sum bool) {
	k := &kernel{words: words}
	if sum {
		TEXT(fmt.Sprintf("sum%dAVX512", 64*words), NOSPLIT|NOFRAME,
			"func(trees *uint32, n int, nodes *uint64, exports *uint32, truth, slots *uint64, values, sums *float32)")
		Doc("It adds, tree after tree, the value of the leaf that each row ends in to the row's sum.")
	} else {
		TEXT(fmt.Sprintf("number%dAVX512", 64*words), NOSPLIT|NOFRAME,
			"func(trees *uint32, n int, nodes *uint64, exports *uint32, truth, slots *uint64, ids *uint8)")
		Doc("It stores, tree after tree, the number of the leaf that each row ends in.")
	}
	Pragma("noescape")
	trees, n := Load(Param("trees"), GP64()), Load(Param("n"), GP64())
	k.nodes, k.truth = Load(Param("nodes"), GP64()), Load(Param("truth"), GP64())
	k.slots = Load(Param("slots"), GP64())
	var out Register
	if sum {
		k.values, out = Load(Param("values"), GP64()), Load(Param("sums"), GP64())
		for i := range 4 * words {
			k.sums = append(k.sums, ZMM())
			VMOVUPS(Mem{Base: out}.Offset(64*i), k.sums[i])
		}
	} else {
		out = Load(Param("ids"), GP64())
	}
	for range words {
		k.ids = append(k.ids, ZMM())
	}
	for i := range words { // all rows reach the root
		MOVQ(I32(-1), Mem{Base: k.slots}.Offset(8*i))
	}

	Label("tree")
	for _, v := range k.ids {
		VPXORQ(v, v, v)
	}
	k.divide(trees)
	if sum {
		k.add(trees)
	} else {
		for i, v := range k.ids {
			VMOVDQU64(v, Mem{Base: out}.Offset(64*i))
		}
		ADDQ(U32(uint64(64*words)), out)
	}
	ADDQ(U32(treeBytes), trees)
	DECQ(n)
	JNE(LabelRef("tree"))
	for i, v := range k.sums {
		VMOVUPS(v, Mem{Base: out}.Offset(64*i))
	}
	VZEROUPPER()
	RET()
}

// divide walks the nodes of a tree, two at a time.
func (k *kernel) divide(tree Register) {
	node, pairs, to := GP64(), GP64(), GP64()
	MOVL(Mem{Base: tree}, node.As32())
	LEAQ(Mem{Base: k.nodes, Index: node, Scale: 8}, node)
	MOVL(Mem{Base: tree}.Offset(4), pairs.As32())
	LEAQ(Mem{Base: k.slots}.Offset(8*k.words), to)
	TESTQ(pairs, pairs)
	JE(LabelRef("leaf"))
	Label("pair")
	for i := range 2 {
		word, slot := GP64(), GP64()
		MOVWQZX(Mem{Base: node}.Offset(8*i), word)
		MOVWQZX(Mem{Base: node}.Offset(8*i+2), slot)
		leaf := ZMM()
		VPBROADCASTD(Mem{Base: node}.Offset(8*i+4), leaf)
		low := Mem{Base: to}.Offset(16 * k.words * i)
		high := low.Offset(8 * k.words)
		if k.words == 1 {
			k.node64(word, slot, leaf, low, high)
		} else {
			k.node256(word, slot, leaf, low, high)
		}
	}
	ADDQ(U32(16), node)
	ADDQ(U32(uint64(32*k.words)), to)
	DECQ(pairs)
	JNE(LabelRef("pair"))
	Label("leaf")
	k.export(tree)
}

// export copies the slots that other trees refer to to the words of truth that they are.
func (k *kernel) export(tree Register) {
	left := GP32()
	MOVL(Mem{Base: tree}.Offset(20), left)
	TESTL(left, left)
	JE(LabelRef("exported"))
	at, first := Load(Param("exports"), GP64()), GP64()
	MOVL(Mem{Base: tree}.Offset(16), first.As32())
	LEAQ(Mem{Base: at, Index: first, Scale: 4}, at)
	Label("export")
	slot, word := GP64(), GP64()
	MOVWQZX(Mem{Base: at}, slot)
	MOVWQZX(Mem{Base: at}.Offset(2), word)
	if k.words == 1 {
		MOVQ(Mem{Base: k.slots, Index: slot, Scale: 2}, slot)
		MOVQ(slot, Mem{Base: k.truth, Index: word, Scale: 2})
	} else {
		rows := YMM()
		VMOVDQU64(Mem{Base: k.slots, Index: slot, Scale: 8}, rows)
		VMOVDQU64(rows, Mem{Base: k.truth, Index: word, Scale: 8})
	}
	ADDQ(U8(4), at)
	DECL(left)
	JNE(LabelRef("export"))
	Label("exported")
}

func (k *kernel) node64(word, slot GPVirtual, leaf VecVirtual, low, high Mem) {
	test, reach, rest := word, slot, GP64()
	MOVQ(Mem{Base: k.truth, Index: word, Scale: 2}, test)
	MOVQ(Mem{Base: k.slots, Index: slot, Scale: 2}, reach)
	ANDNQ(reach, test, rest)
	ANDQ(test, reach)
	MOVQ(rest, low)
	MOVQ(reach, high)
	mask := K()
	KMOVQ(reach, mask)
	VMOVDQU8(leaf, mask, k.ids[0])
}

func (k *kernel) node256(word, slot GPVirtual, leaf VecVirtual, low, high Mem) {
	test, reach, rest := YMM(), YMM(), YMM()
	VMOVDQU64(Mem{Base: k.truth, Index: word, Scale: 8}, test)
	VMOVDQU64(Mem{Base: k.slots, Index: slot, Scale: 8}, reach)
	VPANDNQ(reach, test, rest)
	VPANDQ(reach, test, reach)
	VMOVDQU64(rest, low)
	VMOVDQU64(reach, high)
	for i, v := range k.ids {
		mask := K()
		KMOVQ(high.Offset(8*i), mask)
		VMOVDQU8(leaf, mask, v)
	}
}

// add looks up the values of the leaves in k.ids and adds them, in the way that the
// tree's kind says.
func (k *kernel) add(tree Register) {
	table, kind := GP64(), GP32()
	MOVL(Mem{Base: tree}.Offset(8), table.As32())
	LEAQ(Mem{Base: k.values, Index: table, Scale: 4}, table)
	MOVL(Mem{Base: tree}.Offset(12), kind)
	CMPL(kind, U8(1))
	JEQ(LabelRef("leaves64"))
	JGT(LabelRef("leaves256"))

	part := func(i int) Mem { return Mem{Base: table}.Offset(64 * i) }
	low := ZMM()
	VMOVUPS(part(0), low)
	second := ZMM()
	VMOVUPS(part(1), second)
	k.each(func(id, sum VecVirtual) {
		VPERMI2PS(second, low, id)
		VADDPS(id, sum, sum)
	})
	JMP(LabelRef("next"))

	Label("leaves64")
	limit, limits := GP32(), ZMM()
	MOVL(U32(32), limit)
	VPBROADCASTD(limit, limits)
	var t [4]VecVirtual
	for i := range t {
		t[i] = ZMM()
		VMOVUPS(part(i), t[i])
	}
	k.each(func(id, sum VecVirtual) {
		upper, mask := ZMM(), K()
		VPTESTMD(limits, id, mask)
		VMOVDQA64(id, upper)
		VPERMI2PS(t[1], t[0], id)
		VPERMI2PS(t[3], t[2], upper)
		VMOVAPS(upper, mask, id)
		VADDPS(id, sum, sum)
	})
	JMP(LabelRef("next"))

	Label("leaves256")
	all, zero := GP32(), ZMM()
	VPXORD(zero, zero, zero)
	MOVL(U32(0xffff), all)
	k.each(func(id, sum VecVirtual) {
		v, mask := ZMM(), K()
		KMOVW(all, mask) // a gather clears its mask
		VMOVAPS(zero, v)
		VGATHERDPS(Mem{Base: table, Index: id, Scale: 4}, mask, v)
		VADDPS(v, sum, sum)
	})
	Label("next")
}

// each calls f with the leaf numbers of 16 rows, widened, and the sums of those rows.
func (k *kernel) each(f func(id, sum VecVirtual)) {
	for i, sum := range k.sums {
		bytes, id := k.ids[i/4].AsX(), ZMM()
		if i%4 != 0 {
			bytes = XMM()
			VEXTRACTI32X4(U8(uint64(i%4)), k.ids[i/4], bytes)
		}
		VPMOVZXBD(bytes, id)
		f(id, sum)
	}
}
