// SPDX-License-Identifier: Apache-2.0

package quant

import "fmt"

// DequantizeU8 is ONNX DequantizeLinear: dst[i] = (src[i] - zero) * scale. dst must be at
// least as long as src.
func DequantizeU8(dst []float32, src []uint8, scale float32, zero uint8) {
	dequantize(dst[:len(src)], src, scale, zero, 0)
}

// DequantizeS8 is DequantizeU8 for signed integers.
func DequantizeS8(dst []float32, src []int8, scale float32, zero int8) {
	dequantize(dst[:len(src)], unsigned(src), scale, uint8(zero)^0x80, 0x80)
}

// Dequantize32 is dst[i] = src[i]*scale for 32-bit integers, whose zero point is 0. One
// scale is for all elements; more are one for each column of rows that lie one after
// the other, so that len(src) must be a multiple of len(scale).
func Dequantize32(dst []float32, src []int32, scale []float32) {
	dst = dst[:len(src)]
	if len(scale) == 1 {
		scale32(dst, src, scale[0])
		return
	}
	if len(src) == 0 {
		return
	}
	if len(scale) == 0 || len(src)%len(scale) != 0 {
		panic(fmt.Sprintf("quant: %d elements are no whole rows of %d scales", len(src), len(scale)))
	}
	for n := len(scale); len(src) > 0; dst, src = dst[n:], src[n:] {
		scaleColumns(dst[:n], src[:n], scale)
	}
}
