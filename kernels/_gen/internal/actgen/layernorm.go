// SPDX-License-Identifier: Apache-2.0

package actgen

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// normal is a row under layerNorm.
type normal struct {
	dst, src    reg.GPVirtual
	near        Uniform
	sum, square Vec // of x - near
	scale       Uniform
	shift       Uniform
}

// layer is layerNorm's arguments and what is derived from them once.
type layer struct {
	cols, first, gamma, beta reg.GPVirtual
	count, firstCount        reg.VecVirtual // scalars
}

// firstGroup is the number of elements whose mean layerNorm starts from.
const firstGroup = 64

// layerNorm takes mean and variance in one pass over x - near, with near the mean of
// the row's first elements. Jensen's inequality has (near - mean)² / variance at most
// cols / firstGroup, so that little cancels however large the mean is.
//
// Rows go in pairs, which share the loads of gamma and beta and hide each other's
// latency; each is worked on as it would be alone.
func layerNorm(m *Machine) {
	TEXT("layerNorm"+m.Name, NOSPLIT, "func(dst, src []float32, cols int, gamma, beta []float32, epsilon float32)")
	Pragma("noescape")
	Doc("layerNorm"+m.Name+" is (x - mean) / √(variance + epsilon) * gamma + beta over each row of cols",
		"elements. src is one row or more, cols at least 1, and dst has the length of src;",
		"gamma and beta are of cols elements or nil.")
	l := layer{cols: m.general("cols"), first: GP64(), gamma: m.general("gamma_base"), beta: m.general("beta_base")}
	MOVQ(U32(firstGroup), l.first)
	CMPQ(l.cols, l.first)
	CMOVQLT(l.cols, l.first)
	l.count, l.firstCount = scalar(l.cols), scalar(l.first)
	dst, src, left := m.general("dst_base"), m.general("src_base"), m.general("src_len")
	LEAQ(Mem{Base: src, Index: left, Scale: 4}, left) // the end, from here on
	next := GP64()
	Label("pair")
	LEAQ(Mem{Base: src, Index: l.cols, Scale: 4}, next)
	CMPQ(next, left)
	JGE(LabelRef("last"))
	second := GP64()
	LEAQ(Mem{Base: dst, Index: l.cols, Scale: 4}, second)
	m.normalize(l, &normal{dst: dst, src: src}, &normal{dst: second, src: next})
	LEAQ(Mem{Base: next, Index: l.cols, Scale: 4}, src)
	LEAQ(Mem{Base: second, Index: l.cols, Scale: 4}, dst)
	CMPQ(src, left)
	JLT(LabelRef("pair"))
	JMP(LabelRef("done"))
	Label("last")
	m.normalize(l, &normal{dst: dst, src: src})
	Label("done")
	VZEROUPPER()
	RET()
}

// normalize is layerNorm of some rows.
func (m *Machine) normalize(l layer, rows ...*normal) {
	for _, r := range rows {
		r.near = m.nearMean(l, r)
	}
	for _, r := range rows {
		r.sum, r.square = m.Fill(rowGroup, Float(0)), m.Fill(rowGroup, Float(0))
	}
	m.Sweep(l.cols, rowGroup, func(c *Cursor) {
		for _, r := range rows {
			d := c.Clear(m.Sub(c.Load(r.src), r.near))
			m.add(r.sum, d)
			m.AddMul(r.square[:len(d)], d, d)
		}
	})
	for _, r := range rows {
		m.solve(l, r)
	}
	m.affine(l.gamma, l.beta, func(withGamma, withBeta bool) {
		m.Sweep(l.cols, rowGroup, func(c *Cursor) {
			w := m.weights(c, l.gamma, l.beta, withGamma, withBeta)
			for _, r := range rows {
				y := m.Sub(c.Load(r.src), r.near)
				for i := range y {
					VFMADD213PS(r.shift.VecVirtual, r.scale.VecVirtual, y[i])
				}
				c.Store(w.apply(m, y), r.dst)
			}
		})
	})
}

// nearMean is the mean of a row's first elements, as rounded.
func (m *Machine) nearMean(l layer, r *normal) Uniform {
	sum := m.Fill(rowGroup, Float(0))
	m.Sweep(l.first, len(sum), func(c *Cursor) { m.add(sum, c.Load(r.src)) })
	total := m.lane(sum, VADDPS)
	VDIVSS(l.firstCount.AsX(), total, total)
	return m.broadcast(total)
}

// solve finds the row's scale 1/√(variance + epsilon) and its shift -off*scale, with
// off the mean of x - near and variance that of the square less off².
func (m *Machine) solve(l layer, r *normal) {
	off, variance := m.lane(r.sum, VADDPS), m.lane(r.square, VADDPS)
	VDIVSS(l.count.AsX(), off, off)
	VDIVSS(l.count.AsX(), variance, variance)
	VFNMADD231SS(off, off, variance)
	// Of equal elements rounding may leave less than nothing.
	zero, one := XMM(), XMM()
	VXORPS(zero, zero, zero)
	VMAXSS(variance, zero, variance)
	VADDSS(m.address("epsilon"), variance, variance)
	VSQRTSS(variance, variance, variance)
	VMOVSS(m.tables.at(0x3f800000), one)
	VDIVSS(variance, one, variance)
	VMULSS(variance, off, off)
	VXORPS(m.tables.at(uint32(signBit)), off, off)
	r.scale, r.shift = m.broadcast(variance), m.broadcast(off)
}

// scalar is an integer as a float in the first lane.
func scalar(n reg.GPVirtual) reg.VecVirtual {
	x := XMM()
	VXORPS(x, x, x)
	VCVTSI2SSQ(n, x, x)
	return x
}
