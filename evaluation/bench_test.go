// SPDX-License-Identifier: Apache-2.0

package evaluation

import "testing"

// BenchmarkEvaluate reads a file, predicts with two models and draws 1000 times; most of it
// is the bootstrap.
//
//	go test ./evaluation -run - -bench Evaluate -benchtime 1x
func BenchmarkEvaluate(b *testing.B) {
	const rows, draws = 20_000, 1000
	w := newWorld(b, rows)
	o := w.options()
	n := draws
	o.Spec.Bootstrap.Draws, o.Spec.Slices, o.Spec.Leakage = &n, nil, Leakage{}
	o.Spec.Metrics = []Metric{{Text: "roc_auc"}, {Text: "average_precision"}}
	b.Run("rows=20000/draws=1000", func(b *testing.B) {
		b.ReportAllocs()
		sum := 0.
		for b.Loop() {
			r, err := Evaluate(b.Context(), o)
			if err != nil {
				b.Fatal(err)
			}
			sum += *r.Metrics[0].Value.Value
		}
		b.ReportMetric(float64(rows*draws*b.N)/b.Elapsed().Seconds(), "row-draws/s")
		b.ReportMetric(sum/float64(b.N), "auc")
	})
}
