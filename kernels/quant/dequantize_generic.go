// SPDX-License-Identifier: Apache-2.0

package quant

// dequantizeGeneric reads bytes that flip makes unsigned, with zero point zero.
func dequantizeGeneric(dst []float32, src []uint8, scale float32, zero, flip uint8) {
	for i, q := range src {
		dst[i] = float32(int32(q^flip)-int32(zero)) * scale
	}
}

func scale32Generic(dst []float32, src []int32, scale float32) {
	for i, x := range src {
		dst[i] = float32(x) * scale
	}
}

func scaleColumnsGeneric(dst []float32, src []int32, scale []float32) {
	for i, x := range src {
		dst[i] = float32(x) * scale[i]
	}
}
