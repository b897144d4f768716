// SPDX-License-Identifier: Apache-2.0

// Command row_lanes generates the kernels that find the leaves of 64 trees at once for
// one row: kernels/trees/row_lanes.go tells the data they read.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// lanes is how many trees a group holds, a byte each. A step is three vectors of as
// many bytes: places in the table, bounds, and masks.
const lanes = 64

// table is what bins are looked up in: half bytes and, for the kernels that do not
// make them themselves, their complements.
type table interface {
	// load reads the table at an address.
	load(at Register)
	// lookup replaces 16 places, the rest of the register being anything, or as many
	// as it holds, by what is there.
	lookup(places VecVirtual)
}

// isa is what kernels of one instruction set are made of.
type isa struct {
	name, needs string
	table       func(half int) table
	begin       func()                                     // constants
	clear       func()                                     // before a plane's steps
	step        func(t table, steps Register)              // one step
	flush       func(planes Register)                      // after a plane's steps
	store       func(ids Register)                         // what was found
	leaf        func(t table, twig, scratch GPVirtual) Mem // see twigLeaf
}

func main() {
	ConstraintExpr("!purego")
	sumLanes()
	for _, set := range []isa{avx2(), vnni()} {
		for _, half := range []int{32, 64} {
			set.lanes(half, false)
			set.lanes(half, true)
			set.leaves(half)
			set.sumTwigs(half)
		}
	}
	Generate()
}

func (set isa) text(kind string, half int, signature, does string) {
	name := fmt.Sprintf("row%s%d%s", kind, half, set.name)
	TEXT(name, NOSPLIT, signature)
	Pragma("noescape")
	Doc(fmt.Sprintf("%s %s, for tables of %d bytes. It needs %s.", name, does, 2*half, set.needs))
}

const (
	head = "func(steps *uint8, counts *uint16, planes, banks int, tables, ids *uint8, before *uint8, "
	tail = "quads, perPlane int, sum float32) float32"
)

// lanes generates the kernel that finds the leaves, or twigs, of a group, and adds the
// values of the group before. With twigs, there is one bank.
func (set isa) lanes(half int, twigs bool) {
	if twigs {
		set.text("Twigs", half, head+"first *uint32, twigs *uint8, "+tail, "finds the twigs of 64 trees")
	} else {
		set.text("Lanes", half, head+"words *uint32, stride, "+tail, "finds the leaves of 64 trees")
	}
	steps := Load(Param("steps"), GP64())
	counts := Load(Param("counts"), GP64())
	planes := Load(Param("planes"), GP64())
	tables := Load(Param("tables"), GP64())
	s := loadSums(twigs)
	t := set.table(half)
	if twigs {
		s.table = t
		t.load(tables)
	}
	set.begin()

	Label("plane")
	set.clear()
	banks, at := GP64(), GP64()
	if !twigs {
		Load(Param("banks"), banks)
		MOVQ(tables, at)
		Label("bank")
		t.load(at)
		ADDQ(U32(uint32(2*half)), at)
	}
	n := GP64()
	MOVWQZX(Mem{Base: counts}, n)
	ADDQ(Imm(2), counts)
	TESTQ(n, n)
	JEQ(LabelRef("stepped"))
	Label("step")
	set.step(t, steps)
	ADDQ(U32(3*lanes), steps)
	DECQ(n)
	JNE(LabelRef("step"))
	Label("stepped")
	if !twigs {
		DECQ(banks)
		JNE(LabelRef("bank"))
	}
	set.flush(planes)
	Load(Param("perPlane"), n)
	s.add(set, n)
	DECQ(planes)
	JNE(LabelRef("plane"))

	set.store(Load(Param("ids"), GP64()))
	VZEROUPPER()
	Store(s.sum, ReturnIndex(0))
	RET()
}

// leaves generates the kernel that only follows twigs.
func (set isa) leaves(half int) {
	set.text("Leaves", half, "func(ids *uint8, first *uint32, twigs, tables *uint8, quads int, words *uint32)",
		"finds what the leaves of quads*4 trees give")
	ids, first, twigs, quads, words := GP64(), GP64(), GP64(), GP64(), GP64()
	Load(Param("ids"), ids)
	Load(Param("first"), first)
	Load(Param("twigs"), twigs)
	t := set.table(half)
	t.load(Load(Param("tables"), GP64()))
	Load(Param("quads"), quads)
	Load(Param("words"), words)
	Label("quad")
	for i := range 4 {
		v := GP32()
		MOVL(twigLeaf(set, t, ids, first, twigs, i), v)
		MOVL(v, Mem{Base: words}.Offset(4*i))
	}
	ADDQ(Imm(4), ids)
	ADDQ(Imm(16), first)
	ADDQ(Imm(16), words)
	DECQ(quads)
	JNE(LabelRef("quad"))
	VZEROUPPER()
	RET()
}
