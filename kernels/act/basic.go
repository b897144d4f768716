// SPDX-License-Identifier: Apache-2.0

package act

import "math"

// Sqrt is the square root, correctly rounded; NaN below 0.
func Sqrt(dst, src []float32) { sqrt(fit(dst, len(src)), src) }

// Rsqrt is 1 / √x, within 1.2e-7.
func Rsqrt(dst, src []float32) { rsqrt(fit(dst, len(src)), src) }

// Reciprocal is 1 / x, correctly rounded.
func Reciprocal(dst, src []float32) { reciprocal(fit(dst, len(src)), src) }

// Square is x * x.
func Square(dst, src []float32) { square(fit(dst, len(src)), src) }

// Abs is |x|.
func Abs(dst, src []float32) { abs(fit(dst, len(src)), src) }

// Neg is -x.
func Neg(dst, src []float32) { neg(fit(dst, len(src)), src) }

// Sign is -1, 0 or 1; NaN stays NaN.
func Sign(dst, src []float32) { sign(fit(dst, len(src)), src) }

// Floor is the next whole number down.
func Floor(dst, src []float32) { floor(fit(dst, len(src)), src) }

// Ceil is the next whole number up.
func Ceil(dst, src []float32) { ceil(fit(dst, len(src)), src) }

// Round is the nearest whole number, the even one of two.
func Round(dst, src []float32) { round(fit(dst, len(src)), src) }

// Pow is x to the power of exponent, within 2e-7. The powers 1, 2, 3 and -1 are vector
// code, all others plain Go. Special cases are those of math.Pow.
func Pow(dst, src []float32, exponent float32) {
	dst = fit(dst, len(src))
	switch exponent {
	case 1:
		copy(dst, src)
	case 2:
		square(dst, src)
	case 3:
		cube(dst, src)
	case -1:
		reciprocal(dst, src)
	default:
		powGeneric(dst, src, exponent)
	}
}

// powGeneric has no assembly: graphs use the powers above.
func powGeneric(dst, src []float32, exponent float32) {
	for i, x := range src {
		dst[i] = float32(math.Pow(float64(x), float64(exponent)))
	}
}
