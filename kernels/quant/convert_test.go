// SPDX-License-Identifier: Apache-2.0

package quant

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/millrace-ml/millrace/kernels/kerneltest"
)

// scales are ordinary ones, powers of two, ones at the ends of what floats hold, and
// ones that no model should have.
var scales = []float32{
	0.0123, 1, 0.5, 3, 0.1, 1.9999999, 1e-3, 7e-9, 1e30, 1e-30, math.MaxFloat32, 1e-40, math.SmallestNonzeroFloat32,
	0x1p-60, 0x1p60, 0, -0.25, float32(math.Inf(1)), float32(math.NaN()),
}

// nearTies writes values whose quotient is next to where rounding changes.
func nearTies(r *rand.Rand, x []float32, scale float32) {
	for i := range x {
		tie := (float32(r.IntN(600)-300) + 0.5) * scale
		x[i] = math.Float32frombits(math.Float32bits(tie) + uint32(r.IntN(7)) - 3)
	}
}

// mixed is a slice of ordinary values, ties, and special ones.
func mixed(t testing.TB, r *rand.Rand, n int, scale float32) []float32 {
	x, _ := kerneltest.Slice[float32](t, n, r.IntN(16))
	nearTies(r, x, scale)
	kerneltest.Fill(r, x[n/2:], 60*float64(scale))
	kerneltest.Sprinkle(r, x, 9)
	return x
}

// wantQuantised is the standard's formula in float64, of the quotient as a float32.
func wantQuantised(x, scale float32, zero, lowest, highest float64) float64 {
	return quantised(float64(x/scale), zero, lowest, highest)
}

func TestQuantize(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		r := kerneltest.Rand(t, 4)
		for _, n := range kerneltest.Lengths(1) {
			scale := scales[n%len(scales)]
			x := mixed(t, r, n, scale)
			zero := uint8(r.Uint32())
			u, unharmed := kerneltest.Slice[uint8](t, n, r.IntN(64))
			s, unharmedS := kerneltest.Slice[int8](t, n, r.IntN(64))
			wantU, wantS := make([]uint8, n), make([]int8, n)
			for i, v := range x {
				wantU[i] = uint8(wantQuantised(v, scale, float64(zero), 0, 255))
				wantS[i] = int8(wantQuantised(v, scale, float64(int8(zero)), -128, 127))
			}
			QuantizeU8(u, x, scale, zero)
			QuantizeS8(s, x, scale, int8(zero))
			unharmed()
			unharmedS()
			kerneltest.Same(t, fmt.Sprintf("n=%d/scale=%g/zero=%d", n, scale, zero), u, wantU)
			kerneltest.Same(t, fmt.Sprintf("signed/n=%d/scale=%g/zero=%d", n, scale, int8(zero)), s, wantS)
		}
	})
}

// TestQuantizeTies holds the reciprocal to the division at the ties of many scales.
func TestQuantizeTies(t *testing.T) {
	r := kerneltest.Rand(t, 5)
	x, got, want := make([]float32, 4096), make([]uint8, 4096), make([]uint8, 4096)
	for range 300 {
		scale := float32(math.Ldexp(1+r.Float64(), r.IntN(120)-60))
		nearTies(r, x, scale)
		QuantizeU8(got, x, scale, 100)
		quantizeGeneric(want, x, scale, 100, 0)
		kerneltest.Same(t, fmt.Sprintf("scale=%g", scale), got, want)
	}
}

func TestDequantize(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		r := kerneltest.Rand(t, 6)
		for _, n := range kerneltest.Lengths(1) {
			scale, zero := scales[n%len(scales)], uint8(r.Uint32())
			q, _ := kerneltest.Slice[uint8](t, n, r.IntN(64))
			bytesOf(r, q)
			signed := make([]int8, n)
			bytesOf(r, signed)
			u, unharmed := kerneltest.Slice[float32](t, n, r.IntN(16))
			s, unharmedS := kerneltest.Slice[float32](t, n, r.IntN(16))
			wantU, wantS := make([]float32, n), make([]float32, n)
			for i := range n {
				wantU[i] = (float32(q[i]) - float32(zero)) * scale
				wantS[i] = (float32(signed[i]) - float32(int8(zero))) * scale
			}
			DequantizeU8(u, q, scale, zero)
			DequantizeS8(s, signed, scale, int8(zero))
			unharmed()
			unharmedS()
			kerneltest.Same(t, fmt.Sprintf("n=%d/scale=%g", n, scale), u, wantU)
			kerneltest.Same(t, fmt.Sprintf("signed/n=%d/scale=%g", n, scale), s, wantS)
		}
	})
}

