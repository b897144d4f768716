// SPDX-License-Identifier: Apache-2.0

package main

import "github.com/millrace-ml/millrace/kernels/_gen/internal/neon"

const (
	log2E = number(1.44269504088896341)
	// ln 2 in two parts. Times n it is exact enough: with a fused multiply-add the
	// first subtraction of reduce does not round at all.
	ln2High = number(0.693147182464599609375)
	ln2Low  = number(-1.904654299957768e-09)
	// exp gives 0 below and +Inf above.
	expLowest  = number(-104)
	expHighest = number(89)
)

// reduce splits x into n*ln2 + r with n whole and |r| <= ln2/2; r takes the registers
// of x. x must not be infinite.
func (m *machine) reduce(x group) (n, r group) {
	n = m.unary(neon.FRINTN, m.mul(x, log2E))
	m.subMul(x, n, ln2High)
	m.subMul(x, n, ln2Low)
	return n, x
}

// expTail is (exp(r) - 1 - r) / r² for |r| <= ln2/2; 3.2e-9 of exp(r).
var expTail = []number{0.00138388737, 0.00836919155, 0.0416681021, 0.166665167, 0.49999994}

// expNear is exp(r) for |r| <= ln2/2.
func (m *machine) expNear(r group) group { return m.poly(r, append(expTail[:5:5], 1, 1)...) }

// expNearHalf is exp(r/2), whose coefficients are halved as often as their power.
func (m *machine) expNearHalf(r group) group {
	coefficients := append(expTail[:5:5], 1, 1)
	for i := range coefficients {
		coefficients[i] /= number(int(1) << (len(coefficients) - 1 - i))
	}
	return m.poly(r, coefficients...)
}

// scale is p * 2^n for n in [-160, 130], rounded once where that is denormal. |p| is
// less than 2^40, and more than 2^-40 unless n is near 0.
func (m *machine) scale(p, n group) group {
	half, rest := m.halves(n)
	return m.mul(m.mul(p, m.power(half)), m.power(rest))
}

// scaleNormal is scale of p between 2^-1 and 2, or NaN: the first half is added to its
// exponent.
func (m *machine) scaleNormal(p, n group) group {
	half, rest := m.halves(n)
	return m.mul(m.binary(neon.ADD, p, m.shiftLeft(half, 23)), m.power(rest))
}

// halves is n as the sum of two integers, for 2^n may be no number where the halves'
// powers are. NaN becomes 0.
func (m *machine) halves(n group) (half, rest group) {
	whole := m.unary(neon.FCVTNS, n)
	half = m.shiftRight(whole, 1)
	return half, m.binary(neon.SUB, whole, half)
}

// power is 2^whole for integers in [-126, 127].
func (m *machine) power(whole group) group {
	return m.binary(neon.ADD, m.shiftLeft(whole, 23), bits(127<<23))
}

func (m *machine) shiftLeft(x group, by int) group {
	out := group(m.Vecs(len(x)))
	for i := range x {
		m.ShiftLeft(out[i], x[i], 32, by)
	}
	return out
}

// shiftRight keeps the sign.
func (m *machine) shiftRight(x group, by int) group {
	out := group(m.Vecs(len(x)))
	for i := range x {
		m.ShiftRightSigned(out[i], x[i], 32, by)
	}
	return out
}

// expBounded is exp(x) for x in [-104, 89] or NaN; it takes the registers of x.
func (m *machine) expBounded(x group) group {
	n, r := m.reduce(x)
	return m.scaleNormal(m.expNear(r), n)
}

// exp is exp(x) for all x.
func (m *machine) exp(x group) group {
	return m.expBounded(m.min(m.max(x, expLowest), expHighest))
}

// expNegAbs is exp(-|x|).
func (m *machine) expNegAbs(x group) group { return m.expBounded(m.max(m.negAbs(x), expLowest)) }

// expm1 is exp(x) - 1 without loss near 0, for x in [-30, 88] or NaN; it takes the
// registers of x.
func (m *machine) expm1(x group) group {
	n, r := m.reduce(x)
	p := m.mul(m.poly(r, expTail...), r)
	p = m.mulAdd(p, r, r)
	power := m.power(m.unary(neon.FCVTNS, n))
	// (1 + p) * 2^n - 1, where 2^n - 1 is exact for the n that matter.
	y := m.sub(power, number(1))
	m.addMul(y, p, power)
	return y
}

// The parts of ln 2 for log: the first times a power of float32 is exact.
const (
	logHigh = number(0.693145751953125)
	logLow  = number(1.42860682030941723e-06)
)

// log is the natural logarithm.
func (m *machine) log(x group) group {
	k, f := m.mantissa(x)
	f = m.sub(f, number(1))
	// (log(1 + f) - f) / f² for f in [-1/4, 1/2]; 1.1e-8 of log(1 + f).
	p := m.poly(f, -0.0458117016, 0.105692469, -0.132015839, 0.144743741, -0.166426331,
		0.19990398, -0.250001937, 0.333334625, -0.5)
	y := m.mul(k, logLow)
	m.addMul(y, m.mul(f, f), p)
	y = m.add(y, f)
	m.addMul(y, k, logHigh)
	y = m.choose(m.less(x, bits(infinity)), y, x)
	y = m.choose(m.equal(x, number(0)), bits(1<<31|infinity), y)
	return m.choose(m.less(x, number(0)), bits(quietNaN), y)
}

// mantissa is k and f with x = f * 2^k and f in [3/4, 3/2) of positive numbers, and
// nothing of use of others.
func (m *machine) mantissa(x group) (k, f group) {
	// Denormals are scaled to normal numbers first.
	small := m.less(x, bits(1<<23))
	scaled := m.and(small, number(24))
	x = m.choose(small, m.mul(x, number(1<<24)), x)
	exponent := m.shiftRight(m.binary(neon.SUB, x, bits(0x3f400000)), 23)
	return m.sub(m.unary(neon.SCVTF, exponent), scaled), m.binary(neon.SUB, x, m.shiftLeft(exponent, 23))
}
