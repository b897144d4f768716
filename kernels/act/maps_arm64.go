// SPDX-License-Identifier: Apache-2.0

//go:build !purego

package act

import "github.com/millrace-ml/millrace/kernels/cpu"

func exp(dst, src []float32) {
	if cpu.Active() < cpu.NEON {
		expGeneric(dst, src)
		return
	}
	expNEON(dst, src)
}

func log(dst, src []float32) {
	if cpu.Active() < cpu.NEON {
		logGeneric(dst, src)
		return
	}
	logNEON(dst, src)
}

func sigmoid(dst, src []float32) {
	if cpu.Active() < cpu.NEON {
		sigmoidGeneric(dst, src)
		return
	}
	sigmoidNEON(dst, src)
}

func tanh(dst, src []float32) {
	if cpu.Active() < cpu.NEON {
		tanhGeneric(dst, src)
		return
	}
	tanhNEON(dst, src)
}

func silu(dst, src []float32) {
	if cpu.Active() < cpu.NEON {
		siluGeneric(dst, src)
		return
	}
	siluNEON(dst, src)
}

func softplus(dst, src []float32) {
	if cpu.Active() < cpu.NEON {
		softplusGeneric(dst, src)
		return
	}
	softplusNEON(dst, src)
}

func mish(dst, src []float32) {
	if cpu.Active() < cpu.NEON {
		mishGeneric(dst, src)
		return
	}
	mishNEON(dst, src)
}

func erf(dst, src []float32) {
	if cpu.Active() < cpu.NEON {
		erfGeneric(dst, src)
		return
	}
	erfNEON(dst, src)
}

func gelu(dst, src []float32) {
	if cpu.Active() < cpu.NEON {
		geluGeneric(dst, src)
		return
	}
	geluNEON(dst, src)
}

func geluTanh(dst, src []float32) {
	if cpu.Active() < cpu.NEON {
		geluTanhGeneric(dst, src)
		return
	}
	geluTanhNEON(dst, src)
}

func relu(dst, src []float32) {
	if cpu.Active() < cpu.NEON {
		reluGeneric(dst, src)
		return
	}
	reluNEON(dst, src)
}

func hardSwish(dst, src []float32) {
	if cpu.Active() < cpu.NEON {
		hardSwishGeneric(dst, src)
		return
	}
	hardSwishNEON(dst, src)
}

func softsign(dst, src []float32) {
	if cpu.Active() < cpu.NEON {
		softsignGeneric(dst, src)
		return
	}
	softsignNEON(dst, src)
}

func sqrt(dst, src []float32) {
	if cpu.Active() < cpu.NEON {
		sqrtGeneric(dst, src)
		return
	}
	sqrtNEON(dst, src)
}

func rsqrt(dst, src []float32) {
	if cpu.Active() < cpu.NEON {
		rsqrtGeneric(dst, src)
		return
	}
	rsqrtNEON(dst, src)
}

func reciprocal(dst, src []float32) {
	if cpu.Active() < cpu.NEON {
		reciprocalGeneric(dst, src)
		return
	}
	reciprocalNEON(dst, src)
}

func square(dst, src []float32) {
	if cpu.Active() < cpu.NEON {
		squareGeneric(dst, src)
		return
	}
	squareNEON(dst, src)
}

func cube(dst, src []float32) {
	if cpu.Active() < cpu.NEON {
		cubeGeneric(dst, src)
		return
	}
	cubeNEON(dst, src)
}

func abs(dst, src []float32) {
	if cpu.Active() < cpu.NEON {
		absGeneric(dst, src)
		return
	}
	absNEON(dst, src)
}

func neg(dst, src []float32) {
	if cpu.Active() < cpu.NEON {
		negGeneric(dst, src)
		return
	}
	negNEON(dst, src)
}

func sign(dst, src []float32) {
	if cpu.Active() < cpu.NEON {
		signGeneric(dst, src)
		return
	}
	signNEON(dst, src)
}

func floor(dst, src []float32) {
	if cpu.Active() < cpu.NEON {
		floorGeneric(dst, src)
		return
	}
	floorNEON(dst, src)
}

func ceil(dst, src []float32) {
	if cpu.Active() < cpu.NEON {
		ceilGeneric(dst, src)
		return
	}
	ceilNEON(dst, src)
}

func round(dst, src []float32) {
	if cpu.Active() < cpu.NEON {
		roundGeneric(dst, src)
		return
	}
	roundNEON(dst, src)
}

func leakyRelu(dst, src []float32, alpha float32) {
	if cpu.Active() < cpu.NEON {
		leakyReluGeneric(dst, src, alpha)
		return
	}
	leakyReluNEON(dst, src, alpha)
}

func thresholdedRelu(dst, src []float32, alpha float32) {
	if cpu.Active() < cpu.NEON {
		thresholdedReluGeneric(dst, src, alpha)
		return
	}
	thresholdedReluNEON(dst, src, alpha)
}

func hardSigmoid(dst, src []float32, alpha, beta float32) {
	if cpu.Active() < cpu.NEON {
		hardSigmoidGeneric(dst, src, alpha, beta)
		return
	}
	hardSigmoidNEON(dst, src, alpha, beta)
}

func clip(dst, src []float32, low, high float32) {
	if cpu.Active() < cpu.NEON {
		clipGeneric(dst, src, low, high)
		return
	}
	clipNEON(dst, src, low, high)
}

func expm1Below(dst, src []float32, inner, below, above float32) {
	if cpu.Active() < cpu.NEON {
		expm1BelowGeneric(dst, src, inner, below, above)
		return
	}
	expm1BelowNEON(dst, src, inner, below, above)
}