func TestDequantize32(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		r := kerneltest.Rand(t, 7)
		for _, n := range kerneltest.Lengths(4) {
			src, _ := kerneltest.Slice[int32](t, 3*n, r.IntN(16))
			scale, _ := kerneltest.Slice[float32](t, n, r.IntN(16))
			for i := range src {
				src[i] = int32(r.Uint32()) >> r.IntN(24)
			}
			kerneltest.Fill(r, scale, 0.1)
			for _, sc := range [][]float32{{0.03}, scale} {
				got, unharmed := kerneltest.Slice[float32](t, 3*n, r.IntN(16))
				want := make([]float32, 3*n)
				for i, x := range src {
					want[i] = float32(x) * sc[i%len(sc)]
				}
				Dequantize32(got, src, sc)
				unharmed()
				kerneltest.Same(t, fmt.Sprintf("n=%d/scales=%d", n, len(sc)), got, want)
			}
		}
	})
}

func TestRange(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		r := kerneltest.Rand(t, 8)
		for _, n := range kerneltest.Lengths(4) {
			x := mixed(t, r, n, 1)
			if n%3 == 0 {
				kerneltest.Fill(r, x, 10)
			}
			want := [2]float32{float32(math.Inf(1)), float32(math.Inf(-1))}
			for _, v := range x {
				if v < want[0] {
					want[0] = v
				}
				if v > want[1] {
					want[1] = v
				}
			}
			lo, hi := Range(x)
			kerneltest.Same(t, fmt.Sprintf("n=%d", n), []float32{lo + 0, hi + 0}, []float32{want[0] + 0, want[1] + 0})
		}
		zeros := make([]float32, 100)
		for i := range zeros {
			zeros[i] = float32(math.Copysign(0, float64(i%3)-1))
		}
		if lo, hi := Range(zeros); math.Signbit(float64(lo)) || math.Signbit(float64(hi)) {
			t.Errorf("the range of zeros is %g to %g", lo, hi)
		}
	})
}

// TestDynamicQuantize has the examples of the ONNX specification's tests of
// DynamicQuantizeLinear, and what ONNX Runtime makes of ranges without a finite width.
func TestDynamicQuantize(t *testing.T) {
	for _, c := range []struct {
		x     []float32
		scale float32
		zero  uint8
		want  []uint8
	}{
		{[]float32{0, 2, -3, -2.5, 1.34, 0.5}, 0.019607844, 153, []uint8{153, 255, 0, 26, 221, 179}},
		{[]float32{-1, -2.1, -1.3, -2.5, -3.34, -4}, 0.015686275, 255, []uint8{191, 121, 172, 96, 42, 0}},
		{[]float32{1, 2.1, 1.3, 2.5, 3.34, 4, 1.5, 2.6, 3.9, 4, 3, 2.345}, 0.015686275, 0, []uint8{64, 134, 83, 159, 213, 255, 96, 166, 249, 255, 191, 149}},
		{[]float32{0, 0, 0}, 1, 0, []uint8{0, 0, 0}},
		{nil, 1, 0, nil},
		{[]float32{float32(math.NaN())}, 1, 0, []uint8{0}},
		{[]float32{float32(math.NaN()), 1, -1}, 2. / 255, 127, []uint8{0, 254, 0}},
		{[]float32{float32(math.Inf(1)), 1, -1}, float32(math.Inf(1)), 0, []uint8{0, 0, 0}},
		{[]float32{float32(math.Inf(-1)), 1}, float32(math.Inf(1)), 255, []uint8{0, 255}},
	} {
		got := make([]uint8, len(c.x))
		scale, zero := DynamicQuantize(got, c.x)
		if scale != c.scale || zero != c.zero {
			t.Errorf("%v: scale %g, zero %d, want %g, %d", c.x, scale, zero, c.scale, c.zero)
		}
		kerneltest.Same(t, fmt.Sprint(c.x), got, append([]uint8{}, c.want...))
	}
}
