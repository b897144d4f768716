// SPDX-License-Identifier: Apache-2.0

//go:build !purego

package quant

import "github.com/millrace-ml/millrace/kernels/cpu"

// Elements that the kernels of each width take at least.
const (
	blockAVX2   = 32
	blockAVX512 = 64
)

// Between these scales nothing in the kernels overflows or becomes denormal.
const (
	scaleLow  = 0x1p-60
	scaleHigh = 0x1p60
)

// quantize multiplies by the reciprocal of the scale in two parts, 1/scale rounded to a
// float and the rest of it, which takes a third of a division's time. That the rounded
// result is always the same as with a division was checked for every significand of
// the scale with all floats near a tie between two integers, which is where they could
// differ: elsewhere the error of the product is too small by five orders of magnitude.
func quantize(dst []uint8, src []float32, scale float32, zero, flip uint8) {
	if cpu.Active() < cpu.AVX2 || !(scale >= scaleLow && scale <= scaleHigh) {
		quantizeGeneric(dst, src, scale, zero, flip)
		return
	}
	n := len(src)
	// More than all steps of a byte and few enough to be exact.
	bound := scale * 1024
	inverse := 1 / scale
	rest := float32(1/float64(scale) - float64(inverse))
	zeros, flips := uint32(zero)*0x00010001, uint32(flip)*0x01010101
	switch {
	case n == 0:
	case n < blockAVX2:
		var in [blockAVX2]float32
		var out [blockAVX2]uint8
		copy(in[:], src)
		quantizeAVX2(&out[0], &in[0], blockAVX2, bound, inverse, rest, zeros, flips)
		copy(dst, out[:n])
	case n < blockAVX512 || cpu.Active() < cpu.AVX512:
		quantizeAVX2(&dst[0], &src[0], n, bound, inverse, rest, zeros, flips)
	default:
		quantizeAVX512(&dst[0], &src[0], n, bound, inverse, rest, zeros, flips)
	}
}

func valueRange(src []float32) (lo, hi float32) {
	n := len(src)
	if n < blockAVX2 || cpu.Active() < cpu.AVX2 {
		return rangeGeneric(src)
	}
	var lanes [32]float32 // all of the lowest, then all of the highest
	width := 8
	if n >= blockAVX512 && cpu.Active() >= cpu.AVX512 {
		width = 16
		rangeAVX512(&src[0], n, &lanes[0])
	} else {
		rangeAVX2(&src[0], n, &lanes[0])
	}
	lo, hi = lanes[0], lanes[width]
	for i := 1; i < width; i++ {
		lo, hi = min(lo, lanes[i]), max(hi, lanes[width+i])
	}
	return lo, hi
}
