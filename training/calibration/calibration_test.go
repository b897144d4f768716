// SPDX-License-Identifier: Apache-2.0

package calibration

import (
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"sort"
	"testing"

	"github.com/millrace-ml/millrace/training/learn"
	"github.com/millrace-ml/millrace/training/linear/graphtest"
)

type golden struct {
	Cases []struct {
		Scores, Labels, Weights, Probes []float32
		Platt, Isotonic                 []float64
	}
}

func TestAgreesWithScikitLearn(t *testing.T) {
	text, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var g golden
	if err := json.Unmarshal(text, &g); err != nil {
		t.Fatal(err)
	}
	if len(g.Cases) == 0 {
		t.Fatal("no cases")
	}
	for i, c := range g.Cases {
		for method, want := range map[string][]float64{Platt: c.Platt, Isotonic: c.Isotonic} {
			fitted, err := Fit(method, 1, c.Scores, c.Labels, c.Weights)
			if err != nil {
				t.Fatalf("case %d, %s: %v", i, method, err)
			}
			got := make([]float32, len(c.Probes))
			fitted.Apply(c.Probes, got)
			for k := range want {
				// Isotonic blocks are tilted by 1e-4; scikit-learn's Platt stops at about 1e-5.
				if d := math.Abs(float64(got[k]) - want[k]); d > 2.5e-4 {
					t.Errorf("case %d, %s: %v at score %v, want %v", i, method, got[k], c.Probes[k], want[k])
				}
			}
		}
	}
}

// sample draws scores, one a row or one a class, and labels that follow them, wrongly scaled.
func sample(r *rand.Rand, rows, outputs int) (raw, labels []float32) {
	for range rows {
		if outputs == 1 {
			s := r.NormFloat64()*2 - 1
			raw = append(raw, float32(s))
			labels = append(labels, truth(r.Float64() < logistic(2*s+0.5)))
			continue
		}
		row := make([]float64, outputs)
		for k := range row {
			row[k] = r.NormFloat64() * 2
			raw = append(raw, float32(row[k]))
		}
		total, u, k := logSumExp(row), r.Float64(), 0
		for ; k < outputs-1; k++ {
			if u -= math.Exp(row[k] - total); u < 0 {
				break
			}
		}
		labels = append(labels, float32(k))
	}
	for k := range max(outputs, 2) {
		labels[k] = float32(k)
	}
	return raw, labels
}

func TestExportedIsApplied(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 1))
	for _, outputs := range []int{1, 3} {
		for _, method := range Methods() {
			t.Run(method, func(t *testing.T) {
				raw, labels := sample(r, 500, outputs)
				c, err := Fit(method, outputs, raw, labels, nil)
				if err != nil {
					t.Fatal(err)
				}
				probes, _ := sample(r, 300, outputs)
				for _, x := range []float32{0, 1e-30, -40, 40, -1e6, 1e6} {
					for range outputs {
						probes = append(probes, x)
					}
				}
				features := make([]learn.Feature, outputs)
				classes := max(outputs, 2)
				answers := graphtest.Run(t, features, classes, probes, func(g *learn.Graph) (string, error) {
					return c.Export(g, g.Matrix)
				})
				p := make([]float32, len(probes))
				c.Apply(probes, p)
				want := p
				if outputs == 1 {
					want = nil
					for _, one := range p {
						want = append(want, 1-one, one)
					}
				}
				graphtest.Equal(t, answers, want, func(int) float64 { return 3e-6 })
			})
		}
	}
}

// TestProbabilities holds calibrators to C1, C2 and C3.
func TestProbabilities(t *testing.T) {
	for seed := range uint64(30) {
		r := rand.New(rand.NewPCG(seed, 2))
		raw, labels := sample(r, 20+r.IntN(400), 1)
		if seed%3 == 0 { // few values, and blocks of 0 and 1 at the ends
			for i, s := range raw {
				raw[i] = float32(math.Round(float64(s)))
				if raw[i] < -3 {
					labels[i] = 0
				} else if raw[i] > 2 {
					labels[i] = 1
				}
			}
		}
		for _, method := range Methods() {
			c, err := Fit(method, 1, raw, labels, nil)
			if err != nil {
				t.Fatal(err)
			}
			probes := make([]float32, 2000)
			for i := range probes {
				probes[i] = float32(r.NormFloat64() * 5)
			}
			slices.Sort(probes)
			p := make([]float32, len(probes))
			c.Apply(probes, p)
			for i := range p {
				if !(p[i] >= 0 && p[i] <= 1) || (i > 0 && p[i] < p[i-1]) {
					t.Fatalf("seed %d, %s: %v after %v", seed, method, p[i], p[max(i-1, 0)])
				}
			}
		}
	}
}

func TestIsotonicKeepsOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	raw, labels := sample(r, 3000, 1)
	c, err := Fit(Isotonic, 1, raw, labels, nil)
	if err != nil {
		t.Fatal(err)
	}
	probes, _ := sample(r, 5000, 1)
	p := make([]float32, len(probes))
	c.Apply(probes, p)
	distinct := func(values []float32) int {
		sorted := slices.Clone(values)
		slices.Sort(sorted)
		return len(slices.Compact(sorted))
	}
	if had, have := distinct(probes), distinct(p); float64(have) < 0.9*float64(had) {
		t.Errorf("%d different probabilities of %d different scores", have, had)
	}
}

