// SPDX-License-Identifier: Apache-2.0

package optimize

import "math"

// observed is what calibration keeps of the values of one tensor.
type observed struct {
	low, high float64
	count     int64
	// broken says that there was a value that is not finite.
	broken bool
	// bins count the values between low and high, evenly, zeros those that are exactly
	// 0, which any range represents exactly.
	bins  []int64
	zeros int64
}

// binCount is large, since one outlier makes the rest of the values share few bins.
const binCount = 1 << 14

// widen takes values into the range.
func (o *observed) widen(values []float32) {
	if o.count == 0 && len(values) > 0 {
		o.low, o.high = math.Inf(1), math.Inf(-1)
	}
	o.count += int64(len(values))
	for _, x := range values {
		v := float64(x)
		if !isFinite(v) {
			o.broken = true
			continue
		}
		o.low, o.high = min(o.low, v), max(o.high, v)
	}
}

// tally counts values whose range is known.
func (o *observed) tally(values []float32) {
	if o.bins == nil {
		o.bins = make([]int64, binCount)
	}
	width := (o.high - o.low) / binCount
	for _, x := range values {
		switch {
		case x == 0:
			o.zeros++
		case width > 0 && isFinite(float64(x)):
			at := int((float64(x) - o.low) / width)
			o.bins[max(0, min(binCount-1, at))]++
		}
	}
}

// bounds is the range that a method makes of what was observed.
func (o *observed) bounds(method Method, percentile float64) (low, high float64) {
	if o.high <= o.low || o.bins == nil {
		return o.low, o.high
	}
	switch method {
	case CalibratePercentile:
		return o.percentile(percentile)
	case CalibrateMSE:
		return o.leastLoss()
	}
	return o.low, o.high
}

// percentile leaves out as many of the outermost values at each end as half of what is
// missing to a hundred.
func (o *observed) percentile(percent float64) (low, high float64) {
	width := (o.high - o.low) / binCount
	outside := int64(float64(o.count) * (100 - percent) / 200)
	zeroBin := int(-o.low / width) // where the zeros count, if it is in the range
	from := func(i int) int64 {
		if i == zeroBin && o.low <= 0 && o.high >= 0 {
			return o.bins[i] + o.zeros
		}
		return o.bins[i]
	}
	first, last := 0, binCount-1
	for seen := from(first); seen <= outside && first < binCount-1; seen += from(first) {
		first++
	}
	for seen := from(last); seen <= outside && last > first; seen += from(last) {
		last--
	}
	return o.low + float64(first)*width, o.low + float64(last+1)*width
}

// leastLoss looks for the range whose 256 steps lose least: each end in turn is drawn
// in, as far as that makes the mean of the squared differences smaller.
func (o *observed) leastLoss() (low, high float64) {
	low, high = min(o.low, 0), max(o.high, 0)
	best := o.loss(low, high)
	const steps = 64
	for range 2 {
		fullLow, fullHigh := low, high
		for i := 1; i < steps; i++ {
			part := 1 - float64(i)/steps
			if loss := o.loss(low, fullHigh*part); loss < best {
				best, high = loss, fullHigh*part
			}
		}
		for i := 1; i < steps; i++ {
			part := 1 - float64(i)/steps
			if loss := o.loss(fullLow*part, high); loss < best {
				best, low = loss, fullLow*part
			}
		}
	}
	return low, high
}

// loss is the sum of the squared differences that a range makes: rounding inside it,
// cutting outside.
func (o *observed) loss(low, high float64) float64 {
	step := (high - low) / 255
	if step <= 0 {
		return math.Inf(1)
	}
	rounding := step * step / 12
	width := (o.high - o.low) / binCount
	total := 0.0
	for i, n := range o.bins {
		if n == 0 {
			continue
		}
		x := o.low + (float64(i)+0.5)*width
		switch {
		case x < low:
			total += float64(n) * (low - x) * (low - x)
		case x > high:
			total += float64(n) * (x - high) * (x - high)
		default:
			total += float64(n) * rounding
		}
	}
	return total
}
