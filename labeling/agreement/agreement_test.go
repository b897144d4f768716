// SPDX-License-Identifier: Apache-2.0

package agreement

import (
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"testing"
	"time"
)

func value(t *testing.T, e Estimate, err error) float64 {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	return e.Value
}

// krippendorff2011 is the example of the paper: 12 units, observers A to D.
func krippendorff2011() [][]float64 {
	x := math.NaN()
	return [][]float64{{1, 1, x, 1}, {2, 2, 3, 2}, {3, 3, 3, 3}, {3, 3, 3, 3}, {2, 2, 2, 2}, {1, 2, 3, 4},
		{4, 4, 4, 4}, {1, 1, 2, 1}, {2, 2, 2, 2}, {x, 5, 5, 5}, {x, x, 1, 1}, {x, 3, x, x}}
}

// TestPublishedExamples checks worked examples: Krippendorff 2011, section C and D; the
// 14 psychiatrists' table that is the usual example for Fleiss's kappa; and 50 grant
// proposals for Cohen's.
func TestPublishedExamples(t *testing.T) {
	for level, want := range map[Level]float64{Nominal: 0.743, Ordinal: 0.815, Interval: 0.849, Ratio: 0.797} {
		e, err := Alpha(krippendorff2011(), level, Bootstrap{})
		if got := value(t, e, err); math.Abs(got-want) > 0.0006 || e.Items != 11 {
			t.Errorf("alpha, %s: %.4f of %d items, want %v of 11", level, got, e.Items, want)
		}
	}
	counts := [][]int{{0, 0, 0, 0, 14}, {0, 2, 6, 4, 2}, {0, 0, 3, 5, 6}, {0, 3, 9, 2, 0}, {2, 2, 8, 1, 1},
		{7, 7, 0, 0, 0}, {3, 2, 6, 3, 0}, {2, 5, 3, 2, 2}, {6, 5, 2, 1, 0}, {0, 2, 2, 3, 7}}
	e, err := FleissKappa(counts, Bootstrap{})
	if got := value(t, e, err); math.Abs(got-0.210) > 0.0005 {
		t.Errorf("Fleiss: %v", got)
	}
	var a, b []int
	for i, n := range []int{20, 5, 10, 15} {
		for range n {
			a, b = append(a, i/2), append(b, i%2)
		}
	}
	e, err = CohenKappa(a, b, 2, Unweighted, Bootstrap{})
	if got := value(t, e, err); math.Abs(got-0.4) > 1e-12 {
		t.Errorf("Cohen: %v", got)
	}
}

// TestAsPython compares with scikit-learn, statsmodels and krippendorff, by their numbers
// in testdata.
func TestAsPython(t *testing.T) {
	raw, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var g struct {
		A, B   []int
		K      int
		Cohen  map[Weights]float64
		Counts [][]int
		Fleiss float64
		Values [][]*float64
		Alpha  map[Level]float64
		Wilson [][2]float64
	}
	if err := json.Unmarshal(raw, &g); err != nil {
		t.Fatal(err)
	}
	for w, want := range g.Cohen {
		e, err := CohenKappa(g.A, g.B, g.K, w, Bootstrap{})
		if got := value(t, e, err); math.Abs(got-want) > 1e-9 {
			t.Errorf("Cohen %q: %v, want %v", w, got, want)
		}
	}
	e, err := FleissKappa(g.Counts, Bootstrap{})
	if got := value(t, e, err); math.Abs(got-g.Fleiss) > 1e-9 {
		t.Errorf("Fleiss: %v, want %v", got, g.Fleiss)
	}
	values := make([][]float64, len(g.Values))
	for i, row := range g.Values {
		for _, x := range row {
			if x == nil {
				values[i] = append(values[i], math.NaN())
			} else {
				values[i] = append(values[i], *x)
			}
		}
	}
	for level, want := range g.Alpha {
		e, err := Alpha(values, level, Bootstrap{})
		if got := value(t, e, err); math.Abs(got-want) > 1e-9 {
			t.Errorf("alpha, %s: %v, want %v", level, got, want)
		}
	}
	for i, at := range [][2]int{{7, 9}, {0, 4}, {5, 5}} {
		if _, low, high := wilson(at[0], at[1]); math.Abs(low-g.Wilson[i][0]) > 1e-9 || math.Abs(high-g.Wilson[i][1]) > 1e-9 {
			t.Errorf("Wilson of %v: %v to %v, want %v", at, low, high, g.Wilson[i])
		}
	}
}

