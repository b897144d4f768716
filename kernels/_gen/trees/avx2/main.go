// SPDX-License-Identifier: Apache-2.0

// Command avx2 generates the kernels for tiles of 256 rows without mask registers: a
// word of a tile is one vector.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

const (
	word     = 32 // bytes
	planeNaN = 8
	planeSet = 9

	atLeast   = 0x1d // ordered, quiet
	unordered = 3

	treeBytes = 32        // of a pathTree
	noRows    = 2*256 + 1 // a slot, as in the package

	minLevels = 4
	maxLevels = 8
)

func main() {
	ConstraintExpr("!purego")
	byteTables()
	search()
	expand()
	paths(true)
	paths(false)
	Generate()
}

func signature(name, args string, doc ...string) {
	TEXT(name, NOSPLIT|NOFRAME, "func("+args+")")
	Doc(doc...)
	Pragma("noescape")
}

// search writes the binary search of 8 rows at a time. Up to 32 entries of a level are
// looked up by permutations, more by a gather.
func search() {
	signature("search256AVX2", "columns *uint32, n int, tables, x *float32, blocks int, planes *uint64",
		"search256AVX2 places blocks of 8 values of each of n columns among the column's",
		"thresholds, and stores the outcomes of each step of the searches as a bit plane.")
	columns, n := Load(Param("columns"), GP64()), Load(Param("n"), GP64())
	tables, x := Load(Param("tables"), GP64()), Load(Param("x"), GP64())
	planes := Load(Param("planes"), GP64())

	Label("column")
	from, table, to, levels, left := GP64(), GP64(), GP64(), GP64(), GP64()
	MOVL(Mem{Base: columns}, from.As32())
	SHLQ(U8(10), from)
	ADDQ(x, from)
	MOVL(Mem{Base: columns}.Offset(4), table.As32())
	LEAQ(Mem{Base: tables, Index: table, Scale: 4}, table)
	MOVL(Mem{Base: columns}.Offset(8), levels.As32())
	MOVL(Mem{Base: columns}.Offset(12), to.As32())
	IMUL3Q(U32(planeSet*word), to, to)
	ADDQ(planes, to)
	Load(Param("blocks"), left)

	Label("block")
	v, k, outcome := YMM(), YMM(), GP32()
	VMOVUPS(Mem{Base: from}, v)
	VCMPPS(U8(unordered), v, v, k)
	VMOVMSKPS(k, outcome)
	MOVB(outcome.As8(), Mem{Base: to}.Offset(planeNaN*word))
	// The first step's plane is the highest.
	plane := GP64()
	MOVQ(levels, plane)
	SHLQ(U8(5), plane)
	LEAQ(Mem{Base: to, Index: plane, Scale: 1}, plane)
	place := YMM()
	for l := range maxLevels {
		if l >= minLevels {
			CMPQ(levels, U8(uint64(l)))
			JEQ(LabelRef("next"))
		}
		entry := YMM()
		if l == 0 {
			VBROADCASTSS(Mem{Base: table}, entry)
		} else {
			lookup(l, table, place, entry)
		}
		k, outcome := YMM(), GP32()
		VCMPPS(U8(atLeast), entry, v, k)
		VMOVMSKPS(k, outcome)
		MOVB(outcome.As8(), Mem{Base: plane}.Offset(-word*(l+1)))
		if l == maxLevels-1 {
			continue
		}
		VPAND(bit(l), k, k)
		if l == 0 {
			VMOVDQA(k, place)
		} else {
			VPOR(k, place, place)
		}
	}
	Label("next")
	ADDQ(U32(32), from)
	INCQ(to)
	DECQ(left)
	JNE(LabelRef("block"))
	ADDQ(U32(16), columns)
	DECQ(n)
	JNE(LabelRef("column"))
	VZEROUPPER()
	RET()
}

// lookup loads the entry of level l that each place names.
func lookup(l int, table GPVirtual, place, entry VecVirtual) {
	at := Mem{Base: table}.Offset(4 * levelStart(l))
	if l > 5 {
		all := YMM()
		VPCMPEQD(all, all, all)
		VXORPS(entry, entry, entry) // or the gather waits for what was there
		VGATHERDPS(all, Mem{Base: table, Index: place, Scale: 4}.Offset(4*levelStart(l)), entry)
		return
	}
	var found []VecVirtual
	for i := range max(1, 1<<l/8) {
		f := YMM()
		VPERMPS(at.Offset(32*i), place, f)
		found = append(found, f)
	}
	for b := 3; len(found) > 1; b++ {
		sign := YMM()
		VPSLLD(U8(uint64(31-b)), place, sign)
		for i := 0; i < len(found); i += 2 {
			VBLENDVPS(sign, found[i+1], found[i], found[i])
			found[i/2] = found[i]
		}
		found = found[:len(found)/2]
	}
	VMOVAPS(found[0], entry)
}

