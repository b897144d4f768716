// SPDX-License-Identifier: Apache-2.0

package neural

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/millrace-ml/millrace/training/learn"
)

// The constants of Adam (Kingma and Ba 2015).
const (
	beta1   = 0.9
	beta2   = 0.999
	epsilon = 1e-8
)

// fit is one call of Fit.
type fit struct {
	*trainer
	model        *model
	ctx          context.Context
	options      learn.FitOptions
	train, valid *learn.Table
	graph        *graph
	// first and second are Adam's moments, by parameter.
	first, second [][]float32
	step, steps   int
	// unit is the mean weight of the training rows.
	unit float64
}

// meanWeight is that of the rows of a table.
func meanWeight(t *learn.Table) float64 {
	sum := 0.0
	for row := range t.Rows() {
		sum += float64(t.Weight(row))
	}
	return sum / float64(t.Rows())
}

func (f *fit) run() (err error) {
	rows := f.train.Rows()
	size := min(f.batch, rows)
	if f.graph, err = newGraph(f.model, size, f.dropout > 0 && len(f.hidden) > 0); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.graph.Close()) }()
	for _, p := range f.model.parameters() {
		f.first, f.second = append(f.first, make([]float32, len(p))), append(f.second, make([]float32, len(p)))
	}
	f.steps = f.epochs * ((rows + size - 1) / size)
	chance := rand.New(rand.NewPCG(f.options.Seed, 2))
	order := make([]int, rows)
	for i := range order {
		order[i] = i
	}
	best, waited := math.Inf(1), 0
	var kept [][]float32
	for epoch := 1; epoch <= f.epochs; epoch++ {
		chance.Shuffle(rows, func(i, j int) { order[i], order[j] = order[j], order[i] })
		loss, err := f.epoch(order, size, chance)
		if err != nil {
			return err
		}
		f.model.epochs = epoch
		metrics := map[string]float64{"train_loss": loss}
		stop := false
		if f.valid != nil {
			validLoss := f.model.loss(f.valid)
			metrics["valid_loss"] = validLoss
			if validLoss < best {
				best, waited, kept = validLoss, 0, copyAll(kept, f.model.parameters())
			} else if waited++; waited >= f.patience {
				stop = true
			}
		}
		if f.options.Progress != nil {
			if err := f.options.Progress(epoch, f.epochs, metrics); err != nil {
				return err
			}
		}
		if stop {
			break
		}
	}
	if kept != nil {
		for i, p := range f.model.parameters() {
			copy(p, kept[i])
		}
		f.model.epochs -= waited
	}
	return nil
}

func copyAll(to, from [][]float32) [][]float32 {
	if to == nil {
		to = make([][]float32, len(from))
	}
	for i := range from {
		to[i] = append(to[i][:0], from[i]...)
	}
	return to
}

// epoch goes through the rows once and returns the mean loss.
func (f *fit) epoch(order []int, size int, chance *rand.Rand) (float64, error) {
	sum, weight := 0.0, 0.0
	for first := 0; first < len(order); first += size {
		if err := f.ctx.Err(); err != nil {
			return 0, context.Cause(f.ctx)
		}
		batch := order[first:min(first+size, len(order))]
		w := f.load(batch, chance)
		loss, err := f.graph.run()
		if err != nil {
			return 0, err
		}
		if math.IsNaN(loss) || math.IsInf(loss, 0) {
			return 0, fmt.Errorf("%w in step %d: the loss is %v; a smaller learning_rate than %g helps", ErrDiverged, f.step+1, loss, f.rate)
		}
		if err := f.update(); err != nil {
			return 0, err
		}
		sum, weight = sum+loss*w, weight+w
	}
	return sum / weight, nil
}

