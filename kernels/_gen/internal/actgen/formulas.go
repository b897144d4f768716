// SPDX-License-Identifier: Apache-2.0

package actgen

import . "github.com/mmcloughlin/avo/build"

// sigmoid is 1/(1+e) or e/(1+e) with e = exp(-|x|), which cannot overflow and keeps
// its digits down to denormal values.
func sigmoid(m *Machine, x Vec) Vec {
	above, below := m.logistic(x)
	return m.Div(above, below)
}

// logistic is the sigmoid of x as a fraction.
func (m *Machine) logistic(x Vec) (above, below Vec) {
	e := m.expNegAbs(x)
	return m.Select(m.Negative(x), e, m.registers(Float(1), len(x))), m.Add(e, Float(1))
}

func silu(m *Machine, x Vec) Vec {
	above, below := m.logistic(x)
	return m.Div(m.Mul(x, above), below)
}

// geluTanh is x times the sigmoid of 2√(2/π) (x + 0.044715 x³).
func geluTanh(m *Machine, x Vec) Vec {
	u := m.Mul(x, x)
	u = m.Mul(m.Poly(u, 1.5957691216057308*0.044715, 1.5957691216057308), x)
	above, below := m.logistic(u)
	return m.Div(m.Mul(x, above), below)
}

// tanh is -t/(t+2) with t = exp(-2|x|) - 1; beyond 10 it is 1 anyway.
func tanh(m *Machine, x Vec) Vec {
	t := m.Max(m.NegAbs(x), Float(-10))
	t = m.Expm1(m.Add(t, t))
	return m.CopySign(m.Div(t, m.Add(t, Float(2))), x)
}

func softplus(m *Machine, x Vec) Vec {
	e := m.expNegAbs(x)
	// log(1 + e) / e for e in [0, 1]; 6.0e-9 of log(1 + e).
	p := m.Poly(e, -0.00345043326, 0.0208224095, -0.0588774383, 0.108100191, -0.154367551,
		0.197258264, -0.249650806, 0.333312154, -0.499999613, 1)
	y := m.Max(x, Float(0))
	m.AddMul(y, e, p)
	return y
}

// mish has tanh(log(1 + e)) as n/(n+2) with n = e(e+2) and e = exp(x), which is 1 long
// before e is cut off.
func mish(m *Machine, x Vec) Vec {
	e := m.expBounded(m.Min(m.Max(x, expLowest), Float(30)))
	n := m.Mul(m.Add(e, Float(2)), e)
	return m.Mul(m.Div(n, m.Add(n, Float(2))), x)
}

// erf is 1 - exp(-|x| g(|x|)). That g = -log(erfc)/x is smooth, and one polynomial
// gives erf to the last digits both near 0 and near 1.
func erf(m *Machine, x Vec) Vec {
	a := m.Max(m.NegAbs(x), Float(-4))
	// g(-a) for a in [-3.93, 0], beyond which erf is 1; 5.2e-8 of erf, most of it the
	// rounding of 2/√π.
	p := m.Poly(a, 4.52912991e-06, -2.6784046e-06, -0.000255212246, -0.00104211166, 0.000392527116,
		0.0194087066, 0.10283348, -0.636614978, 1.12837923)
	return m.CopySign(m.Expm1(m.Mul(p, a)), x)
}

// gelu is max(x, 0) - |x| Q with Q = erfc(|x|/√2)/2 the tail of the normal
// distribution. |x| Q is b R(b) exp(-x²/2) with b = |x| / (1 + 0.345|x|), a variable
// that is as exact as x near 0. Nothing cancels, so the negative tail keeps its digits.
func gelu(m *Machine, x Vec) Vec {
	// Beyond 14.7, |x| Q is 0.
	a := m.Min(m.Abs(x), Float(14.7))
	b := m.Div(a, m.onePlus(a, 0.345))
	// x² counts in the exponent with its absolute error, so it is kept in two parts;
	// with n*2ln2 they make r.
	square := m.Mul(a, a)
	m.MulSub(a, a, square)
	n := m.Whole(m.Mul(square, -log2E/2), toNearest)
	m.fused(VFNMSUB231PS, square, n, 2*ln2High)
	m.SubMul(square, n, 2*ln2Low)
	r := m.Sub(square, a)
	// R for |x| <= 14.7; 3.6e-8 of it. In b - 0.75 its terms are smaller than in b,
	// and so is what their rounding costs.
	q := m.Poly(m.Sub(b, Float(0.75)), -5.49823608e-06, 1.26142722e-05, 7.83916184e-05, -4.93679909e-05,
		-0.00152470102, 2.37513123e-05, 0.0389485471, -0.170464382, 0.35071218)
	q = m.scale(m.Mul(m.Mul(q, b), m.expNearHalf(r)), n)
	// max(x, 0) as x - min(x, 0): of -Inf that is NaN, as the product is.
	return m.Sub(m.Sub(x, m.Min(x, Float(0))), q)
}

// onePlus is 1 + c*x.
func (m *Machine) onePlus(x Vec, c Float) Vec {
	y := m.Fill(len(x), Float(1))
	m.AddMul(y, x, c)
	return y
}

func relu(m *Machine, x Vec) Vec { return m.Max(x, Float(0)) }

func leakyRelu(m *Machine, x Vec, p []Uniform) Vec {
	return m.Select(m.Compare(less, x, Float(0)), m.Mul(x, p[0]), x)
}

func thresholdedRelu(m *Machine, x Vec, p []Uniform) Vec {
	return m.Select(m.Compare(lessEqual, x, p[0]), m.registers(Float(0), len(x)), x)
}

// expm1Below has the argument of exp between -30, where exp - 1 is -1, and 0.
func expm1Below(m *Machine, x Vec, p []Uniform) Vec {
	y := m.Min(m.Max(m.Mul(x, p[0]), Float(-30)), Float(0))
	y = m.Mul(m.Expm1(y), p[1])
	return m.Select(m.Compare(greater, x, Float(0)), m.Mul(x, p[2]), y)
}

func hardSigmoid(m *Machine, x Vec, p []Uniform) Vec {
	y := m.Fill(len(x), p[1])
	m.AddMul(y, x, p[0])
	return m.Min(m.Max(y, Float(0)), Float(1))
}

// hardSwish adds 3 before it scales: that is exact where the factor is near 0.
func hardSwish(m *Machine, x Vec) Vec {
	y := m.Min(m.Max(m.Add(x, Float(3)), Float(0)), Float(6))
	return m.Mul(m.Mul(y, Float(1./6)), x)
}

func clip(m *Machine, x Vec, p []Uniform) Vec { return m.Min(m.Max(x, p[0]), p[1]) }

func softsign(m *Machine, x Vec) Vec { return m.Div(x, m.Add(m.Abs(x), Float(1))) }

// sign leaves zeros and NaN as they are.
func sign(m *Machine, x Vec) Vec {
	one := m.Or(m.And(x, signBit), Float(1))
	return m.Select(m.Compare(notEqual, x, Float(0)), one, x)
}
