// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"math"

	"gonum.org/v1/gonum/mat"
)

// model is a logistic regression of standardised columns.
type model struct{ mean, sd, weight []float64 }

// fit takes eight of Newton's steps, with a ridge of one row.
func fit(rows [][]float64, labels []float64) *model {
	k, n := len(rows[0]), float64(len(rows))
	m := &model{make([]float64, k), make([]float64, k), make([]float64, k+1)}
	for i := range k {
		for _, r := range rows {
			m.mean[i] += r[i] / n
		}
		for _, r := range rows {
			m.sd[i] += (r[i] - m.mean[i]) * (r[i] - m.mean[i]) / n
		}
		m.sd[i] = math.Max(math.Sqrt(m.sd[i]), 1e-9)
	}
	z := make([]float64, k+1)
	for range 8 {
		gradient, hessian := mat.NewVecDense(k+1, nil), mat.NewSymDense(k+1, nil)
		for i := range k + 1 {
			gradient.SetVec(i, m.weight[i])
			hessian.SetSym(i, i, 1)
		}
		for j, r := range rows {
			m.standard(r, z)
			p := m.score(r)
			v := mat.NewVecDense(k+1, z)
			gradient.AddScaledVec(gradient, p-labels[j], v)
			hessian.SymRankOne(hessian, math.Max(p*(1-p), 1e-6), v)
		}
		var cholesky mat.Cholesky
		step := mat.NewVecDense(k+1, nil)
		if !cholesky.Factorize(hessian) || cholesky.SolveVecTo(step, gradient) != nil {
			break
		}
		for i := range m.weight {
			m.weight[i] -= step.AtVec(i)
		}
	}
	return m
}

func (m *model) standard(r, to []float64) {
	for i, v := range r {
		to[i] = (v - m.mean[i]) / m.sd[i]
	}
	to[len(r)] = 1
}

func (m *model) score(r []float64) float64 {
	sum := m.weight[len(r)]
	for i, v := range r {
		sum += m.weight[i] * (v - m.mean[i]) / m.sd[i]
	}
	return 1 / (1 + math.Exp(-sum))
}
