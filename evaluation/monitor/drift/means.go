// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"fmt"
	"math"
)

// MeanShift says how likely a difference of means, current less reference, is that large
// (above), and that small (below), if nothing changed: if the rows of both sides are drawn
// from the pooled ones. The tails are those of the saddlepoint approximation by Lugannani and
// Rice (Advances in Applied Probability 1980) to that distribution, with the cumulants of the
// pooled rows (Robinson, JRSS B 1982), so that they hold for skewed values and few rows, where
// a t-test of a mean alarms too rarely on one side and too often on the other. Values are
// finite. The same values in the same order give the same bits. Errors wrap ErrData.
func MeanShift(reference, current []float64) (above, below float64, err error) {
	if err := sizes(len(reference), len(current)); err != nil {
		return 0, 0, err
	}
	p := &pooledMeans{m: float64(len(reference)), n: float64(len(current)), low: math.Inf(1), high: math.Inf(-1)}
	var means [2]float64
	for side, values := range [][]float64{reference, current} {
		sum := 0.0
		for _, v := range values {
			if math.IsNaN(v) || math.IsInf(v, 0) {
				return 0, 0, fmt.Errorf("%w: a value is %v", ErrData, v)
			}
			p.low, p.high = min(p.low, v), max(p.high, v)
			sum += v / float64(len(values)) // a sum of all may overflow
		}
		means[side] = sum
	}
	d := means[1] - means[0]
	// In units of the range, so that no power of a value overflows.
	center, unit := (means[0]*p.m+means[1]*p.n)/(p.m+p.n), p.high-p.low
	if !(unit > 0) || math.IsInf(unit, 0) {
		return 1, 1, nil // all values are the same, or too far apart to tell
	}
	p.fill(reference, current, center, unit)
	above = p.tail(d / unit)
	return above, clamp(1 - above + p.lower(d/unit, above)), nil
}

// pooledMax bounds the pooled values that cumulants are taken of; of more, one of each run of
// the same length is taken, whose spread is the same within a third of a percent.
const pooledMax = 1 << 17

// fill takes the pooled values, in units around a center.
func (p *pooledMeans) fill(reference, current []float64, center, unit float64) {
	all := len(reference) + len(current)
	every := (all + pooledMax - 1) / pooledMax
	p.values = make([]float64, 0, all/every+1)
	sum := 0.0
	for from := 0; from < all; from += every {
		// The place in the run changes in steps of the golden ratio, so that values which come
		// round, such as those of a day, are all met.
		_, part := math.Modf(float64(len(p.values)) * (math.Phi - 1))
		i, v := min(all-1, from+int(part*float64(every))), 0.0
		if i < len(reference) {
			v = reference[i]
		} else {
			v = current[i-len(reference)]
		}
		p.values = append(p.values, (v-center)/unit)
		sum += p.values[len(p.values)-1]
	}
	mean := sum / float64(len(p.values))
	p.low, p.high = math.Inf(1), math.Inf(-1)
	for i := range p.values {
		p.values[i] -= mean
		p.low, p.high = min(p.low, p.values[i]), max(p.high, p.values[i])
	}
}

// pooledMeans is the difference of the means of n and m values drawn from the pooled ones.
type pooledMeans struct {
	values    []float64 // their mean is 0
	m, n      float64
	low, high float64
}

// lower corrects the lower tail where it is so small that 1 - above has lost its digits.
func (p *pooledMeans) lower(d, above float64) float64 {
	if above < 0.5 {
		return 0
	}
	turned := &pooledMeans{values: make([]float64, len(p.values)), m: p.m, n: p.n, low: -p.high, high: -p.low}
	for i, v := range p.values {
		turned.values[i] = -v
	}
	return turned.tail(-d) - (1 - above)
}

// cumulant is the cumulant generating function of one draw, and its first two derivatives.
func (p *pooledMeans) cumulant(s float64) (k, first, second float64) {
	top := s * p.high
	if s < 0 {
		top = s * p.low
	}
	var e0, e1, e2 float64
	for _, v := range p.values {
		e := math.Exp(s*v - top)
		e0, e1, e2 = e0+e, e1+e*v, e2+e*v*v
	}
	first = e1 / e0
	return top + math.Log(e0/float64(len(p.values))), first, max(0, e2/e0-first*first)
}

// of is that of the difference.
func (p *pooledMeans) of(t float64) (k, first, second float64) {
	a, a1, a2 := p.cumulant(t / p.n)
	b, b1, b2 := p.cumulant(-t / p.m)
	return p.n*a + p.m*b, a1 - b1, a2/p.n + b2/p.m
}

// saddleSteps bounds the steps to the saddlepoint; it takes about six.
const saddleSteps = 60

// tail is the chance of a difference of d or more.
func (p *pooledMeans) tail(d float64) float64 {
	_, _, variance := p.of(0)
	if variance <= 0 {
		return 1
	}
	if math.Abs(d) < 0.05*math.Sqrt(variance) { // next to the middle, where the formula is 0/0
		return math.Erfc(d/math.Sqrt(2*variance)) / 2
	}
	t, k, second := p.saddle(d, variance)
	exponent := t*d - k
	w := math.Copysign(math.Sqrt(2*max(0, exponent)), t)
	u := t * math.Sqrt(second)
	chance := math.Erfc(w/math.Sqrt2)/2 + math.Exp(-w*w/2)/math.Sqrt(2*math.Pi)*(1/u-1/w)
	if t > 0 && !(chance >= 0 && chance <= math.Exp(-exponent)) { // Chernoff's bound, at the edge of what is possible
		return clamp(math.Exp(-exponent))
	}
	if math.IsNaN(chance) {
		return 1
	}
	return clamp(chance)
}

// saddle solves the first derivative for d by Newton's method, kept in a bracket.
func (p *pooledMeans) saddle(d, variance float64) (t, k, second float64) {
	low, high := 0.0, math.Inf(1)
	if d < 0 {
		low, high = math.Inf(-1), 0
	}
	t = d / variance
	for range saddleSteps {
		var first float64
		k, first, second = p.of(t)
		if math.Abs(first-d) <= 1e-9*math.Abs(d) {
			break
		}
		if first < d {
			low = t
		} else {
			high = t
		}
		next := t + (d-first)/second
		switch {
		case next > low && next < high && math.Abs(next) <= 4*math.Abs(t):
		case math.IsInf(high, 1), math.IsInf(low, -1):
			next = 2 * t
		default:
			next = (low + high) / 2
		}
		if next == t {
			break
		}
		t = next
	}
	return t, k, second
}
