// SPDX-License-Identifier: Apache-2.0

package vecgen

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// MaskTable is a table of n dwords of ones and then n of zeros: from dword n-m on, it
// masks the first m elements of vectors of float32.
func MaskTable(name string, n int) Mem {
	table := GLOBL(name, RODATA|NOPTR)
	for i := range 2 * n {
		bits := uint32(0)
		if i < n {
			bits = 0xffffffff
		}
		DATA(4*i, U32(bits))
	}
	return table
}

// MaskAt is where the mask of count elements is in a table of n.
func MaskAt(table Mem, n int, count Register) Mem {
	p, t := GP64(), GP64()
	LEAQ(table, p)
	MOVQ(count, t)
	NEGQ(t)
	LEAQ(Mem{Base: p, Index: t, Scale: 4, Disp: 4 * n}, p)
	return Mem{Base: p}
}

// Row walks rows of n float32 at the pointers in step, 64 elements at a time, vector j
// of which take deals with; mask is nil but for what is left at the end. It leaves the
// pointers behind the row, and n spoilt. table is a MaskTable of 64.
func (l Level) Row(label string, n Register, table Mem, pointers []Register, take func(j int, at []Mem, mask Op)) {
	const group = 64
	at := func(j int) []Mem {
		list := make([]Mem, len(pointers))
		for i, p := range pointers {
			list[i] = Mem{Base: p, Disp: 4 * l.Width * j}
		}
		return list
	}
	Label(label + "_many")
	CMPQ(n, Imm(group))
	JLT(LabelRef(label + "_rest"))
	for j := range group / l.Width {
		take(j, at(j), nil)
	}
	for _, p := range pointers {
		ADDQ(U32(4*group), p)
	}
	SUBQ(Imm(group), n)
	JMP(LabelRef(label + "_many"))
	Label(label + "_rest")
	TESTQ(n, n)
	JZ(LabelRef(label + "_end"))
	l.rest(n, table, func(j int, mask Op) { take(j, at(j), mask) })
	for _, p := range pointers {
		LEAQ(Mem{Base: p, Index: n, Scale: 4}, p)
	}
	Label(label + "_end")
}

// rest deals with fewer than 64 elements by masks.
func (l Level) rest(n Register, table Mem, take func(j int, mask Op)) {
	if !l.Wide() {
		bits := MaskAt(table, 64, n)
		for j := range 8 {
			take(j, bits.Offset(4*l.Width*j))
		}
		return
	}
	ones, all := GP64(), K()
	MOVQ(I64(-1), ones)
	BZHIQ(n, ones, ones)
	KMOVQ(ones, all)
	for j := range 4 {
		part := K()
		KSHIFTRQ(Imm(uint64(16*j)), all, part)
		take(j, part)
	}
}

// Scalar is a vector of a parameter of type float32.
func Scalar(l Level, name string) VecVirtual {
	p, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	v := l.Vec()
	VBROADCASTSS(p.Addr, v)
	return v
}
