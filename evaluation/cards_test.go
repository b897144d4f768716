// SPDX-License-Identifier: Apache-2.0

package evaluation

import (
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/evaluation/gate"
	"github.com/millrace-ml/millrace/evaluation/metric"
	"github.com/millrace-ml/millrace/evaluation/report"
	"github.com/millrace-ml/millrace/featurestore/dataset"
	"github.com/millrace-ml/millrace/featurestore/definition"
)

// payments of the published data set; the test that needs them skips without it.
const cardsFile = "../../shared/data/card-transactions/transactions.parquet"

// cardSet makes the training set of some days.
func cardSet(t *testing.T, c *definition.Catalog, output string, from time.Time, days int) {
	t.Helper()
	_, err := dataset.Build(t.Context(), dataset.Options{
		Catalog: c, Service: "fraud", Labels: dataset.Labels{Source: "payments", Names: []string{"is_fraud"}}, Hindsight: true,
		From: from, To: from.AddDate(0, 0, days), Output: output,
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestCards evaluates the example's model on a week of published card payments, with all
// that a decision needs.
func TestCards(t *testing.T) {
	if testing.Short() {
		t.Skip("it reads 1.75 million payments")
	}
	path, err := filepath.Abs(cardsFile)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Skip("no card payments beside the checkout: ", err)
	}
	text, err := os.ReadFile("../examples/card-fraud/features.yaml")
	if err != nil {
		t.Fatal(err)
	}
	c, err := definition.Parse("features.yaml", []byte(strings.Replace(string(text), ".millrace/payments.parquet", path, 1)))
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	train, test := filepath.Join(dir, "train.parquet"), filepath.Join(dir, "test.parquet")
	first := time.Date(2018, 7, 25, 0, 0, 0, 0, time.UTC)
	cardSet(t, c, train, first, 7)
	cardSet(t, c, test, first.AddDate(0, 0, 14), 7)
	draws := 40
	r := evaluate(t, Options{Spec: Spec{
		Data: test, Label: "is_fraud", Model: "../examples/card-fraud/models/fraud", Time: "event_timestamp", Cluster: "customer_id",
		Metrics: []Metric{{Text: "roc_auc"}, {Definition: metric.Definition{
			Name: "card_precision@100", Expression: "precision_at(100)", By: "day(event_timestamp)", Unit: "customer_id", Once: true, Better: "higher"}}},
		Slices:       []Slice{SliceOf("during_night"), SliceOf("amount > 220")},
		SliceRowsMin: 50,
		Bootstrap:    Bootstrap{Draws: &draws},
		Leakage:      Leakage{Train: train, Gap: "160h"},
		Gates: []gate.Gate{gateOf("roc_auc", func(g *gate.Gate) { g.LowAtLeast = number(0.8) }), {Leakage: "none"}, {BeatsBaselines: true},
			gateOf("card_precision@100", func(g *gate.Gate) { g.LowAtLeast = number(0.25) })},
	}})
	if r.Verdict != report.Pass || r.Data.Positives != 568 || r.Data.Rows != 67_080 {
		t.Errorf("%s with %d frauds of %d: %+v", r.Verdict, r.Data.Positives, r.Data.Rows, r.Gates)
	}
	for _, m := range r.Metrics {
		if low, v, high := *m.Value.Low, *m.Value.Value, *m.Value.High; !(low < v && v < high) || math.Abs(high-low) > 0.2 {
			t.Errorf("%s is %v in [%v, %v]", m.Name, v, low, high)
		}
	}
	// A payment above 220 is a fraud in this data, so that slice has one class only.
	for _, s := range r.Slices {
		if s.Name == "amount > 220" && !strings.Contains(s.Skipped, "one class only") {
			t.Errorf("the slice of large amounts was measured: %+v", s)
		}
	}
}
