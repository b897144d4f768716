// SPDX-License-Identifier: Apache-2.0

// Command paths generates the kernels that divide the rows of a tile along trees.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

const (
	treeBytes = 32        // of a pathTree
	pathSlots = 2*256 + 2 // as in the package
	noRows    = pathSlots - 1
)

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
	args := "trees *uint32, n int, nodes *uint64, exports *uint32, truth, slots *uint64"
	if words > 1 {
		args = "trees *uint32, n int, nodes *uint64, exports *uint32, flips *uint16, truth, slots *uint64"
	}
	if sum {
		TEXT(fmt.Sprintf("sum%dAVX512", 64*words), NOSPLIT|NOFRAME,
			fmt.Sprintf("func(%s, values, sums *float32)", args))
		Doc("It adds, tree after tree, the value of the leaf that each row ends in to the row's sum.")
	} else {
		TEXT(fmt.Sprintf("number%dAVX512", 64*words), NOSPLIT|NOFRAME,
			fmt.Sprintf("func(%s, ids *uint8)", args))
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
	k.begin()

	Label("tree")
	if words == 1 && sum {
		k.both(trees, n)
	}
	k.find(trees)
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
	Label("done")
	for i, v := range k.sums {
		VMOVUPS(v, Mem{Base: out}.Offset(64*i))
	}
	VZEROUPPER()
	RET()
}

// begin fills the slots that stay as they are: all rows reach the root, and none noRows.
func (k *kernel) begin() {
	for i := range k.words {
		MOVQ(I32(-1), Mem{Base: k.slots}.Offset(8*i))
	}
	if k.words > 1 {
		none := YMM()
		VPXORQ(none, none, none)
		VMOVDQU64(none, Mem{Base: k.slots}.Offset(8*k.words*noRows))
	}
}

// find makes the numbers of the leaves that rows end in. With one word that is done on
// the way, by a masked move a node; with four, moves would take most of the time.
func (k *kernel) find(tree Register) {
	if k.words == 1 {
		VPXORQ(k.ids[0], k.ids[0], k.ids[0])
		k.divide(tree)
		return
	}
	k.divide(tree)
	CMPL(Mem{Base: tree}.Offset(12), U8(0))
	JNE(LabelRef("wide"))
	k.number(tree, 5)
	JMP(LabelRef("numbered"))
	Label("wide")
	k.number(tree, 8)
	Label("numbered")
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
		word, slot, leaf := decode(node, i)
		low := Mem{Base: to}.Offset(16 * k.words * i)
		if k.words == 1 {
			k.node64(word, leaf, Mem{Base: k.slots, Index: slot, Scale: 2}, low, k.ids[0])
		} else {
			k.node256(word, slot, low, low.Offset(8*k.words))
		}
	}
	ADDQ(U32(16), node)
	ADDQ(U32(uint64(32*k.words)), to)
	DECQ(pairs)
	JNE(LabelRef("pair"))
	Label("leaf")
	k.export(tree)
}

// both evaluates two trees at once where they are of one size, of up to 32 leaves, and no
// pieces: the nodes of one are something to do while those of the other wait for slots.
func (k *kernel) both(tree, n Register) {
	const pairsAt, kindAt, exportsAt = 4, 12, 20
	of := func(t int) Mem { return Mem{Base: tree}.Offset(treeBytes * t) }
	CMPQ(n, U8(1))
	JEQ(LabelRef("one"))
	pairs, other := GP64(), GP32()
	MOVL(of(0).Offset(kindAt), other)
	ORL(of(1).Offset(kindAt), other)
	ORL(of(0).Offset(exportsAt), other)
	ORL(of(1).Offset(exportsAt), other)
	JNE(LabelRef("one"))
	MOVL(of(0).Offset(pairsAt), pairs.As32())
	CMPL(pairs.As32(), of(1).Offset(pairsAt))
	JNE(LabelRef("one"))
	TESTQ(pairs, pairs)
	JE(LabelRef("one"))
	ids := [2]VecVirtual{k.ids[0], ZMM()}
	k.divideBoth(of, pairs, ids)
	for t, id := range ids {
		table := GP64()
		MOVL(of(t).Offset(8), table.As32())
		LEAQ(Mem{Base: k.values, Index: table, Scale: 4}, table)
		k.addSmall(table, []VecVirtual{id})
	}
	ADDQ(U32(2*treeBytes), tree)
	SUBQ(U8(2), n)
	JNE(LabelRef("tree"))
	JMP(LabelRef("done"))
	Label("one")
}

// divideBoth walks the nodes of two trees. The second one's slots follow the first one's.
func (k *kernel) divideBoth(of func(t int) Mem, pairs Register, ids [2]VecVirtual) {
	const apart = 8 * pathSlots
	var node [2]GPVirtual
	for t := range node {
		node[t] = GP64()
		MOVL(of(t), node[t].As32())
		LEAQ(Mem{Base: k.nodes, Index: node[t], Scale: 8}, node[t])
		VPXORQ(ids[t], ids[t], ids[t])
	}
	MOVQ(I32(-1), Mem{Base: k.slots}.Offset(apart))
	to := GP64()
	LEAQ(Mem{Base: k.slots}.Offset(8), to)
	Label("both")
	for i := range 2 {
		for t := range node {
			word, slot, leaf := decode(node[t], i)
			low := Mem{Base: to}.Offset(16*i + apart*t)
			k.node64(word, leaf, Mem{Base: k.slots, Index: slot, Scale: 2}.Offset(apart*t), low, ids[t])
		}
	}
	ADDQ(U8(16), node[0])
	ADDQ(U8(16), node[1])
	ADDQ(U8(32), to)
	DECQ(pairs)
	JNE(LabelRef("both"))
}

