// SPDX-License-Identifier: Apache-2.0

package act

import "math"

func erfGeneric(dst, src []float32) {
	for i, x := range src {
		dst[i] = float32(math.Erf(float64(x)))
	}
}

func geluGeneric(dst, src []float32) {
	for i, x := range src {
		dst[i] = float32(float64(x) * 0.5 * math.Erfc(float64(x)*-math.Sqrt2/2))
	}
}

// geluTanhGeneric has (1 + tanh(u)) / 2 as the sigmoid of 2u, which keeps its digits
// where tanh is near -1.
func geluTanhGeneric(dst, src []float32) {
	scale := 2 * math.Sqrt(2/math.Pi)
	for i, x := range src {
		v := float64(x)
		dst[i] = float32(v * logistic(scale*v*(1+0.044715*v*v)))
	}
}
