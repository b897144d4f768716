// SPDX-License-Identifier: Apache-2.0

package act

import "math"

// The references are the formulas in float64, each in the form that loses nothing to
// cancellation or overflow.

func expGeneric(dst, src []float32) {
	for i, x := range src {
		dst[i] = float32(math.Exp(float64(x)))
	}
}

func logGeneric(dst, src []float32) {
	for i, x := range src {
		dst[i] = float32(math.Log(float64(x)))
	}
}

func sigmoidGeneric(dst, src []float32) {
	for i, x := range src {
		dst[i] = float32(logistic(float64(x)))
	}
}

// logistic needs no case for large negative x: float64 has room for exp(104).
func logistic(x float64) float64 { return 1 / (1 + math.Exp(-x)) }

func tanhGeneric(dst, src []float32) {
	for i, x := range src {
		dst[i] = float32(math.Tanh(float64(x)))
	}
}

func siluGeneric(dst, src []float32) {
	for i, x := range src {
		dst[i] = float32(float64(x) * logistic(float64(x)))
	}
}

func softplusGeneric(dst, src []float32) {
	for i, x := range src {
		dst[i] = float32(logOnePlusExp(float64(x)))
	}
}

func logOnePlusExp(x float64) float64 {
	return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x)))
}

func mishGeneric(dst, src []float32) {
	for i, x := range src {
		dst[i] = float32(float64(x) * math.Tanh(logOnePlusExp(float64(x))))
	}
}
