// SPDX-License-Identifier: Apache-2.0

//go:build !purego

package act

import "github.com/millrace-ml/millrace/kernels/cpu"

func exp(dst, src []float32) {
	switch {
	case cpu.Active() >= cpu.AVX512:
		expAVX512(dst, src)
	case cpu.Active() >= cpu.AVX2:
		expAVX2(dst, src)
	default:
		expGeneric(dst, src)
	}
}

func log(dst, src []float32) {
	switch {
	case cpu.Active() >= cpu.AVX512:
		logAVX512(dst, src)
	case cpu.Active() >= cpu.AVX2:
		logAVX2(dst, src)
	default:
		logGeneric(dst, src)
	}
}

func sigmoid(dst, src []float32) {
	switch {
	case cpu.Active() >= cpu.AVX512:
		sigmoidAVX512(dst, src)
	case cpu.Active() >= cpu.AVX2:
		sigmoidAVX2(dst, src)
	default:
		sigmoidGeneric(dst, src)
	}
}

func tanh(dst, src []float32) {
	switch {
	case cpu.Active() >= cpu.AVX512:
		tanhAVX512(dst, src)
	case cpu.Active() >= cpu.AVX2:
		tanhAVX2(dst, src)
	default:
		tanhGeneric(dst, src)
	}
}

func silu(dst, src []float32) {
	switch {
	case cpu.Active() >= cpu.AVX512:
		siluAVX512(dst, src)
	case cpu.Active() >= cpu.AVX2:
		siluAVX2(dst, src)
	default:
		siluGeneric(dst, src)
	}
}

func softplus(dst, src []float32) {
	switch {
	case cpu.Active() >= cpu.AVX512:
		softplusAVX512(dst, src)
	case cpu.Active() >= cpu.AVX2:
		softplusAVX2(dst, src)
	default:
		softplusGeneric(dst, src)
	}
}

func mish(dst, src []float32) {
	switch {
	case cpu.Active() >= cpu.AVX512:
		mishAVX512(dst, src)
	case cpu.Active() >= cpu.AVX2:
		mishAVX2(dst, src)
	default:
		mishGeneric(dst, src)
	}
}

func erf(dst, src []float32) {
	switch {
	case cpu.Active() >= cpu.AVX512:
		erfAVX512(dst, src)
	case cpu.Active() >= cpu.AVX2:
		erfAVX2(dst, src)
	default:
		erfGeneric(dst, src)
	}
}

func gelu(dst, src []float32) {
	switch {
	case cpu.Active() >= cpu.AVX512:
		geluAVX512(dst, src)
	case cpu.Active() >= cpu.AVX2:
		geluAVX2(dst, src)
	default:
		geluGeneric(dst, src)
	}
}

func geluTanh(dst, src []float32) {
	switch {
	case cpu.Active() >= cpu.AVX512:
		geluTanhAVX512(dst, src)
	case cpu.Active() >= cpu.AVX2:
		geluTanhAVX2(dst, src)
	default:
		geluTanhGeneric(dst, src)
	}
}

func relu(dst, src []float32) {
	switch {
	case cpu.Active() >= cpu.AVX512:
		reluAVX512(dst, src)
	case cpu.Active() >= cpu.AVX2:
		reluAVX2(dst, src)
	default:
		reluGeneric(dst, src)
	}
}

func hardSwish(dst, src []float32) {
	switch {
	case cpu.Active() >= cpu.AVX512:
		hardSwishAVX512(dst, src)
	case cpu.Active() >= cpu.AVX2:
		hardSwishAVX2(dst, src)
	default:
		hardSwishGeneric(dst, src)
	}
}

func softsign(dst, src []float32) {
	switch {
	case cpu.Active() >= cpu.AVX512:
		softsignAVX512(dst, src)
	case cpu.Active() >= cpu.AVX2:
		softsignAVX2(dst, src)
	default:
		softsignGeneric(dst, src)
	}
}

func sqrt(dst, src []float32) {
	switch {
	case cpu.Active() >= cpu.AVX512:
		sqrtAVX512(dst, src)
	case cpu.Active() >= cpu.AVX2:
		sqrtAVX2(dst, src)
	default:
		sqrtGeneric(dst, src)
	}
}

func rsqrt(dst, src []float32) {
	switch {
	case cpu.Active() >= cpu.AVX512:
		rsqrtAVX512(dst, src)
	case cpu.Active() >= cpu.AVX2:
		rsqrtAVX2(dst, src)
	default:
		rsqrtGeneric(dst, src)
	}
}

