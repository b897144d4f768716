// SPDX-License-Identifier: Apache-2.0

package main

import "math"

// The two 16-bit floating-point formats. Conversions to them round to the nearest
// value, ties to the even one; what is too large becomes infinite, and NaN stays NaN.

// bf16Bits rounds v to bfloat16: float32 without its low 16 bits.
func bf16Bits(v float32) uint16 {
	bits := math.Float32bits(v)
	if v != v {
		return uint16(bits>>16) | 1<<6 // keep it a NaN when the low bits go
	}
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}

func bf16Value(bits uint16) float32 { return math.Float32frombits(uint32(bits) << 16) }

// fp16Bits rounds v to IEEE half precision: 1 sign, 5 exponent, 10 fraction bits.
func fp16Bits(v float32) uint16 {
	sign := uint16(math.Float32bits(v) >> 16 & 0x8000)
	size := math.Abs(float64(v))
	switch {
	case v != v:
		return sign | 0x7e00
	case size >= 65520: // halfway between the largest finite value and the next
		return sign | 0x7c00
	case size < 0x1p-14: // subnormal: a multiple of 2^-24
		return sign | uint16(math.RoundToEven(size*0x1p24))
	}
	// size = fraction * 2^exponent with 0.5 <= fraction < 1. Rounding up to 2048 eleven-bit
	// units carries into the exponent, which the addition below does by itself.
	fraction, exponent := math.Frexp(size)
	units := uint16(math.RoundToEven(fraction * 0x1p11))
	return sign | (uint16(exponent+13)<<10 + units)
}
