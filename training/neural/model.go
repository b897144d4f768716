// SPDX-License-Identifier: Apache-2.0

package neural

import (
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"sync"

	"gonum.org/v1/gonum/blas"
	"gonum.org/v1/gonum/blas/blas32"

	"github.com/millrace-ml/millrace/training/learn"
)

// layer is a dense layer: weights of shape [in, out], row by row.
type layer struct {
	in, out       int
	weights, bias []float32
}

// model is a network that was learnt.
type model struct {
	task    learn.Task
	recipe  *recipe
	layers  []layer
	tables  [][]float32 // embeddings of the recipe's categories, [size, width]
	relu    bool
	outputs int
	// targetMean and targetScale turn the score of a regression back into the label's unit.
	targetMean, targetScale float32
	epochs                  int
}

// standardiseTarget looks at the labels of a regression.
func (m *model) standardiseTarget(t *learn.Table) {
	m.targetScale = 1
	if m.task != learn.Regression {
		return
	}
	mean, deviation, _, _, _ := moments(t.Labels, nil)
	m.targetMean = float32(mean)
	if deviation > 1e-7*math.Abs(mean) && deviation > 1e-30 {
		m.targetScale = float32(deviation)
	}
}

func (m *model) weights() int {
	n := 0
	for _, p := range m.parameters() {
		n += len(p)
	}
	return n
}

// parameters are all that is learnt, in a fixed order.
func (m *model) parameters() [][]float32 {
	all := slices.Clone(m.tables)
	for i := range m.layers {
		all = append(all, m.layers[i].weights, m.layers[i].bias)
	}
	return all
}

// Outputs implements learn.Model.
func (m *model) Outputs() int { return m.outputs }

// blockRows is how many rows go through the network together.
const blockRows = 512

// Predict implements learn.Model.
func (m *model) Predict(values [][]float32, to []float32) {
	rows := len(to) / m.outputs
	blocks := (rows + blockRows - 1) / blockRows
	var next sync.Mutex
	taken := 0
	take := func() int {
		next.Lock()
		defer next.Unlock()
		taken++
		return taken - 1
	}
	var group sync.WaitGroup
	for range min(runtime.GOMAXPROCS(0), blocks) {
		group.Go(func() {
			p := m.newPass(min(blockRows, rows))
			for b := take(); b < blocks; b = take() {
				first := b * blockRows
				last := min(first+blockRows, rows)
				p.run(values, first, last, to[first*m.outputs:last*m.outputs])
			}
		})
	}
	group.Wait()
}

// pass is the memory of a forward pass.
type pass struct {
	m      *model
	values [][]float32 // the input of each layer, and the scores
}

func (m *model) newPass(rows int) *pass {
	p := &pass{m: m, values: [][]float32{make([]float32, rows*m.recipe.width())}}
	for _, l := range m.layers {
		p.values = append(p.values, make([]float32, rows*l.out))
	}
	return p
}

// run computes the raw scores of rows.
func (p *pass) run(values [][]float32, first, last int, to []float32) {
	r, width := p.m.recipe, p.m.recipe.width()
	for row := first; row < last; row++ {
		x := p.values[0][(row-first)*width : (row-first+1)*width]
		r.denseRow(values, row, x)
		at := r.dense()
		for i := range r.categories {
			c := &r.categories[i]
			code := c.code(values, row)
			copy(x[at:at+c.width], p.m.tables[i][code*c.width:])
			at += c.width
		}
	}
	rows := last - first
	for i := range p.m.layers {
		p.m.layers[i].apply(p.values[i], p.values[i+1], rows)
		if i+1 < len(p.m.layers) {
			activate(p.values[i+1][:rows*p.m.layers[i].out], p.m.relu)
		}
	}
	for i, z := range p.values[len(p.m.layers)][:rows*p.m.outputs] {
		to[i] = z*p.m.targetScale + p.m.targetMean
	}
}

func (l *layer) apply(x, y []float32, rows int) {
	for row := range rows {
		copy(y[row*l.out:(row+1)*l.out], l.bias)
	}
	if l.in == 0 {
		return
	}
	blas32.Gemm(blas.NoTrans, blas.NoTrans, 1,
		blas32.General{Rows: rows, Cols: l.in, Stride: l.in, Data: x},
		blas32.General{Rows: l.in, Cols: l.out, Stride: l.out, Data: l.weights}, 1,
		blas32.General{Rows: rows, Cols: l.out, Stride: l.out, Data: y})
}

func activate(values []float32, relu bool) {
	if relu {
		for i, v := range values {
			values[i] = max(v, 0)
		}
		return
	}
	for i, v := range values {
		values[i] = float32(math.Tanh(float64(v)))
	}
}

// Importance implements learn.Model: the sum of the first layer's absolute weights of a
// feature, whose inputs are standardised, or of its embeddings.
func (m *model) Importance() []float64 {
	first := &m.layers[0]
	importance := make([]float64, m.recipe.features)
	add := func(feature, input int) {
		for _, w := range first.weights[input*first.out : (input+1)*first.out] {
			importance[feature] += math.Abs(float64(w))
		}
	}
	for i, n := range m.recipe.numbers {
		add(n.feature, i)
	}
	at := m.recipe.dense()
	for _, c := range m.recipe.categories {
		for range c.width {
			add(c.feature, at)
			at++
		}
	}
	return importance
}

// Describe implements learn.Model.
func (m *model) Describe() string {
	widths := []string{fmt.Sprint(m.recipe.width())}
	for _, l := range m.layers {
		widths = append(widths, fmt.Sprint(l.out))
	}
	return fmt.Sprintf("network %s, %d weights, %d epochs", strings.Join(widths, "-"), m.weights(), m.epochs)
}
