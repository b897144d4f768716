// SPDX-License-Identifier: Apache-2.0

//go:build !purego

package quant

import "github.com/millrace-ml/millrace/kernels/cpu"

// block is what the kernels take multiples of; plain Go does the rest.
const block = 16

// whole is how many of n elements the kernels take.
func whole(n int) int {
	if cpu.Active() < cpu.NEON {
		return 0
	}
	return n / block * block
}

// Between these scales nothing in the kernel overflows or becomes denormal.
const (
	scaleLow  = 0x1p-60
	scaleHigh = 0x1p60
)

// quantize multiplies by the reciprocal of the scale in two parts, 1/scale rounded to a
// float and the rest of it, as the kernels of amd64 do; the rounded result is always
// the same as with a division.
func quantize(dst []uint8, src []float32, scale float32, zero, flip uint8) {
	done := 0
	if scale >= scaleLow && scale <= scaleHigh {
		done = whole(len(src))
	}
	if done > 0 {
		// More than all steps of a byte and few enough to be exact.
		bound, inverse := scale*1024, 1/scale
		rest := float32(1/float64(scale) - float64(inverse))
		quantizeNEON(&dst[0], &src[0], done, bound, inverse, rest, halves(zero), quarters(flip))
	}
	quantizeGeneric(dst[done:], src[done:], scale, zero, flip)
}

// halves and quarters are words of equal parts.
func halves(x uint8) uint32   { return uint32(x) * 0x00010001 }
func quarters(x uint8) uint32 { return uint32(x) * 0x01010101 }

func valueRange(src []float32) (lo, hi float32) {
	done := whole(len(src))
	lo, hi = rangeGeneric(src[done:])
	if done == 0 {
		return lo, hi
	}
	var lanes [8]float32 // all of the lowest, then all of the highest
	rangeNEON(&src[0], done, &lanes[0])
	for i := range 4 {
		lo, hi = min(lo, lanes[i]), max(hi, lanes[4+i])
	}
	return lo, hi
}

func dequantize(dst []float32, src []uint8, scale float32, zero, flip uint8) {
	done := whole(len(src))
	if done > 0 {
		dequantizeNEON(&dst[0], &src[0], done, scale, halves(zero), quarters(flip))
	}
	dequantizeGeneric(dst[done:], src[done:], scale, zero, flip)
}

func scale32(dst []float32, src []int32, scale float32) {
	if n := len(src); n >= block && cpu.Active() >= cpu.NEON {
		scale32NEON(&dst[0], &src[0], n, scale)
		return
	}
	scale32Generic(dst, src, scale)
}

func scaleColumns(dst []float32, src []int32, scale []float32) {
	if n := len(src); n >= block && cpu.Active() >= cpu.NEON {
		scaleColumnsNEON(&dst[0], &src[0], &scale[0], n)
		return
	}
	scaleColumnsGeneric(dst, src, scale)
}

// flipBytes copies src with each byte flipped.
func flipBytes(dst, src []uint8, flip uint8) {
	done := whole(len(src))
	if done > 0 {
		flipNEON(&dst[:len(src)][0], &src[0], done, quarters(flip))
	}
	for i, x := range src[done:] {
		dst[done+i] = x ^ flip
	}
}

// sumSigned adds up bytes as signed ones.
func sumSigned(x []uint8) (sum int32) {
	done := whole(len(x))
	if done > 0 {
		sum = sumNEON(&x[0], done)
	}
	for _, v := range x[done:] {
		sum += int32(int8(v))
	}
	return sum
}
