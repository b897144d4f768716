// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"fmt"
	"math"
	"slices"
)

// Reference is the numbers of a column that windows are compared with, sorted once.
type Reference struct {
	sorted  []float64
	missing int
}

// NewReference takes the values of a column; NaN is a missing one. The values stay with the
// caller.
func NewReference(values []float64) *Reference {
	r := &Reference{}
	r.sorted, r.missing = present(values)
	return r
}

// Rows counts the values, those that are missing included.
func (r *Reference) Rows() int { return len(r.sorted) + r.missing }

// MissingRows counts the missing values.
func (r *Reference) MissingRows() int { return r.missing }

// Sorted are the values that are not missing, in order. They are not to be changed.
func (r *Reference) Sorted() []float64 { return r.sorted }

// present sorts a copy of the values that are there.
func present(values []float64) (sorted []float64, missing int) {
	sorted = make([]float64, 0, len(values))
	for _, v := range values {
		if !math.IsNaN(v) {
			sorted = append(sorted, v)
		}
	}
	slices.Sort(sorted)
	return sorted, len(values) - len(sorted)
}

// Numbers is a reference and a window put together in order.
type Numbers struct {
	reference, current []float64
	groups             []group
	refMissing, curMis int
}

// group is a value that is there: how many rows have it, and how many of them are current.
type group struct {
	value float64
	all   int
	x     int
}

// Against puts a window beside the reference. NaN is a missing value.
func (r *Reference) Against(current []float64) *Numbers {
	sorted, missing := present(current)
	return pool(r.sorted, sorted, r.missing, missing)
}

func pool(reference, current []float64, refMissing, curMissing int) *Numbers {
	n := &Numbers{reference: reference, current: current, refMissing: refMissing, curMis: curMissing}
	i, j := 0, 0
	for i < len(reference) || j < len(current) {
		var g group
		if j == len(current) || i < len(reference) && reference[i] <= current[j] {
			g.value = reference[i]
		} else {
			g.value = current[j]
		}
		for ; i < len(reference) && reference[i] == g.value; i++ {
			g.all++
		}
		for ; j < len(current) && current[j] == g.value; j++ {
			g.all++
			g.x++
		}
		n.groups = append(n.groups, g)
	}
	return n
}

// Test compares the numbers by KS, CvM, or as a table of DefaultBins bins. Level is that of
// Result.Threshold, 0 for DefaultLevel. Errors wrap ErrData.
func (n *Numbers) Test(test Test, level float64) (Result, error) {
	if level == 0 {
		level = DefaultLevel
	}
	switch {
	case !test.Numeric():
		return Result{}, fmt.Errorf("%w: %q is not a test of numbers", ErrData, test)
	case !(level > 0 && level < 1):
		return Result{}, fmt.Errorf("%w: the level is %v and has to be between 0 and 1", ErrData, level)
	}
	if err := sizes(len(n.reference), len(n.current)); err != nil {
		return Result{}, err
	}
	switch test {
	case KS:
		return n.ks(level), nil
	case CvM:
		return n.cvm(level), nil
	}
	return n.Binned(DefaultBins).Test(test, level)
}

// Binned puts the numbers in at most so many bins of about equal pooled counts. Equal
// values share a bin.
func (n *Numbers) Binned(bins int) Table {
	var t Table
	left, open := len(n.reference)+len(n.current), group{}
	for i, g := range n.groups {
		open.all, open.x = open.all+g.all, open.x+g.x
		// What is left is shared by the bins that are left, so that a value of many rows,
		// which takes a bin for itself, does not crowd the others. A bin ends where the next
		// value would take it further beyond its share than it is short of it.
		share := float64(left) / float64(max(1, bins-len(t.Current)))
		last := i+1 == len(n.groups)
		if last || len(t.Current)+1 < bins && float64(open.all)+float64(n.groups[i+1].all)/2 > share {
			t.Current, t.Reference = append(t.Current, open.x), append(t.Reference, open.all-open.x)
			left, open = left-open.all, group{}
		}
	}
	return t
}

// Wasserstein is the area between the two distribution functions: how far values have to
// move on average, in the column's unit. NaN where a side has no values, or an infinite one.
func (n *Numbers) Wasserstein() float64 {
	if len(n.reference) == 0 || len(n.current) == 0 {
		return math.NaN()
	}
	area, i, j := 0.0, 0, 0
	for k, g := range n.groups[:len(n.groups)-1] {
		i, j = i+g.x, j+g.all-g.x
		d := math.Abs(float64(i)/float64(len(n.current)) - float64(j)/float64(len(n.reference)))
		if d > 0 {
			area += d * (n.groups[k+1].value - g.value)
		}
	}
	if math.IsInf(area, 0) {
		return math.NaN()
	}
	return area
}

// Effect is Wasserstein over the standard deviation of the reference: 0.5 for a shift by
// half a standard deviation. A constant reference has the spread of both together.
func (n *Numbers) Effect() float64 {
	w, sd := n.Wasserstein(), spread(n.reference)
	if sd == 0 {
		sd = spread(append(slices.Clone(n.reference), n.current...))
	}
	if w == 0 {
		return 0
	}
	return w / sd
}

func spread(values []float64) float64 {
	mean := 0.0
	for i, v := range values {
		mean += (v - mean) / float64(i+1)
	}
	sum := 0.0
	for _, v := range values {
		sum += (v - mean) * (v - mean)
	}
	return math.Sqrt(sum / float64(len(values)))
}
