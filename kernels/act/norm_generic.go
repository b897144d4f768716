// SPDX-License-Identifier: Apache-2.0

package act

import "math"

// layerNormGeneric needs len(src) to be a multiple of cols.
func layerNormGeneric(dst, src []float32, cols int, gamma, beta []float32, epsilon float32) {
	for ; len(src) > 0; dst, src = dst[cols:], src[cols:] {
		var sum, squares float64
		for _, x := range src[:cols] {
			sum += float64(x)
		}
		mean := sum / float64(cols)
		for _, x := range src[:cols] {
			squares += (float64(x) - mean) * (float64(x) - mean)
		}
		scale := 1 / math.Sqrt(squares/float64(cols)+float64(epsilon))
		for i, x := range src[:cols] {
			y := (float64(x) - mean) * scale
			if gamma != nil {
				y *= float64(gamma[i])
			}
			if beta != nil {
				y += float64(beta[i])
			}
			dst[i] = float32(y)
		}
	}
}

func rmsNormGeneric(dst, src []float32, cols int, gamma []float32, epsilon float32) {
	for ; len(src) > 0; dst, src = dst[cols:], src[cols:] {
		var squares float64
		for _, x := range src[:cols] {
			squares += float64(x) * float64(x)
		}
		scale := 1 / math.Sqrt(squares/float64(cols)+float64(epsilon))
		for i, x := range src[:cols] {
			y := float64(x) * scale
			if gamma != nil {
				y *= float64(gamma[i])
			}
			dst[i] = float32(y)
		}
	}
}
