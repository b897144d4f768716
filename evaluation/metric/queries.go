// SPDX-License-Identifier: Apache-2.0

package metric

import (
	"cmp"
	"math"
	"slices"
)

// queryIndex is the rows by query, in each by falling score.
type queryIndex struct {
	rows   []int32
	starts []int // of each query in rows, and the end
}

func (p *prepared) byQuery() *queryIndex {
	if p.queries != nil {
		return p.queries
	}
	x := &queryIndex{rows: make([]int32, p.Rows())}
	for i := range x.rows {
		x.rows[i] = int32(i)
	}
	slices.SortStableFunc(x.rows, func(a, b int32) int {
		if c := cmp.Compare(p.Queries[a], p.Queries[b]); c != 0 {
			return c
		}
		return cmp.Compare(p.Scores[b], p.Scores[a])
	})
	for i, row := range x.rows {
		if i == 0 || p.Queries[x.rows[i-1]] != p.Queries[row] {
			x.starts = append(x.starts, i)
		}
	}
	x.starts = append(x.starts, len(x.rows))
	p.queries = x
	return x
}

// answered is the rows of a query with their relevances, by falling score.
type answered struct {
	relevances, scores []float64
}

// overQueries is the mean over queries of a metric of each. A query's mass is the largest
// of its rows', and it has the rows that have mass: so a query drawn twice counts twice, and
// a query may be cut to a slice. Queries for which the metric is NaN are left out.
type overQueries struct {
	byRow
	p      *prepared
	of     func(a answered) float64
	whole  []float64 // of each query with all rows
	widest int       // rows of the largest query
}

func newOverQueries(p *prepared, of func(a answered) float64) kernel {
	x := p.byQuery()
	k := overQueries{p: p, of: of, whole: make([]float64, len(x.starts)-1)}
	for q := range k.whole {
		k.widest = max(k.widest, x.starts[q+1]-x.starts[q])
	}
	var a answered
	for q := range k.whole {
		a.relevances, a.scores = a.relevances[:0], a.scores[:0]
		for _, row := range x.rows[x.starts[q]:x.starts[q+1]] {
			a.relevances, a.scores = append(a.relevances, p.Labels[row]), append(a.scores, p.Scores[row])
		}
		k.whole[q] = of(a)
	}
	return k
}

func (k overQueries) value(mass []float64) float64 {
	x := k.p.byQuery()
	var sum, total float64
	var a answered
	for q, v := range k.whole {
		rows := x.rows[x.starts[q]:x.starts[q+1]]
		present, most := 0, 0.0
		for _, row := range rows {
			if m := mass[row]; m > 0 {
				present++
				most = max(most, m)
			}
		}
		if present == 0 {
			continue
		}
		if present < len(rows) {
			v = k.part(rows, mass, &a)
		}
		if !math.IsNaN(v) {
			sum += most * v
			total += most
		}
	}
	return sum / total
}

// part is the metric of the rows that have mass.
func (k overQueries) part(rows []int32, mass []float64, a *answered) float64 {
	if a.scores == nil {
		a.relevances, a.scores = make([]float64, 0, k.widest), make([]float64, 0, k.widest)
	}
	a.relevances, a.scores = a.relevances[:0], a.scores[:0]
	for _, row := range rows {
		if mass[row] > 0 {
			a.relevances, a.scores = append(a.relevances, k.p.Labels[row]), append(a.scores, k.p.Scores[row])
		}
	}
	return k.of(*a)
}

// Rows of equal score have no order: metrics of a query are means over all orders of them
// (McSherry and Najork, Computing information retrieval performance measures efficiently in
// the presence of tied scores, ECIR 2008).

// ties hands the groups of rows of equal score to f: those from begin up to end.
func (a answered) ties(f func(begin, end int) bool) {
	for begin := 0; begin < len(a.scores); {
		end := begin + 1
		for end < len(a.scores) && a.scores[end] == a.scores[begin] {
			end++
		}
		if !f(begin, end) {
			return
		}
		begin = end
	}
}

func (a answered) relevant(begin, end int) (n float64) {
	for _, r := range a.relevances[begin:end] {
		if r > 0 {
			n++
		}
	}
	return n
}

// ndcg is the discounted gain of the first k places over that of the best order (Järvelin
// and Kekäläinen 2002, discount 1/log2(place+1)). It is 0 for a query without relevant rows.
func ndcg(k int, gain func(relevance float64) float64) func(a answered) float64 {
	return func(a answered) float64 {
		gains := make([]float64, len(a.relevances))
		for i, r := range a.relevances {
			gains[i] = gain(r)
		}
		var got, best float64
		a.ties(func(begin, end int) bool {
			mean := 0.0
			for _, g := range gains[begin:end] {
				mean += g
			}
			mean /= float64(end - begin)
			for place := begin; place < min(end, k); place++ {
				got += mean / math.Log2(float64(place+2))
			}
			return end < k
		})
		slices.SortFunc(gains, func(a, b float64) int { return cmp.Compare(b, a) })
		for place, g := range gains[:min(k, len(gains))] {
			best += g / math.Log2(float64(place+2))
		}
		if best == 0 {
			return 0
		}
		return got / best
	}
}

func linearGain(relevance float64) float64 { return relevance }

func exponentialGain(relevance float64) float64 { return math.Exp2(relevance) - 1 }

// meanPrecision is the average precision in the first k places: the sum of the precisions
// at relevant rows over how many there could be. NaN without relevant rows.
func meanPrecision(k int) func(a answered) float64 {
	return func(a answered) float64 {
		sum, above := 0.0, 0.0
		a.ties(func(begin, end int) bool {
			n, r := float64(end-begin), a.relevant(begin, end)
			for place := begin; place < min(end, k) && r > 0; place++ {
				expected := above + 1 // relevant up to this place, if this one is
				if n > 1 {
					expected += (r - 1) * float64(place-begin) / (n - 1)
				}
				sum += r / n * expected / float64(place+1)
			}
			above += r
			return end < k
		})
		return sum / min(a.relevant(0, len(a.scores)), float64(k))
	}
}

// reciprocalRank is 1 over the place of the first relevant row, NaN if there is none.
func reciprocalRank(a answered) float64 {
	v := math.NaN()
	a.ties(func(begin, end int) bool {
		r := a.relevant(begin, end)
		if r == 0 {
			return true
		}
		none := 1.0 // the chance that no place before was relevant
		v = 0
		for place := begin; place < end && none > 0; place++ {
			here := min(1, r/float64(end-place))
			v += none * here / float64(place+1)
			none *= 1 - here
		}
		return false
	})
	return v
}

// firstPlaces is the number of relevant rows in the first k places.
func (a answered) firstPlaces(k int) float64 {
	caught := 0.0
	a.ties(func(begin, end int) bool {
		share := min(1, float64(k-begin)/float64(end-begin))
		caught += share * a.relevant(begin, end)
		return end < k
	})
	return caught
}

func queryRecall(k int) func(a answered) float64 {
	return func(a answered) float64 { return a.firstPlaces(k) / a.relevant(0, len(a.scores)) }
}

// queryPrecision counts a query with fewer rows than k as if it had k.
func queryPrecision(k int) func(a answered) float64 {
	return func(a answered) float64 { return a.firstPlaces(k) / float64(k) }
}
