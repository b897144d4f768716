// SPDX-License-Identifier: Apache-2.0

package act

import "math"

func reluGeneric(dst, src []float32) {
	for i, x := range src {
		if x < 0 {
			x = 0
		}
		dst[i] = x
	}
}

func leakyReluGeneric(dst, src []float32, alpha float32) {
	for i, x := range src {
		if x < 0 {
			x *= alpha
		}
		dst[i] = x
	}
}

func thresholdedReluGeneric(dst, src []float32, alpha float32) {
	for i, x := range src {
		if x <= alpha {
			x = 0
		}
		dst[i] = x
	}
}

// expm1BelowGeneric is above*x where x > 0 and below*(exp(inner*x) - 1) elsewhere: Elu,
// Selu and Celu in one.
func expm1BelowGeneric(dst, src []float32, inner, below, above float32) {
	for i, x := range src {
		if x > 0 {
			dst[i] = above * x
			continue
		}
		dst[i] = float32(float64(below) * math.Expm1(float64(inner)*float64(x)))
	}
}

func celuGeneric(dst, src []float32, alpha float32) {
	for i, x := range src {
		if !(x > 0) {
			x = float32(float64(alpha) * math.Expm1(float64(x)/float64(alpha)))
		}
		dst[i] = x
	}
}

func hardSigmoidGeneric(dst, src []float32, alpha, beta float32) {
	for i, x := range src {
		dst[i] = float32(min(max(float64(alpha)*float64(x)+float64(beta), 0), 1))
	}
}

func hardSwishGeneric(dst, src []float32) {
	for i, x := range src {
		dst[i] = float32(float64(x) * min(max(float64(x)/6+0.5, 0), 1))
	}
}

func clipGeneric(dst, src []float32, low, high float32) {
	for i, x := range src {
		if x < low {
			x = low
		}
		if x > high {
			x = high
		}
		dst[i] = x
	}
}

func softsignGeneric(dst, src []float32) {
	for i, x := range src {
		dst[i] = float32(float64(x) / (1 + math.Abs(float64(x))))
	}
}
