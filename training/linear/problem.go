// SPDX-License-Identifier: Apache-2.0

package linear

import (
	"context"
	"math"

	"github.com/millrace-ml/millrace/training/learn"
)

// problem is what is minimised. A point theta has, for each output, a weight for each
// column of the design and then the intercept.
type problem struct {
	design  *design
	task    learn.Task
	outputs int
	l1, l2  float64
	labels  []float64 // standardised for a regression
	weights []float64 // mean 1; nil for 1 each
	// Labels of a regression are (label - centre) / spread while it is fitted, so that
	// the tolerance means the same whatever their unit.
	centre, spread float64
}

// width is the number of parameters of one output.
func (p *problem) width() int { return p.design.recipe.columns() + 1 }

func (p *problem) size() int { return p.outputs * p.width() }

// intercept tells whether a parameter is one, which no penalty touches.
func (p *problem) intercept(i int) bool { return i%p.width() == p.width()-1 }

func (p *problem) setLabels(t *learn.Table) {
	p.spread = 1
	if t.Task == learn.Regression {
		m := momentsOf(t.Labels, t.Weights)
		p.centre = m.mean
		if m.varies() {
			p.spread = m.deviation
		}
	}
	p.take(t)
}

// take sets labels and weights of a table in the units of the problem.
func (p *problem) take(t *learn.Table) {
	p.labels = make([]float64, t.Rows())
	for i, y := range t.Labels {
		p.labels[i] = (float64(y) - p.centre) / p.spread
	}
	if t.Weights == nil {
		return
	}
	p.weights = make([]float64, t.Rows())
	total := 0.0
	for _, w := range t.Weights {
		total += float64(w)
	}
	for i, w := range t.Weights {
		p.weights[i] = float64(w) * float64(t.Rows()) / total
	}
}

// onRows makes a function that gives the mean loss on other rows, without penalties.
func (p *problem) onRows(ctx context.Context, r *recipe, t *learn.Table, workers int) (func([]float64) float64, error) {
	d, err := newDesign(ctx, r, t, workers)
	if err != nil {
		return nil, err
	}
	other := &problem{design: d, task: p.task, outputs: p.outputs, centre: p.centre, spread: p.spread}
	other.take(t)
	return func(theta []float64) float64 { return other.at(theta, nil) * p.unit() }, nil
}

// unit turns losses into those of labels as they were given.
func (p *problem) unit() float64 { return p.spread * p.spread }

// start is a point with no weights and intercepts that give the mean.
func (p *problem) start() []float64 {
	theta := make([]float64, p.size())
	totals, all := make([]float64, p.outputs), 0.0
	for i, y := range p.labels {
		w := p.weight(i)
		all += w
		switch {
		case p.task == learn.Multiclass:
			totals[int(y)] += w
		default:
			totals[0] += w * y
		}
	}
	for k, total := range totals {
		share, at := total/all, (k+1)*p.width()-1
		switch p.task {
		case learn.Binary:
			theta[at] = math.Log(share / (1 - share))
		case learn.Multiclass:
			theta[at] = math.Log(max(share, 1e-9)) // a class may be in the features' folds only
		}
	}
	return theta
}

func (p *problem) weight(i int) float64 {
	if p.weights == nil {
		return 1
	}
	return p.weights[i]
}

// at is the smooth part of what is minimised, the mean loss and the squares, and writes
// its gradient unless that is nil.
func (p *problem) at(theta, gradient []float64) float64 {
	parts := p.design.parts()
	losses := make([]float64, parts)
	partial := make([][]float64, parts)
	p.design.each(func(part, from, to int) {
		var g []float64
		if gradient != nil {
			g = make([]float64, len(theta))
		}
		losses[part] = p.part(theta, g, from, to)
		partial[part] = g
	})
	loss, rows := 0.0, float64(p.design.rows)
	for _, l := range losses {
		loss += l / rows
	}
	clear(gradient)
	for _, g := range partial {
		for i, x := range g {
			gradient[i] += x / rows
		}
	}
	for i, w := range theta {
		if p.l2 == 0 || p.intercept(i) {
			continue
		}
		loss += p.l2 / 2 * w * w
		if gradient != nil {
			gradient[i] += p.l2 * w
		}
	}
	return loss
}

