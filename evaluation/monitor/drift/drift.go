// SPDX-License-Identifier: Apache-2.0

// Package drift says whether a window of rows comes from the same distribution as a
// reference, with p-values that hold at any size.
//
// A constant bound such as "PSI above 0.1" alarms on nearly every window of 50 rows and on
// no window of 100,000. Here the bound follows from the sizes and the data:
//
//	D1  Bins are made of the pooled rows, so that they do not know which row is of which
//	    side. Given the pooled rows, all ways to deal them out are then equally likely, and
//	    this permutation null is what every p-value is of. Ties and discrete values need no
//	    special care.
//	D2  Where values are few, p-values are exact with mid-p (half of what is equally far);
//	    otherwise the permutation null's first three moments are matched with a shifted
//	    gamma distribution, or its Gaussian limit is integrated. Result.Method says which.
//	D3  Nothing is drawn at random: the same rows give the same bits, in any order.
//	D4  NaN is a missing value. It is compared by Missing, and left out by the others.
//
// A test of counts has as many levels as it has outcomes. Where few are likely, such as two
// missing values in all, no test alarms in 1 % of windows; it then alarms less often.
//
// Rows are assumed to be exchangeable: dealt out independently of each other. Rows of one
// entity or of one minute are not, which makes any of these tests alarm too often. Thin
// keeps one row of each entity, with which the assumption is about entities.
//
// Sources: Yurdakul, Statistical properties of population stability index, 2018 (the null of
// PSI); Haldane, Biometrika 1940 (moments of tables given their margins); McCullagh, The
// conditional distribution of goodness-of-fit statistics for discrete data, JASA 1986;
// Schroer and Trenkler, Exact and randomization distributions of Kolmogorov-Smirnov tests,
// CSDA 1995 (ties); Anderson, On the distribution of the two-sample Cramer-von Mises
// criterion, Annals 1962; Lancaster, JASA 1961 (mid-p); Benjamini and Hochberg, JRSS B 1995.
//
// Concurrency: functions may be called at the same time. A Reference does not change.
package drift

import (
	"errors"
	"fmt"
	"math"
)

// ErrData means that two sides cannot be compared: one has no rows, a count is negative,
// there are more rows or bins than RowsMax and BinsMax.
var ErrData = errors.New("cannot compare")

// Bounds of what is compared.
const (
	// RowsMax is the most rows of a side.
	RowsMax = 1 << 24
	// BinsMax is the most categories.
	BinsMax = 1 << 16
)

// DefaultBins is into how many bins of equal pooled counts PSI and the like put numbers.
const DefaultBins = 10

// DefaultLevel is the chance of a false alarm of one test that Result.Threshold is for.
const DefaultLevel = 0.01

// Test names a test.
type Test string

// The tests.
const (
	PSI           Test = "psi"            // population stability index, of bins or categories
	JensenShannon Test = "jensen_shannon" // divergence in nats; its root is the distance
	GTest         Test = "g"              // likelihood ratio
	ChiSquared    Test = "chi_squared"    // Pearson's
	KS            Test = "ks"             // Kolmogorov-Smirnov, of numbers
	CvM           Test = "cvm"            // Cramer-von Mises, of numbers
	Missing       Test = "missing"        // share of missing values
	Unseen        Test = "unseen"         // rows whose category the reference lacks
	Range         Test = "range"          // rows below or above all of the reference
)

// Method says how a p-value was found.
type Method string

// The methods.
const (
	// Exact is a sum over all outcomes, with mid-p.
	Exact Method = "exact"
	// Moments is a gamma distribution with the first three moments of the permutation null.
	Moments Method = "moments"
	// Projected is Moments with moments that hold where counts or bins are many.
	Projected Method = "projected"
	// Gaussian is the limit of the permutation null at the pooled values.
	Gaussian Method = "gaussian"
	// Degenerate means that there is one outcome only, so that P is 1.
	Degenerate Method = "degenerate"
)

// Result is what a test found.
type Result struct {
	Test Test
	// Statistic is what was tested: 0 where both sides are the same, more where they differ
	// more. For Missing it is the difference of the shares, and has a sign.
	Statistic float64
	// P is the chance of such a statistic, or a larger one, if nothing changed.
	P float64
	// Threshold is the statistic from which on P is at most the level asked for: what a
	// fixed bound such as 0.1 stands in for. Infinite where no outcome is that unlikely, and
	// NaN for Missing, whose outcomes are not ordered by one bound.
	Threshold float64
	Method    Method
	// Reference and Current count the rows that were compared.
	Reference, Current int
	// Bins counts the bins or the different values.
	Bins int
}

// tests are the tests by what they are of.
var (
	tableTests   = map[Test]bool{PSI: true, JensenShannon: true, GTest: true, ChiSquared: true}
	numericTests = map[Test]bool{KS: true, CvM: true}
)

// Numeric says whether a test is of numbers: KS, CvM, and those of tables, which bins make
// of numbers.
func (t Test) Numeric() bool { return numericTests[t] || tableTests[t] }

// Categorical says whether a test is of categories.
func (t Test) Categorical() bool { return tableTests[t] }

// sizes checks how many rows there are.
func sizes(reference, current int) error {
	switch {
	case reference < 1:
		return fmt.Errorf("%w: the reference has no values", ErrData)
	case current < 1:
		return fmt.Errorf("%w: the current window has no values", ErrData)
	case reference > RowsMax || current > RowsMax:
		return fmt.Errorf("%w: %d and %d rows are more than %d", ErrData, reference, current, RowsMax)
	}
	return nil
}

// clamp keeps a p-value in 0 to 1, where rounding took it out.
func clamp(p float64) float64 { return math.Min(1, math.Max(0, p)) }
