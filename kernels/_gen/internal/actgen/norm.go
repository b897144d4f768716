// SPDX-License-Identifier: Apache-2.0

package actgen

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Norm writes the normalisations of rows for one ISA.
func Norm(isa ISA) {
	t := &tables{isa, map[uint32]Mem{}}
	layerNorm(&Machine{ISA: isa, tables: t})
	rmsNorm(&Machine{ISA: isa, tables: t})
}

func rmsNorm(m *Machine) {
	TEXT("rmsNorm"+m.Name, NOSPLIT, "func(dst, src []float32, cols int, gamma []float32, epsilon float32)")
	Pragma("noescape")
	Doc("rmsNorm"+m.Name+" is x / √(mean(x²) + epsilon) * gamma over each row of cols elements. src is",
		"one row or more, cols at least 1, and dst has the length of src; gamma is of cols",
		"elements or nil.")
	gamma := m.general("gamma_base")
	epsilon := m.parameter("epsilon")
	count := m.broadcast(scalar(m.general("cols")))
	m.rows(func(b block) {
		sum := m.Fill(rowGroup, Float(0))
		m.Sweep(b.cols, len(sum), func(c *Cursor) {
			x := c.Load(b.src)
			m.AddMul(sum[:len(x)], x, x)
		})
		scale := m.scaleOf(m.ratio(sum, count), epsilon)
		m.affine(gamma, nil, func(withGamma, _ bool) {
			m.Sweep(b.cols, rowGroup, func(c *Cursor) {
				w := m.weights(c, gamma, nil, withGamma, false)
				c.Store(w.apply(m, m.Mul(c.Load(b.src), scale)), b.dst)
			})
		})
	})
}

// ratio is the sum of all lanes of a group over count.
func (m *Machine) ratio(sums Vec, count Uniform) Uniform {
	sum := m.across(sums, VADDPS)
	return Uniform{m.Div(Vec{sum.VecVirtual}, count)[0]}
}

// scaleOf is 1/√(variance + epsilon).
func (m *Machine) scaleOf(variance, epsilon Uniform) Uniform {
	root := m.Sqrt(m.Add(Vec{variance.VecVirtual}, epsilon))
	return Uniform{m.Over(Float(1), root)[0]}
}

// affine emits sweep once for each choice of gamma and beta, and the branches between
// them; beta may not exist.
func (m *Machine) affine(gamma, beta reg.GPVirtual, sweep func(withGamma, withBeta bool)) {
	noGamma, done := m.label("noGamma"), m.label("done")
	TESTQ(gamma, gamma)
	JZ(LabelRef(noGamma))
	m.affineBeta(beta, done, func(withBeta bool) { sweep(true, withBeta) })
	Label(noGamma)
	m.affineBeta(beta, done, func(withBeta bool) { sweep(false, withBeta) })
	Label(done)
}

func (m *Machine) affineBeta(beta reg.GPVirtual, done string, sweep func(withBeta bool)) {
	if beta != nil {
		noBeta := m.label("noBeta")
		TESTQ(beta, beta)
		JZ(LabelRef(noBeta))
		sweep(true)
		JMP(LabelRef(done))
		Label(noBeta)
	}
	sweep(false)
	JMP(LabelRef(done))
}

// weights are gamma and beta at a cursor; nil is left out.
type weights struct{ gamma, beta Vec }

func (m *Machine) weights(c *Cursor, gamma, beta reg.GPVirtual, withGamma, withBeta bool) (w weights) {
	if withGamma {
		w.gamma = c.Load(gamma)
	}
	if withBeta {
		w.beta = c.Load(beta)
	}
	return w
}

// apply is y * gamma + beta; it may change y.
func (w weights) apply(m *Machine, y Vec) Vec {
	switch {
	case w.gamma != nil && w.beta != nil:
		m.MulAdd(y, w.gamma, w.beta)
	case w.gamma != nil:
		y = m.Mul(y, w.gamma)
	case w.beta != nil:
		y = m.Add(y, w.beta)
	}
	return y
}
