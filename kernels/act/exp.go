// SPDX-License-Identifier: Apache-2.0

package act

// Exp is e to the power of each element, within 1.2e-7: +Inf above 88.73, 0 below -103.98.
func Exp(dst, src []float32) { exp(fit(dst, len(src)), src) }

// Log is the natural logarithm, within 1.2e-7: -Inf of 0, NaN below.
func Log(dst, src []float32) { log(fit(dst, len(src)), src) }

// Sigmoid is 1 / (1 + exp(-x)), within 2e-7.
func Sigmoid(dst, src []float32) { sigmoid(fit(dst, len(src)), src) }

// Tanh is the hyperbolic tangent, within 2e-7 (near 0 too).
func Tanh(dst, src []float32) { tanh(fit(dst, len(src)), src) }

// Silu is x * sigmoid(x), also called Swish, within 3e-7. Where exp(x) is denormal,
// below -87.3, it is within 1.3e-43.
func Silu(dst, src []float32) { silu(fit(dst, len(src)), src) }

// Softplus is log(1 + exp(x)), within 2e-7.
func Softplus(dst, src []float32) { softplus(fit(dst, len(src)), src) }

// Mish is x * tanh(log(1 + exp(x))), within 4e-7. Where exp(x) is denormal, below
// -87.3, it is within 1.3e-43.
func Mish(dst, src []float32) { mish(fit(dst, len(src)), src) }