// TestPoolAgainstDefinition holds pooling to the min-max formula of isotonic regression:
// the value of a point is the largest, over starts, of the smallest mean, over ends.
func TestPoolAgainstDefinition(t *testing.T) {
	for seed := range uint64(40) {
		r := rand.New(rand.NewPCG(seed, 4))
		n := 2 + r.IntN(25)
		scores, labels, weights := make([]float32, n), make([]float32, n), make([]float32, n)
		for i := range n {
			scores[i], labels[i], weights[i] = float32(r.IntN(12)), float32(r.IntN(2)), float32(1+r.IntN(3))
		}
		blocks := pool(scores, labels, weights)
		for _, s := range scores {
			want := minmax(scores, labels, weights, s)
			i := sort.Search(len(blocks), func(i int) bool { return blocks[i].high >= s })
			if math.Abs(blocks[i].value-want) > 1e-12 {
				t.Fatalf("seed %d: %v at %v, want %v", seed, blocks[i].value, s, want)
			}
		}
	}
}

func minmax(scores, labels, weights []float32, at float32) float64 {
	best := math.Inf(-1)
	for _, from := range scores {
		least := math.Inf(1)
		for _, to := range scores {
			if from > at || to < at {
				continue
			}
			var sum, total float64
			for i, s := range scores {
				if s >= from && s <= to {
					sum, total = sum+float64(weights[i]*labels[i]), total+float64(weights[i])
				}
			}
			least = min(least, sum/total)
		}
		if from <= at {
			best = max(best, least)
		}
	}
	return best
}

func TestTemperatureFindsScale(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	var raw, labels []float32
	for range 20_000 {
		s := r.NormFloat64()
		raw, labels = append(raw, float32(3*s)), append(labels, truth(r.Float64() < logistic(s)))
	}
	c, err := Fit(Temperature, 1, raw, labels, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := 1 / c.inverse; math.Abs(got-3) > 0.2 {
		t.Errorf("temperature %v, want 3", got)
	}
}

// TestSharperAndTruer has scores that are three times too sure: every method lowers the log
// loss on other rows, for two classes and for four.
func TestSharperAndTruer(t *testing.T) {
	for _, outputs := range []int{1, 4} {
		r := rand.New(rand.NewPCG(21, uint64(outputs)))
		raw, labels := sample(r, 6000, outputs)
		for i := range raw {
			raw[i] *= 3
		}
		const fit = 3000
		losses := make(map[string]float64)
		for _, method := range Methods() {
			c, err := Fit(method, outputs, raw[:fit*outputs], labels[:fit], nil)
			if err != nil {
				t.Fatal(err)
			}
			rest := labels[fit:]
			p := make([]float32, len(rest)*outputs)
			c.Apply(raw[fit*outputs:], p)
			for i, y := range rest {
				own := float64(p[i*outputs+min(int(y), outputs-1)])
				if outputs == 1 && y == 0 {
					own = 1 - own
				}
				losses[method] -= math.Log(max(own, 1e-6)) / float64(len(rest))
			}
		}
		for _, method := range []string{Platt, Isotonic, Temperature} {
			if !(losses[method] < 0.97*losses[None]) {
				t.Errorf("%d outputs: log loss %v of %s, %v before", outputs, losses[method], method, losses[None])
			}
		}
	}
}

func TestBoundedBlocks(t *testing.T) {
	n := 4000
	scores, labels := make([]float32, n), make([]float32, n)
	for i := range n { // a mean that rises with every score
		scores[i], labels[i] = float32(i/2), float32(i%2)
	}
	weights := make([]float32, n)
	for i := range n {
		weights[i] = 1 + float32(i%2*i)
	}
	if got := len(pool(scores, labels, weights)); got > blocksMax || got < blocksMax/4 {
		t.Errorf("%d blocks", got)
	}
}

func TestRefused(t *testing.T) {
	nan := float32(math.NaN())
	for name, c := range map[string]struct {
		method               string
		outputs              int
		raw, labels, weights []float32
		want                 error
	}{
		"unknown method":    {"magic", 1, nil, nil, nil, learn.ErrParameters},
		"no scores":         {Platt, 0, nil, nil, nil, learn.ErrParameters},
		"sizes":             {Platt, 1, []float32{1}, []float32{0, 1}, nil, learn.ErrParameters},
		"sizes of weights":  {Platt, 1, []float32{1, 2}, []float32{0, 1}, []float32{1}, learn.ErrParameters},
		"no rows":           {Isotonic, 1, nil, nil, nil, learn.ErrData},
		"one class":         {Isotonic, 1, []float32{1, 2}, []float32{0, 0}, nil, learn.ErrData},
		"NaN score":         {Temperature, 1, []float32{nan, 2}, []float32{0, 1}, nil, learn.ErrData},
		"label of no class": {Platt, 1, []float32{1, 2}, []float32{0, 2}, nil, learn.ErrData},
		"half a label":      {Platt, 1, []float32{1, 2}, []float32{0, 0.5}, nil, learn.ErrData},
		"weight of 0":       {Platt, 1, []float32{1, 2}, []float32{0, 1}, []float32{0, 1}, learn.ErrData},
	} {
		if _, err := Fit(c.method, c.outputs, c.raw, c.labels, c.weights); !errors.Is(err, c.want) {
			t.Errorf("%s: error %v, want %v", name, err, c.want)
		}
	}
}

func TestEqualScores(t *testing.T) {
	for _, method := range Methods() {
		c, err := Fit(method, 1, []float32{2, 2, 2, 2}, []float32{0, 1, 1, 1}, nil)
		if err != nil {
			t.Fatal(err)
		}
		p := make([]float32, 1)
		if c.Apply([]float32{2}, p); !(p[0] > 0.5 && p[0] <= 1) {
			t.Errorf("%s: %v of equal scores, three quarters of which are 1", method, p[0])
		}
	}
}
