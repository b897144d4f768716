// SPDX-License-Identifier: Apache-2.0

package interval

import (
	"cmp"
	"math"
	"slices"

	"github.com/millrace-ml/millrace/evaluation/metric"
)

// Statistics for tests, simple and without state, so that a clone is the thing itself.

func countOf(counts []uint8, i int) float64 {
	if counts == nil {
		return 1
	}
	return float64(counts[i])
}

// mean is the mean of values.
type mean []float64

func (m mean) Clone() metric.Statistic { return m }

func (m mean) Value(counts []uint8) float64 {
	sum, n := 0.0, 0.0
	for i, v := range m {
		c := countOf(counts, i)
		sum += c * v
		n += c
	}
	return sum / n
}

// total is the sum of values, which depends on how many rows are drawn.
type total []float64

func (t total) Clone() metric.Statistic { return t }

func (t total) Value(counts []uint8) float64 {
	sum := 0.0
	for i, v := range t {
		sum += countOf(counts, i) * v
	}
	return sum
}

// ranking is rows by falling score, which differ.
type ranking struct {
	rows     []int32
	positive []bool // in this order
}

func newRanking(labels, scores []float64) ranking {
	r := ranking{rows: make([]int32, len(labels)), positive: make([]bool, len(labels))}
	for i := range r.rows {
		r.rows[i] = int32(i)
	}
	slices.SortFunc(r.rows, func(a, b int32) int { return cmp.Compare(scores[b], scores[a]) })
	for i, row := range r.rows {
		r.positive[i] = labels[row] == 1
	}
	return r
}

// auc is ROC AUC.
type auc struct{ ranking }

func (a auc) Clone() metric.Statistic { return a }

func (a auc) Value(counts []uint8) float64 {
	var pairs, positives, negatives float64
	for i, row := range a.rows {
		c := countOf(counts, int(row))
		if a.positive[i] {
			positives += c
		} else {
			negatives += c
			pairs += c * positives
		}
	}
	if positives*negatives == 0 {
		return math.NaN()
	}
	return pairs / (positives * negatives)
}

// ap is average precision.
type ap struct{ ranking }

func (a ap) Clone() metric.Statistic { return a }

func (a ap) Value(counts []uint8) float64 {
	var sum, positives, all float64
	for i, row := range a.rows {
		c := countOf(counts, int(row))
		all += c
		if a.positive[i] && c > 0 {
			positives += c
			sum += c * positives / all
		}
	}
	if positives == 0 {
		return math.NaN()
	}
	return sum / positives
}
