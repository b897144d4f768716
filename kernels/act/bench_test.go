// SPDX-License-Identifier: Apache-2.0

package act

import (
	"fmt"
	"testing"

	"github.com/millrace-ml/millrace/kernels/kerneltest"
)

// BenchmarkMaps has 64 rows of 1000 elements, which is half a megabyte in L2.
//
//	go test -run '^$' -bench Maps -count 6 ./kernels/act
func BenchmarkMaps(b *testing.B) {
	src, dst := make([]float32, 64000), make([]float32, 64000)
	kerneltest.Fill(kerneltest.Rand(b, 1), src, 2)
	for _, e := range elements {
		b.Run("op="+e.name, func(b *testing.B) {
			kerneltest.BenchmarkLevels(b, func(b *testing.B) {
				for b.Loop() {
					e.apply(dst, src)
				}
				perElement(b, len(src))
			})
		})
	}
}

// BenchmarkRows has 64 rows.
//
//	go test -run '^$' -bench Rows -count 6 ./kernels/act
func BenchmarkRows(b *testing.B) {
	gamma, beta := make([]float32, 1000), make([]float32, 1000)
	for name, apply := range rowwise(gamma, beta) {
		for _, cols := range []int{10, 768, 1000} {
			src, dst := make([]float32, 64*cols), make([]float32, 64*cols)
			kerneltest.Fill(kerneltest.Rand(b, 1), src, 2)
			b.Run(fmt.Sprintf("op=%s/cols=%d", name, cols), func(b *testing.B) {
				kerneltest.BenchmarkLevels(b, func(b *testing.B) {
					for b.Loop() {
						apply(dst, src, 64, cols)
					}
					perElement(b, len(src))
				})
			})
		}
	}
}

func perElement(b *testing.B, elements int) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*elements), "ns/element")
}