// bit is a vector of eight times 1<<l.
func bit(l int) Mem {
	m := GLOBL(fmt.Sprintf("eight%d", 1<<l), RODATA|NOPTR)
	for i := range 8 {
		DATA(4*i, U32(1<<l))
	}
	return m
}

// levelStart is where a level's entries begin in a table, as in the package.
func levelStart(level int) int {
	if level <= 5 {
		return 16 * level
	}
	return 80 + 1<<level - 32
}

// expand writes the expansion of bit planes: after bit b, word j < 2^b says of which
// rows the low b bits of the place are above j.
func expand() {
	signature("expand256AVX2", "expansions *uint32, n int, planes, truth *uint64",
		"expand256AVX2 stores the words of truth of n expansions.")
	list, n := Load(Param("expansions"), GP64()), Load(Param("n"), GP64())
	planes, truth := Load(Param("planes"), GP64()), Load(Param("truth"), GP64())

	Label("expansion")
	set, words, to, high := GP64(), GP64(), GP64(), GP64()
	MOVL(Mem{Base: list}, set.As32())
	IMUL3Q(U32(planeSet*word), set, set)
	ADDQ(planes, set)
	MOVL(Mem{Base: list}.Offset(4), words.As32())
	SHLQ(U8(5), words)
	MOVL(Mem{Base: list}.Offset(8), to.As32())
	SHLQ(U8(5), to)
	ADDQ(truth, to)
	MOVL(Mem{Base: list}.Offset(12), high.As32())
	NEGQ(high)
	nan, x := YMM(), YMM()
	MOVQ(high, x.AsX())
	VPBROADCASTQ(x.AsX(), nan)
	VPAND(Mem{Base: set}.Offset(planeNaN*word), nan, nan)
	VPXOR(x, x, x)
	VMOVDQU(x, Mem{Base: to})
	// Words are counted in bytes. From step on those with the bit follow; the last
	// step may have room for some of them only.
	step, end := GP64(), GP64()
	MOVQ(U32(word), step)
	LEAQ(Mem{Base: set}.Offset(planeNaN*word), end)
	Label("bit")
	plane, j := YMM(), GP64()
	VPOR(Mem{Base: set}, nan, plane)
	ADDQ(U32(word), set)
	XORQ(j, j)
	Label("both")
	other := GP64()
	LEAQ(Mem{Base: step, Index: j, Scale: 1}, other)
	CMPQ(other, words)
	JAE(LabelRef("without"))
	CMPQ(j, step)
	JAE(LabelRef("done"))
	low, and := YMM(), YMM()
	VMOVDQU(Mem{Base: to, Index: j, Scale: 1}, low)
	VPAND(plane, low, and)
	VPOR(plane, low, low)
	VMOVDQU(low, Mem{Base: to, Index: j, Scale: 1})
	VMOVDQU(and, Mem{Base: to, Index: other, Scale: 1})
	ADDQ(U32(word), j)
	JMP(LabelRef("both"))
	Label("without")
	CMPQ(j, step)
	JAE(LabelRef("done"))
	CMPQ(j, words)
	JAE(LabelRef("done"))
	rest := YMM()
	VPOR(Mem{Base: to, Index: j, Scale: 1}, plane, rest)
	VMOVDQU(rest, Mem{Base: to, Index: j, Scale: 1})
	ADDQ(U32(word), j)
	JMP(LabelRef("without"))
	Label("done")
	ADDQ(step, step)
	CMPQ(set, end)
	JNE(LabelRef("bit"))
	ADDQ(U32(16), list)
	DECQ(n)
	JNE(LabelRef("expansion"))
	VZEROUPPER()
	RET()
}