// part sums the losses of some rows, and their gradients unless that is nil.
func (p *problem) part(theta, gradient []float64, from, to int) (loss float64) {
	width := p.width()
	scores := make([][]float64, p.outputs)
	for k := range scores {
		scores[k] = make([]float64, chunkRows)
	}
	for ; from < to; from += chunkRows {
		end := min(from+chunkRows, to)
		for k := range scores {
			scores[k] = scores[k][:end-from]
			p.design.product(theta[k*width:(k+1)*width], scores[k], from)
		}
		loss += p.slopes(scores, from)
		if gradient == nil {
			continue
		}
		for k := range scores {
			p.design.transposed(gradient[k*width:(k+1)*width], scores[k], from)
		}
	}
	return loss
}

// slopes turns scores into the derivatives of the loss by them, and sums the loss.
func (p *problem) slopes(scores [][]float64, from int) (loss float64) {
	switch p.task {
	case learn.Binary:
		for i, z := range scores[0] {
			y, w := p.labels[from+i], p.weight(from+i)
			e := math.Exp(-math.Abs(z))
			loss += w * (max(z, 0) + math.Log1p(e) - y*z)
			q := 1 / (1 + e)
			if z < 0 {
				q = e * q
			}
			scores[0][i] = w * (q - y)
		}
	case learn.Regression:
		for i, z := range scores[0] {
			d, w := z-p.labels[from+i], p.weight(from+i)
			loss += w * d * d / 2
			scores[0][i] = w * d
		}
	case learn.Multiclass:
		for i := range scores[0] {
			loss += softmaxSlopes(scores, i, int(p.labels[from+i]), p.weight(from+i))
		}
	}
	return loss
}

func softmaxSlopes(scores [][]float64, i, label int, w float64) float64 {
	top, sum := math.Inf(-1), 0.0
	for k := range scores {
		top = max(top, scores[k][i])
	}
	own := scores[label][i]
	for k := range scores {
		e := math.Exp(scores[k][i] - top)
		sum, scores[k][i] = sum+e, e
	}
	for k := range scores {
		scores[k][i] *= w / sum
	}
	scores[label][i] -= w
	return w * (top + math.Log(sum) - own)
}

// product writes the scores of the rows from a place on.
func (d *design) product(weights, scores []float64, from int) {
	intercept := weights[len(weights)-1]
	for i := range scores {
		scores[i] = intercept
	}
	j := 0
	for ; j+4 <= len(d.columns); j += 4 {
		axpy4(scores, (*[4]float64)(weights[j:]), d.four(j, from, len(scores)))
	}
	for ; j < len(d.columns); j++ {
		axpy(scores, weights[j], d.columns[j][from:from+len(scores)])
	}
	at := len(d.columns)
	for c, codes := range d.codes {
		size := d.recipe.categories[c].size
		own := weights[at : at+size]
		for i, code := range codes[from : from+len(scores)] {
			if code >= 0 {
				scores[i] += own[code]
			}
		}
		at += size
	}
}

// transposed adds the slopes of rows to the gradient of the weights.
func (d *design) transposed(gradient, slopes []float64, from int) {
	j := 0
	for ; j+4 <= len(d.columns); j += 4 {
		dot4((*[4]float64)(gradient[j:]), slopes, d.four(j, from, len(slopes)))
	}
	for ; j < len(d.columns); j++ {
		gradient[j] += dot(slopes, d.columns[j][from:from+len(slopes)])
	}
	at := len(d.columns)
	for c, codes := range d.codes {
		size := d.recipe.categories[c].size
		own := gradient[at : at+size]
		for i, code := range codes[from : from+len(slopes)] {
			if code >= 0 {
				own[code] += slopes[i]
			}
		}
		at += size
	}
	sum := 0.0
	for _, s := range slopes {
		sum += s
	}
	gradient[len(gradient)-1] += sum
}

// four are the rows of four columns from the j-th on.
func (d *design) four(j, from, rows int) (columns [4][]float32) {
	for i := range columns {
		columns[i] = d.columns[j+i][from : from+rows]
	}
	return columns
}
