// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"math"
	"slices"
	"sort"
)

// Missing compares the shares of missing values by Fisher's exact test, two-sided with
// mid-p. The statistic is the current share less that of the reference. Errors wrap ErrData.
func (n *Numbers) Missing() (Result, error) {
	return MissingRate(n.refMissing, len(n.reference)+n.refMissing, n.curMis, len(n.current)+n.curMis)
}

// MissingRate is Missing for counts: so many of so many rows lack a value on each side.
func MissingRate(refMissing, refRows, curMissing, curRows int) (Result, error) {
	t := Table{[]int{refMissing, refRows - refMissing}, []int{curMissing, curRows - curMissing}}
	s, err := t.totals()
	if err != nil {
		return Result{}, err
	}
	r := Result{
		Test: Missing, Reference: refRows, Current: curRows, Bins: len(s.pooled), Threshold: math.NaN(), P: 1, Method: Degenerate,
		Statistic: float64(curMissing)/float64(curRows) - float64(refMissing)/float64(refRows),
	}
	if len(s.pooled) < 2 {
		return r, nil
	}
	// An outcome is further away if it is less likely: Fisher's order.
	list := s.outcomes(func(x, c int) float64 { return 0 })
	from := s.from()
	own := -logHypergeometric(s.x[0], s.pooled[0], s.n, s.m+s.n)
	for i := range list {
		list[i].statistic = -logHypergeometric(from+i, s.pooled[0], s.n, s.m+s.n)
	}
	r.P, _ = exactTail(list, own, DefaultLevel)
	r.Method = Exact
	return r, nil
}

// from is the count of the first bin in the first of the outcomes of two bins.
func (s totals) from() int {
	share, c := float64(s.n)/float64(s.m+s.n), s.pooled[0]
	from, _ := band(float64(c)*share, float64(c)*share*(1-share), max(0, s.n-s.pooled[1]), min(s.n, c))
	return from
}

// OutOfRange counts the current rows that are below or above all of the reference. If
// nothing changed, they fall in two of the m+1 gaps that m values leave, which are alike.
// Ties make it alarm less often. Errors wrap ErrData.
func (n *Numbers) OutOfRange() (Result, error) {
	m, c := len(n.reference), len(n.current)
	if err := sizes(m, c); err != nil {
		return Result{}, err
	}
	r := Result{Test: Range, Reference: m, Current: c, Bins: len(n.groups), Method: Exact}
	low, high := n.reference[0], n.reference[m-1]
	below, _ := slices.BinarySearch(n.current, low)
	above := c - sort.Search(c, func(i int) bool { return n.current[i] > high })
	out := below + above
	r.Statistic = float64(out)
	r.P, r.Threshold = gapTail(out, c, m, DefaultLevel)
	return r, nil
}

// gapTail is the mid-p value of k rows of n in two of m+1 gaps. The chance of k is that of a
// beta-binomial count: (k+1) C(n-k+m-2, n-k) / C(n+m, n).
func gapTail(k, n, m int, level float64) (p, threshold float64) {
	if m == 1 {
		return 1, math.Inf(1) // both gaps are everything
	}
	chance := func(k int) float64 {
		return float64(k+1) * math.Exp(logChoose(n-k+m-2, n-k)-logChoose(n+m, n))
	}
	below := 0.0
	threshold = math.Inf(1)
	for j := 0; j <= n; j++ {
		own := chance(j)
		mid := 1 - below - own/2
		if j == k {
			p = mid
		}
		if mid <= level && math.IsInf(threshold, 1) {
			threshold = float64(j)
		}
		if below += own; j >= k && !math.IsInf(threshold, 1) || below > 1-1e-12 {
			break
		}
	}
	if p < 1e-9 { // a difference of numbers near 1: sum the tail instead
		p = 0
		for j, own := k, 0.0; j <= n; j++ {
			if own = chance(j); j == k {
				own /= 2
			}
			if p += own; own <= p*1e-9 && j > k {
				break
			}
		}
	}
	return clamp(p), threshold
}

