// SPDX-License-Identifier: Apache-2.0

package estimate

import (
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/millrace-ml/millrace/evaluation/monitor/drift"
)

// TestAmountsGolden holds metrics to scikit-learn's, and tails to SciPy's permutation test; see
// monitor/testdata/golden.py.
func TestAmountsGolden(t *testing.T) {
	data, err := os.ReadFile("testdata/amounts.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct {
		Amounts []struct {
			Scores, Labels, Before, Now []float64
			MAE, RMSE, Bias, R2, Above  float64
			Low                         float64 `json:"mae_low"`
			High                        float64 `json:"mae_high"`
		}
	}
	if err := json.Unmarshal(data, &golden); err != nil || len(golden.Amounts) < 4 {
		t.Fatal(err)
	}
	for i, g := range golden.Amounts {
		values, low, high, err := RealisedAmounts(g.Scores, g.Labels, 0.95)
		if err != nil {
			t.Fatal(err)
		}
		for name, pair := range map[string][2]float64{"mae": {values.Of(MAE), g.MAE}, "rmse": {values.Of(RMSE), g.RMSE}, "bias": {values.Of(Bias), g.Bias},
			"r2": {values.Of(R2), g.R2}, "low": {low.Of(MAE), g.Low}, "high": {high.Of(MAE), g.High}} {
			if !near(pair[0], pair[1], 1e-9) {
				t.Errorf("%d: %s is %v, want %v", i, name, pair[0], pair[1])
			}
		}
		above, below, err := drift.MeanShift(g.Before, g.Now)
		// Twelve standard errors of 200,000 shuffles at 1 % are a quarter of it.
		if err != nil || math.Abs(above-g.Above) > 0.25*min(g.Above, 1-g.Above)+0.002 || math.Abs(above+below-1) > 0.01 {
			t.Errorf("%d: the tails are %v and %v, shuffling has %v above; %v", i, above, below, g.Above, err)
		}
	}
}

// heavy deals out rows of a regression with skewed errors that grow with the score.
func heavy(r *rand.Rand, rows int) (scores, labels []float64) {
	for range rows {
		s := 10 + 90*r.Float64()
		scores, labels = append(scores, s), append(labels, s-s/20*(math.Exp(0.4*r.NormFloat64())-1.05))
	}
	return scores, labels
}

// TestAmountIntervals counts how often 95 % intervals have the truth, of which a large sample
// tells: of what is realised, and of the estimate what is realised then.
func TestAmountIntervals(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	truth, _, _, err := RealisedAmounts(heavy2(r, 200_000))
	if err != nil {
		t.Fatal(err)
	}
	const draws = 400
	covered, met := map[Metric]int{}, map[Metric]int{}
	for range draws {
		e, err := NewErrors(heavy(r, 600))
		if err != nil {
			t.Fatal(err)
		}
		scores, labels := heavy(r, 300)
		values, low, high, _ := RealisedAmounts(scores, labels, 0.95)
		found, err := e.Window(scores, nil, Options{Tolerance: 0.2, BeyondMax: 0.05})
		if err != nil {
			t.Fatal(err)
		}
		if found.Unreliable {
			t.Errorf("unreliable: %v", found.Reasons)
		}
		for _, m := range AmountMetrics {
			if v := truth.Of(m); v >= low.Of(m) && v <= high.Of(m) {
				covered[m]++
			}
			if v := values.Of(m); v >= found.Low.Of(m) && v <= found.High.Of(m) {
				met[m]++
			}
		}
	}
	for _, m := range AmountMetrics {
		t.Logf("%s: %.3f of the truth, %.3f of what is realised", m, float64(covered[m])/draws, float64(met[m])/draws)
		if float64(covered[m])/draws < 0.88 || (m == MAE || m == RMSE) && float64(met[m])/draws < 0.88 {
			t.Errorf("%s: intervals have %d and %d of %d", m, covered[m], met[m], draws)
		}
	}
}

func heavy2(r *rand.Rand, rows int) (scores, labels []float64, level float64) {
	scores, labels = heavy(r, rows)
	return scores, labels, 0.95
}

// TestErrorsBins: ties, few rows and constants make bins that hold rows.
func TestErrorsBins(t *testing.T) {
	for _, c := range []struct {
		name  string
		rows  int
		score func(i int) float64
		bins  int
	}{
		{"different", 5000, func(i int) float64 { return float64(i) }, 10},
		{"few", 120, func(i int) float64 { return float64(i) }, 2},
		{"very few", 2, func(i int) float64 { return float64(i) }, 1},
		{"the same", 1000, func(int) float64 { return 7 }, 1},
		{"mostly the same", 1000, func(i int) float64 { return float64(max(0, i-900)) }, 2},
		{"two values", 1000, func(i int) float64 { return float64(i % 2) }, 2},
		{"a rare one", 1000, func(i int) float64 { return float64(i / 999) }, 1},
		{"many", 40_000, func(i int) float64 { return float64(i % 1000) }, 10},
	} {
		var scores, labels []float64
		for i := range c.rows {
			scores, labels = append(scores, c.score(i)), append(labels, c.score(i)+float64(i%3-1))
		}
		e, err := NewErrors(scores, labels)
		if err != nil {
			t.Fatal(err)
		}
		total := 0
		for i, b := range e.bins {
			total += int(b.size.n)
			if b.size.n < float64(min(errorBinRows, c.rows/max(1, min(errorBins, c.rows/errorBinRows)))) || len(b.sample) == 0 || i > 0 && b.from <= e.bins[i-1].from {
				t.Errorf("%s: bin %d has %v rows from %v, %d in the sample", c.name, i, b.size.n, b.from, len(b.sample))
			}
		}
		if len(e.bins) != c.bins || total != c.rows || len(e.signed) > errorSample {
			t.Errorf("%s: %d bins of %d rows, want %d; %d are held", c.name, len(e.bins), total, c.bins, len(e.signed))
		}
		shifts, bins, err := e.Shifts(scores, labels)
		if err != nil || len(shifts) != 3 || len(bins) != c.bins {
			t.Errorf("%s: %v, %v, %v", c.name, shifts, bins, err)
		}
		for _, s := range shifts {
			if !(s.P > 0.1 && s.P <= 1) {
				t.Errorf("%s: against itself %s has p %v", c.name, s.Name, s.P)
			}
		}
	}
}

// TestAmountsBad: what is no amount is an error, and a window of one row has no interval.
func TestAmountsBad(t *testing.T) {
	for _, c := range [][2][]float64{{nil, nil}, {{1}, {1, 2}}, {{math.NaN()}, {1}}, {{1}, {math.Inf(1)}}, {{1e200}, {1}}, {{1}, {-1e200}}} {
		if _, _, _, err := RealisedAmounts(c[0], c[1], 0.95); !errors.Is(err, ErrData) {
			t.Errorf("%v: %v", c, err)
		}
	}
	if _, err := NewErrors([]float64{1}, []float64{1}); !errors.Is(err, ErrData) {
		t.Errorf("a reference of one row: %v", err)
	}
	values, low, _, err := RealisedAmounts([]float64{3}, []float64{5}, 0.95)
	if err != nil || values.Of(MAE) != 2 || values.Of(Bias) != -2 || !math.IsNaN(low.Of(MAE)) || !math.IsNaN(values.Of(R2)) {
		t.Errorf("%v, %v, %v", values, low, err)
	}
	if values, low, _, err = RealisedAmounts([]float64{3, 4}, []float64{3, 4}, 0.95); err != nil || values.Of(R2) != 1 || low.Of(RMSE) != 0 {
		t.Errorf("without errors: %v, %v, %v", values, low, err)
	}
}
