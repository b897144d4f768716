// SPDX-License-Identifier: Apache-2.0

package conv

import (
	"fmt"
	"math"
	"testing"

	"github.com/millrace-ml/millrace/kernels/kerneltest"
)

// BenchmarkRows convolves planes of side x side with 3 x 3 filters:
//
//	go test -run '^$' -bench Rows ./kernels/conv
//
// Bound by multiply-add: 2 * rows * cols * taps operations, on data in the L2 cache.
func BenchmarkRows(b *testing.B) {
	for _, shape := range [][3]int{{8, 1, 28}, {16, 8, 14}, {32, 32, 28}, {1, 1, 28}} {
		rows, channels, side := shape[0], shape[1], shape[2]
		b.Run(fmt.Sprintf("rows=%d/channels=%d/side=%d", rows, channels, side), func(b *testing.B) {
			kerneltest.BenchmarkLevels(b, func(b *testing.B) { benchmarkRows(b, rows, channels, side) })
		})
	}
}

func benchmarkRows(b *testing.B, rows, channels, side int) {
	pitch := side + 2
	var offsets []int
	for c := range channels {
		for k := range 9 {
			offsets = append(offsets, c*pitch*pitch+k/3*pitch+k%3)
		}
	}
	taps, w := NewTaps(offsets), NewWeights(rows, len(offsets))
	cols := (side-1)*pitch + side
	src, dst := make([]float32, channels*pitch*pitch), make([]float32, BlockRows*cols)
	e := &Epilogue{High: float32(math.Inf(1))}
	b.ReportAllocs()
	for b.Loop() {
		for block := range w.Blocks() {
			Rows(dst, cols, src, cols, taps, w, block, e)
		}
	}
	flops := 2 * float64(rows) * float64(cols) * float64(len(offsets))
	b.ReportMetric(flops*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GFLOP/s")
}

// BenchmarkMax pools planes of side x side by windows of 2 x 2. Bound by loads: 16
// bytes in for 4 out.
func BenchmarkMax(b *testing.B) {
	const side = 28
	src, dst := make([]float32, 8*side*side), make([]float32, 2*side*side)
	g := &Grid{Rows: 8 * side / 2, Cols: side / 2, SrcRow: 2 * side, DstRow: side / 2, Step: 2}
	taps := NewTaps([]int{0, 1, side, side + 1})
	kerneltest.BenchmarkLevels(b, func(b *testing.B) {
		b.SetBytes(int64(4 * len(src)))
		b.ReportAllocs()
		for b.Loop() {
			Max(dst, src, g, taps)
		}
	})
}
