// SPDX-License-Identifier: Apache-2.0

package quant

import "math"

// quantizeGeneric writes unsigned values with zero point zero, each flipped by flip.
func quantizeGeneric(dst []uint8, src []float32, scale float32, zero, flip uint8) {
	lo, hi := -float32(zero), 255-float32(zero)
	for i, x := range src {
		dst[i] = roundByte(x/scale, lo, hi, zero) ^ flip
	}
}

// roundByte rounds y, clamped between lo and hi, and adds zero; the sum fits a byte.
func roundByte(y, lo, hi float32, zero uint8) uint8 {
	return uint8(int32(math.RoundToEven(float64(clampOrLow(y, lo, hi)))) + int32(zero))
}

// clampOrLow is y between lo and hi, and lo where y is NaN.
func clampOrLow(y, lo, hi float32) float32 {
	if !(y > lo) {
		y = lo
	}
	if y > hi {
		y = hi
	}
	return y
}

func rangeGeneric(src []float32) (lo, hi float32) {
	lo, hi = float32(math.Inf(1)), float32(math.Inf(-1))
	for _, x := range src {
		if x < lo {
			lo = x
		}
		if x > hi {
			hi = x
		}
	}
	return lo, hi
}
