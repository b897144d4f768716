// SPDX-License-Identifier: Apache-2.0

// Package agreement says how far annotators agree beyond chance, and how each of them
// works.
//
//	CohenKappa    two annotators, the same items; weighted: near labels agree in part
//	              (Cohen 1960, 1968)
//	FleissKappa   as many annotators for each item, not always the same ones (Fleiss 1971)
//	Alpha         any number of annotators, values missing; nominal, ordinal, interval and
//	              ratio (Krippendorff: Computing Krippendorff's Alpha-Reliability, 2011)
//	People        speed, agreement and gold accuracy of each annotator
//
// Where there is nothing that could disagree (one label alone was ever given), a
// coefficient is undefined and NaN, not 1.
//
// Intervals are percentiles of a bootstrap over items: items are drawn anew, with all that
// was said of them, since annotations of one item depend on each other.
//
// # Invariants
//
//	K1  The same input and seed give the same numbers.
//	K2  Coefficients do not depend on the order of items or annotators.
//
// Functions keep no state and start no goroutines.
package agreement

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
)

// ErrInvalid means that the input is wrong; the error has the place.
var ErrInvalid = errors.New("invalid input")

// Bounds of the input.
const (
	// ItemsMax is the largest number of items.
	ItemsMax = 5_000_000
	// LabelsMax is the largest number of labels, or of different values of Alpha.
	LabelsMax = 1000
	// DrawsMax is the largest number of draws of a bootstrap.
	DrawsMax = 100_000
)

// Bootstrap asks for an interval.
type Bootstrap struct {
	// Draws is the number of draws: 0 is none, and no interval.
	Draws int
	// Level is the probability of the interval: 0 is 0.95.
	Level float64
	Seed  uint64
}

// Estimate is a coefficient with its interval. Without draws Low and High are NaN.
type Estimate struct {
	Value, Low, High float64
	// Items is the number of items that it rests on.
	Items int
	// Undefined is how many draws had nothing that could disagree; they are left out.
	Undefined int
}

// run computes a statistic of all items, each given by its place, and its interval.
func (b Bootstrap) run(items int, statistic func([]int) float64) (Estimate, error) {
	if b.Level == 0 {
		b.Level = 0.95
	}
	if b.Draws < 0 || b.Draws > DrawsMax || !(b.Level > 0 && b.Level < 1) {
		return Estimate{}, fmt.Errorf("%w: bootstrap of %d draws at level %v: want 0 to %d and between 0 and 1", ErrInvalid, b.Draws, b.Level, DrawsMax)
	}
	places := make([]int, items)
	for i := range places {
		places[i] = i
	}
	e := Estimate{Value: statistic(places), Low: math.NaN(), High: math.NaN(), Items: items}
	r := rand.New(rand.NewPCG(b.Seed, uint64(items)))
	var drawn []float64
	for range b.Draws {
		for i := range places {
			places[i] = r.IntN(items)
		}
		if x := statistic(places); math.IsNaN(x) {
			e.Undefined++
		} else {
			drawn = append(drawn, x)
		}
	}
	if len(drawn) > 0 {
		slices.Sort(drawn)
		e.Low, e.High = quantile(drawn, (1-b.Level)/2), quantile(drawn, (1+b.Level)/2)
	}
	return e, nil
}

// quantile is that of sorted numbers, between neighbours in proportion.
func quantile(sorted []float64, q float64) float64 {
	at := q * float64(len(sorted)-1)
	i := int(at)
	if i+1 >= len(sorted) {
		return sorted[len(sorted)-1]
	}
	return sorted[i] + (at-float64(i))*(sorted[i+1]-sorted[i])
}

// Weights say how far two labels are from agreeing.
type Weights string

// The weights of CohenKappa: over the distance of labels, which are in an order.
const (
	Unweighted Weights = ""
	Linear     Weights = "linear"
	Quadratic  Weights = "quadratic"
)

func (w Weights) of(a, b int) float64 {
	d := float64(a - b)
	switch {
	case w == Linear:
		return math.Abs(d)
	case w == Quadratic:
		return d * d
	case d == 0:
		return 0
	}
	return 1
}

// CohenKappa is the agreement of two annotators over labels 0 to k-1.
func CohenKappa(a, b []int, k int, weights Weights, boot Bootstrap) (Estimate, error) {
	if weights != Unweighted && weights != Linear && weights != Quadratic {
		return Estimate{}, fmt.Errorf("%w: weights %q are none of %q, %q, %q", ErrInvalid, weights, Unweighted, Linear, Quadratic)
	}
	if len(a) != len(b) || len(a) == 0 || len(a) > ItemsMax || k < 1 || k > LabelsMax {
		return Estimate{}, fmt.Errorf("%w: %d and %d labels of %d: want as many of both, 1 to %d, and 1 to %d labels", ErrInvalid, len(a), len(b), k, ItemsMax, LabelsMax)
	}
	for i := range a {
		if min(a[i], b[i]) < 0 || max(a[i], b[i]) >= k {
			return Estimate{}, fmt.Errorf("%w: item %d: labels %d and %d are not in 0 to %d", ErrInvalid, i, a[i], b[i], k-1)
		}
	}
	rows, columns := make([]float64, k), make([]float64, k)
	return boot.run(len(a), func(items []int) float64 {
		clear(rows)
		clear(columns)
		observed := 0.0
		for _, i := range items {
			rows[a[i]]++
			columns[b[i]]++
			observed += weights.of(a[i], b[i])
		}
		expected := 0.0
		for i, r := range rows {
			if r == 0 {
				continue
			}
			for j, c := range columns {
				expected += r * c * weights.of(i, j)
			}
		}
		if expected == 0 {
			return math.NaN()
		}
		return 1 - observed*float64(len(items))/expected
	})
}

// FleissKappa is the agreement of annotators of whom counts[i][j] gave item i label j;
// every item needs the same number of annotators, 2 or more.
func FleissKappa(counts [][]int, boot Bootstrap) (Estimate, error) {
	n, err := checkCounts(counts)
	if err != nil {
		return Estimate{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	within := make([]float64, len(counts))
	for i, row := range counts {
		for _, c := range row {
			within[i] += float64(c*(c-1)) / float64(n*(n-1))
		}
	}
	shares := make([]float64, len(counts[0]))
	return boot.run(len(counts), func(items []int) float64 {
		clear(shares)
		observed := 0.0
		for _, i := range items {
			observed += within[i] / float64(len(items))
			for j, c := range counts[i] {
				shares[j] += float64(c) / float64(n*len(items))
			}
		}
		expected := 0.0
		for _, s := range shares {
			expected += s * s
		}
		if 1-expected < 1e-12 {
			return math.NaN()
		}
		return (observed - expected) / (1 - expected)
	})
}

func checkCounts(counts [][]int) (n int, err error) {
	if len(counts) == 0 || len(counts) > ItemsMax || len(counts[0]) < 1 || len(counts[0]) > LabelsMax {
		return 0, fmt.Errorf("want 1 to %d items of 1 to %d labels", ItemsMax, LabelsMax)
	}
	for i, row := range counts {
		sum := 0
		for j, c := range row {
			if c < 0 || c > 1<<20 {
				return 0, fmt.Errorf("counts[%d][%d]: %d is no number of annotators", i, j, c)
			}
			sum += c
		}
		if i == 0 {
			n = sum
		}
		if len(row) != len(counts[0]) || sum != n || sum < 2 {
			return 0, fmt.Errorf("counts[%d]: %d annotators and %d labels: want as many as counts[0], and 2 annotators or more", i, sum, len(row))
		}
	}
	return n, nil
}
