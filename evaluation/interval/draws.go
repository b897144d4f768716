// SPDX-License-Identifier: Apache-2.0

package interval

import (
	"math"
	"slices"

	"gonum.org/v1/gonum/stat/distuv"
)

// UndefinedMax is the largest share of draws without a value, such as those with one class
// only, with which there is an interval. The draws that are left speak for samples that have
// a value; were they few, the interval would be of something else.
const UndefinedMax = 0.05

// Draws are the values of statistics on the draws of a bootstrap.
type Draws struct {
	// Level is the confidence level of intervals.
	Level float64
	// Units counts what was drawn: rows, or clusters.
	Units int

	method      Method
	point       []float64
	draws, left [][]float64
}

// Interval is a value and where the true one is, at a confidence level.
type Interval struct {
	// Value is that of all rows. It is NaN where it is not defined.
	Value float64
	// Low and High are NaN where there is no interval (Defined).
	Low, High float64
	// Level is the confidence level.
	Level float64
	// SE is the standard deviation of the draws, and Bias their mean less Value. A bias of
	// more than half SE, as of calibration errors, is a reason to distrust the interval.
	SE, Bias float64
	// Undefined is the share of draws without a value.
	Undefined float64
}

// Defined says whether there is an interval.
func (i Interval) Defined() bool { return !math.IsNaN(i.Low) }

// At gives the same draws with another confidence level. There are no intervals if it is not
// between 0 and 1.
func (d *Draws) At(level float64) *Draws {
	other := *d
	other.Level = level
	return &other
}

// Count is the number of draws.
func (d *Draws) Count() int { return len(d.draws[0]) }

// Values are the values of statistic i on all draws, which are not to be changed.
func (d *Draws) Values(i int) []float64 { return d.draws[i] }

// Interval is that of statistic i. Both its ends have the same chance to be wrong.
func (d *Draws) Interval(i int) Interval {
	c := d.curve(d.point[i], d.draws[i], d.left[i])
	if d.method == Adjusted && c.defined {
		c.z0, c.a = normal.Quantile(c.share(c.value)), influenceOf(d.left[i]).acceleration()
	}
	return c.interval(d.Level)
}

// Difference is the interval of statistic i less statistic j, on the same draws.
func (d *Draws) Difference(i, j int) Interval { return d.difference(i, j).interval(d.Level) }

// P is the p-value of "statistic i is less than statistic j by margin or more": where it is
// small, i is not inferior to j. It is the level at which the one-sided interval of the
// difference ends at -margin. A margin of 0 or less asks for more: i better by that much.
// For a metric of which less is better, ask P(j, i, margin). NaN without an interval.
//
// With none of B draws beyond the margin p is less than about 1/B, and how much less a
// normal tail with the spread of the draws says: a correction for many tests could not be
// passed otherwise.
func (d *Draws) P(i, j int, margin float64) float64 { return d.difference(i, j).below(-margin) }

// PEqual is the two-sided p-value of "statistics i and j are equal".
func (d *Draws) PEqual(i, j int) float64 {
	c := d.difference(i, j)
	if c.defined && c.low() == 0 && c.high() == 0 { // the same on all draws
		return 1
	}
	return min(1, 2*min(c.below(0), c.mirrored().below(0)))
}

func (d *Draws) difference(i, j int) *curve {
	minus := func(a, b []float64) []float64 {
		difference := make([]float64, len(a))
		for k := range a {
			difference[k] = a[k] - b[k]
		}
		return difference
	}
	return d.curve(d.point[i]-d.point[j], minus(d.draws[i], d.draws[j]), minus(d.left[i], d.left[j]))
}

// curve is the distribution of a value over draws, and what moves percentiles of it.
type curve struct {
	value     float64
	sorted    []float64 // draws with a value
	undefined float64
	defined   bool
	se, bias  float64
	// z0 is how far the median is from the value, and a how fast spread grows with the
	// value, both 0 where percentiles are not moved.
	z0, a float64
	// degrees are those of freedom of the spread, infinite for plain percentiles.
	degrees float64
}

func (d *Draws) curve(value float64, draws, left []float64) *curve {
	c := &curve{value: value, sorted: slices.DeleteFunc(slices.Clone(draws), math.IsNaN)}
	slices.Sort(c.sorted)
	n := float64(len(c.sorted))
	c.undefined = 1 - n/float64(len(draws))
	c.defined = !math.IsNaN(value) && n > 0 && c.undefined <= UndefinedMax
	for _, v := range c.sorted {
		c.bias += (v - value) / n // exact where draws are the value
	}
	for _, v := range c.sorted {
		apart := v - value - c.bias
		c.se += apart * apart
	}
	c.se = math.Sqrt(c.se / max(n-1, 1))
	c.degrees = math.Inf(1)
	if d.method == Adjusted && c.defined {
		c.degrees = influenceOf(left).degrees(float64(d.Units))
	}
	return c
}

var normal = distuv.UnitNormal

// share is the share of draws below a value, draws equal to it counting half. It is never
// 0 or 1, as a draw more might be anywhere.
func (c *curve) share(value float64) float64 {
	below, _ := slices.BinarySearch(c.sorted, value)
	upTo, _ := slices.BinarySearch(c.sorted, math.Nextafter(value, math.Inf(1)))
	return (float64(below+upTo)/2 + 0.5) / float64(len(c.sorted)+1)
}

// interval is the interval at a level.
func (c *curve) interval(level float64) Interval {
	i := Interval{Value: c.value, Level: level, SE: c.se, Bias: c.bias, Undefined: c.undefined}
	if !c.defined || !(level > 0 && level < 1) {
		i.Low, i.High, i.SE, i.Bias = math.NaN(), math.NaN(), math.NaN(), math.NaN()
		return i
	}
	tail := (1 - level) / 2
	i.Low, i.High = c.quantile(c.moved(tail)), c.quantile(c.moved(1-tail))
	return i
}

// moved is the percentile to take for a nominal one.
func (c *curve) moved(p float64) float64 {
	z := c.z0 + wider(p, c.degrees)
	stretch := max(1-c.a*z, 0.1) // beyond 0 is what no end of draws would reach
	return normal.CDF(c.z0 + z/stretch)
}

// quantile is between the draws around it.
func (c *curve) quantile(p float64) float64 {
	last := float64(len(c.sorted) - 1)
	at := min(max(p*(last+2)-1, 0), last)
	i := int(at)
	low, part := c.sorted[i], at-float64(i)
	if part == 0 {
		return low
	}
	return low + part*(c.sorted[i+1]-low)
}

func (c *curve) low() float64  { return c.sorted[0] }
func (c *curve) high() float64 { return c.sorted[len(c.sorted)-1] }

// below is the p-value of "the true value is at most bound".
func (c *curve) below(bound float64) float64 {
	if !c.defined || math.IsNaN(bound) {
		return math.NaN()
	}
	// moved, backwards
	w := normal.Quantile(c.share(bound)) - c.z0
	z := w/max(1+c.a*w, 0.1) - c.z0
	if bound < c.low() && c.se > 0 {
		z = min(z, (bound-c.value)/c.se)
	}
	return narrower(z, c.degrees)
}

// mirrored is the curve of the negative value.
func (c *curve) mirrored() *curve {
	m := *c
	m.value, m.z0, m.a, m.bias = -c.value, -c.z0, -c.a, -c.bias
	m.sorted = make([]float64, len(c.sorted))
	for i, v := range c.sorted {
		m.sorted[len(c.sorted)-1-i] = -v
	}
	return &m
}