// decode takes the i-th node apart.
func decode(node Register, i int) (word, slot GPVirtual, leaf Mem) {
	word, slot = GP64(), GP64()
	MOVWQZX(Mem{Base: node}.Offset(8*i), word)
	MOVWQZX(Mem{Base: node}.Offset(8*i+2), slot)
	return word, slot, Mem{Base: node}.Offset(8*i + 4)
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

// node64 divides the rows in the slot at between low and the slot after it, and gives
// those of the latter the number that is in four bytes at leaf.
func (k *kernel) node64(word GPVirtual, leaf, at, low Mem, ids VecVirtual) {
	test, reach, rest, number, mask := word, GP64(), GP64(), ZMM(), K()
	VPBROADCASTD(leaf, number)
	MOVQ(Mem{Base: k.truth, Index: word, Scale: 2}, test)
	MOVQ(at, reach)
	ANDNQ(reach, test, rest)
	ANDQ(test, reach)
	MOVQ(rest, low)
	MOVQ(reach, low.Offset(8))
	KMOVQ(reach, mask)
	VMOVDQU8(number, mask, ids)
}

// node256 is node64 without the numbers.
func (k *kernel) node256(word, slot GPVirtual, low, high Mem) {
	test, reach, rest := YMM(), YMM(), YMM()
	VMOVDQU64(Mem{Base: k.truth, Index: word, Scale: 8}, test)
	VMOVDQU64(Mem{Base: k.slots, Index: slot, Scale: 8}, reach)
	VPANDNQ(reach, test, rest)
	VPANDQ(reach, test, reach)
	VMOVDQU64(rest, low)
	VMOVDQU64(reach, high)
}

// number makes the bit planes of the leaf numbers of 256 rows, in the place of the first
// slots but one, and of those the numbers. Only so many bits of them are not 0.
func (k *kernel) number(tree Register, bits int) {
	name := func(label string) string { return fmt.Sprintf("%s%d", label, bits) }
	flip, first, left := Load(Param("flips"), GP64()), GP64(), GP64()
	MOVL(Mem{Base: tree}.Offset(24), first.As32())
	SHLQ(U8(4), first)
	ADDQ(first, flip)
	MOVL(Mem{Base: tree}.Offset(28), left.As32())
	planes := make([]VecVirtual, bits)
	for i := range planes {
		planes[i] = YMM()
		VMOVDQU64(Mem{Base: k.slots}.Offset(8*k.words*noRows), planes[i])
	}
	TESTQ(left, left)
	JE(LabelRef(name("flipped")))
	Label(name("flip"))
	for i, p := range planes {
		slot := GP64()
		MOVWQZX(Mem{Base: flip}.Offset(2*i), slot)
		VPXORQ(Mem{Base: k.slots, Index: slot, Scale: 8}, p, p)
	}
	ADDQ(U8(16), flip)
	DECQ(left)
	JNE(LabelRef(name("flip")))
	Label(name("flipped"))
	at := Mem{Base: k.slots}.Offset(8 * k.words)
	for i, p := range planes {
		VMOVDQU64(p, at.Offset(8*k.words*i))
	}
	bit, one := ZMM(), GP32()
	MOVL(U32(0x01010101), one)
	VPBROADCASTD(one, bit)
	for i := range planes {
		for w, id := range k.ids {
			mask := K()
			KMOVQ(at.Offset(8*k.words*i+8*w), mask)
			if i == 0 {
				VMOVDQU8_Z(bit, mask, id)
			} else {
				VPADDB(bit, id, mask, id)
			}
		}
		VPADDB(bit, bit, bit)
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

	k.addSmall(table, k.ids)
	JMP(LabelRef("next"))

	Label("leaves64")
	limit, limits := GP32(), ZMM()
	MOVL(U32(32), limit)
	VPBROADCASTD(limit, limits)
	var t [4]VecVirtual
	for i := range t {
		t[i] = ZMM()
		VMOVUPS(Mem{Base: table}.Offset(64*i), t[i])
	}
	k.each(k.ids, func(id, sum VecVirtual) {
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
	k.each(k.ids, func(id, sum VecVirtual) {
		v, mask := ZMM(), K()
		KMOVW(all, mask) // a gather clears its mask
		VMOVAPS(zero, v)
		VGATHERDPS(Mem{Base: table, Index: id, Scale: 4}, mask, v)
		VADDPS(v, sum, sum)
	})
	Label("next")
}

// addSmall looks up the values of leaves in a table of 32 and adds them.
func (k *kernel) addSmall(table Register, ids []VecVirtual) {
	low, high := ZMM(), ZMM()
	VMOVUPS(Mem{Base: table}, low)
	VMOVUPS(Mem{Base: table}.Offset(64), high)
	k.each(ids, func(id, sum VecVirtual) {
		VPERMI2PS(high, low, id)
		VADDPS(id, sum, sum)
	})
}

// each calls f with the leaf numbers of 16 rows, widened, and the sums of those rows.
func (k *kernel) each(ids []VecVirtual, f func(id, sum VecVirtual)) {
	for i, sum := range k.sums {
		bytes, id := ids[i/4].AsX(), ZMM()
		if i%4 != 0 {
			bytes = XMM()
			VEXTRACTI32X4(U8(uint64(i%4)), ids[i/4], bytes)
		}
		VPMOVZXBD(bytes, id)
		f(id, sum)
	}
}
