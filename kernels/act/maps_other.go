// SPDX-License-Identifier: Apache-2.0

//go:build purego || !(amd64 || arm64)

package act

func exp(dst, src []float32) {
	expGeneric(dst, src)
}

func log(dst, src []float32) {
	logGeneric(dst, src)
}

func sigmoid(dst, src []float32) {
	sigmoidGeneric(dst, src)
}

func tanh(dst, src []float32) {
	tanhGeneric(dst, src)
}

func silu(dst, src []float32) {
	siluGeneric(dst, src)
}

func softplus(dst, src []float32) {
	softplusGeneric(dst, src)
}

func mish(dst, src []float32) {
	mishGeneric(dst, src)
}

func erf(dst, src []float32) {
	erfGeneric(dst, src)
}

func gelu(dst, src []float32) {
	geluGeneric(dst, src)
}

func geluTanh(dst, src []float32) {
	geluTanhGeneric(dst, src)
}

func relu(dst, src []float32) {
	reluGeneric(dst, src)
}

func hardSwish(dst, src []float32) {
	hardSwishGeneric(dst, src)
}

func softsign(dst, src []float32) {
	softsignGeneric(dst, src)
}

func sqrt(dst, src []float32) {
	sqrtGeneric(dst, src)
}

func rsqrt(dst, src []float32) {
	rsqrtGeneric(dst, src)
}

func reciprocal(dst, src []float32) {
	reciprocalGeneric(dst, src)
}

func square(dst, src []float32) {
	squareGeneric(dst, src)
}

func cube(dst, src []float32) {
	cubeGeneric(dst, src)
}

func abs(dst, src []float32) {
	absGeneric(dst, src)
}

func neg(dst, src []float32) {
	negGeneric(dst, src)
}

func sign(dst, src []float32) {
	signGeneric(dst, src)
}

func floor(dst, src []float32) {
	floorGeneric(dst, src)
}

func ceil(dst, src []float32) {
	ceilGeneric(dst, src)
}

func round(dst, src []float32) {
	roundGeneric(dst, src)
}

func leakyRelu(dst, src []float32, alpha float32) {
	leakyReluGeneric(dst, src, alpha)
}

func thresholdedRelu(dst, src []float32, alpha float32) {
	thresholdedReluGeneric(dst, src, alpha)
}

func hardSigmoid(dst, src []float32, alpha, beta float32) {
	hardSigmoidGeneric(dst, src, alpha, beta)
}

func clip(dst, src []float32, low, high float32) {
	clipGeneric(dst, src, low, high)
}

func expm1Below(dst, src []float32, inner, below, above float32) {
	expm1BelowGeneric(dst, src, inner, below, above)
}
