// SPDX-License-Identifier: Apache-2.0

package linear

import (
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/millrace-ml/millrace/training/learn"
)

// model is a fitted recipe. Weights are those of terms before their scale, of the exported
// graph; intercepts are by output.
type model struct {
	recipe     *recipe
	outputs    int
	weights    [][]float64 // by output, then by term and code
	intercepts []float64
	importance []float64
	used       int // weights that are not 0
	converged  bool
}

var _ learn.Model = (*model)(nil)

func newModel(r *recipe, p *problem, theta []float64, converged bool) *model {
	m := &model{recipe: r, outputs: p.outputs, importance: make([]float64, len(r.features)), converged: converged}
	width := p.width()
	for k := range p.outputs {
		own := theta[k*width : (k+1)*width]
		weights := make([]float64, width-1)
		for j := range weights {
			weights[j] = own[j] * p.spread
			if own[j] != 0 {
				m.used++
			}
		}
		m.weigh(p.design, weights)
		for j := range r.terms {
			weights[j] *= r.terms[j].scale
		}
		m.weights = append(m.weights, weights)
		m.intercepts = append(m.intercepts, own[width-1]*p.spread+p.centre)
	}
	return m
}

// weigh adds |weight| x deviation to the importance of the features of terms.
func (m *model) weigh(d *design, weights []float64) {
	r := m.recipe
	for j := range r.terms {
		t := &r.terms[j]
		share := math.Abs(weights[j]) * t.spread
		switch t.kind {
		case absentTerm:
			m.importance[t.source] += share
		case productTerm:
			m.importance[r.numbers[t.source].feature] += share / 2
			m.importance[r.numbers[t.other].feature] += share / 2
		default:
			m.importance[r.numbers[t.source].feature] += share
		}
	}
	at := len(r.terms)
	for c, codes := range d.codes {
		counts := make([]float64, r.categories[c].size)
		for _, code := range codes {
			if code >= 0 {
				counts[code]++
			}
		}
		for i, n := range counts {
			q := n / float64(d.rows)
			m.importance[r.categories[c].feature] += math.Abs(weights[at+i]) * math.Sqrt(q*(1-q))
		}
		at += len(counts)
	}
}

// Outputs implements learn.Model.
func (m *model) Outputs() int { return m.outputs }

// Importance implements learn.Model: |weight| x deviation, summed over the terms of a
// feature.
func (m *model) Importance() []float64 { return m.importance }

// Describe implements learn.Model.
func (m *model) Describe() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d terms of %d features, %d weights in use", m.recipe.columns(), len(m.recipe.features), m.used)
	if m.recipe.empty > 0 {
		fmt.Fprintf(&b, ", features without values left out: %d", m.recipe.empty)
	}
	if !m.converged {
		b.WriteString(", not converged")
	}
	return b.String()
}

// Predict implements learn.Model.
func (m *model) Predict(values [][]float32, to []float32) {
	rows := len(to) / m.outputs
	chunks := (rows + chunkRows - 1) / chunkRows
	var next atomic.Int64
	work := func() {
		c := m.recipe.newChunk()
		sums, column := make([]float64, chunkRows*m.outputs), make([]float32, chunkRows)
		for i := int(next.Add(1)) - 1; i < chunks; i = int(next.Add(1)) - 1 {
			from, end := i*chunkRows, min((i+1)*chunkRows, rows)
			c.load(values, from, end)
			m.scores(c, column[:end-from], sums)
			for at := range (end - from) * m.outputs {
				to[from*m.outputs+at] = float32(sums[at])
			}
		}
	}
	workers := min(runtime.GOMAXPROCS(0), chunks)
	if workers <= 1 {
		work()
		return
	}
	var wait sync.WaitGroup
	for range workers {
		wait.Go(work)
	}
	wait.Wait()
}

// scores writes the scores of the loaded rows, row after row. Column is room for a term.
func (m *model) scores(c *chunk, column []float32, sums []float64) {
	for i := range column {
		copy(sums[i*m.outputs:(i+1)*m.outputs], m.intercepts)
	}
	for j := range m.recipe.terms {
		c.write(&m.recipe.terms[j], column)
		for k, weights := range m.weights {
			if w := weights[j]; w != 0 {
				for i, x := range column {
					sums[i*m.outputs+k] += w * float64(x)
				}
			}
		}
	}
	at := len(m.recipe.terms)
	for _, own := range m.recipe.categories {
		for i, x := range c.values[own.feature] {
			if code := code(x, own.size); code >= 0 {
				for k, weights := range m.weights {
					sums[i*m.outputs+k] += weights[at+int(code)]
				}
			}
		}
		at += own.size
	}
}
