// SPDX-License-Identifier: Apache-2.0

// Package actgen writes the vector code of kernels/act. A formula is written once, in
// terms of Machine's operations, and comes out for each ISA: a Vec is a group of
// registers on which the same operation is done in turn, which hides its latency.
//
// Formulas are emitted several times per function (for groups, single vectors and
// tails). Before that they run once on groups of no registers, which emits nothing
// but finds the constants, so that the first of them are kept in registers.
package actgen

import (
	"fmt"
	"math"

	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// ISA is one level of kernels/cpu as these programs see it.
type ISA struct {
	Name  string
	bytes int // of a vector
}

// The two ISAs.
var (
	AVX2   = ISA{"AVX2", 32}
	AVX512 = ISA{"AVX512", 64}
)

func (isa ISA) lanes() int { return isa.bytes / 4 }

func (isa ISA) register() reg.VecVirtual {
	if isa == AVX512 {
		return ZMM()
	}
	return YMM()
}

// Machine emits operations for one function.
type Machine struct {
	ISA
	tables   *tables
	used     []uint32 // constants in order of first use
	resident map[uint32]reg.VecVirtual
	labels   int
}

// Vec is a group of registers.
type Vec []reg.VecVirtual

// Arg is the second or third operand of an operation: a Vec, a constant or a Uniform.
type Arg interface {
	note(m *Machine)
	at(m *Machine, i int) Op
}

// Float is a constant of type float32 in all lanes.
type Float float32

// Bits is a constant by its bits.
type Bits uint32

// Uniform is a register that holds the same value for all groups.
type Uniform struct{ reg.VecVirtual }

func (v Vec) note(*Machine)                 {}
func (v Vec) at(_ *Machine, i int) Op       { return v[i] }
func (u Uniform) note(*Machine)             {}
func (u Uniform) at(*Machine, int) Op       { return u.VecVirtual }
func (k Float) note(m *Machine)             { m.noteBits(math.Float32bits(float32(k))) }
func (k Float) at(m *Machine, i int) Op     { return m.constant(math.Float32bits(float32(k))) }
func (b Bits) note(m *Machine)              { m.noteBits(uint32(b)) }
func (b Bits) at(m *Machine, i int) Op      { return m.constant(uint32(b)) }
func (m *Machine) label(name string) string { m.labels++; return fmt.Sprintf("%s%d", name, m.labels) }

func (m *Machine) noteBits(bits uint32) {
	for _, b := range m.used {
		if b == bits {
			return
		}
	}
	m.used = append(m.used, bits)
}

// constant is the register or else the memory that holds a constant.
func (m *Machine) constant(bits uint32) Op {
	if r, ok := m.resident[bits]; ok {
		return r
	}
	return m.tables.at(bits)
}

// Keep runs a formula on no registers and loads the first limit of its constants into
// registers, where they stay.
func (m *Machine) Keep(limit int, formula func()) {
	formula()
	m.resident = map[uint32]reg.VecVirtual{}
	for _, bits := range m.used[:min(limit, len(m.used))] {
		r := m.register()
		VMOVUPS(m.tables.at(bits), r)
		m.resident[bits] = r
	}
}

// group is n fresh registers.
func (m *Machine) group(n int) Vec {
	v := make(Vec, n)
	for i := range v {
		v[i] = m.register()
	}
	return v
}

// registers is arg as registers only, for operands that cannot be in memory.
func (m *Machine) registers(arg Arg, n int) Vec {
	arg.note(m)
	v := make(Vec, n)
	for i := range v {
		switch op := arg.at(m, i).(type) {
		case reg.VecVirtual:
			v[i] = op
		default:
			if i > 0 {
				v[i] = v[0]
				continue
			}
			v[i] = m.register()
			VMOVUPS(op, v[i])
		}
	}
	return v
}

// tables are the constants of one file, each repeated over a vector.
type tables struct {
	ISA
	memory map[uint32]Mem
}

func (t *tables) at(bits uint32) Mem {
	if mem, ok := t.memory[bits]; ok {
		return mem
	}
	mem := GLOBL(fmt.Sprintf("x%08x_%d", bits, t.bytes), attr.RODATA|attr.NOPTR)
	for off := 0; off < t.bytes; off += 8 {
		DATA(off, U64(uint64(bits)<<32|uint64(bits)))
	}
	t.memory[bits] = mem
	return mem
}
