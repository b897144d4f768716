// SPDX-License-Identifier: Apache-2.0

package vec

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/millrace-ml/millrace/kernels/kerneltest"
)

// converts holds a conversion to what one element of it means.
func converts[D, S kerneltest.Number](t *testing.T, name string, convert func([]D, []S), one func(S) D, draw func(*rand.Rand) S) {
	t.Run(name, func(t *testing.T) {
		r := kerneltest.Rand(t, 21)
		for _, n := range append(kerneltest.Lengths(4), 4099) {
			src, _ := kerneltest.Slice[S](t, n, n%3)
			dst, check := kerneltest.Slice[D](t, n, n%5)
			want := make([]D, n)
			for i := range src {
				src[i] = draw(r)
				want[i] = one(src[i])
			}
			convert(dst, src)
			kerneltest.Same(t, fmt.Sprintf("%s of %d", name, n), dst, want)
			check()
		}
	})
}

// anyFloat is any pattern of bits, a special value, or a number of common size.
func anyFloat(r *rand.Rand) float32 {
	switch r.IntN(3) {
	case 0:
		return math.Float32frombits(r.Uint32())
	case 1:
		return kerneltest.Specials[r.IntN(len(kerneltest.Specials))]
	}
	return float32(math.Ldexp(r.NormFloat64(), r.IntN(60)-30))
}

func anyWord(r *rand.Rand) uint16 { return uint16(r.Uint32()) }

// integerBits is an integer of any count of bits.
func integerBits(r *rand.Rand) int64 { return int64(r.Uint64()) >> r.IntN(64) }

// nearest rounds to a format by a search of all its non-negative numbers, which are
// in the order of their patterns up to that of infinity.
func nearest(v float32, infinity uint16, value func(uint16) float64) uint16 {
	sign, x := uint16(0), float64(v)
	if math.Signbit(x) {
		sign, x = 0x8000, -x
	}
	low, high := uint16(0), infinity
	for high-low > 1 {
		if middle := (low + high) / 2; value(middle) <= x {
			low = middle
		} else {
			high = middle
		}
	}
	// Beyond the largest number, infinity stands for the next power of two.
	up := value(high)
	if high == infinity {
		up = 2*value(low) - value(low-1)
	}
	switch down := value(low); {
	case math.IsInf(x, 1), x-down > up-x, x-down == up-x && high&1 == 0:
		return sign | high
	}
	return sign | low
}

func halfValue(h uint16) float64 {
	exponent, fraction := int(h>>10&31), float64(h&1023)
	if exponent == 0 {
		return math.Ldexp(fraction, -24)
	}
	return math.Ldexp(1024+fraction, exponent-25)
}

func brainValue(h uint16) float64 { return float64(math.Float32frombits(uint32(h) << 16)) }

func TestConversions(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		converts(t, "f16", F32ToF16, func(v float32) uint16 {
			if bits := math.Float32bits(v); v != v {
				return uint16(bits>>16&0x8000) | 0x7e00 | uint16(bits>>13&0x3ff)
			}
			return nearest(v, 0x7c00, halfValue)
		}, anyFloat)
		converts(t, "bf16", F32ToBF16, func(v float32) uint16 {
			if v != v {
				return uint16(math.Float32bits(v)>>16) | 0x40
			}
			return nearest(v, 0x7f80, brainValue)
		}, anyFloat)
		converts(t, "of f16", F16ToF32, func(h uint16) float32 {
			switch magnitude := h & 0x7fff; {
			case magnitude > 0x7c00:
				return float32(math.NaN())
			case magnitude == 0x7c00:
				return float32(math.Copysign(math.Inf(1), float64(int16(h))))
			}
			return float32(math.Copysign(halfValue(h&0x7fff), float64(int16(h))+0.5))
		}, anyWord)
		converts(t, "of bf16", BF16ToF32, func(h uint16) float32 {
			return math.Float32frombits(uint32(h) << 16)
		}, anyWord)
		converts(t, "int64 of", F32ToInt64, func(v float32) int64 { return truncated(v, 63) }, anyFloat)
		converts(t, "int32 of", F32ToInt32, func(v float32) int32 { return int32(truncated(v, 31)) }, anyFloat)
		converts(t, "bool of", F32ToBool, func(v float32) uint8 {
			if v == 0 {
				return 0
			}
			return 1
		}, anyFloat)
		converts(t, "f64 of", F32ToF64, func(v float32) float64 { return float64(v) }, anyFloat)
		converts(t, "of f64", F64ToF32, func(v float64) float32 { return float32(v) }, func(r *rand.Rand) float64 {
			return float64(anyFloat(r)) * (1 + r.Float64())
		})
	})
}

