// SPDX-License-Identifier: Apache-2.0

package selection

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"strings"
	"testing"
)

// world is a pool with everything in it.
func world(n, k, dim int, seed uint64) *Pool {
	r := rand.New(rand.NewPCG(seed, 2))
	rows := func() [][]float64 {
		out := make([][]float64, n)
		for i := range out {
			out[i] = make([]float64, k)
			sum := 0.0
			for j := range out[i] {
				out[i][j] = r.ExpFloat64()
				sum += out[i][j]
			}
			for j := range out[i] {
				out[i][j] /= sum
			}
		}
		return out
	}
	p := &Pool{Size: n, Probabilities: rows(), Committee: [][][]float64{rows(), rows(), rows()}, Dim: dim, Weights: map[string]float64{"b": 5}}
	for range n * dim {
		p.Embeddings = append(p.Embeddings, float32(r.NormFloat64()))
	}
	for range n {
		p.Slices = append(p.Slices, string('a'+rune(r.IntN(3))))
	}
	return p
}

func TestScores(t *testing.T) {
	p := &Pool{Size: 1, Probabilities: [][]float64{{0.5, 0.3, 0.2}}, Embeddings: []float32{3, 4}, Dim: 2, Slices: []string{"x"}, Weights: map[string]float64{"x": 3},
		Committee: [][][]float64{{{1, 0}}, {{0.5, 0.5}}, {{0, 1}}, {{0.2, 0.8}}}}
	// By hand: the gradients of the three labels have lengths sqrt(.25+.09+.04), sqrt(.25+.49+.04), sqrt(.25+.09+.64).
	gradient := (0.5*math.Sqrt(0.38) + 0.3*math.Sqrt(0.78) + 0.2*math.Sqrt(0.98)) * math.Sqrt(26)
	m := []float64{0.425, 0.575}
	kl := (math.Log(1/m[0]) + 0.5*math.Log(0.5/m[0]) + 0.5*math.Log(0.5/m[1]) + math.Log(1/m[1]) + 0.2*math.Log(0.2/m[0]) + 0.8*math.Log(0.8/m[1])) / 4
	want := map[Strategy]float64{Margin: 0.8, Entropy: -0.5*math.Log(0.5) - 0.3*math.Log(0.3) - 0.2*math.Log(0.2), LeastConfidence: 0.5,
		Gradient: gradient, Impact: 2.4, VoteEntropy: math.Ln2, ConsensusKL: kl}
	for strategy, w := range want {
		if got := Scores(p, strategy)[0]; math.Abs(got-w) > 1e-9 {
			t.Errorf("%s: %v, want %v", strategy, got, w)
		}
	}
}

func TestSelectKeepsItsPromises(t *testing.T) {
	p := world(300, 4, 5, 1)
	for _, strategy := range Strategies() {
		for _, diverse := range []float64{0, 3} {
			o := Options{Strategy: strategy, Count: 40, RandomShare: 0.2, Seed: 9, Diverse: diverse}
			got, err := Select(p, o)
			if err != nil {
				t.Fatalf("%s: %v", strategy, err)
			}
			again, _ := Select(p, o)
			if !reflect.DeepEqual(got, again) {
				t.Errorf("%s: two runs differ", strategy)
			}
			seen, random := map[int]bool{}, 0
			for _, c := range got {
				if seen[c.Item] {
					t.Errorf("%s: item %d is chosen twice", strategy, c.Item)
				}
				seen[c.Item] = true
				if (c.Propensity > 0) != (c.Strategy == Random) || c.Why == "" {
					t.Errorf("%s: %+v", strategy, c)
				}
				if c.Propensity > 0 {
					random++
				}
			}
			if want := map[bool]int{true: 40, false: 8}[strategy == Random]; random != want || len(got) != 40 {
				t.Errorf("%s: %d of %d at random, want %d of 40", strategy, random, len(got), want)
			}
		}
	}
}

// TestBestOnes holds the choice of scores to a search through all items.
func TestBestOnes(t *testing.T) {
	p := world(200, 3, 4, 2)
	for _, strategy := range []Strategy{Margin, Entropy, LeastConfidence, VoteEntropy, ConsensusKL, Gradient, Impact} {
		got, err := Select(p, Options{Strategy: strategy, Count: 20, RandomShare: -1})
		if err != nil {
			t.Fatal(err)
		}
		scores, lowest := Scores(p, strategy), math.Inf(1)
		chosen := map[int]bool{}
		for i, c := range got {
			if i > 0 && c.Score > got[i-1].Score {
				t.Errorf("%s: not in order", strategy)
			}
			lowest = min(lowest, c.Score)
			chosen[c.Item] = true
		}
		for i, s := range scores {
			if !chosen[i] && s > lowest {
				t.Errorf("%s: item %d with score %v is not chosen, one with %v is", strategy, i, s, lowest)
			}
		}
	}
}

