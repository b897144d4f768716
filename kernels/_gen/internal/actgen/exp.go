// SPDX-License-Identifier: Apache-2.0

package actgen

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// The polynomials of this package are minimax fits of the relative error (Remez's
// exchange in 40 digits), whose coefficients were rounded to float32 one by one,
// lowest power first, with the others fitted anew each time. The error of the rounded
// polynomial stands beside each.

const (
	log2E = Float(1.44269504088896341)
	// ln 2 in two parts. Times n it is exact enough: with a fused multiply-add the
	// first subtraction of reduce does not round at all.
	ln2High = Float(0.693147182464599609375)
	ln2Low  = Float(-1.904654299957768e-09)
	// Exp gives 0 below and +Inf above.
	expLowest  = Float(-104)
	expHighest = Float(89)
)

// reduce splits x into n*ln2 + r with n whole and |r| <= ln2/2; r takes the registers
// of x. x must not be infinite.
func (m *Machine) reduce(x Vec) (n, r Vec) {
	n = m.Whole(m.Mul(x, log2E), toNearest)
	m.SubMul(x, n, ln2High)
	m.SubMul(x, n, ln2Low)
	return n, x
}

// expTail is (exp(r) - 1 - r) / r² for |r| <= ln2/2; 3.2e-9 of exp(r).
var expTail = []Float{0.00138388737, 0.00836919155, 0.0416681021, 0.166665167, 0.49999994}

// expNear is exp(r) for |r| <= ln2/2.
func (m *Machine) expNear(r Vec) Vec { return m.Poly(r, append(expTail[:5:5], 1, 1)...) }

// expNearHalf is exp(r/2), whose coefficients are halved as often as their power.
func (m *Machine) expNearHalf(r Vec) Vec {
	coefficients := append(expTail[:5:5], 1, 1)
	for i := range coefficients {
		coefficients[i] /= Float(int(1) << (len(coefficients) - 1 - i))
	}
	return m.Poly(r, coefficients...)
}

// scale is p * 2^n for n in [-160, 130], rounded once where that is denormal. |p| is
// less than 2^40, and more than 2^-40 unless n is near 0.
func (m *Machine) scale(p, n Vec) Vec {
	if m.ISA == AVX512 {
		return m.binary(VSCALEFPS, p, n)
	}
	half, rest := m.halves(n)
	return m.Mul(m.Mul(p, m.power(half)), m.power(rest))
}

// scaleNormal is scale of p between 2^-1 and 2, or NaN: with AVX2 the first half is
// added to its exponent.
func (m *Machine) scaleNormal(p, n Vec) Vec {
	if m.ISA == AVX512 {
		return m.scale(p, n)
	}
	half, rest := m.halves(n)
	shifted := m.unary(half, func(a, out Op) { VPSLLD(Imm(23), a, out) })
	return m.Mul(m.binary(VPADDD, p, shifted), m.power(rest))
}

// halves is n as the sum of two integers, for 2^n may be no number where the halves'
// powers are. NaN becomes integers whose low bits, which power uses, are 0.
func (m *Machine) halves(n Vec) (half, rest Vec) {
	whole := m.unary(n, func(a, out Op) { VCVTPS2DQ(a, out) })
	half = m.unary(whole, func(a, out Op) { VPSRAD(Imm(1), a, out) })
	return half, m.binary(VPSUBD, whole, half)
}

// power is 2^whole for integers in [-126, 127].
func (m *Machine) power(whole Vec) Vec {
	shifted := m.unary(whole, func(a, out Op) { VPSLLD(Imm(23), a, out) })
	return m.binary(VPADDD, shifted, Bits(127<<23))
}

// expBounded is exp(x) for x in [-104, 89] or NaN.
func (m *Machine) expBounded(x Vec) Vec {
	n, r := m.reduce(x)
	return m.scaleNormal(m.expNear(r), n)
}

// Exp is exp(x) for all x.
func (m *Machine) Exp(x Vec) Vec {
	return m.expBounded(m.Min(m.Max(x, expLowest), expHighest))
}

// expNegAbs is exp(-|x|).
func (m *Machine) expNegAbs(x Vec) Vec { return m.expBounded(m.Max(m.NegAbs(x), expLowest)) }

// Expm1 is exp(x) - 1 without loss near 0, for x in [-30, 88] or NaN.
func (m *Machine) Expm1(x Vec) Vec {
	n, r := m.reduce(x)
	p := m.Mul(m.Poly(r, expTail...), r)
	m.MulAdd(p, r, r)
	var power Vec
	if m.ISA == AVX512 {
		power = m.binary(VSCALEFPS, m.Fill(len(n), Float(1)), n)
	} else {
		power = m.power(m.unary(n, func(a, out Op) { VCVTPS2DQ(a, out) }))
	}
	// (1 + p) * 2^n - 1, where 2^n - 1 is exact for the n that matter.
	m.MulAdd(p, power, m.Sub(power, Float(1)))
	return p
}

// The parts of ln 2 for Log: the first times a power of float32 is exact, and both
// are positive so that the infinite powers of 0 and Inf do not cancel.
const (
	logHigh = Float(0.693145751953125)
	logLow  = Float(1.42860682030941723e-06)
)

// Log is the natural logarithm.
func (m *Machine) Log(x Vec) Vec {
	k, f := m.mantissa(x)
	f = m.Sub(f, Float(1))
	// (log(1 + f) - f) / f² for f in [-1/4, 1/2]; 1.1e-8 of log(1 + f).
	p := m.Poly(f, -0.0458117016, 0.105692469, -0.132015839, 0.144743741, -0.166426331,
		0.19990398, -0.250001937, 0.333334625, -0.5)
	y := m.Mul(k, logLow)
	m.AddMul(y, m.Mul(f, f), p)
	y = m.Add(y, f)
	m.AddMul(y, k, logHigh)
	if m.ISA == AVX512 {
		return y
	}
	y = m.Select(m.Compare(less, x, Bits(infinity)), y, x)
	y = m.Select(m.Compare(equal, x, Float(0)), m.Fill(len(x), Bits(1<<31|infinity)), y)
	return m.Select(m.Compare(less, x, Float(0)), m.Fill(len(x), Bits(quietNaN)), y)
}

const (
	infinity = 0x7f800000
	quietNaN = 0x7fc00000
)

// mantissa is k and f with x = f * 2^k and f in [3/4, 3/2). Of 0, infinities and
// negative numbers AVX-512 makes what leads Log to the right answer; AVX2 makes
// nothing of use.
func (m *Machine) mantissa(x Vec) (k, f Vec) {
	if m.ISA == AVX512 {
		const from3quarters, negativeIsNaN = 3, 2 << 2
		f = m.unary(x, func(a, out Op) { VGETMANTPS(Imm(from3quarters|negativeIsNaN), a, out) })
		exponent := func(a, out Op) { VGETEXPPS(a, out) }
		return m.Sub(m.unary(x, exponent), m.unary(f, exponent)), f
	}
	// Denormals are scaled to normal numbers first.
	small := m.Compare(less, x, Bits(1<<23))
	x = m.Select(small, m.Mul(x, Float(1<<24)), x)
	from := m.binary(VPSUBD, x, Bits(0x3f400000))
	exponent := m.unary(from, func(a, out Op) { VPSRAD(Imm(23), a, out) })
	shifted := m.unary(exponent, func(a, out Op) { VPSLLD(Imm(23), a, out) })
	f = m.binary(VPSUBD, x, shifted)
	k = m.unary(exponent, func(a, out Op) { VCVTDQ2PS(a, out) })
	return m.Select(small, m.Sub(k, Float(24)), k), f
}
