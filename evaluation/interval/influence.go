// SPDX-License-Identifier: Apache-2.0

package interval

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// influence is how much groups of units move a value, by its moments.
type influence struct {
	groups float64
	// skewness and kurtosis (3 if normal) are of the groups; both NaN if nothing moves it.
	skewness, kurtosis float64
}

// influenceOf computes moments from the values that leaving groups out gives, NaN ones
// being left away.
func influenceOf(left []float64) influence {
	left = slices.DeleteFunc(slices.Clone(left), math.IsNaN)
	n := float64(len(left))
	mean, squares := 0.0, 0.0
	for _, v := range left {
		mean += v / n
	}
	for _, v := range left {
		squares += (mean - v) * (mean - v)
	}
	if squares == 0 {
		return influence{n, math.NaN(), math.NaN()}
	}
	i, sigma := influence{groups: n}, math.Sqrt(squares/n)
	for _, v := range left {
		e := (mean - v) / sigma
		i.skewness += e * e * e / n
		i.kurtosis += e * e * e * e / n
	}
	return i
}

// acceleration is BCa's: how fast the spread grows with the value.
func (i influence) acceleration() float64 {
	if math.IsNaN(i.skewness) {
		return 0
	}
	return i.skewness / (6 * math.Sqrt(i.groups))
}

// degrees are the degrees of freedom of the variance, after Satterthwaite: 2 over the square
// of its relative error, which is (excess + 2)/n for n units. Sums of m units have a
// kurtosis that is nearer to 3 by m. Where few units have most of the influence, as few
// positives have, there are few degrees, however many rows.
func (i influence) degrees(units float64) float64 {
	if math.IsNaN(i.kurtosis) || units < 2 {
		return math.Inf(1)
	}
	excess := max(0, i.kurtosis-3) * units / i.groups
	return 2 * (units - 1) / (excess + 2)
}

// wider is the standard deviations to go for a percentile with degrees of freedom. The
// bootstrap's variance divides by n where it should by n-1, and is made good for it
// (Hesterberg 2015).
func wider(p, degrees float64) float64 {
	if math.IsInf(degrees, 1) {
		return normal.Quantile(p)
	}
	return student(degrees).Quantile(p) * math.Sqrt((degrees+1)/degrees)
}

// narrower is the percentile that wider goes to z for.
func narrower(z, degrees float64) float64 {
	if math.IsInf(degrees, 1) {
		return normal.CDF(z)
	}
	return student(degrees).CDF(z * math.Sqrt(degrees/(degrees+1)))
}

func student(degrees float64) distuv.StudentsT {
	return distuv.StudentsT{Sigma: 1, Nu: degrees}
}
