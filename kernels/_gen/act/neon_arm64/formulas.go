// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/millrace-ml/millrace/kernels/_gen/internal/neon"

// sigmoid is 1/(1+e) or e/(1+e) with e = exp(-|x|), which cannot overflow and keeps
// its digits down to denormal values.
func sigmoid(m *machine, x group) group {
	above, below := m.logistic(x)
	return m.div(above, below)
}

// logistic is the sigmoid of x as a fraction.
func (m *machine) logistic(x group) (above, below group) {
	e := m.expNegAbs(x)
	return m.choose(m.negative(x), e, number(1)), m.add(e, number(1))
}

func silu(m *machine, x group) group {
	above, below := m.logistic(x)
	return m.div(m.mul(x, above), below)
}

// geluTanh is x times the sigmoid of 2√(2/π) (x + 0.044715 x³).
func geluTanh(m *machine, x group) group {
	u := m.mul(x, x)
	u = m.mul(m.poly(u, 1.5957691216057308*0.044715, 1.5957691216057308), x)
	above, below := m.logistic(u)
	return m.div(m.mul(x, above), below)
}

// tanh is -t/(t+2) with t = exp(-2|x|) - 1; beyond 10 it is 1 anyway.
func tanh(m *machine, x group) group {
	t := m.max(m.negAbs(x), number(-10))
	t = m.expm1(m.add(t, t))
	return m.copySign(m.div(t, m.add(t, number(2))), x)
}

func softplus(m *machine, x group) group {
	e := m.expNegAbs(x)
	// log(1 + e) / e for e in [0, 1]; 6.0e-9 of log(1 + e).
	p := m.poly(e, -0.00345043326, 0.0208224095, -0.0588774383, 0.108100191, -0.154367551,
		0.197258264, -0.249650806, 0.333312154, -0.499999613, 1)
	y := m.max(x, number(0))
	m.addMul(y, e, p)
	return y
}

// mish has tanh(log(1 + e)) as n/(n+2) with n = e(e+2) and e = exp(x), which is 1 long
// before e is cut off.
func mish(m *machine, x group) group {
	e := m.expBounded(m.min(m.max(x, expLowest), number(30)))
	n := m.mul(m.add(e, number(2)), e)
	return m.mul(m.div(n, m.add(n, number(2))), x)
}

// erf is 1 - exp(-|x| g(|x|)). That g = -log(erfc)/x is smooth, and one polynomial
// gives erf to the last digits both near 0 and near 1.
func erf(m *machine, x group) group {
	a := m.max(m.negAbs(x), number(-4))
	// g(-a) for a in [-3.93, 0], beyond which erf is 1; 5.2e-8 of erf, most of it the
	// rounding of 2/√π.
	p := m.poly(a, 4.52912991e-06, -2.6784046e-06, -0.000255212246, -0.00104211166, 0.000392527116,
		0.0194087066, 0.10283348, -0.636614978, 1.12837923)
	return m.copySign(m.expm1(m.mul(p, a)), x)
}

// gelu is max(x, 0) - |x| Q with Q = erfc(|x|/√2)/2 the tail of the normal
// distribution. |x| Q is b R(b) exp(-x²/2) with b = |x| / (1 + 0.345|x|), a variable
// that is as exact as x near 0. Nothing cancels, so the negative tail keeps its digits.
func gelu(m *machine, x group) group {
	// Beyond 14.7, |x| Q is 0.
	a := m.min(m.abs(x), number(14.7))
	b := m.div(a, m.mulAdd(a, number(0.345), number(1)))
	// x² counts in the exponent with its absolute error, so it is kept in two parts,
	// square + low; with n*2ln2 they make r = -(square + low) - n*2ln2.
	square := m.mul(a, a)
	low := m.unary(neon.FNEG, square)
	m.addMul(low, a, a)
	n := m.unary(neon.FRINTN, m.mul(square, -log2E/2))
	m.addMul(square, n, 2*ln2High)
	m.addMul(square, n, 2*ln2Low)
	r := m.unary(neon.FNEG, m.add(square, low))
	// R for |x| <= 14.7; 3.6e-8 of it. In b - 0.75 its terms are smaller than in b,
	// and so is what their rounding costs.
	q := m.poly(m.sub(b, number(0.75)), -5.49823608e-06, 1.26142722e-05, 7.83916184e-05, -4.93679909e-05,
		-0.00152470102, 2.37513123e-05, 0.0389485471, -0.170464382, 0.35071218)
	q = m.scale(m.mul(m.mul(q, b), m.expNearHalf(r)), n)
	// max(x, 0) as x - min(x, 0): of -Inf that is NaN, as the product is.
	return m.sub(m.sub(x, m.min(x, number(0))), q)
}

func relu(m *machine, x group) group { return m.max(x, number(0)) }

func leakyRelu(m *machine, x group, p []uniform) group {
	return m.choose(m.less(x, number(0)), m.mul(x, p[0]), x)
}

func thresholdedRelu(m *machine, x group, p []uniform) group {
	return m.choose(m.lessEqual(x, p[0]), number(0), x)
}

// expm1Below has the argument of exp between -30, where exp - 1 is -1, and 0.
func expm1Below(m *machine, x group, p []uniform) group {
	y := m.min(m.max(m.mul(x, p[0]), number(-30)), number(0))
	y = m.mul(m.expm1(y), p[1])
	return m.choose(m.greater(x, number(0)), m.mul(x, p[2]), y)
}

func hardSigmoid(m *machine, x group, p []uniform) group {
	return m.min(m.max(m.mulAdd(x, p[0], p[1]), number(0)), number(1))
}

// hardSwish adds 3 before it scales: that is exact where the factor is near 0.
func hardSwish(m *machine, x group) group {
	y := m.min(m.max(m.add(x, number(3)), number(0)), number(6))
	return m.mul(m.mul(y, number(1./6)), x)
}

// clip compares, so that a limit that is NaN limits nothing.
func clip(m *machine, x group, p []uniform) group {
	x = m.choose(m.less(x, p[0]), p[0], x)
	return m.choose(m.greater(x, p[1]), p[1], x)
}

func softsign(m *machine, x group) group { return m.div(x, m.add(m.abs(x), number(1))) }

// sign leaves zeros and NaN as they are.
func sign(m *machine, x group) group {
	one := m.or(m.and(x, signBit), number(1))
	return m.choose(m.greater(m.abs(x), number(0)), one, x)
}
