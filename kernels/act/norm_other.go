// SPDX-License-Identifier: Apache-2.0

//go:build purego || !(amd64 || arm64)

package act

func layerNorm(dst, src []float32, cols int, gamma, beta []float32, epsilon float32) {
	layerNormGeneric(dst, src, cols, gamma, beta, epsilon)
}

func rmsNorm(dst, src []float32, cols int, gamma []float32, epsilon float32) {
	rmsNormGeneric(dst, src, cols, gamma, epsilon)
}
