// SPDX-License-Identifier: Apache-2.0

package labeling

import (
	"math"
	"math/rand/v2"
)

// model is multinomial logistic regression on sparse vectors, trained with AdaGrad
// (Duchi et al. 2011): steps adapt to how rare a word is, and touch only the words of one
// text.
type model struct {
	labels       int
	weights, sum []float32 // by word and label; sum is of squared gradients
	bias, bsum   []float32
}

const (
	epochs = 12
	rate   = 0.5
	decay  = 2e-4
)

// fit trains on the items given.
func fit(texts []vector, labels []int, items []int, words, k int, seed uint64) *model {
	m := &model{labels: k, weights: make([]float32, words*k), sum: make([]float32, words*k), bias: make([]float32, k), bsum: make([]float32, k)}
	r := rand.New(rand.NewPCG(seed, 77))
	order := append([]int(nil), items...)
	p := make([]float32, k)
	for range epochs {
		r.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, i := range order {
			m.probabilities(&texts[i], p)
			p[labels[i]]--
			m.step(&texts[i], p)
		}
	}
	return m
}

// step follows the gradient p (with its label's 1 taken off) times x.
func (m *model) step(v *vector, p []float32) {
	adagrad(m.bias, m.bsum, p, 1)
	for n, at := range v.at {
		from, to := int(at)*m.labels, (int(at)+1)*m.labels
		adagrad(m.weights[from:to], m.sum[from:to], p, v.x[n])
	}
}

func adagrad(w, sum, p []float32, x float32) {
	sum, p = sum[:len(w)], p[:len(w)]
	for j := range w {
		g := p[j]*x + decay*w[j]
		s := sum[j] + g*g
		sum[j] = s
		w[j] -= rate * g / float32(math.Sqrt(float64(s+1e-8)))
	}
}

// probabilities are those of one text.
func (m *model) probabilities(v *vector, p []float32) {
	copy(p, m.bias)
	for n, at := range v.at {
		x, row := v.x[n], m.weights[int(at)*m.labels:(int(at)+1)*m.labels]
		for j, w := range row {
			p[j] += x * w
		}
	}
	top := p[0]
	for _, z := range p {
		top = max(top, z)
	}
	total := float32(0)
	for j, z := range p {
		p[j] = float32(math.Exp(float64(z - top)))
		total += p[j]
	}
	for j := range p {
		p[j] /= total
	}
}

// predict is the probabilities of the items given, as the packages that choose want them.
func (m *model) predict(texts []vector, items []int) [][]float64 {
	rows := make([][]float64, len(items))
	all := make([]float64, len(items)*m.labels)
	p := make([]float32, m.labels)
	for n, i := range items {
		m.probabilities(&texts[i], p)
		rows[n] = all[n*m.labels : (n+1)*m.labels]
		for j, x := range p {
			rows[n][j] = float64(x)
		}
	}
	return rows
}

// accuracy is the share of texts whose most likely label is right.
func (m *model) accuracy(texts []vector, labels []int) float64 {
	right := 0
	p := make([]float32, m.labels)
	for i := range texts {
		m.probabilities(&texts[i], p)
		best := 0
		for j, x := range p {
			if x > p[best] {
				best = j
			}
		}
		if best == labels[i] {
			right++
		}
	}
	return float64(right) / float64(len(texts))
}
