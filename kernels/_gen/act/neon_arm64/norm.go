// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/millrace-ml/millrace/kernels/_gen/internal/neon"

// firstGroup is the number of elements whose mean layerNorm starts from.
const firstGroup = 64

// writeLayerNorm takes mean and variance in one pass over x - near, with near the mean
// of the row's first elements. Jensen's inequality has (near - mean)² / variance at
// most cols / firstGroup, so that little cancels however large the mean is.
func writeLayerNorm(f *neon.File) {
	doc := "is (x - mean) / √(variance + epsilon) * gamma + beta over each row of cols\n" +
		"elements. src is one row or more, cols at least 1, and dst has the length of src;\n" +
		"gamma and beta are of cols elements or nil."
	f.Func("layerNormNEON", "func(dst, src []float32, cols int, gamma, beta []float32, epsilon float32)", doc, func(f *neon.Func) {
		m := &machine{f}
		m.Table()
		gamma, beta, epsilon, first := m.Arg("gamma_base"), m.Arg("beta_base"), m.ArgLanes("epsilon"), m.GP()
		m.rows(func(b block) {
			m.Imm(first, firstGroup)
			m.Compare(b.cols, first)
			m.Branch("GE", "long")
			m.Move(first, b.cols)
			m.Label("long")
			near := m.nearMean(b, first)
			scale, shift := m.solve(b, near, uniform{epsilon})
			m.affine(gamma, &beta, func(gammas, betas bool) {
				m.Sweep(b.cols, rowGroup, func(c *neon.Cursor) {
					y := m.mulAdd(m.sub(c.Load(b.src), near), scale, shift)
					c.Store(m.weigh(c, y, gamma, beta, gammas, betas), b.dst)
				})
			})
		})
	})
}

// nearMean is the mean of a row's first elements, as rounded.
func (m *machine) nearMean(b block, first neon.GP) uniform {
	sum := m.fill(rowGroup, number(0))
	m.Sweep(first, len(sum), func(c *neon.Cursor) { m.addTo(sum, c.Load(b.src)) })
	return m.ratio(m.total(sum), m.float(first))
}

// solve finds the row's scale 1/√(variance + epsilon) and its shift -off*scale, with
// off the mean of x - near and variance that of the square less off².
func (m *machine) solve(b block, near, epsilon uniform) (scale, shift uniform) {
	sum, square := m.fill(rowGroup, number(0)), m.fill(rowGroup, number(0))
	m.Sweep(b.cols, rowGroup, func(c *neon.Cursor) {
		d := m.clear(c, m.sub(c.Load(b.src), near))
		m.addTo(sum, d)
		m.addMul(square[:len(d)], d, d)
	})
	count := m.float(b.cols)
	off, variance := m.ratio(m.total(sum), count), m.ratio(m.total(square), count)
	m.Do(neon.FMLS, variance.Vec, off.Vec, off.Vec)
	// Of equal elements rounding may leave less than nothing.
	scale = m.scaleOf(uniform{m.max(group{variance.Vec}, number(0))[0]}, epsilon)
	shifted := m.unary(neon.FNEG, m.mul(group{off.Vec}, scale))
	return scale, uniform{shifted[0]}
}

func writeRMSNorm(f *neon.File) {
	doc := "is x / √(mean(x²) + epsilon) * gamma over each row of cols elements. src is\n" +
		"one row or more, cols at least 1, and dst has the length of src; gamma is of cols\n" +
		"elements or nil."
	f.Func("rmsNormNEON", "func(dst, src []float32, cols int, gamma []float32, epsilon float32)", doc, func(f *neon.Func) {
		m := &machine{f}
		m.Table()
		gamma, epsilon := m.Arg("gamma_base"), m.ArgLanes("epsilon")
		m.rows(func(b block) {
			sum := m.fill(rowGroup, number(0))
			m.Sweep(b.cols, len(sum), func(c *neon.Cursor) {
				x := group(c.Load(b.src))
				m.addMul(sum[:len(x)], x, x)
			})
			scale := m.scaleOf(m.ratio(m.total(sum), m.float(b.cols)), uniform{epsilon})
			m.affine(gamma, nil, func(gammas, _ bool) {
				m.Sweep(b.cols, rowGroup, func(c *neon.Cursor) {
					y := m.mul(c.Load(b.src), scale)
					c.Store(m.weigh(c, y, gamma, neon.GP{}, gammas, false), b.dst)
				})
			})
		})
	})
}

// affine emits sweep once for each choice of gamma and beta, and the branches between
// them; a function may have no beta.
func (m *machine) affine(gamma neon.GP, beta *neon.GP, sweep func(gammas, betas bool)) {
	other, done := m.Unique("other"), m.Unique("done")
	m.BranchZero(gamma, other)
	m.affineBeta(beta, done, func(betas bool) { sweep(true, betas) })
	m.Label(other)
	m.affineBeta(beta, done, func(betas bool) { sweep(false, betas) })
	m.Label(done)
}

func (m *machine) affineBeta(beta *neon.GP, done string, sweep func(betas bool)) {
	if beta != nil {
		other := m.Unique("other")
		m.BranchZero(*beta, other)
		sweep(true)
		m.Jump(done)
		m.Label(other)
	}
	sweep(false)
	m.Jump(done)
}

// weigh is y * gamma + beta, of which either may be left out.
func (m *machine) weigh(c *neon.Cursor, y group, gamma, beta neon.GP, gammas, betas bool) group {
	switch {
	case gammas && betas:
		return m.mulAdd(y, group(c.Load(gamma)), group(c.Load(beta)))
	case gammas:
		return m.mul(y, group(c.Load(gamma)))
	case betas:
		return m.add(y, group(c.Load(beta)))
	}
	return y
}
