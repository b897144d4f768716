// SPDX-License-Identifier: Apache-2.0

//go:build !purego

package act

import "github.com/millrace-ml/millrace/kernels/cpu"

func layerNorm(dst, src []float32, cols int, gamma, beta []float32, epsilon float32) {
	if cpu.Active() < cpu.NEON {
		layerNormGeneric(dst, src, cols, gamma, beta, epsilon)
		return
	}
	layerNormNEON(dst, src, cols, gamma, beta, epsilon)
}

func rmsNorm(dst, src []float32, cols int, gamma []float32, epsilon float32) {
	if cpu.Active() < cpu.NEON {
		rmsNormGeneric(dst, src, cols, gamma, epsilon)
		return
	}
	rmsNormNEON(dst, src, cols, gamma, epsilon)
}
