// SPDX-License-Identifier: Apache-2.0

package trees

import (
	"cmp"
	"math"
	"slices"

	"github.com/millrace-ml/millrace/training/learn"
)

// pair is the first and second derivative of a row's loss by its score.
type pair struct{ g, h float32 }

// secondMin keeps second derivatives above zero where a probability is at its end.
const secondMin = 1e-16

// objective is a loss. Scores are by output, then by row. Rows are lo to hi-1.
type objective interface {
	// base returns the best constant score of each output.
	base(t *learn.Table) []float32
	gradients(t *learn.Table, scores [][]float32, lo, hi int, to [][]pair)
	// loss sums the weighted losses of rows.
	loss(t *learn.Table, scores [][]float32, lo, hi int) float64
}

func objectiveOf(task learn.Task, o *options) objective {
	switch {
	case task == learn.Binary:
		return logistic{}
	case task == learn.Multiclass:
		return softmax{}
	case o.loss == lossHuber:
		return huber{o.huberDelta}
	case o.loss == lossPinball:
		return pinball{o.quantile}
	}
	return squared{}
}

type logistic struct{}

func (logistic) base(t *learn.Table) []float32 {
	mean := weightedMean(t)
	return []float32{float32(math.Log(mean / (1 - mean)))}
}

func (logistic) gradients(t *learn.Table, scores [][]float32, lo, hi int, to [][]pair) {
	s, y, pairs := scores[0][lo:hi], t.Labels[lo:hi], to[0][lo:hi]
	for i := range pairs {
		p := sigmoid(s[i])
		pairs[i] = pair{p - y[i], max(p*(1-p), secondMin)}
	}
	weigh(t, pairs, lo)
}

func (logistic) loss(t *learn.Table, scores [][]float32, lo, hi int) float64 {
	sum := 0.0
	for i := lo; i < hi; i++ {
		s := float64(scores[0][i])
		// log(1+e^s) - y s, in the form that cannot overflow.
		sum += float64(t.Weight(i)) * (math.Max(s, 0) + math.Log1p(math.Exp(-math.Abs(s))) - float64(t.Labels[i])*s)
	}
	return sum
}

type softmax struct{}

// base is the logarithm of each class's share, which is held above 0 for a class without
// rows.
func (softmax) base(t *learn.Table) []float32 {
	sums, total := make([]float64, len(t.Classes)), 0.0
	for i, class := range t.Labels {
		sums[int(class)] += float64(t.Weight(i))
		total += float64(t.Weight(i))
	}
	scores := make([]float32, len(sums))
	for k, sum := range sums {
		scores[k] = float32(math.Log(max(sum/total, 1e-6)))
	}
	return scores
}

func (softmax) gradients(t *learn.Table, scores [][]float32, lo, hi int, to [][]pair) {
	e := make([]float64, len(scores))
	for i := lo; i < hi; i++ {
		_, sum := exponentials(scores, i, e)
		for k := range e {
			p := float32(e[k] / sum)
			// Twice p(1-p) bounds the row sums of the matrix of second derivatives, so that a
			// step in all classes at once does not overshoot.
			v := pair{p, max(2*p*(1-p), secondMin)}
			if int(t.Labels[i]) == k {
				v.g--
			}
			to[k][i] = v
		}
	}
	for k := range to {
		weigh(t, to[k][lo:hi], lo)
	}
}

func exponentials(scores [][]float32, row int, to []float64) (most, sum float64) {
	most = math.Inf(-1)
	for k := range to {
		most = max(most, float64(scores[k][row]))
	}
	for k := range to {
		to[k] = math.Exp(float64(scores[k][row]) - most)
		sum += to[k]
	}
	return most, sum
}

func (softmax) loss(t *learn.Table, scores [][]float32, lo, hi int) float64 {
	e, sum := make([]float64, len(scores)), 0.0
	for i := lo; i < hi; i++ {
		most, total := exponentials(scores, i, e)
		sum += float64(t.Weight(i)) * (most + math.Log(total) - float64(scores[int(t.Labels[i])][i]))
	}
	return sum
}

type squared struct{}

