// SPDX-License-Identifier: Apache-2.0

package vectors

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/evaluation/monitor/drift"
	"github.com/millrace-ml/millrace/featurestore/definition"
)

// Feature is a feature's distribution over the last day and over the week before it.
type Feature struct {
	*definition.Feature
	Now, Before Distribution
	Drift       Drift
	// Missing is the share of rows without a value over time, the oldest first.
	Missing []Share
}

// Distribution sums up one side. Values are those that the model saw: a default where there
// was none.
type Distribution struct {
	Rows, Missing int
	// Sorted are the numbers, without NaN, not to be changed; Quantiles those of them at
	// Levels, NaN without any.
	Sorted    []float64
	Quantiles [len(Levels)]float64
	Mean, SD  float64
	// Categories are of a text feature, by falling count.
	Categories []Category
}

// Levels are those of Distribution.Quantiles.
var Levels = [...]float64{0, 0.05, 0.25, 0.5, 0.75, 0.95, 1}

// Category is a text and in how many rows it was.
type Category struct {
	Name string
	Rows int
}

// MissingShare is the share of rows without a value, NaN without rows.
func (d *Distribution) MissingShare() float64 { return float64(d.Missing) / float64(d.Rows) }

// Drift is how far a feature moved.
type Drift struct {
	// Known says that both sides had rowsMin rows for the test.
	Known bool
	// Effect is in standard deviations of a number; the share of rows with another category
	// of a text.
	Effect float64
	// P is the p-value of the test, Adjusted corrected for the number of features of the
	// service (Benjamini and Hochberg).
	P, Adjusted float64
	// Entities are the rows of the last day that were tested, one for each entity.
	Entities int
	// ScoreShift is how much the mean score would change by this feature alone.
	ScoreShift float64
	Test       drift.Test
}

// rowsMin is how many rows a side needs to be tested, and surely how small an adjusted
// p-value has to be for a change to be called one.
const (
	rowsMin = 50
	surely  = 0.01
)

// Word says in a word how much there is to a drift: whether it is sure, then how large.
func (d Drift) Word() string {
	switch {
	case !d.Known:
		return "unknown"
	case !(d.Adjusted <= surely):
		return "steady"
	case d.Effect < 0.1:
		return "slight"
	case d.Effect < 0.3:
		return "small"
	case d.Effect < 0.6:
		return "moderate"
	}
	return "large"
}

// Share is a share at a time.
type Share struct {
	Time time.Time
	Rows int
	// Share is NaN without rows.
	Share float64
}

// sum makes a service's features of its rows.
func (r *rows) sum(now time.Time) *Service {
	today, before := &r.sides[0], &r.sides[1]
	s := &Service{Service: r.service, Now: today.rows, Before: before.rows, Other: r.other, Cut: r.cut}
	kept, keptBefore := drift.Thin(today.entities, today.keys), drift.Thin(before.entities, before.keys)
	p := make([]float64, len(r.service.Features))
	for i := range r.service.Features {
		f := &Feature{Feature: &r.service.Features[i], Missing: r.missing(i, now)}
		if today.texts[i] != nil || before.texts[i] != nil {
			f.Now, f.Before = texts(today.texts[i]), texts(before.texts[i])
			f.Drift = textDrift(pick(before.texts[i], keptBefore), pick(today.texts[i], kept))
		} else {
			f.Now, f.Before = numbers(today.numbers[i]), numbers(before.numbers[i])
			f.Drift = numberDrift(pick(before.numbers[i], keptBefore), pick(before.scores, keptBefore), pick(today.numbers[i], kept))
		}
		f.Now.Missing, f.Before.Missing = today.missing[i], before.missing[i]
		p[i] = f.Drift.P
		s.Features = append(s.Features, f)
	}
	for i, q := range drift.BenjaminiHochberg(p) {
		s.Features[i].Drift.Adjusted = q
	}
	return s
}

// scoreShiftMin is below what a score can be moved by: the rest of rounding.
const scoreShiftMin = 1e-12

func pick[T any](all []T, places []int) []T {
	if len(all) == 0 {
		return nil
	}
	some := make([]T, len(places))
	for i, p := range places {
		some[i] = all[p]
	}
	return some
}

