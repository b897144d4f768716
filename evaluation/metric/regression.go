// SPDX-License-Identifier: Apache-2.0

package metric

import (
	"cmp"
	"math"
	"slices"
)

func absoluteError(y, p float64) float64 { return math.Abs(y - p) }

func squaredError(y, p float64) float64 { return (y - p) * (y - p) }

func relativeError(y, p float64) float64 { return math.Abs(y-p) / max(math.Abs(y), epsilon) }

// symmetricError is 0 where both are 0.
func symmetricError(y, p float64) float64 {
	if y == 0 && p == 0 {
		return 0
	}
	return math.Abs(y-p) / ((math.Abs(y) + math.Abs(p)) / 2)
}

// pinball is the loss of which the q-quantile is the best forecast (Koenker and Bassett
// 1978).
func pinball(q float64) func(y, p float64) float64 {
	return func(y, p float64) float64 {
		if y >= p {
			return q * (y - p)
		}
		return (1 - q) * (p - y)
	}
}

// determination is R²: 1 less the squared errors over those of the mean. It is NaN where
// all values are equal; scikit-learn says 1 or 0 then.
type determination struct {
	byRow
	labels, scores []float64
}

func (k determination) value(mass []float64) float64 {
	var total, sum float64
	for i, m := range mass {
		total += m
		sum += m * k.labels[i]
	}
	center := sum / total
	var errors, spread float64
	first, differ := math.NaN(), false
	for i, m := range mass {
		if m == 0 {
			continue
		}
		if math.IsNaN(first) {
			first = k.labels[i]
		}
		differ = differ || k.labels[i] != first
		errors += m * squaredError(k.labels[i], k.scores[i])
		spread += m * squaredError(k.labels[i], center)
	}
	if !differ {
		return math.NaN()
	}
	return 1 - errors/spread
}

// sorted is values by size, with the rows that they are of. A value that is NaN is left
// out.
type sorted struct {
	values []float64
	rows   []int32
}

func newSorted(values []float64) sorted {
	var s sorted
	for i, v := range values {
		if !math.IsNaN(v) {
			s.rows = append(s.rows, int32(i))
		}
	}
	slices.SortStableFunc(s.rows, func(a, b int32) int { return cmp.Compare(values[a], values[b]) })
	s.values = make([]float64, len(s.rows))
	for i, row := range s.rows {
		s.values[i] = values[row]
	}
	return s
}

// quantile is the value with a share q of the mass below it, or the middle of two where
// the mass divides just so (Hyndman and Fan 1996, definition 2). The median is the usual.
func (s sorted) quantile(mass []float64, q float64) float64 {
	total := 0.0
	for _, row := range s.rows {
		total += mass[row]
	}
	if total == 0 {
		return math.NaN()
	}
	below, lower := 0.0, math.NaN()
	for i, row := range s.rows {
		if mass[row] == 0 {
			continue
		}
		if !math.IsNaN(lower) {
			return (lower + s.values[i]) / 2
		}
		below += mass[row]
		// Sums of weights are off by rounding where they should be equal.
		switch slack := total * 1e-12; {
		case below > q*total+slack:
			return s.values[i]
		case below >= q*total-slack:
			lower = s.values[i]
		}
	}
	return lower
}

// extreme is the least or the largest value of the rows that are drawn.
func (s sorted) extreme(mass []float64, largest bool) float64 {
	for i := range s.rows {
		if largest {
			i = len(s.rows) - 1 - i
		}
		if mass[s.rows[i]] > 0 {
			return s.values[i]
		}
	}
	return math.NaN()
}

// quantileOf is the quantile of a number of each row, extremeOf the largest.
type quantileOf struct {
	byRow
	s sorted
	q float64
}

func (k quantileOf) value(mass []float64) float64 { return k.s.quantile(mass, k.q) }

type extremeOf struct {
	byRow
	s       sorted
	largest bool
}

func (k extremeOf) value(mass []float64) float64 { return k.s.extreme(mass, k.largest) }