// UnseenRows tests how many current rows have a category that the reference lacks. If
// nothing changed, a category of c pooled rows has all of them current with a chance of
// about share^c. Where few such rows are expected, what the categories of up to
// unseenRowsMax rows add to the count is summed up exactly, taking categories as
// independent; where more are, which are not, by their moments, as for other statistics of
// tables. Errors wrap ErrData.
func (t Table) UnseenRows(level float64) (Result, error) {
	s, err := t.totals()
	if err != nil {
		return Result{}, err
	}
	r := Result{Test: Unseen, Reference: s.m, Current: s.n, Bins: len(s.pooled)}
	if level == 0 {
		level = DefaultLevel
	}
	unseen := 0
	byRows := map[int]int{} // how many categories have so many pooled rows
	for i, c := range s.pooled {
		if s.x[i] == c {
			unseen += c
		}
		if c <= unseenRowsMax {
			byRows[c]++
		}
	}
	r.Statistic = float64(unseen)
	r.P, r.Threshold, r.Method = unseenTail(s, byRows, unseen, level)
	return r, nil
}

// unseenFew is the number of rows expected up to which categories are as good as independent.
const unseenFew = 5

// unseenRowsMax bounds the pooled rows of a category that may be unseen by chance, and
// unseenMost the count that chances are found for.
const (
	unseenRowsMax = 40
	unseenMost    = 4096
)

// rareCategories are the categories of so many pooled rows, all of which are current with
// chance q.
type rareCategories struct {
	rows, count int
	q           float64
}

// unseenTail is the mid-p value of a count of rows of unseen categories.
func unseenTail(s totals, byRows map[int]int, unseen int, level float64) (p, threshold float64, how Method) {
	most, all := min(s.n, unseenMost), s.m+s.n
	var rare []rareCategories
	mean, variance := 0.0, 0.0
	for c := 1; c <= unseenRowsMax && c <= s.n; c++ {
		q := math.Exp(logChoose(s.n, c) - logChoose(all, c))
		count := byRows[c]
		if q*float64(count) < 1e-14 {
			continue
		}
		rare = append(rare, rareCategories{c, count, q})
		mean += float64(count) * q * float64(c)
		spread := float64(count) * q * (1 - q) * float64(c*c)
		if c == 1 {
			spread *= 1 - float64(count)/float64(all)
		}
		variance += spread
	}
	if mean > unseenFew || mean+8*math.Sqrt(variance) > float64(unseenMost) {
		return s.null(func(x, pooled int) float64 {
			if x == pooled {
				return float64(x)
			}
			return 0
		}, float64(unseen), level)
	}
	chance := make([]float64, most+2) // the last is that of more
	chance[0] = 1
	for _, r := range rare {
		chance = addCount(chance, r.rows, r.count, r.q, func(b int) float64 {
			if r.rows == 1 { // exactly: where each row has a category of its own, all are unseen
				return math.Exp(logHypergeometric(b, r.count, s.n, all))
			}
			return math.Exp(logChoose(r.count, b) + float64(b)*math.Log(r.q) + float64(r.count-b)*math.Log1p(-r.q))
		})
	}
	above := chance[most+1]
	p, threshold, how = clamp(above), math.Inf(1), Exact
	for k := most; k >= 0; k-- {
		mid := above + chance[k]/2
		if k == unseen {
			p = mid
		}
		if mid <= level {
			threshold = float64(k)
		}
		above += chance[k]
	}
	return clamp(p), threshold, how
}

// addCount adds c to a distribution for each of a count of categories, whose chances are
// given and that has about a binomial's spread.
func addCount(chance []float64, c, count int, q float64, of func(b int) float64) []float64 {
	last := len(chance) - 1
	sum := make([]float64, len(chance))
	from, to := band(float64(count)*q, float64(count)*q*(1-q), 0, count)
	for b := from; b <= to; b++ {
		p := of(b)
		if !(p > 1e-17) { // NaN where there cannot be so many
			continue
		}
		for k, was := range chance {
			if was != 0 {
				sum[min(k+b*c, last)] += p * was
			}
		}
	}
	return sum
}
