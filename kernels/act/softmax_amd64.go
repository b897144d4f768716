// SPDX-License-Identifier: Apache-2.0

//go:build !purego

package act

import "github.com/millrace-ml/millrace/kernels/cpu"

func softmax(dst, src []float32, cols int) {
	switch {
	case cpu.Active() >= cpu.AVX512:
		softmaxAVX512(dst, src, cols)
	case cpu.Active() >= cpu.AVX2:
		softmaxAVX2(dst, src, cols)
	default:
		softmaxGeneric(dst, src, cols)
	}
}

func logSoftmax(dst, src []float32, cols int) {
	switch {
	case cpu.Active() >= cpu.AVX512:
		logSoftmaxAVX512(dst, src, cols)
	case cpu.Active() >= cpu.AVX2:
		logSoftmaxAVX2(dst, src, cols)
	default:
		logSoftmaxGeneric(dst, src, cols)
	}
}