// load writes a batch into the graph and returns how many rows it has. Rows that are short
// of a full batch weigh nothing. Weights are by that of an average row, not by those of the
// batch: else a heavy row would count less for being heavy.
func (f *fit) load(batch []int, chance *rand.Rand) float64 {
	g, m, t := f.graph, f.model, f.train
	width := m.recipe.dense()
	total := f.unit * float64(len(batch))
	clear(g.y)
	clear(g.w)
	for i, row := range batch {
		if width > 0 {
			m.recipe.denseRow(t.Values, row, g.x[i*width:(i+1)*width])
		}
		for k := range m.recipe.categories {
			g.codes[k][i] = m.recipe.categories[k].code(t.Values, row)
		}
		m.target(t.Labels[row], g.y[i*m.outputs:(i+1)*m.outputs])
		g.w[i] = float32(float64(t.Weight(row)) / total)
	}
	for _, mask := range g.masks {
		for i := range mask {
			mask[i] = 0
			if chance.Float64() >= f.dropout {
				mask[i] = float32(1 / (1 - f.dropout))
			}
		}
	}
	return float64(len(batch))
}

// target writes what the scores of a row should tell.
func (m *model) target(label float32, to []float32) {
	switch m.task {
	case learn.Multiclass:
		to[int(label)] = 1
	case learn.Regression:
		to[0] = (label - m.targetMean) / m.targetScale
	default:
		to[0] = label
	}
}

// update takes a step of AdamW along the gradients, clipped by their norm.
func (f *fit) update() error {
	f.step++
	parameters := f.model.parameters()
	gradients := make([][]float32, len(parameters))
	norm := 0.0
	for i := range parameters {
		var err error
		if gradients[i], err = f.graph.gradient(i); err != nil {
			return err
		}
		for _, d := range gradients[i] {
			norm += float64(d) * float64(d)
		}
	}
	norm = math.Sqrt(norm)
	if math.IsNaN(norm) || math.IsInf(norm, 0) {
		return fmt.Errorf("%w in step %d: the gradient is %v; a smaller learning_rate than %g helps", ErrDiverged, f.step, norm, f.rate)
	}
	shrink := min(1, f.clip/max(norm, 1e-12))
	rate := f.rate
	if f.cosine {
		rate *= (1 + math.Cos(math.Pi*float64(f.step-1)/float64(f.steps))) / 2
	}
	correction1, correction2 := 1-math.Pow(beta1, float64(f.step)), 1-math.Pow(beta2, float64(f.step))
	for i, p := range parameters {
		decay := float32(rate * f.decay)
		if f.isBias(i) {
			decay = 0
		}
		adam(p, gradients[i], f.first[i], f.second[i], float32(shrink), float32(rate/correction1), float32(1/correction2), decay)
		clear(gradients[i])
	}
	return nil
}

// isBias says that a parameter is not to be drawn towards zero.
func (f *fit) isBias(i int) bool {
	i -= len(f.model.tables)
	return i >= 0 && i%2 == 1
}

func adam(p, gradient, first, second []float32, shrink, rate, correction, decay float32) {
	for i, d := range gradient {
		d *= shrink
		first[i] = beta1*first[i] + (1-beta1)*d
		second[i] = beta2*second[i] + (1-beta2)*d*d
		p[i] -= rate*first[i]/(float32(math.Sqrt(float64(second[i]*correction)))+epsilon) + decay*p[i]
	}
}

// loss is the weighted mean loss of a table.
func (m *model) loss(t *learn.Table) float64 {
	raw := make([]float32, t.Rows()*m.outputs)
	m.Predict(t.Values, raw)
	sum, weight := 0.0, 0.0
	for row, label := range t.Labels {
		z, w := raw[row*m.outputs:(row+1)*m.outputs], float64(t.Weight(row))
		sum, weight = sum+w*m.rowLoss(z, label), weight+w
	}
	return sum / weight
}

func (m *model) rowLoss(z []float32, label float32) float64 {
	switch m.task {
	case learn.Binary:
		v := float64(z[0])
		return max(v, 0) + math.Log1p(math.Exp(-math.Abs(v))) - float64(label)*v
	case learn.Multiclass:
		top := float64(slices.Max(z))
		sum := 0.0
		for _, v := range z {
			sum += math.Exp(float64(v) - top)
		}
		return math.Log(sum) + top - float64(z[int(label)])
	}
	d := float64((z[0] - label) / m.targetScale)
	return d * d / 2
}
