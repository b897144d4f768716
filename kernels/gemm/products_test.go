// SPDX-License-Identifier: Apache-2.0

package gemm

import (
	"math"
	"slices"
	"testing"

	"github.com/millrace-ml/millrace/kernels/cpu"
	"github.com/millrace-ml/millrace/kernels/kerneltest"
)

func TestGemmBF16(t *testing.T) {
	everyLevel(t, func(t *testing.T, roundsA bool) {
		r := kerneltest.Rand(t, 11)
		var s Scratch
		for i, shape := range shapes() {
			p := newProduct(t, r, shape[0], shape[1], shape[2], i%2 == 1)
			p.roundA, p.roundB = roundsA, true
			if i%3 > 0 {
				p.withEpilogue(t, r, Activation(i)%activations)
			}
			w := PackBF16(p.k, p.n, p.b, p.ldb, p.transposed)
			s.ReserveBF16(p.m, w)
			before := slices.Clone(p.c)
			GemmBF16(p.m, p.a, p.lda, w, p.c, p.ldc, p.e, &s)
			p.verify(t, before)
		}
	})
}

// TestBF16OfBF16 multiplies values that are bf16 already, which no level rounds.
func TestBF16OfBF16(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		r := kerneltest.Rand(t, 12)
		p := newProduct(t, r, 17, 70, 99, false)
		bits := make([]uint16, len(p.b))
		for i, x := range p.b {
			bits[i] = bf16(x)
		}
		for i, x := range p.a {
			p.a[i] = widen(bf16(x))
		}
		p.roundB = true
		w := PackBF16Bits(p.k, p.n, bits, p.ldb, false)
		var s Scratch
		s.ReserveBF16(p.m, w)
		before := slices.Clone(p.c)
		GemmBF16(p.m, p.a, p.lda, w, p.c, p.ldc, nil, &s)
		p.verify(t, before)
	})
}

func TestRoundBF16(t *testing.T) {
	for _, c := range []struct {
		x    float32
		want uint16
	}{
		{1, 0x3f80}, {-2, 0xc000}, {math.Float32frombits(0x3f808000), 0x3f80}, {math.Float32frombits(0x3f818000), 0x3f82},
		{math.Float32frombits(0x3f808001), 0x3f81}, {math.MaxFloat32, 0x7f80}, {float32(math.Inf(-1)), 0xff80},
		{math.Float32frombits(0x7f800001), 0x7fc0}, {math.Float32frombits(0xffffffff), 0xffff}, {math.SmallestNonzeroFloat32, 0},
	} {
		if got := bf16(c.x); got != c.want {
			t.Errorf("%g (%#x) is %#x, want %#x", c.x, math.Float32bits(c.x), got, c.want)
		}
	}
	if !dotsBF16() {
		t.Skip("no kernel at this level")
	}
	r := kerneltest.Rand(t, 13)
	for _, n := range kerneltest.Lengths(2) {
		if n == 0 {
			continue
		}
		src, checkSrc := kerneltest.Slice[float32](t, n, n%7)
		dst, check := kerneltest.Slice[uint16](t, (n+31)/32*32, n%5)
		kerneltest.Fill(r, src, 1)
		kerneltest.Sprinkle(r, src, 4)
		roundRow(&dst[0], &src[0], n)
		want := make([]uint16, len(dst))
		for i, x := range src {
			if want[i] = bf16(x); want[i]&0x7f80 == 0 || x > -0x1p-126 && x < 0x1p-126 {
				want[i] &= 0x8000 // the instruction takes denormals for zeros
			}
		}
		kerneltest.Same(t, "rounded", dst, want)
		check()
		checkSrc()
	}
}

func TestMatMul(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		r := kerneltest.Rand(t, 14)
		var s Scratch
		for i, shape := range shapes() {
			for _, transposed := range []bool{false, true} {
				p := newProduct(t, r, shape[0], shape[1], shape[2], transposed)
				if i%2 > 0 {
					p.alpha = 0.125 + float32(i)
				}
				s.ReserveMatMul(p.m, p.k)
				before := slices.Clone(p.c)
				MatMul(p.m, p.n, p.k, p.alpha, p.a, p.lda, p.b, p.ldb, transposed, p.c, p.ldc, &s)
				p.verify(t, before)
			}
		}
	})
}

// TestGemmQuantised holds the stored bytes to what Gemm gives, exactly.
func TestGemmQuantised(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		r := kerneltest.Rand(t, 15)
		var s Scratch
		for i, shape := range append(shapes(), [3]int{100, 2000, 3}) {
			p := newProduct(t, r, shape[0], shape[1], shape[2], false)
			p.withEpilogue(t, r, Activation(i)%activations)
			scale, zero := 0.01+r.Float32()/20, uint8(r.IntN(256))
			w := Pack(p.k, p.n, p.b, p.ldb, false)
			s.ReserveQuantised(p.m, w)
			Gemm(p.m, p.a, p.lda, w, p.c, p.ldc, p.e, &s)
			out, check := kerneltest.Slice[uint8](t, len(p.c), 3)
			before := slices.Clone(out)
			GemmQuantised(p.m, p.a, p.lda, w, out, p.ldc, p.e, scale, zero, &s)
			for row := range p.m {
				quantiseGeneric(before[row*p.ldc:][:p.n], p.c[row*p.ldc:], scale, zero)
			}
			kerneltest.Same(t, p.String(), out, before)
			check()
		}
	})
}

func TestQuantise(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		r := kerneltest.Rand(t, 16)
		for _, n := range kerneltest.Lengths(4) {
			src, _ := kerneltest.Slice[float32](t, n, n%5)
			dst, check := kerneltest.Slice[uint8](t, n, n%3)
			kerneltest.Fill(r, src, 100)
			kerneltest.Sprinkle(r, src, 3)
			want := make([]uint8, n)
			for _, zero := range []uint8{0, 7, 255} {
				quantise(dst, src, 0.5, zero)
				quantiseGeneric(want, src, 0.5, zero)
				kerneltest.Same(t, "quantised", dst, want)
			}
			check()
		}
	})
	got := make([]uint8, 8)
	quantise(got, []float32{0.5, 1.5, -0.5, -1.5, float32(math.NaN()), float32(math.Inf(1)), -1e30, 3e9}, 1, 100)
	kerneltest.Same(t, "ties", got, []uint8{100, 102, 100, 98, 0, 255, 0, 255})
}

func TestPeak(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		if (PeakF32(10) > 0) != hasRowKernels() {
			t.Errorf("%g operations, kernels %v", PeakF32(10), hasRowKernels())
		}
		if (PeakBF16(10) > 0) != (cpu.Active() >= cpu.BF16 && dotsBF16()) {
			t.Errorf("%g operations of bf16", PeakBF16(10))
		}
	})
}