// paths writes the kernel that divides the rows along trees and, if sum, adds the
// values of leaves.
func paths(sum bool) {
	args := "trees *uint32, n int, nodes *uint64, exports *uint32, flips *uint16, truth, slots *uint64, ids *uint8"
	if sum {
		signature("sum256AVX2", args+", values, sums *float32",
			"sum256AVX2 adds, tree after tree, the value of the leaf that each row ends in to the",
			"row's sum. ids is room for 512 bytes.")
	} else {
		signature("number256AVX2", args,
			"number256AVX2 stores, tree after tree, the number of the leaf that each row ends in.",
			"ids is room for 256 bytes more than that.")
	}
	trees := Load(Param("trees"), GP64())
	truth, slots := Load(Param("truth"), GP64()), Load(Param("slots"), GP64())
	ids := Load(Param("ids"), GP64())
	ones := YMM()
	VPCMPEQD(ones, ones, ones)
	VMOVDQU(ones, Mem{Base: slots}) // all rows reach the root
	VPXOR(ones, ones, ones)
	VMOVDQU(ones, Mem{Base: slots}.Offset(word*noRows))

	Label("tree")
	divide(trees, truth, slots)
	CMPL(Mem{Base: trees}.Offset(12), U8(0))
	JNE(LabelRef("wide"))
	number(5, trees, slots, ids)
	JMP(LabelRef("numbered"))
	Label("wide")
	number(8, trees, slots, ids)
	Label("numbered")
	if sum {
		add(trees, ids)
	} else {
		ADDQ(U32(256), ids)
	}
	ADDQ(U32(treeBytes), trees)
	left, err := Param("n").Resolve()
	if err != nil {
		panic(err)
	}
	DECQ(left.Addr)
	JNE(LabelRef("tree"))
	VZEROUPPER()
	RET()
}

// divide walks the nodes of a tree, two at a time.
func divide(tree, truth, slots Register) {
	node, pairs, to := Load(Param("nodes"), GP64()), GP64(), GP64()
	first := GP64()
	MOVL(Mem{Base: tree}, first.As32())
	LEAQ(Mem{Base: node, Index: first, Scale: 8}, node)
	MOVL(Mem{Base: tree}.Offset(4), pairs.As32())
	LEAQ(Mem{Base: slots}.Offset(word), to)
	TESTQ(pairs, pairs)
	JE(LabelRef("divided"))
	Label("pair")
	for i := range 2 {
		w, slot := GP64(), GP64()
		MOVWQZX(Mem{Base: node}.Offset(8*i), w)
		MOVWQZX(Mem{Base: node}.Offset(8*i+2), slot)
		test, reach, rest := YMM(), YMM(), YMM()
		VMOVDQU(Mem{Base: truth, Index: w, Scale: 8}, test)
		VMOVDQU(Mem{Base: slots, Index: slot, Scale: 8}, reach)
		VPANDN(reach, test, rest)
		VPAND(reach, test, reach)
		VMOVDQU(rest, Mem{Base: to}.Offset(2*word*i))
		VMOVDQU(reach, Mem{Base: to}.Offset(2*word*i+word))
	}
	ADDQ(U32(16), node)
	ADDQ(U32(4*word), to)
	DECQ(pairs)
	JNE(LabelRef("pair"))
	Label("divided")
	export(tree, truth, slots)
}

// export copies the slots that other trees refer to to the words of truth that they are.
func export(tree, truth, slots Register) {
	left := GP32()
	MOVL(Mem{Base: tree}.Offset(20), left)
	TESTL(left, left)
	JE(LabelRef("exported"))
	at, first := Load(Param("exports"), GP64()), GP64()
	MOVL(Mem{Base: tree}.Offset(16), first.As32())
	LEAQ(Mem{Base: at, Index: first, Scale: 4}, at)
	Label("export")
	slot, w, rows := GP64(), GP64(), YMM()
	MOVWQZX(Mem{Base: at}, slot)
	MOVWQZX(Mem{Base: at}.Offset(2), w)
	VMOVDQU(Mem{Base: slots, Index: slot, Scale: 8}, rows)
	VMOVDQU(rows, Mem{Base: truth, Index: w, Scale: 8})
	ADDQ(U8(4), at)
	DECL(left)
	JNE(LabelRef("export"))
	Label("exported")
}

