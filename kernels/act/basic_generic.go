// SPDX-License-Identifier: Apache-2.0

package act

import "math"

func sqrtGeneric(dst, src []float32) {
	for i, x := range src {
		dst[i] = float32(math.Sqrt(float64(x)))
	}
}

func rsqrtGeneric(dst, src []float32) {
	for i, x := range src {
		dst[i] = float32(1 / math.Sqrt(float64(x)))
	}
}

func reciprocalGeneric(dst, src []float32) {
	for i, x := range src {
		dst[i] = 1 / x
	}
}

func squareGeneric(dst, src []float32) {
	for i, x := range src {
		dst[i] = x * x
	}
}

func cubeGeneric(dst, src []float32) {
	for i, x := range src {
		dst[i] = float32(float64(x) * float64(x) * float64(x))
	}
}

func absGeneric(dst, src []float32) {
	for i, x := range src {
		dst[i] = math.Float32frombits(math.Float32bits(x) &^ (1 << 31))
	}
}

func negGeneric(dst, src []float32) {
	for i, x := range src {
		dst[i] = -x
	}
}

func signGeneric(dst, src []float32) {
	for i, x := range src {
		switch {
		case x > 0:
			x = 1
		case x < 0:
			x = -1
		}
		dst[i] = x
	}
}

func floorGeneric(dst, src []float32) {
	for i, x := range src {
		dst[i] = float32(math.Floor(float64(x)))
	}
}

func ceilGeneric(dst, src []float32) {
	for i, x := range src {
		dst[i] = float32(math.Ceil(float64(x)))
	}
}

func roundGeneric(dst, src []float32) {
	for i, x := range src {
		dst[i] = float32(math.RoundToEven(float64(x)))
	}
}
