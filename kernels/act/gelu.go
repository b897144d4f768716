// SPDX-License-Identifier: Apache-2.0

package act

// Erf is the error function, within 2.5e-7 (near 0 too).
func Erf(dst, src []float32) { erf(fit(dst, len(src)), src) }

// Gelu is x * Phi(x) with Phi the normal distribution, which is x * (1 + erf(x/√2)) / 2,
// within 3e-7. The bound holds in the negative tail too, where that second form loses
// all digits.
func Gelu(dst, src []float32) { gelu(fit(dst, len(src)), src) }

// GeluTanh is x * (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2, the approximation of Gelu
// by the hyperbolic tangent, within 3e-7 * (1 + |x|³): rounding the argument of an
// exponential costs as many ulp as the argument is large. It matters in the negative
// tail only, where the value itself vanishes.
func GeluTanh(dst, src []float32) { geluTanh(fit(dst, len(src)), src) }
