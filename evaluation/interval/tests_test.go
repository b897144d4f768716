// SPDX-License-Identifier: Apache-2.0

package interval

import (
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
)

//go:embed testdata/golden.json
var goldenJSON []byte

// golden is what testdata/golden.py wrote.
type golden struct {
	DeLong []struct {
		Name         string
		Labels, A, B []float64
		Clusters     []int32
		AUCA         float64 `json:"auc_a"`
		SEA          float64 `json:"se_a"`
		AUCB         float64 `json:"auc_b"`
		SEB          float64 `json:"se_b"`
		SE, Z, P     float64
	}
	McNemar []struct {
		A, B                        int
		Exact, Corrected, Statistic float64
	}
	Wilson []struct {
		Successes, Trials int
		Level, Low, High  float64
	}
	Holm []struct{ P, Adjusted []float64 }
}

func readGolden(t *testing.T) (g golden) {
	t.Helper()
	if err := json.Unmarshal(goldenJSON, &g); err != nil {
		t.Fatal(err)
	}
	if len(g.DeLong) < 5 || len(g.McNemar) < 11 || len(g.Wilson) < 7 || len(g.Holm) < 6 {
		t.Fatal("golden.json lacks cases")
	}
	return g
}

func near(t *testing.T, what string, got, want, relative float64) {
	t.Helper()
	if !(math.Abs(got-want) <= relative*math.Abs(want)+1e-300) {
		t.Errorf("%s is %v, want %v", what, got, want)
	}
}

func TestDeLongGolden(t *testing.T) {
	for _, c := range readGolden(t).DeLong {
		got, err := DeLong(c.Labels, c.A, c.B, c.Clusters)
		if err != nil {
			t.Errorf("%s: %v", c.Name, err)
			continue
		}
		near(t, c.Name+": AUC of a", got.A.Value, c.AUCA, 1e-13)
		near(t, c.Name+": its standard error", got.A.SE, c.SEA, 1e-11)
		near(t, c.Name+": AUC of b", got.B.Value, c.AUCB, 1e-13)
		near(t, c.Name+": its standard error", got.B.SE, c.SEB, 1e-11)
		near(t, c.Name+": standard error", got.SE, c.SE, 1e-11)
		near(t, c.Name+": z", got.Z, c.Z, 1e-10)
		near(t, c.Name+": p", got.P, c.P, 1e-9)
		one, err := AUCOf(c.Labels, c.B, c.Clusters)
		if err != nil || one != got.B {
			t.Errorf("%s: alone %v, %v, compared %v", c.Name, one, err, got.B)
		}
	}
}

// naiveDifference is the difference of two AUCs and its variance by comparing all pairs.
func naiveDifference(labels, a, b []float64) (difference, variance float64) {
	place := make([]float64, len(labels))
	var classes [2]float64
	for i, label := range labels {
		classes[int(label)]++
		for j, other := range labels {
			if label == other {
				continue
			}
			sign := 2*label - 1
			for k, scores := range [][]float64{a, b} {
				won := 0.5
				if d := sign * (scores[i] - scores[j]); d != 0 {
					won = float64(class(d > 0))
				}
				place[i] += won * float64(1-2*k)
			}
		}
	}
	for i, label := range labels {
		place[i] /= classes[1-int(label)]
		difference += label * place[i] / classes[1]
	}
	for i, label := range labels {
		n := classes[int(label)]
		variance += (place[i] - difference) * (place[i] - difference) / (n * (n - 1))
	}
	return difference, variance
}

// TestDeLongNaive checks sorting against comparing all pairs, with many ties.
func TestDeLongNaive(t *testing.T) {
	random := rand.New(rand.NewPCG(12, 1))
	for range 300 {
		n, levels := 4+random.IntN(40), 1+random.IntN(12)
		labels, a, b := make([]float64, n), make([]float64, n), make([]float64, n)
		for i := range n {
			labels[i] = float64(class(i < 2 || i > 3 && random.IntN(3) == 0))
			a[i], b[i] = float64(random.IntN(levels)), float64(random.IntN(2*levels))-3
		}
		got, err := DeLong(labels, a, b, nil)
		if err != nil {
			t.Fatal(err)
		}
		difference, variance := naiveDifference(labels, a, b)
		if math.Abs(got.Difference-difference) > 1e-14 || math.Abs(got.SE*got.SE-variance) > 1e-14 {
			t.Fatalf("labels %v, a %v, b %v: %v with variance %v, want %v with %v",
				labels, a, b, got.Difference, got.SE*got.SE, difference, variance)
		}
	}
}