// TestIntervals draws worlds with a known kappa: about 95 % of the intervals have it.
func TestIntervals(t *testing.T) {
	const n, worlds = 150, 200
	r := rand.New(rand.NewPCG(3, 3))
	inside := 0
	for seed := range uint64(worlds) {
		// Both are right with probability 0.8 and guess the other of two labels else, so they
		// agree with 0.68, by chance with 0.5: kappa is 0.36.
		a, b := make([]int, n), make([]int, n)
		for i := range n {
			truth := r.IntN(2)
			a[i], b[i] = truth, truth
			if r.Float64() < 0.2 {
				a[i] = 1 - truth
			}
			if r.Float64() < 0.2 {
				b[i] = 1 - truth
			}
		}
		e, err := CohenKappa(a, b, 2, Unweighted, Bootstrap{Draws: 200, Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		if e.Low <= 0.36 && 0.36 <= e.High {
			inside++
		}
	}
	if inside < 178 || inside > 199 { // 190 of 200, within 3.5 standard deviations
		t.Errorf("%d of %d intervals have the truth", inside, worlds)
	}
}

func TestNothingToDisagreeAbout(t *testing.T) {
	same := []int{1, 1, 1}
	if e, err := CohenKappa(same, same, 2, Unweighted, Bootstrap{Draws: 10}); err != nil || !math.IsNaN(e.Value) || e.Undefined != 10 {
		t.Errorf("Cohen: %+v, %v", e, err)
	}
	if e, err := FleissKappa([][]int{{3, 0}, {3, 0}}, Bootstrap{}); err != nil || !math.IsNaN(e.Value) {
		t.Errorf("Fleiss: %+v, %v", e, err)
	}
	if e, err := Alpha([][]float64{{1}, {2, math.NaN()}}, Nominal, Bootstrap{Draws: 5}); err != nil || !math.IsNaN(e.Value) || e.Items != 0 {
		t.Errorf("alpha: %+v, %v", e, err)
	}
}

func TestPeople(t *testing.T) {
	got, err := People([]Answer{
		{"i1", "ada", "x", time.Second, "x"}, {"i1", "bob", "y", 0, "x"}, {"i1", "cyd", "x", 0, ""},
		{"i2", "ada", "x", 3 * time.Second, ""}, {"i2", "ada", "y", 5 * time.Second, ""}, {"i2", "bob", "y", 0, ""}, {"i3", "dan", "x", 0, ""},
	})
	if err != nil || len(got) != 4 {
		t.Fatalf("%+v, %v", got, err)
	}
	ada, bob, dan := got[0], got[1], got[3]
	if ada.Answers != 2 || ada.Lead != 3*time.Second || ada.PerHour != 1200 || ada.Pairs != 3 || math.Abs(ada.Others-2.0/3) > 1e-12 || ada.Gold != 1 {
		t.Errorf("ada: %+v", ada)
	}
	if bob.Gold != 0 || bob.GoldItems != 1 || bob.Lead != 0 || bob.Pairs != 3 || math.Abs(bob.Others-1.0/3) > 1e-12 {
		t.Errorf("bob: %+v", bob)
	}
	if !math.IsNaN(dan.Others) || !math.IsNaN(dan.Gold) {
		t.Errorf("dan: %+v", dan)
	}
}

func TestInvalid(t *testing.T) {
	many := [][]float64{make([]float64, LabelsMax+1)}
	for i := range many[0] {
		many[0][i] = float64(i)
	}
	errs := []error{
		second(CohenKappa([]int{0}, nil, 2, Unweighted, Bootstrap{})),
		second(CohenKappa([]int{0}, []int{2}, 2, Unweighted, Bootstrap{})),
		second(CohenKappa([]int{0}, []int{1}, 2, "cubic", Bootstrap{})),
		second(CohenKappa([]int{0}, []int{1}, 2, Unweighted, Bootstrap{Draws: -1})),
		second(CohenKappa([]int{0}, []int{1}, 2, Unweighted, Bootstrap{Draws: 1, Level: 1})),
		second(FleissKappa(nil, Bootstrap{})),
		second(FleissKappa([][]int{{1, 0}}, Bootstrap{})),
		second(FleissKappa([][]int{{2, 0}, {2, 1}}, Bootstrap{})),
		second(Alpha(many, Nominal, Bootstrap{})),
		second(Alpha([][]float64{{1, math.Inf(1)}}, Nominal, Bootstrap{})),
		second(Alpha([][]float64{{1, -1}}, Ratio, Bootstrap{})),
		second(Alpha(nil, "x", Bootstrap{})),
		second(People([]Answer{{Item: "a"}})),
	}
	for i, err := range errs {
		if !errors.Is(err, ErrInvalid) {
			t.Errorf("%d: %v", i, err)
		}
	}
}

func second[T any](_ T, err error) error { return err }
