// SPDX-License-Identifier: Apache-2.0

package drift

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// BenjaminiHochberg adjusts the p-values of many columns: of those that are at most q after
// it, a share of q at most is false on average, if tests are independent or go along with
// each other. A test that could not be made has NaN, which stays and does not count.
func BenjaminiHochberg(p []float64) []float64 {
	adjusted := slices.Clone(p)
	var order []int
	for i, v := range p {
		if !math.IsNaN(v) {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(i, j int) int { return cmp.Compare(p[i], p[j]) })
	least := 1.0
	for rank := len(order) - 1; rank >= 0; rank-- {
		i := order[rank]
		least = min(least, p[i]*float64(len(order))/float64(rank+1))
		adjusted[i] = least
	}
	return adjusted
}

// Impact is how much a column's drift is likely to matter.
type Impact struct {
	Column string
	// Importance is the column's share in the model's predictions, in any unit; 0 if it is
	// not known of any column, which then all count the same.
	Importance float64
	// Effect is how far the column moved: Numbers.Effect or Table.TotalVariation.
	Effect float64
	// Shift is ScoreShift, 0 if not known.
	Shift float64
}

// Rank puts columns in order, the likeliest to matter first: by importance times effect,
// then by the change of the score, then by name.
func Rank(columns []Impact) {
	known := slices.ContainsFunc(columns, func(c Impact) bool { return c.Importance > 0 })
	weigh := func(c Impact) float64 {
		if !known {
			return c.Effect
		}
		return c.Importance * c.Effect
	}
	slices.SortStableFunc(columns, func(a, b Impact) int {
		return cmp.Or(cmp.Compare(weigh(b), weigh(a)), cmp.Compare(math.Abs(b.Shift), math.Abs(a.Shift)), cmp.Compare(a.Column, b.Column))
	})
}

// ScoreShift is how much the mean score of the reference changes if its rows are weighted
// so that the column is distributed as in the current window: what this column alone, as
// far as it goes along with the others, would do to predictions. The column is put in
// DefaultBins bins; missing values are one more. Bins without rows of the reference are left
// out, as nothing is known of their scores. Errors wrap ErrData.
func ScoreShift(reference, scores, current []float64) (float64, error) {
	if len(reference) != len(scores) {
		return 0, fmt.Errorf("%w: %d values and %d scores of the reference", ErrData, len(reference), len(scores))
	}
	if err := sizes(len(reference), len(current)); err != nil {
		return 0, err
	}
	sorted, _ := present(append(slices.Clone(reference), current...))
	var edges []float64
	for b := 1; b < DefaultBins && len(sorted) > 0; b++ {
		edges = append(edges, sorted[b*len(sorted)/DefaultBins])
	}
	edges = slices.Compact(edges)
	binOf := func(v float64) int {
		if math.IsNaN(v) {
			return len(edges) + 1
		}
		i, found := slices.BinarySearch(edges, v)
		if found {
			i++
		}
		return i
	}
	rows, now, sum := make([]float64, len(edges)+2), make([]float64, len(edges)+2), make([]float64, len(edges)+2)
	mean := 0.0
	for i, v := range reference {
		b := binOf(v)
		rows[b]++
		sum[b] += scores[i]
		mean += scores[i] / float64(len(scores))
	}
	for _, v := range current {
		now[binOf(v)]++
	}
	weighted, weight := 0.0, 0.0
	for b, n := range rows {
		if n > 0 {
			weighted += now[b] * sum[b] / n
			weight += now[b]
		}
	}
	if weight == 0 {
		return 0, nil
	}
	return weighted/weight - mean, nil
}

// Thin keeps one row of each entity, that with the least key, and returns the rows kept in
// their order. With keys that do not depend on values, such as hashes of row ids, the rows
// kept are as good as independent if entities are. An entity below 0 stands for itself.
func Thin(entities []int64, keys []uint64) []int {
	best := map[int64]int{}
	var kept []int
	for i, e := range entities {
		if e < 0 {
			kept = append(kept, i)
			continue
		}
		if j, ok := best[e]; !ok || keys[i] < keys[j] {
			best[e] = i
		}
	}
	for _, i := range best {
		kept = append(kept, i)
	}
	slices.Sort(kept)
	return kept
}
