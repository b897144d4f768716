// SPDX-License-Identifier: Apache-2.0

package metric

import "math"

// mean is the mean of a number of each row.
type mean struct {
	byRow
	values []float64
	finish func(mean float64) float64 // may be nil
}

func (k mean) value(mass []float64) float64 {
	var sum, total float64
	for i, m := range mass {
		sum += m * k.values[i]
		total += m
	}
	v := sum / total
	if k.finish != nil {
		v = k.finish(v)
	}
	return v
}

// perRow is the mean of f over the rows.
func perRow(p *prepared, f func(label, score float64) float64) mean {
	values := make([]float64, p.Rows())
	for i, y := range p.Labels {
		values[i] = f(y, p.Scores[i])
	}
	return mean{values: values}
}

// epsilon bounds probabilities away from 0 and 1 in logarithms, as scikit-learn does.
const epsilon = 0x1p-52

func logLoss(p *prepared) kernel {
	values := make([]float64, p.Rows())
	for i, y := range p.Labels {
		var q float64
		switch {
		case p.Task == Multiclass:
			q = p.Scores[i*p.Outputs+int(y)]
		case y == 1:
			q = p.Scores[i]
		default:
			q = 1 - p.Scores[i]
		}
		values[i] = -math.Log(min(max(q, epsilon), 1-epsilon))
	}
	return mean{values: values}
}

// brier is the mean squared distance from the truth: of the probability of class 1, or of
// all probabilities of several classes (Brier 1950).
func brier(p *prepared) kernel {
	if p.Task == Binary {
		return perRow(p, func(y, q float64) float64 { return (q - y) * (q - y) })
	}
	values := make([]float64, p.Rows())
	for i, y := range p.Labels {
		for k, q := range p.Scores[i*p.Outputs : (i+1)*p.Outputs] {
			if k == int(y) {
				q--
			}
			values[i] += q * q
		}
	}
	return mean{values: values}
}

// bin is rows whose probabilities lie side by side.
type bin struct{ mass, positive, score float64 } // score is a sum

// bins cuts the rows by score in n parts of equal mass. Equal scores stay together, in the
// part that the middle of their mass is in; parts may be empty.
func (r *ranking) bins(mass []float64, n int) []bin {
	positive, negative := r.totals(mass)
	parts, total := float64(n), positive+negative
	bins, at, next := make([]bin, n), 0, total
	var b bin // of number at, which goes up to next, in parts of the mass
	var before, m, caught float64
	mass, scores := mass[:len(r.flags)], r.scores[:len(r.flags)] // no check of bounds below
	for i, flags := range r.flags {
		m += mass[i]
		if flags&flagPositive != 0 {
			caught += mass[i]
		}
		if flags&flagLast == 0 {
			continue
		}
		for middle := parts * (before + m/2); middle >= next && at < n-1; next += total {
			bins[at], b = b, bin{}
			at++
		}
		b.mass += m
		b.positive += caught
		b.score += m * scores[i]
		before += m
		m, caught = 0, 0
	}
	bins[at] = b
	return bins
}

// calibration is a metric of bins: how far the share of positives is from the mean score.
type calibration struct {
	ranked
	n  int
	of func(bins []bin) float64
}

func (k calibration) value(mass []float64) float64 { return k.of(k.r.bins(mass, k.n)) }

func expectedError(bins []bin) float64 {
	var sum, total float64
	for _, b := range bins {
		sum += math.Abs(b.positive - b.score)
		total += b.mass
	}
	return sum / total
}

func maximumError(bins []bin) float64 {
	most := math.NaN()
	for _, b := range bins {
		if b.mass == 0 {
			continue
		}
		if e := math.Abs(b.positive-b.score) / b.mass; !(most >= e) {
			most = e
		}
	}
	return most
}

// The parts of the Brier score by Murphy 1973: it is about reliability - resolution +
// uncertainty, exactly so if the scores in each bin are equal.

func reliability(bins []bin) float64 {
	return overBins(bins, func(b bin, _ float64) float64 {
		d := (b.positive - b.score) / b.mass
		return d * d
	})
}

func resolution(bins []bin) float64 {
	return overBins(bins, func(b bin, base float64) float64 {
		d := b.positive/b.mass - base
		return d * d
	})
}

func uncertainty(bins []bin) float64 {
	return overBins(bins, func(_ bin, base float64) float64 { return base * (1 - base) })
}

// overBins is the mean of f; base is the share of positives.
func overBins(bins []bin, f func(b bin, base float64) float64) float64 {
	var positive, total, sum float64
	for _, b := range bins {
		positive += b.positive
		total += b.mass
	}
	for _, b := range bins {
		if b.mass > 0 {
			sum += b.mass * f(b, positive/total)
		}
	}
	return sum / total
}
