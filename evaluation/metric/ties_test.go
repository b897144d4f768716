// SPDX-License-Identifier: Apache-2.0

package metric

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

// orders calls f with all orders of n things.
func orders(n int, f func(order []int)) {
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	var place func(at int)
	place = func(at int) {
		if at == n {
			f(order)
			return
		}
		for i := at; i < n; i++ {
			order[at], order[i] = order[i], order[at]
			place(at + 1)
			order[at], order[i] = order[i], order[at]
		}
	}
	place(0)
}

// plainQuery are the metrics of a query without ties, relevances in order.
var plainQuery = map[string]func(relevances []float64, k int) float64{
	"ndcg": func(relevances []float64, k int) float64 {
		best := slices.Clone(relevances)
		slices.Sort(best)
		slices.Reverse(best)
		var got, most float64
		for i := range min(k, len(best)) {
			got += relevances[i] / math.Log2(float64(i+2))
			most += best[i] / math.Log2(float64(i+2))
		}
		return got / most
	},
	"map": func(relevances []float64, k int) float64 {
		sum, seen, all := 0.0, 0.0, 0.0
		for i, r := range relevances {
			if r == 0 {
				continue
			}
			if all++; i < k {
				seen++
				sum += seen / float64(i+1)
			}
		}
		return sum / min(all, float64(k))
	},
	"mrr": func(relevances []float64, _ int) float64 {
		return 1 / float64(1+slices.IndexFunc(relevances, func(r float64) bool { return r > 0 }))
	},
	"recall": func(relevances []float64, k int) float64 {
		var caught, all float64
		for i, r := range relevances {
			if r > 0 {
				if all++; i < k {
					caught++
				}
			}
		}
		return caught / all
	},
	"precision": func(relevances []float64, k int) float64 {
		caught := 0.0
		for _, r := range relevances[:min(k, len(relevances))] {
			if r > 0 {
				caught++
			}
		}
		return caught / float64(k)
	},
}

// TestTiesAreMeansOverOrders holds metrics of a query to their mean over all orders of the
// rows of equal score, each computed plainly.
func TestTiesAreMeansOverOrders(t *testing.T) {
	rng := rand.New(rand.NewPCG(21, 22))
	for range 60 {
		n, k := 1+rng.IntN(6), 1+rng.IntN(7)
		a := answered{relevances: make([]float64, n), scores: make([]float64, n)}
		for i := range n {
			a.relevances[i], a.scores[i] = float64(max(0, rng.IntN(5)-2)), float64(rng.IntN(3))
		}
		a.relevances[rng.IntN(n)] = 1
		slices.SortFunc(a.scores, func(x, y float64) int { return int(y - x) })
		fast := map[string]func(answered) float64{
			"ndcg": ndcg(k, linearGain), "map": meanPrecision(k), "mrr": reciprocalRank, "recall": queryRecall(k), "precision": queryPrecision(k),
		}
		for name, plain := range plainQuery {
			sum, count := 0.0, 0.0
			orders(n, func(order []int) {
				relevances := make([]float64, n)
				for place, i := range order {
					if a.scores[place] != a.scores[i] {
						return
					}
					relevances[place] = a.relevances[i]
				}
				sum += plain(relevances, k)
				count++
			})
			if got := fast[name](a); !closeTo(got, sum/count, 1e-12) {
				t.Fatalf("%s@%d of %v is %v, the mean of %v orders %v", name, k, a, got, count, sum/count)
			}
		}
	}
}

// TestTopIsMeanOverOrders does so for the k highest rows of a binary sample.
func TestTopIsMeanOverOrders(t *testing.T) {
	rng := rand.New(rand.NewPCG(23, 24))
	for range 60 {
		n, k := 1+rng.IntN(6), 1+rng.IntN(7)
		s := &Sample{Outputs: 1, Labels: make([]float64, n), Scores: make([]float64, n)}
		for i := range n {
			s.Labels[i], s.Scores[i] = float64(rng.IntN(2)), float64(-rng.IntN(3))
		}
		slices.SortFunc(s.Scores, func(x, y float64) int { return int(y - x) })
		sum, count := 0.0, 0.0
		orders(n, func(order []int) {
			caught := 0.0
			for place, i := range order {
				if s.Scores[place] != s.Scores[i] {
					return
				}
				if place < k {
					caught += s.Labels[i]
				}
			}
			sum += caught
			count++
		})
		p := newPrepared(s)
		top := p.by(0).highest([]float64{1, 1, 1, 1, 1, 1}[:n], float64(k))
		if !closeTo(top.caught, sum/count, 1e-12) || top.places != float64(min(n, k)) {
			t.Fatalf("%d highest of %+v: %+v, the mean of %v orders has %v", k, s, top, count, sum/count)
		}
	}
}

