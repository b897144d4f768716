// SPDX-License-Identifier: Apache-2.0

package metric

import "math"

// rocAUC is the probability that a positive has a higher score than a negative, ties
// counting half (Mann and Whitney 1947).
type rocAUC struct{ ranked }

func (k rocAUC) value(mass []float64) float64 {
	var above, pairs, below float64
	k.r.groups(mass, func(g group) bool {
		pairs += g.negative * (above + g.positive/2)
		above += g.positive
		below += g.negative
		return true
	})
	return pairs / (above * below) // 0/0 with one class only
}

// valueCounts has whole numbers only, so the sum is exact: twice the number of pairs is at
// most 2^63 if at most 2^32 rows are drawn.
func (k rocAUC) valueCounts(counts []uint8) float64 {
	var pairs, above, all, positive, total uint64
	flags := k.r.flags[:len(counts)]
	for i, c := range counts {
		f := flags[i]
		total += uint64(c)
		positive += uint64(c) & -uint64(f&flagPositive)
		if f&flagLast != 0 {
			pairs += (total - positive) * (2*above + positive)
			above += positive
			all += total
			positive, total = 0, 0
		}
	}
	return float64(pairs) / 2 / (float64(above) * float64(all-above))
}

// averagePrecision is the sum of precisions, each times the recall gained there.
type averagePrecision struct{ ranked }

func (k averagePrecision) value(mass []float64) float64 {
	var above, all, sum float64
	k.r.groups(mass, func(g group) bool {
		above += g.positive
		all += g.positive + g.negative
		sum += g.positive * (above / all)
		return true
	})
	return sum / above // 0/0 without positives
}

func (k averagePrecision) valueCounts(counts []uint8) float64 {
	var above, all, positive uint64
	var sum float64
	flags := k.r.flags[:len(counts)]
	for i, c := range counts {
		f := flags[i]
		all += uint64(c)
		positive += uint64(c) & -uint64(f&flagPositive)
		if f&flagLast != 0 && positive != 0 {
			above += positive
			sum += float64(positive) * (float64(above) / float64(all))
			positive = 0
		}
	}
	return sum / float64(above)
}

// kolmogorovSmirnov is the largest distance between the distributions of scores of the
// positives and of the negatives.
type kolmogorovSmirnov struct{ ranked }

func (k kolmogorovSmirnov) value(mass []float64) float64 {
	positives, negatives := k.r.totals(mass)
	if positives == 0 || negatives == 0 {
		return math.NaN()
	}
	var caught, alarms, most float64
	mass = mass[:len(k.r.flags)]
	for i, flags := range k.r.flags {
		if flags&flagPositive != 0 {
			caught += mass[i]
		} else {
			alarms += mass[i]
		}
		if flags&flagLast != 0 {
			most = max(most, math.Abs(caught*negatives-alarms*positives))
		}
	}
	return most / (positives * negatives)
}

// recallAtFPR is the largest recall at a threshold where the share of negatives above it
// is at most a limit.
type recallAtFPR struct {
	ranked
	limit float64
}

func (k recallAtFPR) value(mass []float64) float64 {
	positives, negatives := k.r.totals(mass)
	if positives == 0 || negatives == 0 {
		return math.NaN()
	}
	var caught, alarms, best float64
	k.r.groups(mass, func(g group) bool {
		caught += g.positive
		alarms += g.negative
		if alarms/negatives > k.limit {
			return false
		}
		best = caught / positives
		return true
	})
	return best
}

// top is what lies in the highest places.
type top struct {
	places, caught    float64 // mass
	positives, length float64 // mass of all
}

// highest looks at a number of places, or at all if there are fewer. Rows of one score
// that compete for the last places share them: the result is the mean over all orders of
// equal scores.
func (r *ranking) highest(mass []float64, places float64) top {
	positive, negative := r.totals(mass)
	t := top{positives: positive, length: positive + negative}
	places = min(places, t.length)
	r.groups(mass, func(g group) bool {
		share := min(1, (places-t.places)/(g.positive+g.negative))
		t.caught += share * g.positive
		t.places += share * (g.positive + g.negative)
		return share == 1
	})
	t.places = places
	return t
}

// atTop is a metric of the highest places: a number k, or a share of all.
type atTop struct {
	ranked
	k, share float64 // one of them, the other is 0
	of       func(t top) float64
}

func (k atTop) value(mass []float64) float64 {
	places := k.k
	if k.share > 0 {
		positive, negative := k.r.totals(mass)
		places = k.share * (positive + negative)
	}
	return k.of(k.r.highest(mass, places))
}

func topPrecision(t top) float64 { return t.caught / t.places }

func topRecall(t top) float64 { return t.caught / t.positives }

func topLift(t top) float64 { return t.caught / t.places / (t.positives / t.length) }

// oneVersusRest is the mean over classes of a metric of each against the others.
type oneVersusRest struct {
	p        *prepared
	kernels  []kernel
	weighted bool // by the mass of the class
	byRow
}

func (k oneVersusRest) value(mass []float64) float64 {
	shares := make([]float64, len(k.kernels))
	for i, y := range k.p.Labels {
		shares[int(y)] += mass[i]
	}
	var sum, total float64
	for class, of := range k.kernels {
		v := k.p.inOrder(of, mass)
		if math.IsNaN(v) {
			continue
		}
		w := 1.0
		if k.weighted {
			w = shares[class]
		}
		sum += w * v
		total += w
	}
	return sum / total
}
