// SPDX-License-Identifier: Apache-2.0

package window

import (
	"math"
	"math/bits"
)

// finisher turns partial results into values; State, Series and Partial end here, so what
// is rounded is rounded once and in one place.
type finisher struct{ square, twice wide }

// finish writes the values of a feature and their status. edge is the end of its window.
func (x *finisher) finish(f *compiled, all []ir, edge int64, into []float64, status []Status) {
	if f.Func == LastK {
		lastValues(f, all[f.first].points, into, status)
		return
	}
	value, ok := x.value(f, all, edge)
	if !ok {
		into[f.offset], status[f.offset] = f.Default, Null
		return
	}
	into[f.offset], status[f.offset] = value, Present
}

// value returns the value of a feature, and false where it has none.
func (x *finisher) value(f *compiled, all []ir, edge int64) (float64, bool) {
	switch f.Func {
	case Count:
		return float64(all[f.count].n), true
	case Sum:
		return all[f.first].sum.round(0), true
	case Mean:
		n := all[f.count].n
		if n == 0 {
			return 0, false
		}
		return all[f.first].sum.round(0) / float64(n), true
	case Variance, StdDev:
		n := all[f.count].n
		if n == 0 {
			return 0, false
		}
		variance := x.variance(n, all[f.first].sum, all[f.third].sum)
		if f.Func == StdDev {
			variance = math.Sqrt(variance)
		}
		return variance, true
	case Min, Max:
		value := all[f.first].value
		return value, value == value
	case First, Last:
		points := all[f.first].points
		if len(points) == 0 {
			return 0, false
		}
		if f.Func == First {
			return points[0].value, true
		}
		return points[len(points)-1].value, true
	case Distinct:
		return all[f.first].set.count(), true
	case Quantile:
		return all[f.first].sketch.quantile(f.Quantile)
	}
	return decayed(&all[f.first], edge), true
}

// variance is (S2 - m(2S - nm)) / n with m the rounded mean, all but m and the division
// exact.
func (x *finisher) variance(n int64, sum, square *wide) float64 {
	mean := sum.round(0) / float64(n)
	x.twice.reset()
	x.twice.addProduct(sum, 2, 1)
	m, e, s := split(mean)
	hi, lo := bits.Mul64(m, uint64(n))
	x.twice.addWide(hi, lo, e+wideBias, -s)
	x.square.reset()
	x.square.addProduct(square, 1, 1)
	x.square.addProduct(&x.twice, mean, -1)
	return max(0, x.square.round(0)) / float64(n)
}

// decayed scales the weighted sum, held in units of base half-lives, to the edge.
func decayed(r *ir, edge int64) float64 {
	if r.empty {
		return 0
	}
	half := r.prim.half
	k := floorDiv(edge, half)
	sum := r.sum.round(clampShift(r.base - k))
	return sum * math.Exp2(-(float64(edge-k*half) / float64(half)))
}

func lastValues(f *compiled, points []point, into []float64, status []Status) {
	for i := range f.K {
		if j := len(points) - 1 - i; j >= 0 {
			into[f.offset+i], status[f.offset+i] = points[j].value, Present
		} else {
			into[f.offset+i], status[f.offset+i] = f.Default, Null
		}
	}
}

// conclude overrides status by what is known of the entity: newest is the time of its newest
// event up to at, if there is one.
func (v *View) conclude(at, newest int64, found bool, into []float64, status []Status) {
	if !found {
		for i := range v.features {
			f := &v.features[i]
			for k := range f.width() {
				into[f.offset+k], status[f.offset+k] = f.Default, NotFound
			}
		}
		return
	}
	if v.maxAge > 0 && at-newest > v.maxAge {
		for i := range status {
			status[i] = OutsideMaxAge
		}
	}
}
