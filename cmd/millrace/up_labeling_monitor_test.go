// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/evaluation/monitor"
	"github.com/millrace-ml/millrace/evaluation/monitor/estimate"
	"github.com/millrace-ml/millrace/evaluation/monitor/record"
)

// accuracyOf is the quality of so many labels.
func accuracyOf(n int, accuracy float64) monitor.Quality {
	q := monitor.Quality{Labelled: n}
	for i, m := range estimate.Metrics {
		if q.Values[i] = math.NaN(); m == estimate.Accuracy {
			q.Values[i] = accuracy
		}
	}
	return q
}

// TestImpact: a slice in which the model is wrong more often is looked at first, and what the
// monitor found goes over what the file says.
func TestImpact(t *testing.T) {
	state := t.TempDir()
	store, err := record.Open(filepath.Join(state, monitorsFolder, "fraud"))
	if err != nil {
		t.Fatal(err)
	}
	quality := accuracyOf(1000, 0.95)
	report := monitor.Report{Window: monitor.Duration(24 * 3600e9), Start: 1, End: 2, At: 3, Matured: true, Judged: true, Quality: &quality,
		Slices: []monitor.SliceQuality{{Slice: "size", Value: "large", Quality: accuracyOf(180, 0.65)}, {Slice: "size", Value: "small", Quality: accuracyOf(820, 0.99)}, {Slice: "size", Value: "tiny", Quality: accuracyOf(0, math.NaN())}}}
	if err := store.Append([]monitor.Report{report}); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	weights, err := sliceWeightsOf(state)("fraud")
	if err != nil || len(weights) != 2 || weights["small"] != 1 || math.Abs(weights["large"]-6.4) > 1e-9 {
		t.Fatalf("weights %v, %v", weights, err)
	}
	if weights, err := sliceWeightsOf(state)("other"); err != nil || weights != nil {
		t.Errorf("a monitor that found nothing: %v, %v", weights, err)
	}

	w := newLabelWorld(t, strings.Replace(labelingText, "strategy: margin, count: 6, random_share: 0.5,",
		`strategy: impact, count: 6, random_share: 0, monitor: fraud, weights: {small: 50}, slice: 'amount >= 500 ? "large" : "small"',`, 1))
	w.desk.weights = sliceWeightsOf(state)
	w.decideSome(60) // large from p050 on, of which p050 is the least sure
	round, _ := w.desk.due(w.project(), w.now)
	out, err := w.desk.selectTasks(t.Context(), w.project(), w.project().Select, round)
	if err != nil || len(out.Chosen) != 6 || out.Chosen[0].ID != "p050" || out.Chosen[0].Chosen.Slice != "large" {
		t.Errorf("%+v, %v", out, err)
	}
	if _, err := os.Stat(filepath.Join(state, monitorsFolder, "other")); !os.IsNotExist(err) {
		t.Errorf("reading made a folder: %v", err)
	}
}

// TestImpactOfAmounts: of a regression it is the slice whose errors are larger.
func TestImpactOfAmounts(t *testing.T) {
	of := func(n int, mae float64) monitor.Quality {
		q := monitor.Quality{Labelled: n, Values: estimate.Unknown()}
		q.Values[8] = mae
		return q
	}
	all := of(1000, 10)
	report := monitor.Report{Kind: monitor.Regression, Quality: &all, Slices: []monitor.SliceQuality{{Value: "large", Quality: of(180, 42)}, {Value: "small", Quality: of(820, 3)}}}
	if weights := weighSlices(&report); len(weights) != 2 || weights["small"] != 1 || math.Abs(weights["large"]-3.88) > 1e-9 {
		t.Errorf("weights %v", weights)
	}
}
