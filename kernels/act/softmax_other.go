// SPDX-License-Identifier: Apache-2.0

//go:build purego || !(amd64 || arm64)

package act

func softmax(dst, src []float32, cols int) {
	softmaxGeneric(dst, src, cols)
}

func logSoftmax(dst, src []float32, cols int) {
	logSoftmaxGeneric(dst, src, cols)
}
