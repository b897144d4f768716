// SPDX-License-Identifier: Apache-2.0

//go:build !purego

package act

import "github.com/millrace-ml/millrace/kernels/cpu"

func layerNorm(dst, src []float32, cols int, gamma, beta []float32, epsilon float32) {
	switch {
	case cpu.Active() >= cpu.AVX512:
		layerNormAVX512(dst, src, cols, gamma, beta, epsilon)
	case cpu.Active() >= cpu.AVX2:
		layerNormAVX2(dst, src, cols, gamma, beta, epsilon)
	default:
		layerNormGeneric(dst, src, cols, gamma, beta, epsilon)
	}
}

func rmsNorm(dst, src []float32, cols int, gamma []float32, epsilon float32) {
	switch {
	case cpu.Active() >= cpu.AVX512:
		rmsNormAVX512(dst, src, cols, gamma, epsilon)
	case cpu.Active() >= cpu.AVX2:
		rmsNormAVX2(dst, src, cols, gamma, epsilon)
	default:
		rmsNormGeneric(dst, src, cols, gamma, epsilon)
	}
}
