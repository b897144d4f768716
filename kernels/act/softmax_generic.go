// SPDX-License-Identifier: Apache-2.0

package act

import "math"

// softmaxGeneric needs len(src) to be a multiple of cols.
func softmaxGeneric(dst, src []float32, cols int) {
	for ; len(src) > 0; dst, src = dst[cols:], src[cols:] {
		top, sum := expSum(src[:cols])
		for i, x := range src[:cols] {
			dst[i] = float32(math.Exp(float64(x)-top) / sum)
		}
	}
}

func logSoftmaxGeneric(dst, src []float32, cols int) {
	for ; len(src) > 0; dst, src = dst[cols:], src[cols:] {
		top, sum := expSum(src[:cols])
		sum = math.Log(sum)
		for i, x := range src[:cols] {
			dst[i] = float32(float64(x) - top - sum)
		}
	}
}

// expSum is the largest element of a row and the sum of exp(x - top).
func expSum(row []float32) (top, sum float64) {
	top = math.Inf(-1)
	for _, x := range row {
		top = max(top, float64(x))
	}
	for _, x := range row {
		sum += math.Exp(float64(x) - top)
	}
	return top, sum
}