func reciprocal(dst, src []float32) {
	switch {
	case cpu.Active() >= cpu.AVX512:
		reciprocalAVX512(dst, src)
	case cpu.Active() >= cpu.AVX2:
		reciprocalAVX2(dst, src)
	default:
		reciprocalGeneric(dst, src)
	}
}

func square(dst, src []float32) {
	switch {
	case cpu.Active() >= cpu.AVX512:
		squareAVX512(dst, src)
	case cpu.Active() >= cpu.AVX2:
		squareAVX2(dst, src)
	default:
		squareGeneric(dst, src)
	}
}

func cube(dst, src []float32) {
	switch {
	case cpu.Active() >= cpu.AVX512:
		cubeAVX512(dst, src)
	case cpu.Active() >= cpu.AVX2:
		cubeAVX2(dst, src)
	default:
		cubeGeneric(dst, src)
	}
}

func abs(dst, src []float32) {
	switch {
	case cpu.Active() >= cpu.AVX512:
		absAVX512(dst, src)
	case cpu.Active() >= cpu.AVX2:
		absAVX2(dst, src)
	default:
		absGeneric(dst, src)
	}
}

func neg(dst, src []float32) {
	switch {
	case cpu.Active() >= cpu.AVX512:
		negAVX512(dst, src)
	case cpu.Active() >= cpu.AVX2:
		negAVX2(dst, src)
	default:
		negGeneric(dst, src)
	}
}

func sign(dst, src []float32) {
	switch {
	case cpu.Active() >= cpu.AVX512:
		signAVX512(dst, src)
	case cpu.Active() >= cpu.AVX2:
		signAVX2(dst, src)
	default:
		signGeneric(dst, src)
	}
}

func floor(dst, src []float32) {
	switch {
	case cpu.Active() >= cpu.AVX512:
		floorAVX512(dst, src)
	case cpu.Active() >= cpu.AVX2:
		floorAVX2(dst, src)
	default:
		floorGeneric(dst, src)
	}
}

func ceil(dst, src []float32) {
	switch {
	case cpu.Active() >= cpu.AVX512:
		ceilAVX512(dst, src)
	case cpu.Active() >= cpu.AVX2:
		ceilAVX2(dst, src)
	default:
		ceilGeneric(dst, src)
	}
}

func round(dst, src []float32) {
	switch {
	case cpu.Active() >= cpu.AVX512:
		roundAVX512(dst, src)
	case cpu.Active() >= cpu.AVX2:
		roundAVX2(dst, src)
	default:
		roundGeneric(dst, src)
	}
}

func leakyRelu(dst, src []float32, alpha float32) {
	switch {
	case cpu.Active() >= cpu.AVX512:
		leakyReluAVX512(dst, src, alpha)
	case cpu.Active() >= cpu.AVX2:
		leakyReluAVX2(dst, src, alpha)
	default:
		leakyReluGeneric(dst, src, alpha)
	}
}

func thresholdedRelu(dst, src []float32, alpha float32) {
	switch {
	case cpu.Active() >= cpu.AVX512:
		thresholdedReluAVX512(dst, src, alpha)
	case cpu.Active() >= cpu.AVX2:
		thresholdedReluAVX2(dst, src, alpha)
	default:
		thresholdedReluGeneric(dst, src, alpha)
	}
}

func hardSigmoid(dst, src []float32, alpha, beta float32) {
	switch {
	case cpu.Active() >= cpu.AVX512:
		hardSigmoidAVX512(dst, src, alpha, beta)
	case cpu.Active() >= cpu.AVX2:
		hardSigmoidAVX2(dst, src, alpha, beta)
	default:
		hardSigmoidGeneric(dst, src, alpha, beta)
	}
}

func clip(dst, src []float32, low, high float32) {
	switch {
	case cpu.Active() >= cpu.AVX512:
		clipAVX512(dst, src, low, high)
	case cpu.Active() >= cpu.AVX2:
		clipAVX2(dst, src, low, high)
	default:
		clipGeneric(dst, src, low, high)
	}
}

func expm1Below(dst, src []float32, inner, below, above float32) {
	switch {
	case cpu.Active() >= cpu.AVX512:
		expm1BelowAVX512(dst, src, inner, below, above)
	case cpu.Active() >= cpu.AVX2:
		expm1BelowAVX2(dst, src, inner, below, above)
	default:
		expm1BelowGeneric(dst, src, inner, below, above)
	}
}