// missing is the share of a feature's rows without a value, stratum by stratum.
func (r *rows) missing(feature int, now time.Time) []Share {
	var all []Share
	add := func(s *sideRows, from time.Time, step time.Duration) {
		for i := range s.strata {
			n := s.strata[i].rows
			all = append(all, Share{Time: from.Add(time.Duration(i) * step), Rows: n, Share: float64(s.strata[i].missing[feature]) / float64(n)})
		}
	}
	add(&r.sides[1], now.Add(-Span-Before), Before/strata)
	add(&r.sides[0], now.Add(-Span), stratum)
	return all
}

// numbers sums up numbers.
func numbers(values []float64) Distribution {
	d := Distribution{Rows: len(values)}
	for _, v := range values {
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			d.Sorted = append(d.Sorted, v)
		}
	}
	slices.Sort(d.Sorted)
	for i, level := range Levels {
		d.Quantiles[i] = quantile(d.Sorted, level)
	}
	d.Mean, d.SD = moments(d.Sorted)
	return d
}

// Numbers sums up numbers, such as those of a reference; NaN is a missing one.
func Numbers(values []float64) Distribution {
	d := numbers(values)
	for _, v := range values {
		if math.IsNaN(v) {
			d.Missing++
		}
	}
	return d
}

// quantile is linear between the values next to it, as type 7 of Hyndman and Fan.
func quantile(sorted []float64, level float64) float64 {
	if len(sorted) == 0 {
		return math.NaN()
	}
	at := level * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (at-float64(low))*(sorted[high]-sorted[low])
}

func moments(values []float64) (mean, sd float64) {
	n := float64(len(values))
	if n == 0 {
		return math.NaN(), math.NaN()
	}
	for _, v := range values {
		mean += v / n
	}
	for _, v := range values {
		sd += (v - mean) * (v - mean) / n
	}
	return mean, math.Sqrt(sd)
}

func texts(values []string) Distribution {
	return Distribution{Rows: len(values), Quantiles: numbers(nil).Quantiles, Mean: math.NaN(), SD: math.NaN(), Categories: Categories(counts(values))}
}

func counts(values []string) map[string]int {
	n := map[string]int{}
	for _, v := range values {
		n[v]++
	}
	return n
}

// Categories are counts in order: the most rows first, then by name.
func Categories(counts map[string]int) []Category {
	all := make([]Category, 0, len(counts))
	for name, n := range counts {
		all = append(all, Category{name, n})
	}
	slices.SortFunc(all, func(a, b Category) int { return cmp.Or(cmp.Compare(b.Rows, a.Rows), cmp.Compare(a.Name, b.Name)) })
	return all
}

func unknown() Drift {
	return Drift{P: math.NaN(), Adjusted: math.NaN(), Effect: math.NaN(), ScoreShift: math.NaN()}
}

// numberDrift compares numbers by the test of Cramer and von Mises. What cannot be compared
// is unknown.
func numberDrift(before, scores, now []float64) Drift {
	d := unknown()
	d.Test, d.Entities = drift.CvM, len(now)
	if len(before) < rowsMin || len(now) < rowsMin {
		return d
	}
	n := drift.NewReference(before).Against(now)
	result, err := n.Test(d.Test, surely)
	if err != nil {
		return d // such as a column of missing values
	}
	d.Known, d.P, d.Effect = true, result.P, n.Effect()
	if shift, err := drift.ScoreShift(scored(before, scores, now)); err == nil {
		if d.ScoreShift = shift; math.Abs(shift) < scoreShiftMin {
			d.ScoreShift = 0
		}
	}
	return d
}

// scored leaves out rows that no model scored.
func scored(before, scores, now []float64) (values, known, current []float64) {
	for i, s := range scores {
		if !math.IsNaN(s) {
			values, known = append(values, before[i]), append(known, s)
		}
	}
	return values, known, now
}

func textDrift(before, now []string) Drift {
	d := unknown()
	d.Test, d.Entities = drift.GTest, len(now)
	if len(before) < rowsMin || len(now) < rowsMin {
		return d
	}
	t := drift.NewTable(counts(before), counts(now))
	if result, err := t.Test(d.Test, surely); err == nil {
		d.Known, d.P, d.Effect = true, result.P, t.TotalVariation()
	}
	return d
}

// Compare tests numbers against those of a reference, as the last day against the week
// before; the adjusted p-value is the p-value.
func Compare(reference, now []float64) Drift {
	d := numberDrift(reference, nil, now)
	d.Adjusted = d.P
	return d
}
