// SPDX-License-Identifier: Apache-2.0

package actgen

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// rowGroup is how many vectors of a row are worked on at a time.
const rowGroup = 2

// Softmax writes softmax and its logarithm for one ISA.
func Softmax(isa ISA) {
	t := &tables{isa, map[uint32]Mem{}}
	for _, f := range []struct {
		name, doc string
		finish    func(m *Machine, b block, top, sum Uniform)
		store     bool
	}{
		{"softmax", "exp(x - max) / sum(exp(x - max))", quotient, true},
		{"logSoftmax", "x - max - log(sum(exp(x - max)))", logarithm, false},
	} {
		m := &Machine{ISA: isa, tables: t}
		TEXT(f.name+m.Name, NOSPLIT, "func(dst, src []float32, cols int)")
		Pragma("noescape")
		Doc(f.name+m.Name+" is "+f.doc+" over each row of cols elements.",
			"src is one row or more, cols at least 1, and dst has the length of src.")
		if isa == AVX512 {
			m.Keep(12, func() { m.expShifted(Vec{}, Uniform{}) })
		}
		m.rows(func(b block) {
			top := m.largest(b)
			f.finish(m, b, top, m.expSum(b, top, f.store))
		})
	}
}

// largest is the maximum of a row. Whether a NaN is found does not matter: the sum
// will have it.
func (m *Machine) largest(b block) Uniform {
	least := Bits(1<<31 | infinity)
	top := m.Fill(rowGroup, least)
	m.Sweep(b.cols, len(top), func(c *Cursor) {
		for i, x := range c.LoadOr(b.src, least) {
			VMAXPS(x, top[i], top[i])
		}
	})
	return m.across(top, VMAXPS)
}

// expSum is the sum of exp(x - top) over a row, with the terms stored in dst if asked.
func (m *Machine) expSum(b block, top Uniform, store bool) Uniform {
	sum := m.Fill(rowGroup, Float(0))
	m.Sweep(b.cols, len(sum), func(c *Cursor) {
		e := m.expShifted(c.Load(b.src), top)
		if store {
			c.Store(e, b.dst)
		}
		m.add(sum, c.Clear(e))
	})
	return m.across(sum, VADDPS)
}

// expShifted is exp(x - top) for x <= top.
func (m *Machine) expShifted(x Vec, top Uniform) Vec {
	return m.expBounded(m.Max(m.Sub(x, top), expLowest))
}

// quotient divides the terms in dst by their sum.
func quotient(m *Machine, b block, _, sum Uniform) {
	one := m.Fill(1, Float(1))
	scale := Uniform{m.Div(one, sum)[0]}
	m.Sweep(b.cols, rowGroup, func(c *Cursor) {
		c.Store(m.Mul(c.Load(b.dst), scale), b.dst)
	})
}

// logarithm subtracts the top and the logarithm of the sum.
func logarithm(m *Machine, b block, top, sum Uniform) {
	shift := Uniform{m.Log(Vec{sum.VecVirtual})[0]}
	m.Sweep(b.cols, rowGroup, func(c *Cursor) {
		c.Store(m.Sub(m.Sub(c.Load(b.src), top), shift), b.dst)
	})
}
