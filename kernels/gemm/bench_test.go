// SPDX-License-Identifier: Apache-2.0

package gemm

import (
	"fmt"
	"testing"

	"github.com/millrace-ml/millrace/kernels/cpu"
	"github.com/millrace-ml/millrace/kernels/kerneltest"
)

// Run with: go test -run '^$' -bench . -benchtime 100ms ./kernels/gemm
//
// A product does 2*m*n*k operations and reads 4*n*k bytes of weights (2*n*k in bf16):
// with m = 1 it is bound by the cache those come from, from m = 4 or so on by
// BenchmarkPeak.

func BenchmarkPeak(b *testing.B) {
	kerneltest.BenchmarkLevels(b, func(b *testing.B) {
		for dtype, peak := range map[string]func(int) float64{"FP32": PeakF32, "BF16": PeakBF16} {
			b.Run("dtype="+dtype, func(b *testing.B) {
				if peak(1) == 0 {
					b.Skip("no kernel at this level")
				}
				operations := 0.0
				for b.Loop() {
					operations += peak(10000)
				}
				b.ReportMetric(operations/float64(b.Elapsed().Nanoseconds()), "GFLOP/s")
			})
		}
	})
}

// benchShapes are rows, columns and depths: of one row, of small batches, squares.
var benchShapes = [][3]int{
	{1, 256, 256}, {1, 1024, 1024}, {8, 256, 256}, {8, 1024, 1024},
	{64, 64, 64}, {64, 256, 256}, {64, 1, 256}, {512, 512, 512},
}

// run runs a benchmark of each shape at each level; setup makes the operands.
func run(b *testing.B, setup func(m, n, k int, a, weights, c []float32) func()) {
	kerneltest.BenchmarkLevels(b, func(b *testing.B) {
		for _, shape := range benchShapes {
			m, n, k := shape[0], shape[1], shape[2]
			operations := 2 * float64(m) * float64(n) * float64(k)
			if cpu.Active() == cpu.Generic && operations > 1e7 {
				continue
			}
			b.Run(fmt.Sprintf("rows=%d/n=%d/k=%d", m, n, k), func(b *testing.B) {
				r := kerneltest.Rand(b, 1)
				a, weights, c := make([]float32, m*k), make([]float32, k*n), make([]float32, m*n)
				kerneltest.Fill(r, a, 1)
				kerneltest.Fill(r, weights, 1)
				multiply := setup(m, n, k, a, weights, c)
				b.ReportAllocs()
				for b.Loop() {
					multiply()
				}
				b.ReportMetric(operations*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GFLOP/s")
			})
		}
	})
}

func BenchmarkGemm(b *testing.B) {
	run(b, func(m, n, k int, a, weights, c []float32) func() {
		w, e, s := Pack(k, n, weights, n, false), &Epilogue{Bias: weights, Activation: Relu}, &Scratch{}
		s.Reserve(m, w)
		return func() { Gemm(m, a, k, w, c, n, e, s) }
	})
}

func BenchmarkGemmBF16(b *testing.B) {
	run(b, func(m, n, k int, a, weights, c []float32) func() {
		w, e, s := PackBF16(k, n, weights, n, false), &Epilogue{Bias: weights, Activation: Relu}, &Scratch{}
		s.ReserveBF16(m, w)
		return func() { GemmBF16(m, a, k, w, c, n, e, s) }
	})
}

func BenchmarkGemmQuantised(b *testing.B) {
	run(b, func(m, n, k int, a, weights, c []float32) func() {
		w, e, s, out := Pack(k, n, weights, n, false), &Epilogue{Bias: weights}, &Scratch{}, make([]uint8, m*n)
		s.ReserveQuantised(m, w)
		return func() { GemmQuantised(m, a, k, w, out, n, e, 0.1, 128, s) }
	})
}

func BenchmarkMatMul(b *testing.B) {
	for _, transposed := range []bool{false, true} {
		b.Run(fmt.Sprintf("transposed=%v", transposed), func(b *testing.B) {
			run(b, func(m, n, k int, a, weights, c []float32) func() {
				ldb, s := n, &Scratch{}
				if transposed {
					ldb = k
				}
				s.ReserveMatMul(m, k)
				return func() { MatMul(m, n, k, 1, a, k, weights, ldb, transposed, c, n, s) }
			})
		})
	}
}

// BenchmarkMLP is a whole small network, 64-128-64-32 with a fused ReLU: 74 KiB of
// weights, which come from the L2 cache.
func BenchmarkMLP(b *testing.B) {
	widths := []int{64, 128, 64, 32}
	kerneltest.BenchmarkLevels(b, func(b *testing.B) {
		for _, m := range []int{1, 4, 16, 64} {
			b.Run(fmt.Sprintf("rows=%d", m), func(b *testing.B) {
				r := kerneltest.Rand(b, 1)
				var layers []*Packed
				var s Scratch
				operations := 0
				for i, k := range widths[:3] {
					weights := make([]float32, k*widths[i+1])
					kerneltest.Fill(r, weights, 0.1)
					layers = append(layers, Pack(k, widths[i+1], weights, widths[i+1], false))
					s.Reserve(m, layers[i])
					operations += 2 * m * len(weights)
				}
				e := &Epilogue{Bias: make([]float32, 128), Activation: Relu}
				in, out := make([]float32, m*128), make([]float32, m*128)
				kerneltest.Fill(r, in, 1)
				for b.Loop() {
					for _, w := range layers {
						Gemm(m, in, w.K(), w, out, w.N(), e, &s)
						in, out = out, in
					}
				}
				b.ReportMetric(float64(operations)*float64(b.N)/float64(b.Elapsed().Nanoseconds()), "GFLOP/s")
			})
		}
	})
}
