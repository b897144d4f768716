// SPDX-License-Identifier: Apache-2.0

package quant

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/millrace-ml/millrace/kernels/kerneltest"
)

// BenchmarkGemm measures products of square weights. Each output takes k products; the
// weights are k*k bytes, which are read once for every 14 rows.
//
//	go test -run - -bench Gemm ./kernels/quant
func BenchmarkGemm(b *testing.B) {
	kerneltest.BenchmarkLevels(b, func(b *testing.B) {
		for _, c := range []struct{ m, k int }{{1, 128}, {8, 128}, {1, 512}, {8, 512}, {64, 512}, {64, 1024}} {
			a, w, e := benchOperands(c.m, c.k)
			var s Scratch
			s.Reserve(c.m, w)
			sums, floats, out := make([]int32, c.m*c.k), make([]float32, c.m*c.k), make([]uint8, c.m*c.k)
			for _, kind := range []struct {
				name string
				run  func()
			}{
				{"int32", func() { Gemm32(c.m, a, c.k, 3, w, sums, c.k, &s) }},
				{"fp32", func() { Gemm(c.m, a, c.k, 3, w, floats, c.k, e, &s) }},
				{"uint8", func() { GemmU8(c.m, a, c.k, 3, w, out, c.k, 0.5, 3, e, &s) }},
			} {
				b.Run(fmt.Sprintf("rows=%d/k=%d/output=%s", c.m, c.k, kind.name), func(b *testing.B) {
					for b.Loop() {
						kind.run()
					}
					b.ReportMetric(2*float64(c.m*c.k*c.k)*float64(b.N)/b.Elapsed().Seconds()/1e9, "GOP/s")
				})
			}
		}
	})
}

func benchOperands(m, k int) ([]uint8, *Packed, *Epilogue) {
	r := rand.New(rand.NewPCG(1, 0))
	a, weights := make([]uint8, m*k), make([]int8, k*k)
	bytesOf(r, a)
	bytesOf(r, weights)
	e := &Epilogue{AScale: 0.02, WScale: make([]float32, k), Bias: make([]float32, k), Activation: Relu}
	kerneltest.Fill(r, e.WScale, 0.01)
	return a, Pack(k, k, weights, k, false, nil), e
}

// BenchmarkPeak is the ceiling of BenchmarkGemm.
func BenchmarkPeak(b *testing.B) {
	if PeakVNNI(1) == 0 {
		b.Skip("no VPDPBUSD on this machine")
	}
	operations := 0
	for b.Loop() {
		operations += PeakVNNI(1000)
	}
	b.ReportMetric(float64(operations)/b.Elapsed().Seconds()/1e9, "GOP/s")
}

// BenchmarkConvert measures conversions: five bytes moved for each element.
func BenchmarkConvert(b *testing.B) {
	kerneltest.BenchmarkLevels(b, func(b *testing.B) {
		for _, n := range []int{16, 1000, 64000} {
			x, q := make([]float32, n), make([]uint8, n)
			kerneltest.Fill(rand.New(rand.NewPCG(1, 0)), x, 3)
			for _, op := range []struct {
				name string
				run  func()
			}{
				{"QuantizeU8", func() { QuantizeU8(q, x, 0.03, 100) }},
				{"DequantizeU8", func() { DequantizeU8(x, q, 0.03, 100) }},
				{"Range", func() { Range(x) }},
				{"DynamicQuantize", func() { DynamicQuantize(q, x) }},
			} {
				b.Run(fmt.Sprintf("op=%s/n=%d", op.name, n), func(b *testing.B) {
					b.SetBytes(int64(5 * n))
					for b.Loop() {
						op.run()
					}
					b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/element")
				})
			}
		}
	})
}