func (squared) base(t *learn.Table) []float32 { return []float32{float32(weightedMean(t))} }

func (squared) gradients(t *learn.Table, scores [][]float32, lo, hi int, to [][]pair) {
	for i := lo; i < hi; i++ {
		to[0][i] = pair{scores[0][i] - t.Labels[i], 1}
	}
	weigh(t, to[0][lo:hi], lo)
}

func (squared) loss(t *learn.Table, scores [][]float32, lo, hi int) float64 {
	return sumErrors(t, scores[0], lo, hi, func(e float64) float64 { return e * e })
}

// huber is squared near zero and straight from delta on.
type huber struct{ delta float64 }

func (huber) base(t *learn.Table) []float32 { return []float32{quantileOf(t, t.Labels, nil, 0.5)} }

func (o huber) gradients(t *learn.Table, scores [][]float32, lo, hi int, to [][]pair) {
	d := float32(o.delta)
	for i := lo; i < hi; i++ {
		to[0][i] = pair{min(max(scores[0][i]-t.Labels[i], -d), d), 1}
	}
	weigh(t, to[0][lo:hi], lo)
}

func (o huber) loss(t *learn.Table, scores [][]float32, lo, hi int) float64 {
	return sumErrors(t, scores[0], lo, hi, func(e float64) float64 {
		if e = math.Abs(e); e <= o.delta {
			return e * e / 2
		}
		return o.delta * (e - o.delta/2)
	})
}

// pinball is least at a quantile. It has no second derivative: trees are grown with 1 for
// it, and a leaf's value is the quantile of what its rows lack.
type pinball struct{ quantile float64 }

func (o pinball) base(t *learn.Table) []float32 {
	return []float32{quantileOf(t, t.Labels, nil, o.quantile)}
}

func (o pinball) gradients(t *learn.Table, scores [][]float32, lo, hi int, to [][]pair) {
	q := float32(o.quantile)
	for i := lo; i < hi; i++ {
		g := 1 - q
		if t.Labels[i] > scores[0][i] {
			g = -q
		}
		to[0][i] = pair{g, 1}
	}
	weigh(t, to[0][lo:hi], lo)
}

func (o pinball) loss(t *learn.Table, scores [][]float32, lo, hi int) float64 {
	return sumErrors(t, scores[0], lo, hi, func(e float64) float64 { return max((o.quantile-1)*-e, o.quantile*-e) })
}

// sumErrors sums a function of score less label.
func sumErrors(t *learn.Table, scores []float32, lo, hi int, of func(e float64) float64) float64 {
	sum := 0.0
	for i := lo; i < hi; i++ {
		sum += float64(t.Weight(i)) * of(float64(scores[i])-float64(t.Labels[i]))
	}
	return sum
}

// weigh multiplies derivatives by the weights of rows from lo on.
func weigh(t *learn.Table, pairs []pair, lo int) {
	if t.Weights == nil {
		return
	}
	for i, w := range t.Weights[lo : lo+len(pairs)] {
		pairs[i].g *= w
		pairs[i].h *= w
	}
}

func weightedMean(t *learn.Table) float64 {
	sum, weight := 0.0, 0.0
	for i, y := range t.Labels {
		w := float64(t.Weight(i))
		sum += w * float64(y)
		weight += w
	}
	return sum / weight
}

// quantileOf returns the least of values with at least a share q of the weight at or
// below it. Rows nil are all.
func quantileOf(t *learn.Table, values []float32, rows []int32, q float64) float32 {
	if rows == nil {
		rows = make([]int32, len(values))
		for i := range rows {
			rows[i] = int32(i)
		}
	}
	order, total := slices.Clone(rows), 0.0
	slices.SortFunc(order, func(a, b int32) int { return cmp.Or(cmp.Compare(values[a], values[b]), cmp.Compare(a, b)) })
	for _, row := range order {
		total += float64(t.Weight(int(row)))
	}
	below := 0.0
	for _, row := range order {
		if below += float64(t.Weight(int(row))); below >= q*total {
			return values[row]
		}
	}
	return values[order[len(order)-1]]
}

func sigmoid(x float32) float32 { return float32(1 / (1 + math.Exp(-float64(x)))) }
