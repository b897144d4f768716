// SPDX-License-Identifier: Apache-2.0

package trees

import (
	"math"

	"github.com/millrace-ml/millrace/training/learn"
)

// rules are what splits are judged by, in the units of packed sums.
type rules struct {
	scale
	lambda, alpha float64
	// unit turns a gain in units into the loss's.
	unit float64
	// weightMin is the least H of a child, at least 1; rowsMin its least rows.
	weightMin uint32
	rowsMin   int
	// gainMin is what a gain in units has to exceed.
	gainMin   float64
	smoothing float64
	// bounded says that some feature is monotone.
	bounded bool
}

// epsilon is the least gain that is taken for more than rounding, in units of the loss.
const epsilon = 1e-6

// leastGain is epsilon, or less where labels are values so small that their squares are.
func leastGain(t *learn.Table) float64 {
	if t.Task != learn.Regression {
		return epsilon
	}
	squares := 0.0
	for _, y := range t.Labels {
		squares += float64(y) * float64(y) / float64(t.Rows())
	}
	return epsilon * min(1, squares)
}

// rulesOf says what a split has to do, least being the least gain.
func rulesOf(s scale, o *options, least float64, bounded bool) rules {
	r := rules{scale: s, lambda: o.lambda * s.h, alpha: o.alpha * s.g, unit: s.h / (s.g * s.g)}
	r.weightMin = uint32(max(1, min(o.minChildWeight*s.h, math.MaxUint32)))
	r.rowsMin = o.minChildRows
	r.gainMin = max(o.gamma, least) / r.unit
	r.smoothing = o.categorySmoothing * s.h
	r.bounded = bounded
	return r
}

// plain reports whether a split is judged by its sums alone.
func (r *rules) plain() bool { return r.alpha == 0 && !r.bounded && r.rowsMin <= 1 }

// scan finds the best split of a feature with an order among its bins. With start 0 it is
// one where missing values go right, with their sum, one where they go left; bins is how
// many bins may go left. A gain is compared as a fraction, so that nothing is divided:
// the left side has num/den = Gl²/(Hl+lambda) + Gr²/(Hr+lambda).
func (r *rules) scan(h *[binsMax]uint64, bins int, start, total uint64) (num, den float64, bin int, left uint64) {
	totalG, totalH := float64(gOf(total)), float64(hOf(total))
	// What has to be exceeded is the whole's own score and the least gain.
	num, den, bin = totalG*totalG+r.gainMin*(totalH+r.lambda), totalH+r.lambda, -1
	least, most := r.weightMin, int64(hOf(total))-int64(r.weightMin)
	sum := start
	lambda2 := totalH + 2*r.lambda
	for b, v := range h[:bins] {
		sum += v
		lh := hOf(sum)
		if lh < least {
			continue
		}
		if int64(lh) > most {
			break
		}
		gl := float64(gOf(sum))
		gr := totalG - gl
		hl := float64(lh) + r.lambda
		hr := lambda2 - hl
		n, d := gl*gl*hr+gr*gr*hl, hl*hr
		if n*den > num*d {
			num, den, bin, left = n, d, b, sum
		}
	}
	return num, den, bin, left
}

// ordered finds the best split of a feature with an order, by sums alone.
func (r *rules) ordered(h *[binsMax]uint64, f *bins, total uint64) split {
	var s split
	missing := uint64(0)
	if f.missing {
		missing = h[missingBin]
	}
	g := float64(gOf(total))
	whole := g * g / (float64(hOf(total)) + r.lambda)
	last := f.count - 1
	if missing != 0 {
		// All values may go left: what is missing is on the other side.
		last = f.count
	}
	if num, den, bin, left := r.scan(h, last, 0, total); bin >= 0 {
		s = split{gain: (num/den - whole) * r.unit, bin: uint8(bin), left: left, missingLeft: missing == 0 && hOf(left) > hOf(total)-hOf(left)}
	}
	if missing == 0 {
		return s
	}
	if num, den, bin, left := r.scan(h, f.count-1, missing, total); bin >= 0 {
		if gain := (num/den - whole) * r.unit; gain > s.gain {
			s = split{gain: gain, bin: uint8(bin), left: left, missingLeft: true}
		}
	}
	return s
}

// score is what a leaf of a sum takes off the loss, twice, in units, and its value in
// units of g over h, within bounds.
func (r *rules) score(sum uint64, lambda, lower, upper float64) (score, value float64) {
	g := shrink(float64(gOf(sum)), r.alpha)
	h := float64(hOf(sum)) + lambda
	value = -g / h
	if value >= lower && value <= upper {
		return g * g / h, value
	}
	value = min(max(value, lower), upper)
	return -(2*g*value + h*value*value), value
}

// shrink is the L1 penalty's step toward zero.
func shrink(g, alpha float64) float64 {
	switch {
	case g > alpha:
		return g - alpha
	case g < -alpha:
		return g + alpha
	}
	return 0
}

// judge returns the gain of a split in units of the loss, 0 where it is not allowed.
func (r *rules) judge(left, total uint64, leftRows, rows int, monotone int8, whole, extra, lower, upper float64) float64 {
	right := total - left
	if hOf(left) < r.weightMin || int64(hOf(total))-int64(hOf(left)) < int64(r.weightMin) {
		return 0
	}
	if r.rowsMin > 1 && (leftRows < r.rowsMin || rows-leftRows < r.rowsMin) {
		return 0
	}
	ls, lv := r.score(left, r.lambda+extra, lower, upper)
	rs, rv := r.score(right, r.lambda+extra, lower, upper)
	if monotone > 0 && lv > rv || monotone < 0 && lv < rv {
		return 0
	}
	if gain := ls + rs - whole; gain > r.gainMin {
		return gain * r.unit
	}
	return 0
}

// careful finds the best split of a feature with an order under all rules.
func (r *rules) careful(h *[binsMax]uint64, counts *[binsMax]uint32, f *bins, b *branch, monotone int8) split {
	whole, _ := r.score(b.sum, r.lambda, b.lower, b.upper)
	var best split
	missing, missingRows := uint64(0), 0
	if f.missing {
		missing = h[missingBin]
		missingRows = countOf(counts, missingBin)
	}
	try := func(start uint64, startRows, last int, missingLeft bool) {
		sum, rows := start, startRows
		for bin := range last {
			sum += h[bin]
			rows += countOf(counts, bin)
			gain := r.judge(sum, b.sum, rows, b.rows(), monotone, whole, 0, b.lower, b.upper)
			if gain > best.gain {
				best = split{gain: gain, bin: uint8(bin), left: sum, missingLeft: missingLeft || missing == 0 && hOf(sum) > hOf(b.sum)-hOf(sum)}
			}
		}
	}
	if missing == 0 {
		try(0, 0, f.count-1, false)
		return best
	}
	try(0, 0, f.count, false)
	try(missing, missingRows, f.count-1, true)
	return best
}

func countOf(counts *[binsMax]uint32, bin int) int {
	if counts == nil {
		return 0
	}
	return int(counts[bin])
}
