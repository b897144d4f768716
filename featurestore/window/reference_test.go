// SPDX-License-Identifier: Apache-2.0

package window

import (
	"math"
	"math/big"
	"slices"
	"time"
)

// reference is the slow and obvious way: keep every event, and for a query go through all of
// them. It shares no arithmetic with the package but the bins of a quantile and the
// estimator of a large distinct count.
type reference struct {
	def    Definition // with defaults
	events []Event
}

// update keeps the event unless it is refused or there already.
func (r *reference) update(e Event) {
	late := time.Duration(e.arrival()-e.Time) * time.Microsecond
	if late > r.def.LatenessMax || -late > r.def.FutureMax || r.index(e.Time, e.ID) >= 0 {
		return
	}
	e.Values, e.Keys = slices.Clone(e.Values), slices.Clone(e.Keys)
	r.events = append(r.events, e)
}

func (r *reference) index(time int64, id uint64) int {
	return slices.IndexFunc(r.events, func(e Event) bool { return e.Time == time && e.ID == id })
}

// query returns what Read is to return.
func (r *reference) query(at, asOf int64) (values []float64, status []Status) {
	newest := int64(math.MinInt64)
	for _, e := range r.events {
		if e.arrival() <= asOf && e.Time <= at {
			newest = max(newest, e.Time)
		}
	}
	for _, f := range r.def.Features {
		v := r.feature(f, at, asOf)
		for i := range f.width() {
			x, s := f.Default, Null
			if i < len(v) {
				x, s = v[i], Present
			}
			switch {
			case newest == math.MinInt64:
				x, s = f.Default, NotFound
			case r.def.MaxAge > 0 && at-newest > r.def.MaxAge.Microseconds():
				s = OutsideMaxAge
			}
			values, status = append(values, x), append(status, s)
		}
	}
	return values, status
}

// inWindow returns the events of a feature's window, by time and id.
func (r *reference) inWindow(f Feature, at, asOf int64) (in []Event) {
	edge := at - f.Delay.Microseconds()
	tail := edge - f.Window.Microseconds()
	hop := f.Hop.Microseconds()
	tail -= (tail%hop + hop) % hop
	for _, e := range r.events {
		if e.arrival() <= asOf && e.Time > tail && e.Time <= edge {
			in = append(in, e)
		}
	}
	slices.SortFunc(in, func(a, b Event) int {
		if a.Time < b.Time || a.Time == b.Time && a.ID < b.ID {
			return -1
		}
		return 1
	})
	return in
}

// feature returns its values; none is null.
func (r *reference) feature(f Feature, at, asOf int64) []float64 {
	in := r.inWindow(f, at, asOf)
	if f.Func == Count && f.Column == "" {
		return []float64{float64(len(in))}
	}
	if c := slices.Index(r.def.Keys, f.Column); c >= 0 {
		set := map[uint64]bool{}
		for _, e := range in {
			if e.Keys[c] != 0 {
				set[mix(e.Keys[c])] = true
			}
		}
		return []float64{distinctOf(set, f.ExactMax)}
	}
	c := slices.Index(r.def.Columns, f.Column)
	var values []float64
	var times []int64
	for _, e := range in {
		if x := e.Values[c]; x == x {
			values, times = append(values, x+0), append(times, e.Time)
		}
	}
	return aggregate(f, values, times, at-f.Delay.Microseconds())
}

func distinctOf(set map[uint64]bool, exactMax int) float64 {
	if len(set) <= exactMax {
		return float64(len(set))
	}
	d := distinct{max: 0}
	for h := range set {
		d.add(h)
	}
	return d.count()
}

const precision = 8192 // bits, more than any sum or product here needs

func bigSum(values []float64) *big.Float {
	sum := new(big.Float).SetPrec(precision)
	for _, x := range values {
		sum.Add(sum, big.NewFloat(x))
	}
	return sum
}

func nearestOf(x *big.Float) float64 {
	v, _ := x.Float64()
	return v
}

func aggregate(f Feature, values []float64, times []int64, edge int64) []float64 {
	n := float64(len(values))
	switch f.Func {
	case Count:
		return []float64{n}
	case Sum:
		return []float64{nearestOf(bigSum(values))}
	case Distinct:
		set := map[uint64]bool{}
		for _, x := range values {
			set[mix(math.Float64bits(x))] = true
		}
		return []float64{distinctOf(set, f.ExactMax)}
	case DecayedSum:
		return []float64{decayedOf(f, values, times, edge)}
	}
	if len(values) == 0 {
		return nil
	}
	switch f.Func {
	case Mean:
		return []float64{nearestOf(bigSum(values)) / n}
	case Min:
		return []float64{slices.Min(values)}
	case Max:
		return []float64{slices.Max(values)}
	case Variance:
		return []float64{varianceOf(values)}
	case StdDev:
		return []float64{math.Sqrt(varianceOf(values))}
	case First:
		return values[:1]
	case Last:
		return values[len(values)-1:]
	case LastK:
		slices.Reverse(values)
		return values[:min(f.K, len(values))]
	}
	slices.Sort(values)
	rank := max(1, int(math.Ceil(f.Quantile*n)))
	return []float64{middle(binOf(values[rank-1]))}
}

// varianceOf is the mean of (x-m)^2 about the rounded mean, exact but for the division.
func varianceOf(values []float64) float64 {
	n := float64(len(values))
	mean := big.NewFloat(nearestOf(bigSum(values)) / n)
	sum := new(big.Float).SetPrec(precision)
	for _, x := range values {
		d := new(big.Float).SetPrec(precision).Sub(big.NewFloat(x), mean)
		sum.Add(sum, d.Mul(d, d))
	}
	return nearestOf(sum) / n
}

func decayedOf(f Feature, values []float64, times []int64, edge int64) float64 {
	half := f.HalfLife.Microseconds()
	split := func(t int64) (k int64, part float64) {
		part = float64((t%half + half) % half)
		return (t - int64(part)) / half, part / float64(half)
	}
	k, part := split(edge)
	sum := new(big.Float).SetPrec(precision)
	for i, x := range values {
		ki, pi := split(times[i])
		weighted := big.NewFloat(x * math.Exp2(pi))
		sum.Add(sum, new(big.Float).SetMantExp(weighted, int(ki-k)))
	}
	return nearestOf(sum) * math.Exp2(-part)
}