func TestDeLongDegenerate(t *testing.T) {
	labels := []float64{0, 0, 0, 1, 1, 1}
	perfect, constant := []float64{1, 2, 3, 4, 5, 6}, make([]float64, 6)
	steps := []float64{-1e9, 0, 1, math.MaxFloat64, math.Inf(1), math.Inf(1)}
	if c, err := DeLong(labels, perfect, steps, nil); err != nil || c.P != 1 || c.Z != 0 || c.Difference != 0 {
		t.Errorf("two perfect models: %+v, %v", c, err)
	}
	// With two positives of five rows the variance is known as badly as that of two values.
	if a, err := AUCOf([]float64{1, 1, 0, 0, 0}, []float64{3, 0, 2, 1, 0}, nil); err != nil || !(a.Degrees >= 1 && a.Degrees < 3) {
		t.Errorf("two positives: %+v, %v", a, err)
	}
	c, err := DeLong(labels, constant, perfect, nil)
	if err != nil || !math.IsInf(c.Z, -1) || !math.IsNaN(c.P) || !math.IsNaN(c.NonInferior(0.1)) {
		t.Errorf("constant and perfect: %+v, %v", c, err)
	}
	if low, high := c.B.Interval(0.95); low != 1 || high != 1 {
		t.Errorf("perfect: %v to %v", low, high)
	}
	for name, try := range map[string]func() error{
		"no rows":        func() error { _, err := AUCOf(nil, nil, nil); return err },
		"label 2":        func() error { _, err := AUCOf([]float64{0, 0, 1, 2}, make([]float64, 4), nil); return err },
		"label NaN":      func() error { _, err := AUCOf([]float64{0, 0, 1, math.NaN()}, make([]float64, 4), nil); return err },
		"one class":      func() error { _, err := AUCOf(constant, perfect, nil); return err },
		"one positive":   func() error { _, err := AUCOf([]float64{0, 0, 0, 1}, make([]float64, 4), nil); return err },
		"one cluster":    func() error { _, err := AUCOf(labels, perfect, make([]int32, 6)); return err },
		"few clusters":   func() error { _, err := AUCOf(labels, perfect, []int32{1}); return err },
		"bad cluster":    func() error { _, err := AUCOf(labels, perfect, []int32{0, 1, 2, 3, 4, -1}); return err },
		"few scores":     func() error { _, err := DeLong(labels, perfect, perfect[1:], nil); return err },
		"a score is NaN": func() error { _, err := DeLong(labels, []float64{math.NaN(), 0, 0, 0, 0, 0}, perfect, nil); return err },
	} {
		if err := try(); !errors.Is(err, ErrData) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestAUCInterval checks that the interval is around the value and no wider than 0 to 1.
func TestAUCInterval(t *testing.T) {
	for _, a := range []AUC{{0.5, 0.1, 20}, {0.99, 0.03, 1000}, {0.02, 0.5, 2}} {
		low, high := a.Interval(0.95)
		if !(0 <= low && low < a.Value && a.Value < high && high <= 1) {
			t.Errorf("%v: %v to %v", a, low, high)
		}
		if tight, _ := a.Interval(0.5); !(tight > low) {
			t.Errorf("%v: the 50 %% interval starts at %v, the 95 %% one at %v", a, tight, low)
		}
		if low, high := a.Interval(1); !math.IsNaN(low) || !math.IsNaN(high) {
			t.Errorf("%v at level 1: %v to %v", a, low, high)
		}
	}
}

// answers makes two models' rows right or wrong, a alone and b alone as said.
func answers(onlyA, onlyB, both int) (a, b []bool) {
	for i := range onlyA + onlyB + both {
		a, b = append(a, i < onlyA || i >= onlyA+onlyB), append(b, i >= onlyA)
	}
	return a, b
}

func TestMcNemarGolden(t *testing.T) {
	for _, c := range readGolden(t).McNemar {
		a, b := answers(c.A, c.B, 100)
		got, err := McNemar(a, b, nil)
		if err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprintf("%d and %d", c.A, c.B)
		if got.OnlyA != c.A || got.OnlyB != c.B {
			t.Errorf("%s: %+v", name, got)
		}
		if c.A+c.B < ExactBelow {
			near(t, name+": exact p", got.P, c.Exact, 1e-10)
			if got.Test != "exact" || !math.IsNaN(got.Statistic) {
				t.Errorf("%s: %+v", name, got)
			}
		} else if c.A != c.B { // of which statsmodels corrects 0 to 1
			near(t, name+": corrected p", got.P, c.Corrected, 1e-9)
			near(t, name+": statistic", got.Statistic, c.Statistic, 1e-12)
		} else if got.P != 1 {
			t.Errorf("%s: %+v", name, got)
		}
		if !(got.MidP <= c.Exact && got.MidP > c.Exact/4) {
			t.Errorf("%s: mid-p %v, exact %v", name, got.MidP, c.Exact)
		}
		near(t, name+": difference", got.Difference, float64(c.A-c.B)/float64(len(a)), 1e-12)
	}
	if got, err := McNemar([]bool{true, false}, []bool{true, false}, nil); err != nil || got.P != 1 || got.MidP != 1 || got.SE != 0 {
		t.Errorf("models that are the same: %+v, %v", got, err)
	}
	// 2*(1+10)/2^10 is exact; half of the chance of what was seen, each side, is less.
	a, b := answers(1, 9, 3)
	if got, _ := McNemar(a, b, nil); math.Abs(got.MidP-(22-10)/1024.0) > 1e-15 {
		t.Errorf("1 and 9: mid-p %v, want %v", got.MidP, 12/1024.0)
	}
}

func TestMcNemarClustered(t *testing.T) {
	a, b := answers(30, 15, 20)
	own, pairs := make([]int32, len(a)), make([]int32, 2*len(a))
	for i := range own {
		own[i] = int32(len(a) - i)
	}
	plain, _ := McNemar(a, b, nil)
	if got, err := McNemar(a, b, own); err != nil || got != plain {
		t.Errorf("clusters of one row: %+v, %v, want %+v", got, err, plain)
	}
	// Each row twice says no more than once.
	for i := range pairs {
		pairs[i] = int32(i % len(a))
	}
	got, err := McNemar(append(a, a...), append(b, b...), pairs)
	if err != nil || got.Test != "clustered" || got.OnlyA != 60 {
		t.Fatalf("%+v, %v", got, err)
	}
	near(t, "statistic", got.Statistic, 15.0*15/45, 1e-12)
	near(t, "difference", got.Difference, plain.Difference, 1e-12)
	near(t, "standard error", got.SE, plain.SE, 1e-12)
	if same, _ := McNemar(a, a, make([]int32, len(a))); same.P != 1 || same.SE != 0 {
		t.Errorf("models that are the same: %+v", same)
	}
	for _, bad := range [][2]int{{0, 0}, {3, 2}} {
		if _, err := McNemar(make([]bool, bad[0]), make([]bool, bad[1]), nil); !errors.Is(err, ErrData) {
			t.Errorf("%v rows: %v", bad, err)
		}
	}
	if _, err := McNemar(a, b, own[1:]); !errors.Is(err, ErrData) {
		t.Errorf("a row without a cluster: %v", err)
	}
}

func TestWilsonGolden(t *testing.T) {
	for _, c := range readGolden(t).Wilson {
		low, high, err := Wilson(c.Successes, c.Trials, c.Level)
		name := fmt.Sprintf("%d of %d at %v", c.Successes, c.Trials, c.Level)
		if err != nil || math.Abs(low-c.Low) > 1e-12 || math.Abs(high-c.High) > 1e-12 {
			t.Errorf("%s: %v to %v, %v, want %v to %v", name, low, high, err, c.Low, c.High)
		}
	}
	for _, bad := range [][2]int{{0, 0}, {-1, 3}, {4, 3}} {
		if _, _, err := Wilson(bad[0], bad[1], 0.95); !errors.Is(err, ErrData) {
			t.Errorf("%v: %v", bad, err)
		}
	}
	if _, _, err := Wilson(1, 2, 1); !errors.Is(err, ErrData) {
		t.Errorf("level 1: %v", err)
	}
}

func TestHolmGolden(t *testing.T) {
	for _, c := range readGolden(t).Holm {
		for i, got := range Holm(c.P) {
			if math.Abs(got-c.Adjusted[i]) > 1e-13 {
				t.Errorf("%v: test %d is %v, want %v", c.P, i, got, c.Adjusted[i])
			}
		}
	}
	got := Holm([]float64{0.02, math.NaN(), 0.03})
	if got[0] != 0.04 || !math.IsNaN(got[1]) || got[2] != 0.04 {
		t.Errorf("with one that could not be made: %v", got)
	}
	if len(Holm(nil)) != 0 {
		t.Error("no tests have adjusted values")
	}
}

func TestNonInferior(t *testing.T) {
	near(t, "no difference, margin of two errors", NonInferior(0, 0.01, 0.02), normal.CDF(-2), 1e-12)
	near(t, "worse by the margin", NonInferior(-0.02, 0.01, 0.02), 0.5, 1e-12)
	near(t, "equivalence", Equivalent(0.005, 0.01, 0.02), normal.CDF(-1.5), 1e-12)
	if !math.IsNaN(NonInferior(1, 0, 1)) || !math.IsNaN(Equivalent(1, math.NaN(), 1)) {
		t.Error("without a standard error there is a p-value")
	}
}

// TestDeLongAgainstBootstrap checks both variances of the difference on clustered rows.
func TestDeLongAgainstBootstrap(t *testing.T) {
	random := rand.New(rand.NewPCG(31, 7))
	labels, a, b, clusters := clustered(random, 300)
	compared, err := DeLong(labels, a, b, clusters)
	if err != nil {
		t.Fatal(err)
	}
	draws := bootstrap(t, Design{Rows: len(labels), Clusters: clusters}, Options{Draws: 1500},
		auc{newRanking(labels, a)}, auc{newRanking(labels, b)})
	d := draws.Difference(0, 1)
	near(t, "difference", d.Value, compared.Difference, 1e-9)
	near(t, "standard error", compared.SE, d.SE, 0.1)
	near(t, "standard error of a", compared.A.SE, draws.Interval(0).SE, 0.1)
}
