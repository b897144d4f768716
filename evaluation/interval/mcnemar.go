// SPDX-License-Identifier: Apache-2.0

package interval

import (
	"fmt"
	"math"

	"gonum.org/v1/gonum/mathext"
	"gonum.org/v1/gonum/stat/distuv"
)

// ExactBelow is the number of rows that one model alone has right below which McNemar's
// test is exact.
const ExactBelow = 25

// McNemarResult is whether two models err equally often on the same rows.
type McNemarResult struct {
	// OnlyA counts the rows that A alone has right, OnlyB those that B alone has.
	OnlyA, OnlyB int
	// Difference is the accuracy of A less that of B, and SE its standard error.
	Difference, SE float64
	// Test says how P was found: exact (binomial), corrected (chi-squared with the continuity
	// correction) or clustered.
	Test string
	// Statistic is chi-squared with one degree of freedom, NaN for the exact test.
	Statistic float64
	// P is the two-sided p-value of "they err equally often". MidP is the mid-p variant of
	// the exact test, less strict; it is NaN for clustered rows.
	P, MidP float64
}

// McNemar compares which rows two models have right. Below ExactBelow rows that one alone
// has right, P is exact; from there on it is chi-squared with the continuity correction.
//
// With clusters, rows that one alone has right are added up by cluster, A's less B's, and
// chi-squared is the square of their sum over the sum of their squares (for clusters of one
// row McNemar's without correction). That holds from some 25 clusters with such rows on.
// Errors wrap ErrData.
func McNemar(a, b []bool, clusters []int32) (McNemarResult, error) {
	if len(a) != len(b) || len(a) == 0 {
		return McNemarResult{}, fmt.Errorf("%w: %d rows of one model and %d of the other, the same rows are needed", ErrData, len(a), len(b))
	}
	onlyA, onlyB := 0, 0
	for row := range a {
		switch {
		case a[row] && !b[row]:
			onlyA++
		case b[row] && !a[row]:
			onlyB++
		}
	}
	if clusters == nil {
		return mcNemarCounts(onlyA, onlyB, len(a)), nil
	}
	unit, units, err := compact(clusters, len(a), "cluster")
	if err != nil {
		return McNemarResult{}, fmt.Errorf("%w: %w", ErrData, err)
	}
	if units == len(a) {
		return mcNemarCounts(onlyA, onlyB, len(a)), nil
	}
	return mcNemarClustered(a, b, unit, units, onlyA, onlyB), nil
}

func mcNemarCounts(onlyA, onlyB, rows int) McNemarResult {
	x, y, n := float64(onlyA), float64(onlyB), float64(rows)
	r := McNemarResult{OnlyA: onlyA, OnlyB: onlyB, Test: "corrected", Difference: (x - y) / n}
	r.SE = math.Sqrt(max(0, x+y-(x-y)*(x-y)/n)) / n
	few, all := min(x, y), x+y
	if all == 0 {
		r.Test, r.Statistic, r.P, r.MidP = "exact", math.NaN(), 1, 1
		return r
	}
	exact := 1.0
	if few < all { // few or less of all heads of a fair coin
		exact = min(1, 2*mathext.RegIncBeta(all-few, few+1, 0.5))
	}
	r.MidP = min(1, exact-distuv.Binomial{N: all, P: 0.5}.Prob(few))
	if x == y {
		r.MidP = 1
	}
	if onlyA+onlyB < ExactBelow {
		r.Test, r.Statistic, r.P = "exact", math.NaN(), exact
		return r
	}
	apart := max(0, math.Abs(x-y)-1)
	r.Statistic = apart * apart / all
	r.P = distuv.ChiSquared{K: 1}.Survival(r.Statistic)
	return r
}

func mcNemarClustered(a, b []bool, unit []int32, units, onlyA, onlyB int) McNemarResult {
	n := float64(len(a))
	r := McNemarResult{OnlyA: onlyA, OnlyB: onlyB, Test: "clustered", MidP: math.NaN()}
	r.Difference = float64(onlyA-onlyB) / n
	sums, sizes := make([]float64, units), make([]float64, units)
	for row := range a {
		sums[unit[row]] += float64(class(a[row]) - class(b[row]))
		sizes[unit[row]]++
	}
	squares, around := 0.0, 0.0
	for u, sum := range sums {
		squares += sum * sum
		apart := sum - sizes[u]*r.Difference
		around += apart * apart
	}
	r.SE = math.Sqrt(around) / n
	r.P = 1
	if squares > 0 {
		r.Statistic = float64(onlyA-onlyB) * float64(onlyA-onlyB) / squares
		r.P = distuv.ChiSquared{K: 1}.Survival(r.Statistic)
	}
	return r
}
