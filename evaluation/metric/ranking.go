// SPDX-License-Identifier: Apache-2.0

package metric

import (
	"math"
	"slices"
)

// ranking is the rows in order of falling score, cut into groups of equal scores: no
// metric may depend on the order within a group.
type ranking struct {
	order []int32
	// flags has for each row in order whether it is positive and whether it ends its group.
	flags []uint8
	// scores and weights are in order, for samples of one output only; weights is nil for 1
	// each. Rankings of many classes do without, as there are so many of them.
	scores  []float64
	weights []float64
}

const (
	flagPositive = 1 << iota
	flagLast
)

// newRanking ranks by an output; the positives are the rows of class 1, if there is one
// output, or of the class of that number.
func newRanking(s *Sample, output int) *ranking {
	rows, positive := s.Rows(), float64(output)
	if s.Outputs == 1 {
		positive = 1
	}
	r := &ranking{order: make([]int32, rows), flags: make([]uint8, rows)}
	scores := s.Scores[output:]
	sortByScore(scores, s.Outputs, r.order)
	for i, row := range r.order {
		if s.Labels[row] == positive {
			r.flags[i] = flagPositive
		}
		if i+1 == rows || scores[int(r.order[i+1])*s.Outputs] != scores[int(row)*s.Outputs] {
			r.flags[i] |= flagLast
		}
	}
	if s.Outputs == 1 {
		r.scores, r.weights = inOrderOf(r.order, s.Scores), inOrderOf(r.order, s.Weights)
	}
	return r
}

func inOrderOf(order []int32, values []float64) []float64 {
	if values == nil {
		return nil
	}
	out := make([]float64, len(order))
	for i, row := range order {
		out[i] = values[row]
	}
	return out
}

// radixRows is the number of rows from which sorting by digits is faster than comparing.
const radixRows = 1 << 12

// sortByScore fills order with the rows by falling score, equal scores by row.
func sortByScore(scores []float64, stride int, order []int32) {
	keys := make([]sortKey, len(order))
	for i := range keys {
		keys[i] = sortKey{falling(scores[i*stride]), int32(i)}
	}
	if len(keys) < radixRows {
		slices.SortStableFunc(keys, func(a, b sortKey) int {
			if a.key < b.key {
				return -1
			}
			if a.key > b.key {
				return 1
			}
			return 0
		})
	} else {
		keys = radix(keys)
	}
	for i := range keys {
		order[i] = keys[i].row
	}
}

type sortKey struct {
	key uint64
	row int32
}

// falling maps numbers to whole numbers in the opposite order; -0 equals 0.
func falling(x float64) uint64 {
	bits := math.Float64bits(x + 0) // -0 + 0 is 0
	if bits>>63 != 0 {
		return bits
	}
	return ^bits &^ (1 << 63)
}

// radix sorts by digits of 11 bits, least first, and leaves out digits that all share.
func radix(keys []sortKey) []sortKey {
	const bits, size = 11, 1 << 11
	spare := make([]sortKey, len(keys))
	for shift := 0; shift < 64; shift += bits {
		var starts [size]int
		for i := range keys {
			starts[keys[i].key>>shift&(size-1)]++
		}
		if starts[keys[0].key>>shift&(size-1)] == len(keys) {
			continue
		}
		sum := 0
		for d := range starts {
			starts[d], sum = sum, sum+starts[d]
		}
		for _, k := range keys {
			d := k.key >> shift & (size - 1)
			spare[starts[d]] = k
			starts[d]++
		}
		keys, spare = spare, keys
	}
	return keys
}

// group is rows of equal score that are drawn.
type group struct{ positive, negative float64 } // mass

// groups hands the groups that have mass to f, from the highest score, until f says no.
func (r *ranking) groups(mass []float64, f func(g group) bool) {
	var g group
	for i, flags := range r.flags {
		if flags&flagPositive != 0 {
			g.positive += mass[i]
		} else {
			g.negative += mass[i]
		}
		if flags&flagLast == 0 {
			continue
		}
		if g.positive+g.negative > 0 && !f(g) {
			return
		}
		g = group{}
	}
}

// totals is the mass of positives and of negatives.
func (r *ranking) totals(mass []float64) (positive, negative float64) {
	for i, flags := range r.flags {
		if flags&flagPositive != 0 {
			positive += mass[i]
		} else {
			negative += mass[i]
		}
	}
	return positive, negative
}

// ranked is embedded by kernels that take masses in order of a ranking.
type ranked struct{ r *ranking }

func (k ranked) ranking() *ranking { return k.r }