// slowBins cuts rows that are sorted by score in n parts of equal number, for scores that
// all differ.
func slowBins(s *Sample, n int) []bin {
	order := make([]int32, s.Rows())
	sortByScore(s.Scores, 1, order)
	bins := make([]bin, n)
	for place, row := range order {
		b := &bins[place*n/len(order)]
		b.mass++
		b.positive += s.Labels[row]
		b.score += s.Scores[row]
	}
	return bins
}

func TestCalibrationBins(t *testing.T) {
	s := benchmarkSample(200, false)
	var expected, most, parted float64
	for _, b := range slowBins(s, 10) {
		gap := math.Abs(b.positive/b.mass - b.score/b.mass)
		expected += gap * b.mass / 200
		most = max(most, gap)
	}
	for text, want := range map[string]float64{"ece": expected, "mce": most} {
		m, _ := Parse(text)
		if got := valueOf(t, m, s, nil); !closeTo(got, want, 1e-12) {
			t.Errorf("%s is %v, slowly %v", text, got, want)
		}
	}
	// Equal scores are in the bin of the middle of their mass: one row, and then three.
	tied := &Sample{Outputs: 1, Labels: []float64{1, 1, 1, 0}, Scores: []float64{0.9, 0.5, 0.5, 0.5}}
	m, _ := Parse("mce@2")
	if got := valueOf(t, m, tied, nil); !closeTo(got, 2./3-0.5, 1e-12) {
		t.Errorf("three tied rows in a bin: %v", got)
	}
	// With one score in each bin the parts of the Brier score make the whole.
	for i := range s.Scores {
		s.Scores[i] = math.Round(s.Scores[i]*4) / 4
	}
	parts := map[string]float64{}
	for _, text := range []string{"brier", "brier_reliability@1000", "brier_resolution@1000", "brier_uncertainty@1000"} {
		m, _ := Parse(text)
		parts[text] = valueOf(t, m, s, nil)
	}
	parted = parts["brier_reliability@1000"] - parts["brier_resolution@1000"] + parts["brier_uncertainty@1000"]
	if !closeTo(parted, parts["brier"], 1e-12) {
		t.Errorf("the parts %v make %v", parts, parted)
	}
	// All rows of one score are one bin, whatever their order.
	for i := range s.Scores {
		s.Scores[i] = 0.5
	}
	base := 0.0
	for _, y := range s.Labels {
		base += y / 200
	}
	m, _ = Parse("ece@15")
	if got := valueOf(t, m, s, nil); !closeTo(got, math.Abs(base-0.5), 1e-12) {
		t.Errorf("of one score: %v, base rate %v", got, base)
	}
}

func TestPlainValues(t *testing.T) {
	s := &Sample{Outputs: 1, Labels: []float64{1, 0, 1, 0, 0}, Scores: []float64{0.9, 0.8, 0.5, 0.4, 0.1}}
	for text, want := range map[string]float64{
		"lift@0.2": 2.5, "gain@0.2": 0.5, "gain@0.6": 1, "precision@1": 1, "precision@2": 0.5, "precision@9": 0.4, "recall@2": 0.5,
		"cost": 0.2, "cost@fp=2,fn=10": 0.4, "cost@fp=2,fn=10,threshold=0.6": 2.4, "cost@tp=-1,tn=0.5,fp=0": -0.2,
		"recall@fpr=0.3": 0.5, "recall@fpr=0.4": 1, "specificity@0.45": 2. / 3, "f1@0.5": 0.8,
	} {
		m, err := Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := valueOf(t, m, s, nil); !closeTo(got, want, 1e-12) {
			t.Errorf("%s is %v, want %v", text, got, want)
		}
	}
	values := &Sample{Task: Regression, Outputs: 1, Labels: []float64{0, 2, 0}, Scores: []float64{0, 1, 3}}
	for text, want := range map[string]float64{"smape": (0 + 1/1.5 + 2) / 3, "bias": 2. / 3, "max_error": 3, "median_ae": 1} {
		m, _ := Parse(text)
		if got := valueOf(t, m, values, nil); !closeTo(got, want, 1e-12) {
			t.Errorf("%s is %v, want %v", text, got, want)
		}
	}
}

// TestPartsOfQueries draws some rows of queries only.
func TestPartsOfQueries(t *testing.T) {
	rng := rand.New(rand.NewPCG(25, 26))
	for range 40 {
		s, counts := randomSample(rng, Ranking, 60, false), make([]uint8, 60)
		for i := range counts {
			counts[i] = uint8(rng.IntN(2))
		}
		part := repeated(s, counts)
		for _, text := range []string{"ndcg@3", "map", "mrr", "recall@2", "precision@2"} {
			m, _ := Parse(text)
			if got, want := valueOf(t, m, s, counts), valueOf(t, m, part, nil); !closeTo(got, want, 1e-12) {
				t.Fatalf("%s: %v by counts, %v of the rows alone", text, got, want)
			}
		}
	}
}
