// SPDX-License-Identifier: Apache-2.0

//go:build purego || !(amd64 || arm64)

package quant

func quantize(dst []uint8, src []float32, scale float32, zero, flip uint8) {
	quantizeGeneric(dst, src, scale, zero, flip)
}

func valueRange(src []float32) (lo, hi float32) { return rangeGeneric(src) }

func dequantize(dst []float32, src []uint8, scale float32, zero, flip uint8) {
	dequantizeGeneric(dst, src, scale, zero, flip)
}

func scale32(dst []float32, src []int32, scale float32) { scale32Generic(dst, src, scale) }

func scaleColumns(dst []float32, src []int32, scale []float32) {
	scaleColumnsGeneric(dst, src, scale)
}
