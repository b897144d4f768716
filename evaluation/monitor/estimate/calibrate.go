// SPDX-License-Identifier: Apache-2.0

package estimate

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// Kind is how scores become probabilities.
type Kind string

// The kinds.
const (
	// Identity takes scores for probabilities.
	Identity Kind = "identity"
	// Platt is a logistic function of the log odds of the score, or of the score itself if
	// scores are not in 0 to 1.
	Platt Kind = "platt"
	// Isotonic is the best function that never falls, a step for each run of scores.
	Isotonic Kind = "isotonic"
)

// Calibration maps scores to probabilities. It keeps the reference's rows, from which
// intervals are drawn.
type Calibration struct {
	Kind Kind
	// Rows and Positives count the reference.
	Rows, Positives int
	// Low and High are the least and the highest score of the reference.
	Low, High float64

	scores, labels []float64 // by rising score
	fit            fitted
	odds           bool // Platt's input is the log odds
}

// fitted is a fitted map: steps that begin at scores, or a logistic function.
type fitted struct {
	kind    Kind
	from    []float64 // of isotonic: where a step begins
	value   []float64
	a, b    float64 // of Platt: slope and intercept
	logOdds bool
}

// folds is the number of parts of the cross-validation.
const folds = 5

// sure is how many standard errors the log loss of a kind has to be below that of a simpler
// one for it to be used: less is not worth its noise.
const sure = 2

// Calibrate fits a calibration to a reference with labels: the first of Identity, Platt and
// Isotonic than which none has a lower log loss in cross-validation by more than chance. The arguments stay with the caller. Errors wrap ErrData.
func Calibrate(scores, labels []float64) (*Calibration, error) {
	if err := checkLabels(scores, labels); err != nil {
		return nil, err
	}
	c := &Calibration{Rows: len(scores), scores: make([]float64, len(scores)), labels: make([]float64, len(scores))}
	order := make([]int, len(scores))
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int {
		switch {
		case scores[a] < scores[b] || scores[a] == scores[b] && labels[a] < labels[b]:
			return -1
		case scores[a] > scores[b] || scores[a] == scores[b] && labels[a] > labels[b]:
			return 1
		}
		return 0
	})
	for i, row := range order {
		c.scores[i], c.labels[i] = scores[row], labels[row]
		c.Positives += int(labels[row])
	}
	if c.Positives == 0 || c.Positives == c.Rows {
		return nil, fmt.Errorf("%w: all %d rows of the reference have the label %v", ErrData, c.Rows, labels[0])
	}
	c.Low, c.High = c.scores[0], c.scores[c.Rows-1]
	c.odds = c.Low >= 0 && c.High <= 1
	c.choose()
	c.fit = c.fitTo(c.Kind, nil)
	return c, nil
}

// choose picks the kind by cross-validation. A row's part is as good as random, but follows
// from its rank alone, so that the choice does not depend on the order of rows.
func (c *Calibration) choose() {
	kinds := []Kind{Identity, Platt, Isotonic}
	if !c.odds {
		kinds = kinds[1:]
	}
	var best []float64
	for _, kind := range kinds {
		losses := c.losses(kind)
		if best == nil || better(losses, best) {
			c.Kind, best = kind, losses
		}
	}
}

// losses are the rows' log losses by fits to the parts that they are not in.
func (c *Calibration) losses(kind Kind) []float64 {
	part, weight, losses := make([]int, c.Rows), make([]float64, c.Rows), make([]float64, c.Rows)
	draw := rand.New(rand.NewPCG(uint64(c.Rows), folds))
	for i := range part {
		part[i] = draw.IntN(folds)
	}
	for f := range folds {
		for i := range weight {
			weight[i] = 1
			if part[i] == f {
				weight[i] = 0
			}
		}
		fit := c.fitTo(kind, weight)
		for i, s := range c.scores {
			if part[i] == f {
				p := min(max(fit.at(s), 1e-6), 1-1e-6)
				losses[i] = -(c.labels[i]*math.Log(p) + (1-c.labels[i])*math.Log1p(-p))
			}
		}
	}
	return losses
}

