// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"math"

	"gonum.org/v1/gonum/mathext"
)

// cumulants are the mean, the variance and the third central moment of a statistic.
type cumulants struct{ mean, variance, third float64 }

// workMax bounds the steps of moments, about 10 ns each.
const workMax = 300_000

// bin is a bin's count, taken as binomial: given that the counts of all bins add up to n,
// such counts have the permutation null.
type bin struct {
	from   int // the least count that is looked at
	chance []float64
	term   []float64 // less its mean
}

func (s totals) bins(term termFunc) (bins []bin, mean float64) {
	share := float64(s.n) / float64(s.m+s.n)
	bins = make([]bin, len(s.pooled))
	for i, c := range s.pooled {
		from, to := band(float64(c)*share, float64(c)*share*(1-share), 0, min(c, s.n))
		b := bin{from, make([]float64, to-from+1), make([]float64, to-from+1)}
		// From the likeliest count outwards, as chances far from it underflow in any other way.
		mode := min(max(int(float64(c+1)*share), from), to)
		b.chance[mode-from] = math.Exp(logChoose(c, mode) + float64(mode)*math.Log(share) + float64(c-mode)*math.Log1p(-share))
		odds := share / (1 - share)
		for x := mode; x < to; x++ {
			b.chance[x+1-from] = b.chance[x-from] * float64(c-x) / float64(x+1) * odds
		}
		for x := mode; x > from; x-- {
			b.chance[x-1-from] = b.chance[x-from] * float64(x) / float64(c-x+1) / odds
		}
		own := 0.0
		for j := range b.term {
			b.term[j] = term(from+j, c)
			own += b.chance[j] * b.term[j]
		}
		for j := range b.term {
			b.term[j] -= own
		}
		mean += own
		bins[i] = b
	}
	return bins, mean
}

// moments finds the moments of a sum of terms given the margins, exactly but for counts
// too unlikely to matter; false if that takes too long. It adds bin by bin: for each number
// of current rows so far, its chance and the expected powers of the sum so far.
func (s totals) moments(term termFunc) (cumulants, bool) {
	share := float64(s.n) / float64(s.m+s.n)
	work, placed := 0, 0
	type reach struct{ from, to int }
	reaches := make([]reach, len(s.pooled)+1)
	for i, c := range s.pooled {
		placed += c
		rest := float64(s.m + s.n - placed)
		variance := float64(placed) * share * (1 - share) * rest / float64(s.m+s.n) // of a bridge
		from, to := band(float64(placed)*share, variance, max(0, s.n-(s.m+s.n-placed)), min(placed, s.n))
		reaches[i+1] = reach{from, to}
		lo, hi := band(float64(c)*share, float64(c)*share*(1-share), 0, min(c, s.n))
		if work += (to - from + 1) * (hi - lo + 1); work > workMax {
			return cumulants{}, false
		}
	}
	bins, mean := s.bins(term)
	old := [][4]float64{{1, 0, 0, 0}}
	for i, b := range bins {
		was, now := reaches[i], reaches[i+1]
		next := make([][4]float64, now.to-now.from+1)
		for t := range next {
			next[t] = b.add(old, was.from, now.from+t)
		}
		old = next
	}
	last := old[0] // the rows of all bins are n
	m1, m2, m3 := last[1]/last[0], last[2]/last[0], last[3]/last[0]
	return cumulants{mean + m1, m2 - m1*m1, m3 - 3*m1*m2 + 2*m1*m1*m1}, true
}

// add is what total has after a bin: the chance and the expected powers of the sum.
func (b *bin) add(old [][4]float64, oldFrom, total int) (sum [4]float64) {
	low, high := max(b.from, total-oldFrom-len(old)+1), min(b.from+len(b.chance)-1, total-oldFrom)
	for x := low; x <= high; x++ {
		p, f := b.chance[x-b.from], b.term[x-b.from]
		o := &old[total-x-oldFrom]
		sum[0] += p * o[0]
		sum[1] += p * (o[1] + f*o[0])
		sum[2] += p * (o[2] + f*(2*o[1]+f*o[0]))
		sum[3] += p * (o[3] + f*(3*o[2]+f*(3*o[1]+f*o[0])))
	}
	return sum
}

// projected finds the moments where counts or bins are many: those of independent bins,
// less what goes along with the number of rows, which is given. The mean has McCullagh's
// correction; the others lose one bin of many.
func (s totals) projected(term termFunc) cumulants {
	bins, mean := s.bins(term)
	share := float64(s.n) / float64(s.m+s.n)
	rows, along := 0.0, 0.0 // the variance of the rows, their covariance with the sum
	for i, b := range bins {
		center := float64(s.pooled[i]) * share
		rows += center * (1 - share)
		for j, p := range b.chance {
			along += p * b.term[j] * (float64(b.from+j) - center)
		}
	}
	slope, c, bent := along/rows, cumulants{mean: mean}, 0.0
	for i, b := range bins {
		center := float64(s.pooled[i]) * share
		for j, p := range b.chance {
			d := float64(b.from+j) - center
			g := b.term[j] - slope*d
			c.variance += p * g * g
			c.third += p * g * g * g
			bent += p * g * d * d
		}
	}
	left := float64(len(bins)-1) / float64(len(bins))
	c.mean -= bent / rows / 2
	c.variance *= left
	c.third *= left
	return c
}

// tail is a gamma distribution with three given moments: shift + scale * Gamma(shape).
type tail struct{ shape, scale, shift float64 }

// newTail matches moments. A third moment that is next to nothing is taken for a little
// one, which makes the distribution normal for all that matters.
func newTail(c cumulants) tail {
	sd := math.Sqrt(math.Max(c.variance, 0))
	skew := 1e-2
	if sd > 0 {
		skew = math.Max(skew, c.third/(sd*sd*sd))
	}
	shape := 4 / (skew * skew)
	scale := sd * skew / 2
	return tail{shape, scale, c.mean - shape*scale}
}

func (t tail) above(statistic float64) float64 {
	if t.scale == 0 || statistic <= t.shift {
		return 1
	}
	return clamp(mathext.GammaIncRegComp(t.shape, (statistic-t.shift)/t.scale))
}

func (t tail) quantile(level float64) float64 {
	if t.scale == 0 {
		return math.Inf(1)
	}
	return t.shift + t.scale*mathext.GammaIncRegCompInv(t.shape, level)
}