// truncated rounds towards zero; the smallest integer is for what does not fit.
func truncated(v float32, bits int) int64 {
	x := math.Trunc(float64(v))
	limit := math.Ldexp(1, bits)
	if x != x || x < -limit || x >= limit {
		return math.MinInt64 >> (63 - bits)
	}
	return int64(x)
}

func TestIntegerConversions(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		converts(t, "of int64", Int64ToF32, func(v int64) float32 { return float32(v) }, integerBits)
		converts(t, "of int32", Int32ToF32, func(v int32) float32 { return float32(v) },
			func(r *rand.Rand) int32 { return int32(integerBits(r)) })
		converts(t, "of uint8", Uint8ToF32, func(v uint8) float32 { return float32(v) },
			func(r *rand.Rand) uint8 { return uint8(r.Uint32()) })
		converts(t, "of int8", Int8ToF32, func(v int8) float32 { return float32(v) },
			func(r *rand.Rand) int8 { return int8(r.Uint32()) })
		converts(t, "of bool", BoolToF32, func(v uint8) float32 { return float32(min(v, 1)) },
			func(r *rand.Rand) uint8 { return uint8(r.Uint32()) * uint8(r.IntN(2)) })
		converts(t, "int32 to int64", Int32ToInt64, func(v int32) int64 { return int64(v) },
			func(r *rand.Rand) int32 { return int32(integerBits(r)) })
		converts(t, "int64 to int32", Int64ToInt32, func(v int64) int32 { return int32(v) }, integerBits)
	})
}

// TestHalfRoundTrip goes through all numbers of both formats.
func TestHalfRoundTrip(t *testing.T) {
	kerneltest.Levels(t, func(t *testing.T) {
		all := make([]uint16, 1<<16)
		for i := range all {
			all[i] = uint16(i)
		}
		floats, back := make([]float32, len(all)), make([]uint16, len(all))
		for name, pair := range map[string]struct {
			to       func([]float32, []uint16)
			from     func([]uint16, []float32)
			infinity uint16
			quiet    uint16
		}{"f16": {F16ToF32, F32ToF16, 0x7c00, 0x200}, "bf16": {BF16ToF32, F32ToBF16, 0x7f80, 0x40}} {
			pair.to(floats, all)
			pair.from(back, floats)
			for i, h := range all {
				if h&0x7fff > pair.infinity {
					h |= pair.quiet
				}
				if back[i] != h {
					t.Fatalf("%s %#x comes back as %#x", name, all[i], back[i])
				}
			}
		}
	})
}

func FuzzConvert(f *testing.F) {
	for _, v := range kerneltest.Specials {
		f.Add(math.Float32bits(v), uint8(3))
	}
	f.Fuzz(func(t *testing.T, bits uint32, n uint8) {
		src := make([]float32, int(n)%70)
		for i := range src {
			src[i] = math.Float32frombits(bits + uint32(i)*0x1fff)
		}
		half, brain := make([]uint16, len(src)), make([]uint16, len(src))
		long, wantLong := make([]int64, len(src)), make([]int64, len(src))
		want := make([]uint16, len(src))
		F32ToF16(half, src)
		f32ToF16Generic(want, src)
		kerneltest.Same(t, "f16", half, want)
		F32ToBF16(brain, src)
		f32ToBF16Generic(want, src)
		kerneltest.Same(t, "bf16", brain, want)
		F32ToInt64(long, src)
		f32ToInt64Generic(wantLong, src)
		kerneltest.Same(t, "int64", long, wantLong)
	})
}

func BenchmarkConvert(b *testing.B) {
	kerneltest.BenchmarkLevels(b, func(b *testing.B) {
		const n = 64 * 256
		floats, words := make([]float32, n), make([]uint16, n)
		for name, do := range map[string]func(){
			"f32-f16":  func() { F32ToF16(words, floats) },
			"f16-f32":  func() { F16ToF32(floats, words) },
			"f32-bf16": func() { F32ToBF16(words, floats) },
		} {
			b.Run(fmt.Sprintf("op=%s/n=%d", name, n), func(b *testing.B) {
				for b.Loop() {
					do()
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/element")
			})
		}
	})
}