// better says whether a is below b on the same rows by more than chance.
func better(a, b []float64) bool {
	n, mean, sum := float64(len(a)), 0.0, 0.0
	for i := range a {
		mean += (b[i] - a[i]) / n
	}
	for i := range a {
		d := b[i] - a[i] - mean
		sum += d * d
	}
	return mean > sure*math.Sqrt(sum)/n
}

// fitTo fits a kind to the reference with weights, nil for 1.
func (c *Calibration) fitTo(kind Kind, weight []float64) fitted {
	switch kind {
	case Isotonic:
		return c.isotonic(weight)
	case Platt:
		return c.platt(weight)
	}
	return fitted{kind: Identity}
}

func weigh(weight []float64, i int) float64 {
	if weight == nil {
		return 1
	}
	return weight[i]
}

// isotonic pools adjacent violators: scores whose shares of positives fall are joined.
func (c *Calibration) isotonic(weight []float64) fitted {
	type block struct{ from, rows, positives float64 }
	var blocks []block
	for i := 0; i < c.Rows; {
		b := block{from: c.scores[i]}
		for ; i < c.Rows && c.scores[i] == b.from; i++ {
			w := weigh(weight, i)
			b.rows += w
			b.positives += w * c.labels[i]
		}
		if b.rows == 0 {
			continue
		}
		for len(blocks) > 0 {
			last := blocks[len(blocks)-1]
			if last.positives*b.rows < b.positives*last.rows {
				break
			}
			b = block{last.from, last.rows + b.rows, last.positives + b.positives}
			blocks = blocks[:len(blocks)-1]
		}
		blocks = append(blocks, b)
	}
	f := fitted{kind: Isotonic}
	for _, b := range blocks {
		f.from, f.value = append(f.from, b.from), append(f.value, b.positives/b.rows)
	}
	return f
}

// newtonSteps bounds the steps of Platt's fit; it takes about six.
const newtonSteps = 30

// platt fits a logistic function by Newton's method, with a little ridge so that classes
// that are apart do not send the slope to infinity.
func (c *Calibration) platt(weight []float64) fitted {
	f := fitted{kind: Platt, logOdds: c.odds, a: 1}
	if !c.odds {
		f.a = 0
	}
	x := make([]float64, c.Rows)
	for i, s := range c.scores {
		x[i] = f.input(s)
	}
	const ridge = 1e-3
	prior := f.a
	if c.fit.kind == Platt { // a draw's fit is near that of all
		f.a, f.b = c.fit.a, c.fit.b
	}
	for range newtonSteps {
		ga, gb := ridge*(f.a-prior), ridge*f.b
		haa, hab, hbb := ridge, 0.0, ridge
		for i, v := range x {
			w := weigh(weight, i)
			p := logistic(f.a*v + f.b)
			d, h := w*(p-c.labels[i]), w*p*(1-p)
			ga, gb = ga+d*v, gb+d
			haa, hab, hbb = haa+h*v*v, hab+h*v, hbb+h
		}
		det := haa*hbb - hab*hab
		if !(det > 0) {
			break
		}
		da, db := (hbb*ga-hab*gb)/det, (haa*gb-hab*ga)/det
		// A step is cut, as Newton's method can leap from where the curve is flat.
		scale := 1.0
		if most := max(math.Abs(da), math.Abs(db)); most > 4 {
			scale = 4 / most
		}
		f.a, f.b = f.a-scale*da, f.b-scale*db
		if math.Abs(da)+math.Abs(db) < 1e-7 {
			break
		}
	}
	return f
}

func logistic(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

// input is what Platt's function is of.
func (f *fitted) input(s float64) float64 {
	if !f.logOdds {
		return s
	}
	s = min(max(s, 1e-9), 1-1e-9)
	return math.Log(s / (1 - s))
}

// at is the probability of a score.
func (f *fitted) at(s float64) float64 {
	switch f.kind {
	case Platt:
		return logistic(f.a*f.input(s) + f.b)
	case Isotonic:
		if len(f.from) == 0 {
			return 0.5 // fitted to no rows
		}
		i, found := slices.BinarySearch(f.from, s)
		if !found {
			i--
		}
		return f.value[max(i, 0)]
	}
	return min(max(s, 0), 1)
}

// At is the probability that a row with this score is positive, if nothing changed. A score
// beyond the reference's has that of the nearest, unless the kind is Identity or Platt.
func (c *Calibration) At(score float64) float64 { return c.fit.at(score) }
