// SPDX-License-Identifier: Apache-2.0

//go:build !purego

package act

import "github.com/millrace-ml/millrace/kernels/cpu"

func softmax(dst, src []float32, cols int) {
	if cpu.Active() < cpu.NEON {
		softmaxGeneric(dst, src, cols)
		return
	}
	softmaxNEON(dst, src, cols)
}

func logSoftmax(dst, src []float32, cols int) {
	if cpu.Active() < cpu.NEON {
		logSoftmaxGeneric(dst, src, cols)
		return
	}
	logSoftmaxNEON(dst, src, cols)
}