// TestPropensity counts how often each item is in the random slice (S3), under a strategy
// that would rather have some than others.
func TestPropensity(t *testing.T) {
	const n, rounds = 50, 4000
	p := world(n, 3, 2, 3)
	counts := make([]float64, n)
	propensity := 0.0
	for seed := range uint64(rounds) {
		got, err := Select(p, Options{Count: 20, RandomShare: 0.25, Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range got {
			if c.Strategy == Random {
				counts[c.Item]++
				propensity = c.Propensity
			}
		}
	}
	if propensity != 0.1 {
		t.Fatalf("propensity %v, want 5 of 50", propensity)
	}
	chi2 := 0.0
	for _, c := range counts {
		d := c - rounds*propensity
		chi2 += d * d / (rounds * propensity * (1 - propensity))
	}
	if chi2 > 100 { // 49 degrees of freedom: beyond 100 about 1 in 40,000; the seeds are fixed
		t.Errorf("chi-squared %v over %d items", chi2, n)
	}
}

// TestMean draws slices with a propensity that depends on the value, and gets the mean of
// the pool right, and its error.
func TestMean(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	const n, rounds = 2000, 400
	values, truth := make([]float64, n), 0.0
	for i := range values {
		values[i] = r.Float64()
		truth += values[i] / n
	}
	inside, sum := 0, 0.0
	for range rounds {
		var vs, ps []float64
		for _, v := range values {
			if p := 0.05 + 0.2*v; r.Float64() < p {
				vs, ps = append(vs, v), append(ps, p)
			}
		}
		m, se, err := Mean(vs, ps)
		if err != nil {
			t.Fatal(err)
		}
		sum += m
		if math.Abs(m-truth) < 1.96*se {
			inside++
		}
	}
	if math.Abs(sum/rounds-truth) > 0.003 || inside < 365 || inside > 399 {
		t.Errorf("mean %v, want %v; %d of %d intervals have it", sum/rounds, truth, inside, rounds)
	}
	if _, _, err := Mean([]float64{1, 2}, []float64{0.1, 0}); !errors.Is(err, ErrInvalid) {
		t.Errorf("propensity 0: %v", err)
	}
}

// TestKCenter holds the greedy rule to one that computes every distance anew.
func TestKCenter(t *testing.T) {
	p := world(120, 2, 3, 4)
	p.Labelled = []float32{0, 0, 0, 1, 1, 1}
	got, err := Select(p, Options{Strategy: KCenter, Count: 15, RandomShare: -1})
	if err != nil {
		t.Fatal(err)
	}
	centers := [][]float32{{0, 0, 0}, {1, 1, 1}}
	for i, c := range got {
		best, far := -1, -1.0
		for item := range p.Size {
			near := math.Inf(1)
			for _, center := range centers {
				near = min(near, squaredDistance(center, p.embedding(item)))
			}
			if near > far {
				best, far = item, near
			}
		}
		if c.Item != best || math.Abs(c.Score-math.Sqrt(far)) > 1e-6 {
			t.Fatalf("choice %d is %+v, want item %d at %v", i, c, best, math.Sqrt(far))
		}
		centers = append(centers, p.embedding(best))
	}
}

// TestDiversity gives a pool of three groups of equal items: choosing three diverse ones
// takes one of each, and so does badge.
func TestDiversity(t *testing.T) {
	p := &Pool{Size: 300, Dim: 2}
	for i := range p.Size {
		group := i % 3
		p.Embeddings = append(p.Embeddings, float32(10*group), float32(5*(group%2)))
		// The first group is the least certain by a little.
		q := 0.5 - 0.01*float64(group)
		p.Probabilities = append(p.Probabilities, []float64{1 - q, q})
	}
	for _, o := range []Options{{Strategy: Margin, Diverse: 100}, {Strategy: Badge}} {
		o.Count, o.RandomShare = 3, -1
		got, err := Select(p, o)
		if err != nil {
			t.Fatal(err)
		}
		if groups := map[int]bool{got[0].Item % 3: true, got[1].Item % 3: true, got[2].Item % 3: true}; len(groups) != 3 {
			t.Errorf("%s: groups %v", o.Strategy, groups)
		}
	}
	got, _ := Select(p, Options{Strategy: Margin, Count: 3, RandomShare: -1})
	for _, c := range got {
		if c.Item%3 != 0 {
			t.Errorf("without diversity %d is chosen", c.Item)
		}
	}
}

func TestInvalid(t *testing.T) {
	row := func(x ...float64) [][]float64 { return [][]float64{x} }
	tests := []struct {
		pool Pool
		o    Options
		says string
	}{
		{Pool{}, Options{Count: 1}, "size"},
		{Pool{Size: 1}, Options{Count: 1}, "probabilities: 0 rows for 1"},
		{Pool{Size: 1, Probabilities: row(0.5, 0.5)}, Options{}, "count: 0"},
		{Pool{Size: 1, Probabilities: row(0.5, 0.2)}, Options{Count: 1}, "probabilities[0]: sum is 0.7"},
		{Pool{Size: 1, Probabilities: row(0.5, math.NaN())}, Options{Count: 1}, "probabilities[0][1]: NaN"},
		{Pool{Size: 1, Probabilities: row(0.5, 0.5)}, Options{Count: 1, Diverse: 2}, "embeddings: 0 numbers"},
		{Pool{Size: 1}, Options{Count: 1, Strategy: "best"}, `strategy: "best"`},
		{Pool{Size: 1}, Options{Count: 1, Strategy: VoteEntropy}, "committee: 0 members"},
		{Pool{Size: 1, Dim: 1, Embeddings: []float32{float32(math.Inf(1))}}, Options{Count: 1, Strategy: KCenter}, "not finite"},
		{Pool{Size: 1, Probabilities: row(0.5, 0.5)}, Options{Count: 1, Strategy: Impact}, "slices: 0 for 1"},
		{Pool{Size: 1, Probabilities: row(0.5, 0.5)}, Options{Count: 1, RandomShare: 2}, "random share"},
		{Pool{Size: 400_000, Dim: 3, Embeddings: make([]float32, 1_200_000)}, Options{Count: 100_000, Strategy: KCenter}, "smaller pool"},
	}
	for i, test := range tests {
		if _, err := Select(&test.pool, test.o); !errors.Is(err, ErrInvalid) || !strings.Contains(fmt.Sprint(err), test.says) {
			t.Errorf("%d: %v, want %q", i, err, test.says)
		}
	}
}
