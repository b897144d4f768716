// SPDX-License-Identifier: Apache-2.0

package act

// Relu is max(x, 0).
func Relu(dst, src []float32) { relu(fit(dst, len(src)), src) }

// LeakyRelu is x, times alpha where x is negative.
func LeakyRelu(dst, src []float32, alpha float32) { leakyRelu(fit(dst, len(src)), src, alpha) }

// ThresholdedRelu is x where x > alpha, and 0 elsewhere. NaN stays NaN.
func ThresholdedRelu(dst, src []float32, alpha float32) {
	thresholdedRelu(fit(dst, len(src)), src, alpha)
}

// Elu is x where x > 0 and alpha * (exp(x) - 1) elsewhere, within 3e-7 (near 0 too).
func Elu(dst, src []float32, alpha float32) {
	expm1Below(fit(dst, len(src)), src, 1, alpha, 1)
}

// Selu is gamma * Elu, within 3e-7. With alpha 1.67326319 and gamma 1.05070102 a deep network
// keeps mean and variance (Klambauer et al., 2017).
func Selu(dst, src []float32, alpha, gamma float32) {
	expm1Below(fit(dst, len(src)), src, 1, alpha*gamma, gamma)
}

// Celu is x where x > 0 and alpha * (exp(x/alpha) - 1) elsewhere, within 3e-7. alpha
// is meant to be positive: the formula is taken in plain Go where it is not, or where
// 1/alpha is beyond 1e30; alpha 0 gives NaN below 0.
func Celu(dst, src []float32, alpha float32) {
	dst = fit(dst, len(src))
	if inner := 1 / alpha; inner > 0 && inner < maxInner {
		expm1Below(dst, src, inner, alpha, 1)
		return
	}
	celuGeneric(dst, src, alpha)
}

// maxInner bounds the scale of exp's argument so that it stays a normal number.
const maxInner = 1e30

// HardSigmoid is alpha*x + beta, cut to [0, 1] and rounded once.
func HardSigmoid(dst, src []float32, alpha, beta float32) {
	hardSigmoid(fit(dst, len(src)), src, alpha, beta)
}

// HardSwish is x times HardSigmoid with alpha 1/6 and beta 1/2, within 3e-7.
func HardSwish(dst, src []float32) { hardSwish(fit(dst, len(src)), src) }

// Clip is min(max(x, low), high): high wins where it is below low. NaN stays NaN.
func Clip(dst, src []float32, low, high float32) { clip(fit(dst, len(src)), src, low, high) }

// Softsign is x / (1 + |x|), within 2e-7; NaN of infinities.
func Softsign(dst, src []float32) { softsign(fit(dst, len(src)), src) }
