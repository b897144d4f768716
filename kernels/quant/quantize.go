// SPDX-License-Identifier: Apache-2.0

package quant

import (
	"math"
	"unsafe"
)

// QuantizeU8 is ONNX QuantizeLinear: dst[i] = saturate(round(src[i]/scale) + zero), with
// the quotient rounded to a float first, as the standard's division does. NaN gives 0.
// dst must be at least as long as src. Any scale is allowed; the standard's are
// positive.
func QuantizeU8(dst []uint8, src []float32, scale float32, zero uint8) {
	quantize(dst[:len(src)], src, scale, zero, 0)
}

// QuantizeS8 is QuantizeU8 for signed integers. NaN gives -128.
func QuantizeS8(dst []int8, src []float32, scale float32, zero int8) {
	quantize(unsigned(dst)[:len(src)], src, scale, uint8(zero)^0x80, 0x80)
}

// DynamicParams is the scale and zero point of ONNX DynamicQuantizeLinear for values
// between lo and hi: the range is widened to include 0, its width is 255 steps, and 0
// falls on a step. A range of only 0 gives scale 1, as ONNX Runtime has it.
func DynamicParams(lo, hi float32) (scale float32, zero uint8) {
	lo, hi = min(lo, 0), max(hi, 0)
	if lo == hi {
		return 1, 0
	}
	scale = (hi - lo) / 255
	at := -lo / scale
	if !(at < 255) { // also where both are infinite
		at = 255
	}
	return scale, uint8(math.RoundToEven(float64(at)))
}

// DynamicQuantize is ONNX DynamicQuantizeLinear: dst is src quantised with the scale and
// zero point that its own range gives. NaN counts as absent from the range.
func DynamicQuantize(dst []uint8, src []float32) (scale float32, zero uint8) {
	scale, zero = DynamicParams(Range(src))
	QuantizeU8(dst, src, scale, zero)
	return scale, zero
}

// Range is the lowest and highest of src. NaN is skipped; where nothing is left the
// result is +Inf, -Inf. A zero is always +0.
func Range(src []float32) (lo, hi float32) {
	lo, hi = valueRange(src)
	// Of two zeros either may have come out, depending on the order of comparison.
	if lo == 0 {
		lo = 0
	}
	if hi == 0 {
		hi = 0
	}
	return lo, hi
}

// unsigned is b seen as its bit patterns.
func unsigned[T Byte](b []T) []uint8 {
	return unsafe.Slice((*uint8)(unsafe.Pointer(unsafe.SliceData(b))), len(b))
}
