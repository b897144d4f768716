// SPDX-License-Identifier: Apache-2.0

package main

import (
	"math"

	"github.com/millrace-ml/millrace/kernels/_gen/internal/neon"
)

// machine emits operations on groups for one function.
type machine struct{ *neon.Func }

// group is some registers on which the same operation is done in turn, which hides its
// latency.
type group []neon.Vec

// operand is the second or third one of an operation: a group, a constant or a uniform.
type operand interface {
	// registers are n registers to be read.
	registers(m *machine, n int) group
}

// uniform is a register that holds the same value for all groups.
type uniform struct{ neon.Vec }

// number is a constant in all lanes, bits one by its bits.
type (
	number float32
	bits   uint32
)

func (g group) registers(*machine, int) group       { return g }
func (u uniform) registers(_ *machine, n int) group { return repeat(u.Vec, n) }
func (k number) registers(m *machine, n int) group {
	return bits(math.Float32bits(float32(k))).registers(m, n)
}

// A constant is loaded where it is used: a load for four operations is less than a
// register for all of the loop.
func (b bits) registers(m *machine, n int) group {
	return repeat(m.Constant(neon.Words(uint32(b))), n)
}

func repeat(v neon.Vec, n int) group {
	g := make(group, n)
	for i := range g {
		g[i] = v
	}
	return g
}

// unary is a new group of op(a).
func (m *machine) unary(op neon.Op, a group) group {
	out := group(m.Vecs(len(a)))
	for i := range a {
		m.Do(op, out[i], a[i])
	}
	return out
}

// binary is a new group of a op b.
func (m *machine) binary(op neon.Op, a group, b operand) group {
	out, y := group(m.Vecs(len(a))), b.registers(m, len(a))
	for i := range a {
		m.Do(op, out[i], a[i], y[i])
	}
	return out
}

func (m *machine) add(a group, b operand) group { return m.binary(neon.FADD, a, b) }
func (m *machine) sub(a group, b operand) group { return m.binary(neon.FSUB, a, b) }
func (m *machine) mul(a group, b operand) group { return m.binary(neon.FMUL, a, b) }
func (m *machine) div(a group, b operand) group { return m.binary(neon.FDIV, a, b) }
func (m *machine) and(a group, b operand) group { return m.binary(neon.AND, a, b) }
func (m *machine) or(a group, b operand) group  { return m.binary(neon.ORR, a, b) }

// max and min give NaN where either operand is NaN.
func (m *machine) max(a group, b operand) group { return m.binary(neon.FMAX, a, b) }
func (m *machine) min(a group, b operand) group { return m.binary(neon.FMIN, a, b) }

func (m *machine) sqrt(a group) group { return m.unary(neon.FSQRT, a) }
func (m *machine) abs(a group) group  { return m.unary(neon.FABS, a) }

// over is a / b with a constant above.
func (m *machine) over(a operand, b group) group { return m.div(a.registers(m, len(b)), b) }

// fill is n registers of a constant or uniform, to be changed.
func (m *machine) fill(n int, c operand) group {
	out := group(m.Vecs(n))
	for i := range out {
		switch c := c.(type) {
		case number:
			m.LoadConstant(out[i], neon.Floats(float32(c)))
		case bits:
			m.LoadConstant(out[i], neon.Words(uint32(c)))
		default:
			m.Copy(out[i], c.registers(m, n)[i])
		}
	}
	return out
}

// addMul makes sum = sum + a*b.
func (m *machine) addMul(sum, a group, b operand) { m.accumulate(neon.FMLA, sum, a, b) }

// subMul makes sum = sum - a*b.
func (m *machine) subMul(sum, a group, b operand) { m.accumulate(neon.FMLS, sum, a, b) }

func (m *machine) accumulate(op neon.Op, sum, a group, b operand) {
	y := b.registers(m, len(sum))
	for i := range sum {
		m.Do(op, sum[i], a[i], y[i])
	}
}

// mulAdd is a*b + c.
func (m *machine) mulAdd(a group, b, c operand) group {
	sum := m.fill(len(a), c)
	m.addMul(sum, a, b)
	return sum
}

// poly is the polynomial of x with these coefficients, highest power first.
func (m *machine) poly(x group, coefficients ...number) group {
	p := m.fill(len(x), coefficients[0])
	for _, c := range coefficients[1:] {
		p = m.mulAdd(p, x, c)
	}
	return p
}

const (
	signBit  = bits(1 << 31)
	infinity = 0x7f800000
	quietNaN = 0x7fc00000
)

// negAbs is -|x|.
func (m *machine) negAbs(x group) group { return m.or(x, signBit) }

// copySign is |value| with the sign of sign; it takes the registers of value.
func (m *machine) copySign(value, sign group) group {
	m.accumulate(neon.BIT, value, sign, signBit)
	return value
}

// The comparisons are all bits of a lane where a is so against b; none of NaN.

func (m *machine) less(a group, b operand) group {
	return m.binary(neon.FCMGT, b.registers(m, len(a)), a)
}

func (m *machine) lessEqual(a group, b operand) group {
	return m.binary(neon.FCMGE, b.registers(m, len(a)), a)
}

func (m *machine) greater(a group, b operand) group { return m.binary(neon.FCMGT, a, b) }
func (m *machine) equal(a group, b operand) group   { return m.binary(neon.FCMEQ, a, b) }

// negative is where the sign bit is set.
func (m *machine) negative(x group) group {
	out := group(m.Vecs(len(x)))
	for i := range x {
		m.ShiftRightSigned(out[i], x[i], 32, 31)
	}
	return out
}

// choose is yes where mask is set, and no elsewhere; it takes the registers of mask.
func (m *machine) choose(mask group, yes, no operand) group {
	y, n := yes.registers(m, len(mask)), no.registers(m, len(mask))
	for i := range mask {
		m.Do(neon.BSL, mask[i], y[i], n[i])
	}
	return mask
}
