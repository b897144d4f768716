// SPDX-License-Identifier: Apache-2.0

package jsontensor

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/millrace-ml/millrace/engine/tensor"
)

func halfValue(f halfFormat, bits uint16) float64 {
	if f == formatBF16 {
		return float64(math.Float32frombits(uint32(bits) << 16))
	}
	return float64(tensor.FP16ToFloat32(bits))
}

// TestHalfExact: every value of a format, and the midpoint to the next, which ties
// to the even one, encodes as it should; what is just beside the midpoint goes to
// the nearer one.
func TestHalfExact(t *testing.T) {
	for _, f := range []halfFormat{formatFP16, formatBF16} {
		for bits := range f.infinity() {
			v := halfValue(f, bits)
			expectHalf(t, f, v, bits)
			expectHalf(t, f, -v, bits|0x8000)
			if bits+1 == f.infinity() {
				continue
			}
			midpoint := (v + halfValue(f, bits+1)) / 2
			expectHalf(t, f, midpoint, bits+bits%2)
			expectHalf(t, f, math.Nextafter(midpoint, 0), bits)
			expectHalf(t, f, math.Nextafter(midpoint, math.Inf(1)), bits+1)
		}
	}
}

func expectHalf(t *testing.T, f halfFormat, v float64, want uint16) {
	t.Helper()
	if got, ok := f.encode(v); !ok || got != want {
		t.Fatalf("%+v: %g is %#04x, %t; want %#04x", f, v, got, ok, want)
	}
}

// TestHalfLimits: from halfway between the largest value and the next, which is
// out of range, numbers are too.
func TestHalfLimits(t *testing.T) {
	for _, f := range []halfFormat{formatFP16, formatBF16} {
		largest := halfValue(f, f.infinity()-1)
		limit := largest + (largest-halfValue(f, f.infinity()-2))/2
		expectHalf(t, f, math.Nextafter(limit, 0), f.infinity()-1)
		for _, v := range []float64{limit, -limit, 1e300, -math.MaxFloat64} {
			if got, ok := f.encode(v); ok {
				t.Errorf("%+v: %g is %#04x, want out of range", f, v, got)
			}
		}
		expectHalf(t, f, math.Inf(1), f.infinity())
		expectHalf(t, f, math.Inf(-1), f.infinity()|0x8000)
		expectHalf(t, f, math.SmallestNonzeroFloat64, 0)
		if got, ok := f.encode(math.NaN()); !ok || halfValue(f, got) == halfValue(f, got) {
			t.Errorf("%+v: NaN is %#04x, %t", f, got, ok)
		}
	}
}

// TestBF16AgainstBits compares with rounding by arithmetic on the bits of a float32.
func TestBF16AgainstBits(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	for range 100_000 {
		bits := random.Uint32()
		if bits&0x7f800000 >= 0x7f000000 {
			continue // not finite, or may round to infinity
		}
		want := uint16((bits + 0x7fff + bits>>16&1) >> 16)
		expectHalf(t, formatBF16, float64(math.Float32frombits(bits)), want)
	}
}
