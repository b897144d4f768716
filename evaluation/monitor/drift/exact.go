// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"math"
	"slices"
)

// outcomesMax bounds the tables that are listed for an exact p-value.
const outcomesMax = 20_000

// outcome is a statistic and the chance of the tables that have it.
type outcome struct{ statistic, chance float64 }

// reachSD is how many standard deviations of a count are looked at: what is beyond has a
// chance below 1e-15.
const reachSD = 8.5

// band is where a hypergeometric or binomial count with this mean and variance can be.
func band(mean, variance float64, low, high int) (int, int) {
	reach := reachSD*math.Sqrt(variance) + reachSD
	return max(low, int(math.Floor(mean-reach))), min(high, int(math.Ceil(mean+reach)))
}

// outcomes lists all tables with these margins, nil if they are too many. Two bins are
// always listed, but for what is too unlikely to matter.
func (s totals) outcomes(term termFunc) []outcome {
	all := s.m + s.n
	if len(s.pooled) == 2 {
		c := s.pooled[0]
		low, high := max(0, s.n-s.pooled[1]), min(s.n, c)
		share := float64(s.n) / float64(all)
		from, to := band(float64(c)*share, float64(c)*share*(1-share), low, high)
		list := make([]outcome, 0, to-from+1)
		for x := from; x <= to; x++ {
			list = append(list, outcome{term(x, c) + term(s.n-x, s.pooled[1]), math.Exp(logHypergeometric(x, c, s.n, all))})
		}
		return list
	}
	count := 1
	for _, c := range s.pooled[:len(s.pooled)-1] { // the last of them follows from the others
		if count *= min(c, s.n) + 1; count > outcomesMax {
			return nil
		}
	}
	l := lister{s: s, term: term}
	l.walk(0, s.n, 0, -logChoose(all, s.n))
	return l.list
}

type lister struct {
	s    totals
	term termFunc
	list []outcome
}

// walk deals what is left of the current rows out to the bins from i on.
func (l *lister) walk(i, left int, sum, logChance float64) {
	c := l.s.pooled[i]
	if i == len(l.s.pooled)-1 {
		if left <= c {
			l.list = append(l.list, outcome{sum + l.term(left, c), math.Exp(logChance + logChoose(c, left))})
		}
		return
	}
	for x := 0; x <= min(c, left); x++ {
		l.walk(i+1, left-x, sum+l.term(x, c), logChance+logChoose(c, x))
	}
}

// exactTail is the mid-p value of a statistic, and the least statistic whose mid-p value is
// at most level.
func exactTail(list []outcome, statistic, level float64) (p, threshold float64) {
	slices.SortFunc(list, func(a, b outcome) int {
		switch {
		case a.statistic > b.statistic:
			return -1
		case a.statistic < b.statistic:
			return 1
		}
		return 0
	})
	slack := 1e-9 * math.Max(1e-6, math.Abs(statistic)) // rounding must not tell ties apart
	total := 0.0
	for _, o := range list {
		total += o.chance
	}
	above, threshold := 0.0, math.Inf(1)
	for from := 0; from < len(list); {
		same, to := 0.0, from
		for ; to < len(list) && list[to].statistic >= list[from].statistic-slack; to++ {
			same += list[to].chance
		}
		mid := (above + same/2) / total
		if mid <= level {
			threshold = list[to-1].statistic
		}
		if list[from].statistic >= statistic-slack {
			p = mid
		}
		above += same
		from = to
	}
	return clamp(p), threshold
}

// logChoose is the logarithm of n over k, of which there is none if k is not in 0 to n.
func logChoose(n, k int) float64 {
	if k < 0 || k > n {
		return math.Inf(-1)
	}
	return logFactorial(n) - logFactorial(k) - logFactorial(n-k)
}

// logHypergeometric is the log chance that x of c marked rows are among n rows of all.
func logHypergeometric(x, c, n, all int) float64 {
	return logChoose(c, x) + logChoose(all-c, n-x) - logChoose(all, n)
}

var smallFactorials = func() (t [1 << 12]float64) {
	for i := 2; i < len(t); i++ {
		t[i] = t[i-1] + math.Log(float64(i))
	}
	return t
}()

func logFactorial(n int) float64 {
	if n < len(smallFactorials) {
		return smallFactorials[n]
	}
	v, _ := math.Lgamma(float64(n) + 1)
	return v
}
