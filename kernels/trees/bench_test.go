// SPDX-License-Identifier: Apache-2.0

package trees

import (
	"fmt"
	"testing"

	"github.com/millrace-ml/millrace/kernels/kerneltest"
)

// BenchmarkPredict is batches through ensembles of the shapes that gradient boosting
// makes: thresholds are among 250 a feature.
//
//	go test -run '^$' -bench Predict -benchtime 100ms ./kernels/trees
func BenchmarkPredict(b *testing.B) {
	for _, s := range []shape{
		{trees: 100, leaves: 31}, {trees: 1000, leaves: 31}, {trees: 100, leaves: 255},
	} {
		s.features, s.targets, s.exact, s.grid, s.compares = 32, 1, true, 250, []Compare{Less}
		r := kerneltest.Rand(b, 1)
		e := grown(r, s)
		f := compiled(b, e)
		scratch := f.NewScratch()
		x := make([]float32, 4096*e.Features)
		kerneltest.Fill(r, x, 1)
		for _, rows := range []int{64, 256} {
			b.Run(fmt.Sprintf("trees=%d/leaves=%d/rows=%d", s.trees, s.leaves, rows), func(b *testing.B) {
				kerneltest.BenchmarkLevels(b, func(b *testing.B) {
					y, at := make([]float32, rows), 0
					b.ReportAllocs()
					for b.Loop() {
						f.Predict(x[at*e.Features:], e.Features, rows, y, 1, scratch)
						at = (at + rows) % 4096
					}
					b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*rows), "ns/row")
				})
			})
		}
	}
}
