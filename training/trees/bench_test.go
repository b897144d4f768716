// SPDX-License-Identifier: Apache-2.0

package trees

import (
	"fmt"
	"testing"

	"github.com/millrace-ml/millrace/training/learn"
)

// go test -run=- -bench=Fit -benchtime=3x ./training/trees
func BenchmarkFit(b *testing.B) {
	train, test := Synthetic(100_000, 28, 1), Synthetic(20_000, 28, 2)
	for _, depth := range []int64{6, 8} {
		b.Run(fmt.Sprintf("rows=100000/features=28/trees=100/depth=%d", depth), func(b *testing.B) {
			trainer := trainerOf(b, learn.Values{"trees": 100, "max_depth": depth})
			var m learn.Model
			for b.Loop() {
				var err error
				if m, err = trainer.Fit(b.Context(), train, nil, learn.FitOptions{}); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(areaUnder(predict(m, test), test.Labels), "AUC")
		})
	}
}

func BenchmarkBins(b *testing.B) {
	train := Synthetic(100_000, 28, 1)
	for b.Loop() {
		newBinned(train, binsMax, 2)
	}
}

func BenchmarkPredict(b *testing.B) {
	train := Synthetic(20_000, 28, 1)
	m := fitted(b, learn.Values{"trees": 100, "max_depth": 6}, train, nil, learn.FitOptions{})
	to := make([]float32, train.Rows())
	for b.Loop() {
		m.Predict(train.Values, to)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(len(to)), "ns/row")
}
