// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"fmt"
	"math"
	"slices"
)

// Table is how many rows of each side are in each bin, or have each category. Bins that
// are empty on both sides do not count.
type Table struct {
	Reference, Current []int
}

// NewTable makes the table of two counts by category, in the order of their names.
func NewTable(reference, current map[string]int) Table {
	names := make([]string, 0, len(reference)+len(current))
	for name := range reference {
		names = append(names, name)
	}
	for name := range current {
		if _, both := reference[name]; !both {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	t := Table{make([]int, len(names)), make([]int, len(names))}
	for i, name := range names {
		t.Reference[i], t.Current[i] = reference[name], current[name]
	}
	return t
}

// totals are the rows of each side and the pooled counts of the bins that are not empty.
type totals struct {
	m, n   int // rows of the reference, of the current window
	pooled []int
	x      []int // current
}

func (t Table) totals() (totals, error) {
	var s totals
	if len(t.Reference) != len(t.Current) || len(t.Current) > BinsMax {
		return s, fmt.Errorf("%w: %d and %d bins, they have to be equally many and at most %d", ErrData, len(t.Reference), len(t.Current), BinsMax)
	}
	for i, r := range t.Reference {
		c := t.Current[i]
		if r < 0 || c < 0 || r > RowsMax || c > RowsMax {
			return s, fmt.Errorf("%w: bin %d has the counts %d and %d", ErrData, i, r, c)
		}
		s.m, s.n = s.m+r, s.n+c
		if r+c > 0 {
			s.pooled, s.x = append(s.pooled, r+c), append(s.x, c)
		}
	}
	return s, sizes(s.m, s.n)
}

// Test compares the two sides of a table by PSI, JensenShannon, GTest or ChiSquared.
// Level is that of Result.Threshold, 0 for DefaultLevel. Errors wrap ErrData.
func (t Table) Test(test Test, level float64) (Result, error) {
	s, err := t.totals()
	if err != nil {
		return Result{}, err
	}
	if !tableTests[test] {
		return Result{}, fmt.Errorf("%w: %q is not a test of categories or bins", ErrData, test)
	}
	if level == 0 {
		level = DefaultLevel
	}
	if !(level > 0 && level < 1) {
		return Result{}, fmt.Errorf("%w: the level is %v and has to be between 0 and 1", ErrData, level)
	}
	term := termOf(test, s.m, s.n, len(s.pooled))
	r := Result{Test: test, Reference: s.m, Current: s.n, Bins: len(s.pooled)}
	for i, x := range s.x {
		r.Statistic += term(x, s.pooled[i])
	}
	r.P, r.Threshold, r.Method = s.null(term, r.Statistic, level)
	return r, nil
}

// null finds the p-value of a sum of terms, given the pooled counts.
func (s totals) null(term termFunc, statistic, level float64) (p, threshold float64, how Method) {
	if len(s.pooled) == 1 {
		return 1, math.Inf(1), Degenerate
	}
	if list := s.outcomes(term); list != nil {
		p, threshold = exactTail(list, statistic, level)
		return p, threshold, Exact
	}
	how = Moments
	c, ok := s.moments(term)
	if !ok {
		c, how = s.projected(term), Projected
	}
	tail := newTail(c)
	return tail.above(statistic), tail.quantile(level), how
}

// termFunc is what a bin adds to a statistic: x of its pooled rows are current.
type termFunc func(x, pooled int) float64

// smoothing is added to each count of PSI, which an empty bin would make infinite. It is a
// part of the statistic: the null has it too.
const smoothing = 0.5

// termOf returns the term of a statistic for m and n rows.
func termOf(test Test, m, n, bins int) termFunc {
	fm, fn := float64(m), float64(n)
	part := func(x, total float64) float64 { // x log(x/total), 0 at 0
		if x == 0 {
			return 0
		}
		return x * math.Log(x/total)
	}
	switch test {
	case PSI:
		dm, dn := fm+smoothing*float64(bins), fn+smoothing*float64(bins)
		return func(x, pooled int) float64 {
			p, q := (float64(x)+smoothing)/dn, (float64(pooled-x)+smoothing)/dm
			return (p - q) * math.Log(p/q)
		}
	case JensenShannon:
		return func(x, pooled int) float64 {
			p, q := float64(x)/fn, float64(pooled-x)/fm
			return (part(p, (p+q)/2) + part(q, (p+q)/2)) / 2
		}
	case ChiSquared:
		return func(x, pooled int) float64 {
			expected := float64(pooled) * fn / (fn + fm)
			d := float64(x) - expected
			return d * d / expected * (fn + fm) / fm
		}
	}
	return func(x, pooled int) float64 { // GTest
		c := float64(pooled) / (fn + fm)
		return 2 * (part(float64(x), fn*c) + part(float64(pooled-x), fm*c))
	}
}

// LInfinity is the largest difference of a category's share, an effect that many
// categories do not inflate.
func (t Table) LInfinity() float64 { return t.differences(math.Max) }

// TotalVariation is the share of rows that would have to change their category for both
// sides to be the same, 0 to 1.
func (t Table) TotalVariation() float64 {
	return t.differences(func(sum, d float64) float64 { return sum + d }) / 2
}

func (t Table) differences(fold func(a, b float64) float64) float64 {
	s, err := t.totals()
	if err != nil {
		return math.NaN()
	}
	folded := 0.0
	for i, x := range s.x {
		folded = fold(folded, math.Abs(float64(x)/float64(s.n)-float64(s.pooled[i]-x)/float64(s.m)))
	}
	return folded
}
