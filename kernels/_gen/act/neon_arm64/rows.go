// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/millrace-ml/millrace/kernels/_gen/internal/neon"

// rowGroup is how many vectors of a row are worked on at a time: its sums are of as
// many parts as those of AVX2.
const rowGroup = 4

// block is the arguments of a function over rows: dst, src and the columns.
type block struct{ dst, src, cols neon.GP }

// rows emits body for each row of src, whose length is a multiple of cols.
func (m *machine) rows(body func(b block)) {
	b, end := block{m.Arg("dst_base"), m.Arg("src_base"), m.Arg("cols")}, m.GP()
	m.AddShifted(end, b.src, m.Arg("src_len"), 2)
	m.Label("row")
	body(b)
	m.AddShifted(b.src, b.src, b.cols, 2)
	m.AddShifted(b.dst, b.dst, b.cols, 2)
	m.Compare(b.src, end)
	m.Branch("LO", "row")
	m.Return()
}

// total is the sum of all lanes of a group in every lane: halves are added onto each
// other, then neighbours.
func (m *machine) total(v group) uniform { return m.across(v, neon.FADD, neon.FADDP) }

func (m *machine) across(v group, op, neighbours neon.Op) uniform {
	for n := len(v); n > 1; n /= 2 {
		for i := range n / 2 {
			m.Do(op, v[i], v[i], v[i+n/2])
		}
	}
	m.Do(neighbours, v[0], v[0], v[0])
	m.Do(neighbours, v[0], v[0], v[0])
	return uniform{v[0]}
}

// addTo puts a group onto accumulators, of which tails and single vectors use the first.
func (m *machine) addTo(sums, v group) {
	for i := range v {
		m.Do(neon.FADD, sums[i], sums[i], v[i])
	}
}

// orElse is what a cursor loaded, with a constant where there was nothing.
func (m *machine) orElse(c *neon.Cursor, v group, other operand) group {
	if !c.Tail {
		return v
	}
	return m.choose(group{c.Mask()}, v, other)
}

// clear is v with 0 where a cursor has no elements.
func (m *machine) clear(c *neon.Cursor, v group) group {
	if !c.Tail {
		return v
	}
	return m.and(v, group{c.Mask()})
}

// float is an integer as a number in all lanes.
func (m *machine) float(n neon.GP) uniform {
	x := m.Vec()
	m.FromInt(x, n)
	m.DupLane(x, x, 0)
	return uniform{x}
}

// ratio is a / b.
func (m *machine) ratio(a, b uniform) uniform { return uniform{m.div(group{a.Vec}, b)[0]} }

// scaleOf is 1/√(variance + epsilon).
func (m *machine) scaleOf(variance, epsilon uniform) uniform {
	root := m.sqrt(m.add(group{variance.Vec}, epsilon))
	return uniform{m.over(number(1), root)[0]}
}

func writeSoftmax(f *neon.File) {
	for _, kind := range []struct {
		name, doc string
		finish    func(m *machine, b block, top, sum uniform)
		store     bool
	}{
		{"softmaxNEON", "exp(x - max) / sum(exp(x - max))", quotient, true},
		{"logSoftmaxNEON", "x - max - log(sum(exp(x - max)))", logarithm, false},
	} {
		doc := "is " + kind.doc + " over each row of cols elements.\n" +
			"src is one row or more, cols at least 1, and dst has the length of src."
		f.Func(kind.name, "func(dst, src []float32, cols int)", doc, func(f *neon.Func) {
			m := &machine{f}
			m.Table()
			m.rows(func(b block) {
				top := m.largest(b)
				kind.finish(m, b, top, m.expSum(b, top, kind.store))
			})
		})
	}
}

// largest is the maximum of a row, or NaN.
func (m *machine) largest(b block) uniform {
	least := bits(1<<31 | infinity)
	top := m.fill(rowGroup, least)
	m.Sweep(b.cols, len(top), func(c *neon.Cursor) {
		for i, x := range m.orElse(c, c.Load(b.src), least) {
			m.Do(neon.FMAX, top[i], top[i], x)
		}
	})
	return m.across(top, neon.FMAX, neon.FMAXP)
}

// expSum is the sum of exp(x - top) over a row, with the terms stored in dst if asked.
func (m *machine) expSum(b block, top uniform, store bool) uniform {
	sum := m.fill(rowGroup, number(0))
	m.Sweep(b.cols, len(sum), func(c *neon.Cursor) {
		// x is at most top.
		e := m.expBounded(m.max(m.sub(c.Load(b.src), top), expLowest))
		if store {
			c.Store(e, b.dst)
		}
		m.addTo(sum, m.clear(c, e))
	})
	return m.total(sum)
}

// quotient divides the terms in dst by their sum.
func quotient(m *machine, b block, _, sum uniform) {
	scale := uniform{m.over(number(1), group{sum.Vec})[0]}
	m.Sweep(b.cols, rowGroup, func(c *neon.Cursor) {
		c.Store(m.mul(c.Load(b.dst), scale), b.dst)
	})
}

// logarithm subtracts the top and the logarithm of the sum.
func logarithm(m *machine, b block, top, sum uniform) {
	shift := uniform{m.log(group{sum.Vec})[0]}
	m.Sweep(b.cols, rowGroup, func(c *neon.Cursor) {
		c.Store(m.sub(m.sub(c.Load(b.src), top), shift), b.dst)
	})
}
