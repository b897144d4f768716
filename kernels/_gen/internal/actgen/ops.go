// SPDX-License-Identifier: Apache-2.0

package actgen

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

type instruction func(ops ...Op)

// binary is a new group of "a f b"; b may be in memory.
func (m *Machine) binary(f instruction, a Vec, b Arg) Vec {
	b.note(m)
	out := m.group(len(a))
	for i := range a {
		f(b.at(m, i), a[i], out[i])
	}
	return out
}

// The operations of two operands.

func (m *Machine) Add(a Vec, b Arg) Vec { return m.binary(VADDPS, a, b) }
func (m *Machine) Sub(a Vec, b Arg) Vec { return m.binary(VSUBPS, a, b) }
func (m *Machine) Mul(a Vec, b Arg) Vec { return m.binary(VMULPS, a, b) }
func (m *Machine) Div(a Vec, b Arg) Vec { return m.binary(VDIVPS, a, b) }
func (m *Machine) And(a Vec, b Arg) Vec { return m.binary(VANDPS, a, b) }
func (m *Machine) Or(a Vec, b Arg) Vec  { return m.binary(VORPS, a, b) }
func (m *Machine) Xor(a Vec, b Arg) Vec { return m.binary(VXORPS, a, b) }

// Over is a / b with a constant above.
func (m *Machine) Over(a Arg, b Vec) Vec {
	return m.binary(VDIVPS, m.registers(a, len(b)), b)
}

// Max is the larger of x and c, and x where it is NaN or both are zero: the
// instruction gives its second source then.
func (m *Machine) Max(x Vec, c Arg) Vec { return m.binary(VMAXPS, m.registers(c, len(x)), x) }

// Min is the smaller, with NaN as in Max.
func (m *Machine) Min(x Vec, c Arg) Vec { return m.binary(VMINPS, m.registers(c, len(x)), x) }

// unary is a new group of f(a).
func (m *Machine) unary(a Vec, f func(a, out Op)) Vec {
	out := m.group(len(a))
	for i := range a {
		f(a[i], out[i])
	}
	return out
}

// Sqrt is the square root.
func (m *Machine) Sqrt(a Vec) Vec { return m.unary(a, func(a, out Op) { VSQRTPS(a, out) }) }

// The modes of Whole.
const (
	toNearest = 8
	toFloor   = 9
	toCeil    = 10
)

// Whole rounds to whole numbers.
func (m *Machine) Whole(a Vec, mode int) Vec {
	return m.unary(a, func(a, out Op) {
		if m.ISA == AVX512 {
			VRNDSCALEPS(Imm(uint64(mode)), a, out)
		} else {
			VROUNDPS(Imm(uint64(mode)), a, out)
		}
	})
}

// Fill is n registers of a constant or uniform, to be changed.
func (m *Machine) Fill(n int, c Arg) Vec {
	c.note(m)
	out := m.group(n)
	for i := range out {
		VMOVUPS(c.at(m, i), out[i])
	}
	return out
}

// fused emits a fused multiply-add onto the last operand.
func (m *Machine) fused(f instruction, out Vec, middle Vec, last Arg) {
	last.note(m)
	for i := range out {
		f(last.at(m, i), middle[i], out[i])
	}
}

// MulAdd makes p = p*x + c.
func (m *Machine) MulAdd(p, x Vec, c Arg) { m.fused(VFMADD213PS, p, x, c) }

// MulSub makes p = p*x - c.
func (m *Machine) MulSub(p, x Vec, c Arg) { m.fused(VFMSUB213PS, p, x, c) }

// AddMul makes sum = sum + a*b.
func (m *Machine) AddMul(sum, a Vec, b Arg) { m.fused(VFMADD231PS, sum, a, b) }

// SubMul makes sum = sum - a*b.
func (m *Machine) SubMul(sum, a Vec, b Arg) { m.fused(VFNMADD231PS, sum, a, b) }

// Poly is the polynomial of x with these coefficients, highest power first.
func (m *Machine) Poly(x Vec, coefficients ...Float) Vec {
	p := m.Fill(len(x), coefficients[0])
	for _, c := range coefficients[1:] {
		m.MulAdd(p, x, c)
	}
	return p
}

// The bits of float32.
const (
	signBit = Bits(1 << 31)
	absBits = Bits(1<<31 - 1)
)

// Abs is |x|.
func (m *Machine) Abs(x Vec) Vec { return m.And(x, absBits) }

// NegAbs is -|x|.
func (m *Machine) NegAbs(x Vec) Vec { return m.Or(x, signBit) }

// CopySign is |value| with the sign of sign; it takes the registers of value.
func (m *Machine) CopySign(value, sign Vec) Vec {
	if m.ISA != AVX512 {
		return m.Or(m.Abs(value), m.And(sign, signBit))
	}
	signBit.note(m)
	for i := range value {
		// Bit by bit: sign where signBit is set, value elsewhere.
		VPTERNLOGD(Imm(0xd8), signBit.at(m, i), sign[i], value[i])
	}
	return value
}

// Mask is one truth value per lane: K registers of AVX-512, or all bits of a lane.
type Mask []reg.Register

// The predicates of Compare; all are false for NaN.
const (
	equal     = 0
	less      = 17
	lessEqual = 18
	notEqual  = 12
	greater   = 30
)

// Compare is where a is so against b.
func (m *Machine) Compare(predicate int, a Vec, b Arg) Mask {
	b.note(m)
	mask := make(Mask, len(a))
	for i := range a {
		if m.ISA == AVX512 {
			k := K()
			VCMPPS(Imm(uint64(predicate)), b.at(m, i), a[i], k)
			mask[i] = k
		} else {
			r := m.register()
			VCMPPS(Imm(uint64(predicate)), b.at(m, i), a[i], r)
			mask[i] = r
		}
	}
	return mask
}

// Negative is where the sign bit is set.
func (m *Machine) Negative(x Vec) Mask {
	mask := make(Mask, len(x))
	for i := range x {
		mask[i] = x[i] // VBLENDVPS reads nothing but the sign bit
		if m.ISA == AVX512 {
			k := K()
			VPMOVD2M(x[i], k)
			mask[i] = k
		}
	}
	return mask
}

// Select is yes where mask is set, and no elsewhere.
func (m *Machine) Select(mask Mask, yes Arg, no Vec) Vec {
	yes.note(m)
	out := m.group(len(no))
	for i := range no {
		if m.ISA == AVX512 {
			VBLENDMPS(yes.at(m, i), no[i], mask[i], out[i])
		} else {
			VBLENDVPS(mask[i], yes.at(m, i), no[i], out[i])
		}
	}
	return out
}
