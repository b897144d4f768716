// SPDX-License-Identifier: Apache-2.0

// Command search generates the kernels that place values among sorted thresholds: a
// binary search of 16 rows at a time, whose tables are looked up by permutations.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

const (
	atLeast   = 0x1d // ordered, quiet
	unordered = 3
	planeNaN  = 8
	planeSet  = 9
	minLevels = 4
	maxLevels = 8
)

func main() {
	ConstraintExpr("!purego")
	search(1)
	search(4)
	Generate()
}

// search writes the kernel for tiles of that many words of 64 rows.
func search(words int) {
	TEXT(fmt.Sprintf("search%dAVX512", 64*words), NOSPLIT|NOFRAME,
		"func(columns *uint32, n int, tables, x *float32, blocks int, planes *uint64)")
	Doc("It places blocks of 16 values of each of n columns among the column's thresholds,",
		"and stores the outcomes of each step of the searches as a bit plane.")
	Pragma("noescape")
	s := kernel{words: words}
	columns, n := Load(Param("columns"), GP64()), Load(Param("n"), GP64())
	s.tables, s.x = Load(Param("tables"), GP64()), Load(Param("x"), GP64())
	s.blocks, s.planes = Load(Param("blocks"), GP64()), Load(Param("planes"), GP64())
	for i := range s.bit {
		s.bit[i] = ZMM()
		v := GP32()
		MOVL(U32(1<<i), v)
		VPBROADCASTD(v, s.bit[i])
	}

	Label("column")
	s.from, s.table, s.to = GP64(), GP64(), GP64()
	MOVL(Mem{Base: columns}, s.from.As32())
	SHLQ(U8(shift(256*words)), s.from)
	ADDQ(s.x, s.from)
	MOVL(Mem{Base: columns}.Offset(4), s.table.As32())
	LEAQ(Mem{Base: s.tables, Index: s.table, Scale: 4}, s.table)
	levels := GP32()
	MOVL(Mem{Base: columns}.Offset(8), levels)
	MOVL(Mem{Base: columns}.Offset(12), s.to.As32())
	IMUL3Q(U32(planeSet*8*words), s.to, s.to)
	ADDQ(s.planes, s.to)
	s.left = GP64()
	MOVQ(s.blocks, s.left)
	for l := minLevels + 1; l <= maxLevels; l++ {
		CMPL(levels, U8(uint64(l)))
		JEQ(LabelRef(fmt.Sprintf("levels%d", l)))
	}
	for l := minLevels; l <= maxLevels; l++ {
		s.loop(l)
	}
	Label("next")
	ADDQ(U32(16), columns)
	DECQ(n)
	JNE(LabelRef("column"))
	VZEROUPPER()
	RET()
}

type kernel struct {
	words                     int
	tables, x, planes, blocks Register
	from, table, to, left     GPVirtual
	bit                       [maxLevels - 1]VecVirtual
	entries                   [maxLevels][]VecVirtual
}

// loop searches a table of that many levels. Tables stay in registers.
func (s *kernel) loop(levels int) {
	Label(fmt.Sprintf("levels%d", levels))
	for l := range levels {
		s.entries[l] = nil
		for k := range max(1, 1<<l/16) {
			v := ZMM()
			at := Mem{Base: s.table}.Offset(4*levelStart(l) + 64*k)
			if l == 0 {
				VBROADCASTSS(at, v)
			} else {
				VMOVUPS(at, v)
			}
			s.entries[l] = append(s.entries[l], v)
		}
	}
	Label(fmt.Sprintf("block%d", levels))
	v, place, k := ZMM(), ZMM(), K()
	VMOVUPS(Mem{Base: s.from}, v)
	VCMPPS(U8(unordered), v, v, k)
	KMOVW(k, s.plane(planeNaN))
	var above [maxLevels]Register
	for l := range levels {
		entry := s.entries[0][0]
		if l > 0 {
			entry = s.lookup(l, place, above)
		}
		k := K()
		VCMPPS(U8(atLeast), entry, v, k)
		KMOVW(k, s.plane(levels-1-l))
		above[l] = k
		switch {
		case l == 0:
			VMOVDQA32_Z(s.bit[0], k, place)
		case l < levels-1:
			VPORD(s.bit[l], place, k, place)
		}
	}
	ADDQ(U32(64), s.from)
	ADDQ(U32(2), s.to)
	DECQ(s.left)
	JNE(LabelRef(fmt.Sprintf("block%d", levels)))
	JMP(LabelRef("next"))
}

// lookup is the entry of level l that each place names. Permutations see the low four
// or five bits of a place; the outcomes of the steps that set the others choose among
// several.
func (s *kernel) lookup(l int, place VecVirtual, above [maxLevels]Register) VecVirtual {
	e := s.entries[l]
	if len(e) == 1 {
		to := ZMM()
		VPERMPS(e[0], place, to)
		return to
	}
	var found []VecVirtual
	for i := 0; i < len(e); i += 2 {
		to := ZMM()
		VMOVDQA64(place, to)
		VPERMI2PS(e[i+1], e[i], to)
		found = append(found, to)
	}
	for bit := 5; len(found) > 1; bit++ {
		for i := 0; i < len(found); i += 2 {
			VMOVAPS(found[i+1], above[bit], found[i])
			found[i/2] = found[i]
		}
		found = found[:len(found)/2]
	}
	return found[0]
}

func (s *kernel) plane(i int) Mem { return Mem{Base: s.to}.Offset(8 * s.words * i) }

// levelStart is where a level's entries begin in a table, as in the package.
func levelStart(level int) int {
	if level <= 5 {
		return 16 * level
	}
	return 80 + 1<<level - 32
}

func shift(n int) uint64 {
	s := uint64(0)
	for 1<<s < n {
		s++
	}
	return s
}
