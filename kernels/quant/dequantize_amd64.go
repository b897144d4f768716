// SPDX-License-Identifier: Apache-2.0

//go:build !purego

package quant

import "github.com/millrace-ml/millrace/kernels/cpu"

func dequantize(dst []float32, src []uint8, scale float32, zero, flip uint8) {
	switch n := len(src); {
	case n >= 32 && cpu.Active() >= cpu.AVX512:
		dequantizeAVX512(&dst[0], &src[0], n, scale, uint32(zero), uint32(flip))
	case n >= 16 && cpu.Active() >= cpu.AVX2:
		dequantizeAVX2(&dst[0], &src[0], n, scale, uint32(zero), uint32(flip))
	default:
		dequantizeGeneric(dst, src, scale, zero, flip)
	}
}

func scale32(dst []float32, src []int32, scale float32) {
	switch n := len(src); {
	case n >= 32 && cpu.Active() >= cpu.AVX512:
		scale32AVX512(&dst[0], &src[0], n, scale)
	case n >= 16 && cpu.Active() >= cpu.AVX2:
		scale32AVX2(&dst[0], &src[0], n, scale)
	default:
		scale32Generic(dst, src, scale)
	}
}

func scaleColumns(dst []float32, src []int32, scale []float32) {
	switch n := len(src); {
	case n >= 16 && cpu.Active() >= cpu.AVX512:
		scaleColumnsAVX512(&dst[0], &src[0], &scale[0], n)
	case n >= 8 && cpu.Active() >= cpu.AVX2:
		scaleColumnsAVX2(&dst[0], &src[0], &scale[0], n)
	default:
		scaleColumnsGeneric(dst, src, scale)
	}
}
