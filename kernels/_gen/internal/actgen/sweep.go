// SPDX-License-Identifier: Apache-2.0

package actgen

import (
	"github.com/mmcloughlin/avo/attr"
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Cursor is where a sweep stands: some whole vectors, or a tail of less than one.
type Cursor struct {
	m       *Machine
	index   reg.GPVirtual // in bytes
	vectors int
	tail    reg.Register // mask of the elements there are; nil without a tail
}

// Sweep goes over count elements in groups of width vectors, then in single vectors,
// then over what is left under a mask. body is emitted once for each.
func (m *Machine) Sweep(count reg.GPVirtual, width int, body func(c *Cursor)) {
	c := &Cursor{m: m, index: GP64(), vectors: width}
	left := GP64()
	XORQ(c.index, c.index)
	MOVQ(count, left)
	c.loop(left, body)
	if width > 1 {
		c.vectors = 1
		c.loop(left, body)
	}
	end := m.label("end")
	TESTQ(left, left)
	JZ(LabelRef(end))
	c.vectors, c.tail = 1, m.tail(left)
	body(c)
	Label(end)
}

// loop runs body while there are vectors for it.
func (c *Cursor) loop(left reg.GPVirtual, body func(c *Cursor)) {
	top, next := c.m.label("loop"), c.m.label("next")
	elements := U32(uint32(c.vectors * c.m.lanes()))
	CMPQ(left, elements)
	JLT(LabelRef(next))
	Label(top)
	body(c)
	ADDQ(U32(uint32(c.vectors*c.m.bytes)), c.index)
	SUBQ(elements, left)
	CMPQ(left, elements)
	JGE(LabelRef(top))
	Label(next)
}

// tail is a mask of the first left elements of a vector.
func (m *Machine) tail(left reg.GPVirtual) reg.Register {
	if m.ISA == AVX512 {
		bits, k := GP64(), K()
		MOVQ(I64(-1), bits)
		BZHIQ(left, bits, bits)
		KMOVW(bits.As32(), k)
		return k
	}
	// A window on eight set lanes followed by eight clear ones.
	table, at, mask := GP64(), GP64(), m.register()
	LEAQ(m.tables.window(), table)
	MOVQ(U32(uint32(m.lanes())), at)
	SUBQ(left, at)
	VMOVUPS(Mem{Base: table, Index: at, Scale: 4}, mask)
	return mask
}

func (t *tables) window() Mem {
	const key = 1 // no constant in use has these bits
	if mem, ok := t.memory[key]; ok {
		return mem
	}
	mem := GLOBL("window_32", attr.RODATA|attr.NOPTR)
	for off := 0; off < 64; off += 8 {
		if off < 32 {
			DATA(off, U64(^uint64(0)))
		} else {
			DATA(off, U64(0))
		}
	}
	t.memory[key] = mem
	return mem
}

func (c *Cursor) mem(base reg.GPVirtual, i int) Mem {
	return Mem{Base: base, Index: c.index, Scale: 1, Disp: i * c.m.bytes}
}

// Load is the elements at the cursor, with 0 where there are none.
func (c *Cursor) Load(base reg.GPVirtual) Vec {
	v := c.m.group(c.vectors)
	for i := range v {
		switch {
		case c.tail == nil:
			VMOVUPS(c.mem(base, i), v[i])
		case c.m.ISA == AVX512:
			VMOVUPS_Z(c.mem(base, i), c.tail, v[i])
		default:
			VMASKMOVPS(c.mem(base, i), c.tail, v[i])
		}
	}
	return v
}

// LoadOr is Load with a constant where there are no elements.
func (c *Cursor) LoadOr(base reg.GPVirtual, other Arg) Vec {
	v := c.Load(base)
	if c.tail == nil {
		return v
	}
	return c.m.Select(Mask{c.tail}, v, c.m.registers(other, 1))
}

// Clear is v with 0 where there are no elements.
func (c *Cursor) Clear(v Vec) Vec {
	switch {
	case c.tail == nil:
		return v
	case c.m.ISA == AVX512:
		out := c.m.group(1)
		VMOVAPS_Z(v[0], c.tail, out[0])
		return out
	default:
		return c.m.And(v, Vec{c.tail.(reg.VecVirtual)})
	}
}

// Store writes the elements at the cursor.
func (c *Cursor) Store(v Vec, base reg.GPVirtual) {
	for i := range v {
		switch {
		case c.tail == nil:
			VMOVUPS(v[i], c.mem(base, i))
		case c.m.ISA == AVX512:
			VMOVUPS(v[i], c.tail, c.mem(base, i))
		default:
			VMASKMOVPS(v[i], c.tail, c.mem(base, i))
		}
	}
}