// number makes the bit planes of the leaf numbers, after the numbers' place at ids, and
// of those the numbers. Only so many bits of them are not 0.
func number(bits int, tree, slots, ids Register) {
	name := func(label string) string { return fmt.Sprintf("%s%d", label, bits) }
	flip, left := Load(Param("flips"), GP64()), GP64()
	first := GP64()
	MOVL(Mem{Base: tree}.Offset(24), first.As32())
	SHLQ(U8(4), first)
	ADDQ(first, flip)
	MOVL(Mem{Base: tree}.Offset(28), left.As32())
	planes := make([]VecVirtual, bits)
	for i := range planes {
		planes[i] = YMM()
		VPXOR(planes[i], planes[i], planes[i])
	}
	TESTQ(left, left)
	JE(LabelRef(name("flipped")))
	Label(name("flip"))
	for i, p := range planes {
		slot := GP64()
		MOVWQZX(Mem{Base: flip}.Offset(2*i), slot)
		VPXOR(Mem{Base: slots, Index: slot, Scale: 8}, p, p)
	}
	ADDQ(U8(16), flip)
	DECQ(left)
	JNE(LabelRef(name("flip")))
	Label(name("flipped"))
	for i, p := range planes {
		VMOVDQU(p, Mem{Base: ids}.Offset(256+word*i))
	}

	which, spread := YMM(), YMM()
	VMOVDQU(bitOfByte, which)
	VMOVDQU(byteOfWord, spread)
	block := GP64()
	XORQ(block, block)
	Label(name("rows"))
	number := YMM()
	VPXOR(number, number, number)
	for bit := bits - 1; bit >= 0; bit-- {
		p := YMM()
		VPBROADCASTD(Mem{Base: ids, Index: block, Scale: 4}.Offset(256+word*bit), p)
		VPSHUFB(spread, p, p)
		VPAND(which, p, p)
		VPCMPEQB(which, p, p)
		VPADDB(number, number, number)
		VPSUBB(p, number, number) // p is -1 where the bit is set
	}
	to := GP64()
	MOVQ(block, to)
	SHLQ(U8(5), to)
	VMOVDQU(number, Mem{Base: ids, Index: to, Scale: 1})
	INCQ(block)
	CMPQ(block, U8(8))
	JNE(LabelRef(name("rows")))
}

// add adds the values of leaves: of trees of up to 32 by permutations, of others by
// gathers.
func add(tree, ids Register) {
	values, sums := Load(Param("values"), GP64()), Load(Param("sums"), GP64())
	table, row := GP64(), GP64()
	MOVL(Mem{Base: tree}.Offset(8), table.As32())
	LEAQ(Mem{Base: values, Index: table, Scale: 4}, table)
	XORQ(row, row)
	CMPL(Mem{Base: tree}.Offset(12), U8(0))
	JNE(LabelRef("gather"))
	var part [4]VecVirtual
	for i := range part {
		part[i] = YMM()
		VMOVUPS(Mem{Base: table}.Offset(32*i), part[i])
	}
	sum := Mem{Base: sums, Index: row, Scale: 4}
	eight := func(name string, look func(id, v VecVirtual)) {
		Label(name)
		id, v := YMM(), YMM()
		VPMOVZXBD(Mem{Base: ids, Index: row, Scale: 1}, id)
		look(id, v)
		VADDPS(sum, v, v)
		VMOVUPS(v, sum)
		ADDQ(U32(8), row)
		CMPQ(row, U32(256))
		JNE(LabelRef(name))
	}
	eight("permute", func(id, v VecVirtual) {
		b, c, d, sign := YMM(), YMM(), YMM(), YMM()
		VPERMPS(part[0], id, v)
		VPERMPS(part[1], id, b)
		VPERMPS(part[2], id, c)
		VPERMPS(part[3], id, d)
		VPSLLD(U8(28), id, sign)
		VBLENDVPS(sign, b, v, v)
		VBLENDVPS(sign, d, c, c)
		VPSLLD(U8(27), id, sign)
		VBLENDVPS(sign, c, v, v)
	})
	JMP(LabelRef("added"))
	eight("gather", func(id, v VecVirtual) {
		all := YMM()
		VPCMPEQD(all, all, all)
		VXORPS(v, v, v)
		VGATHERDPS(all, Mem{Base: table, Index: id, Scale: 4}, v)
	})
	Label("added")
}

// bitOfByte is 1<<(i mod 8), byteOfWord the byte that has the bit of row i.
var bitOfByte, byteOfWord Mem

func byteTables() {
	bitOfByte = GLOBL("bitOfByte", RODATA|NOPTR)
	for i := range 4 {
		DATA(8*i, U64(0x8040201008040201))
	}
	byteOfWord = GLOBL("byteOfWord", RODATA|NOPTR)
	for i := range 4 {
		DATA(8*i, U64(0x0101010101010101*uint64(i)))
	}
}
