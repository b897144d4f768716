// SPDX-License-Identifier: Apache-2.0

package estimate

import (
	"encoding/json"
	"errors"
	"math"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
)

func near(got, want, slack float64) bool { return math.Abs(got-want) <= slack }

// TestGolden compares with scikit-learn, and with expected metrics that were found by
// looking at all pairs; ../testdata/golden.py wrote the values.
func TestGolden(t *testing.T) {
	var g struct {
		Reference, Labels, Isotonic, Scores, Truth, Realised, Chances, Expected []float64
		Threshold                                                               float64
	}
	data, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, &g); err != nil {
		t.Fatal(err)
	}
	c, err := Calibrate(g.Reference, g.Labels)
	if err != nil {
		t.Fatal(err)
	}
	fit := c.fitTo(Isotonic, nil)
	for i, s := range g.Reference {
		if got := fit.at(s); !near(got, g.Isotonic[i], 1e-9) {
			t.Errorf("isotonic(%v) = %v, scikit-learn has %v", s, got, g.Isotonic[i])
		}
	}
	realised, err := Realised(g.Scores, g.Truth, g.Threshold)
	if err != nil {
		t.Fatal(err)
	}
	expected := newSweep(g.Scores, g.Threshold).values(g.Chances)
	for i, m := range ClassMetrics {
		if !near(realised[i], g.Realised[i], 1e-9) {
			t.Errorf("%s is %v, scikit-learn has %v", m, realised[i], g.Realised[i])
		}
		if !near(expected[i], g.Expected[i], 1e-9) {
			t.Errorf("expected %s is %v, by all pairs %v", m, expected[i], g.Expected[i])
		}
	}
}

// world deals out rows: a score that tells of the truth but is not calibrated.
func world(r *rand.Rand, rows int, shift float64) (scores, labels []float64) {
	for range rows {
		x := r.NormFloat64() + shift
		l := 0.0
		if r.Float64() < logistic(1.5*x-2) {
			l = 1
		}
		scores, labels = append(scores, logistic(3*x)), append(labels, l)
	}
	return scores, labels
}

// TestWindows estimates windows whose inputs shifted, and compares with what is realised.
func TestWindows(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	covered, tried, off := 0, 0, 0.0
	for i := range 40 {
		c, err := Calibrate(world(r, 2500, 0))
		if err != nil {
			t.Fatal(err)
		}
		if c.Kind == Identity {
			t.Error("scores that are not calibrated were taken for probabilities")
		}
		scores, labels := world(r, 1500, 0.2*float64(i%4))
		e, err := c.Window(scores, nil, Options{Draws: 60, Seed: uint64(i), BeyondMax: 0.2})
		if err != nil {
			t.Fatal(err)
		}
		if e.Unreliable {
			t.Errorf("window %d: unreliable: %v", i, e.Reasons)
		}
		realised, _ := Realised(scores, labels, 0.5)
		off += math.Abs(realised.Of(AUC)-e.Values.Of(AUC)) / 40
		for m := range ClassMetrics {
			tried++
			if realised[m] >= e.Low[m] && realised[m] <= e.High[m] {
				covered++
			}
		}
	}
	if share := float64(covered) / float64(tried); share < 0.85 || off > 0.015 {
		t.Errorf("%.2f of the 95 %% intervals cover, and AUC is off by %.4f", share, off)
	}
}

// TestKinds holds that scores that are probabilities are left as they are, and that a curve
// which no logistic function has is fitted by steps.
func TestKinds(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for kind, chance := range map[Kind]func(s float64) float64{
		Identity: func(s float64) float64 { return s },
		Platt:    func(s float64) float64 { return logistic(2*math.Log(s/(1-s)) - 1) },
		Isotonic: func(s float64) float64 {
			if s < 0.5 {
				return 0.1
			}
			return 0.6
		},
	} {
		var scores, labels []float64
		for range 5000 {
			s, l := r.Float64(), 0.0
			if r.Float64() < chance(s) {
				l = 1
			}
			scores, labels = append(scores, s), append(labels, l)
		}
		c, err := Calibrate(scores, labels)
		if err != nil {
			t.Fatal(err)
		}
		if c.Kind != kind || !near(c.At(0.8), chance(0.8), 0.06) {
			t.Errorf("kind %s with %v at 0.8, want %s and %v", c.Kind, c.At(0.8), kind, chance(0.8))
		}
	}
}

func TestDoubt(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	scores, labels := world(r, 3000, 0)
	c, err := Calibrate(scores, labels)
	if err != nil {
		t.Fatal(err)
	}
	scores, labels = world(r, 3000, 0.2)
	good, err := c.Check(scores, labels, Options{Seed: 1})
	if err != nil || len(good.Reasons) > 0 {
		t.Errorf("a window like the reference: %+v, %v", good, err)
	}
	flipped := append([]float64(nil), labels...)
	for i := range flipped {
		if i%2 == 0 {
			flipped[i] = 1 - flipped[i]
		}
	}
	bad, err := c.Check(scores, flipped, Options{Seed: 1})
	if err != nil || len(bad.Reasons) != 2 {
		t.Errorf("labels of another concept: %+v, %v", bad, err)
	}
	e, err := c.Window(scores, bad, Options{})
	if err != nil || !e.Unreliable || len(e.Reasons) != 2 {
		t.Errorf("a window after a bad check: %+v, %v", e, err)
	}
	few, err := c.Window(scores[:20], nil, Options{})
	if err != nil || !few.Unreliable || !strings.Contains(few.Reasons[0], "positives are expected") {
		t.Errorf("a window of 20 rows: %+v, %v", few, err)
	}
	beyond, err := c.Window(append([]float64{0, 0, 1, 1}, scores[:100]...), nil, Options{PositivesMin: 1})
	if err != nil || !beyond.Unreliable || !strings.Contains(strings.Join(beyond.Reasons, " "), "beyond the reference") {
		t.Errorf("scores beyond the reference: %+v, %v", beyond, err)
	}
}

func TestBad(t *testing.T) {
	nan := math.NaN()
	for name, call := range map[string]func() error{
		"empty":     func() error { _, err := Calibrate(nil, nil); return err },
		"one class": func() error { _, err := Calibrate([]float64{1, 2}, []float64{0, 0}); return err },
		"label":     func() error { _, err := Calibrate([]float64{1, 2}, []float64{0, 2}); return err },
		"NaN":       func() error { _, err := Realised([]float64{nan}, []float64{0}, 0.5); return err },
		"lengths":   func() error { _, err := Realised([]float64{1}, nil, 0.5); return err },
	} {
		if err := call(); !errors.Is(err, ErrData) {
			t.Errorf("%s: error %v, want ErrData", name, err)
		}
	}
	v, err := Realised([]float64{3, 1, -2}, []float64{1, 1, 0}, 0.5)
	if err != nil || v.Of(AUC) != 1 || !math.IsNaN(v.Of(Brier)) || !math.IsNaN(v.Of("other")) {
		t.Errorf("scores that are no probabilities: %v, %v", v, err)
	}
	if !strings.Contains(Assumptions, "labels") {
		t.Error("assumptions do not say what shows their failure")
	}
}
