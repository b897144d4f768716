// SPDX-License-Identifier: Apache-2.0

// Package vecgen is what the generators of kernels/vec share: the two instruction
// levels, and loops over the elements of a row in vectors with a rest.
package vecgen

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// Level is what code is written for.
type Level struct {
	Name  string // the ending of the function's name
	Width int    // float32 in a vector
}

// The levels.
var (
	AVX2   = Level{"AVX2", 8}
	AVX512 = Level{"AVX512", 16}
	Levels = []Level{AVX2, AVX512}
)

// Wide is whether there are masks and 32 registers.
func (l Level) Wide() bool { return l.Width == 16 }

// Vec is a new register of the level's width.
func (l Level) Vec() VecVirtual {
	if l.Wide() {
		return ZMM()
	}
	return YMM()
}

// As is the register at the level's width.
func (l Level) As(r Register) Register {
	v := r.(Vec)
	if l.Wide() {
		return v.AsZ()
	}
	return v.AsY()
}

// Broadcast is a vector of one bit pattern.
func (l Level) Broadcast(bits uint32) VecVirtual {
	t, v := GP32(), l.Vec()
	MOVL(U32(bits), t)
	if l.Wide() {
		VPBROADCASTD(t, v)
		return v
	}
	VMOVD(t, v.AsX())
	VPBROADCASTD(v.AsX(), v)
	return v
}

// Zero is a vector of zeros.
func (l Level) Zero() VecVirtual {
	v := l.Vec()
	VXORPS(v.AsX(), v.AsX(), v.AsX()) // clears the upper parts too
	return v
}

// Finish leaves the function.
func Finish() {
	VZEROUPPER()
	RET()
}

// Begin starts a function of the level; stubs keep pointers from escaping.
func (l Level) Begin(name, signature, doc string) {
	TEXT(name+l.Name, NOSPLIT, signature)
	Pragma("noescape")
	Doc(name + l.Name + " " + doc)
}

// Arg loads a parameter into a register.
func Arg(name string) Register { return Load(Param(name), GP64()) }

// RestMask is a mask of the lowest count%16 bits.
func RestMask(count Register) Register {
	t, ones, k := GP64(), GP64(), K()
	MOVQ(count, t)
	ANDQ(Imm(15), t)
	MOVQ(I64(-1), ones)
	BZHIQ(t, ones, ones)
	KMOVW(ones.As32(), k)
	return k
}

// Step is one piece of a row: a vector, or what is left of it.
type Step struct {
	Level
	I      Register // the element it starts at
	Offset int      // elements beyond I
	Mask   Register // of what is left, AVX-512 only; nil for a whole vector
	Single bool     // one element only: what AVX2 does for what is left
}

// At is where the step's elements are, which are of size bytes each.
func (s Step) At(base Register, size int) Mem {
	return Mem{Base: base, Index: s.I, Scale: uint8(size), Disp: s.Offset * size}
}

// Load makes a vector of float32.
func (s Step) Load(base Register) VecVirtual {
	if s.Single {
		v := XMM()
		VMOVSS(s.At(base, 4), v)
		return v
	}
	v := s.Vec()
	if s.Mask != nil {
		VMOVUPS_Z(s.At(base, 4), s.Mask, v)
	} else {
		VMOVUPS(s.At(base, 4), v)
	}
	return v
}

// Store writes a vector of float32.
func (s Step) Store(v VecVirtual, base Register) {
	switch {
	case s.Single:
		VMOVSS(v.AsX(), s.At(base, 4))
	case s.Mask != nil:
		VMOVUPS(v, s.Mask, s.At(base, 4))
	default:
		VMOVUPS(v, s.At(base, 4))
	}
}

// Fit is the part of a vector that a step computes with.
func (s Step) Fit(v VecVirtual) VecVirtual {
	if s.Single {
		return v.AsX().(VecVirtual)
	}
	return v
}

// Sweep runs body for n elements: unroll vectors at a time, then one, then what is
// left: by mask, whose length is n%16, or element by element.
func (l Level) Sweep(label string, n, mask Register, unroll int, body func(Step)) {
	i := GP64()
	XORQ(i, i)
	l.Whole(label, i, n, unroll, body)
	CMPQ(i, n)
	JGE(LabelRef(label + "_done"))
	if l.Wide() {
		body(Step{Level: l, I: i, Mask: mask})
	} else {
		Label(label + "_single")
		body(Step{Level: l, I: i, Single: true})
		INCQ(i)
		CMPQ(i, n)
		JLT(LabelRef(label + "_single"))
	}
	Label(label + "_done")
}

// Whole runs body for whole vectors from element i to n, and leaves i where fewer are
// left.
func (l Level) Whole(label string, i, n Register, unroll int, body func(Step)) {
	many := func() {
		for u := range unroll {
			body(Step{Level: l, I: i, Offset: u * l.Width})
		}
	}
	if unroll > 1 {
		Groups(label+"_many", i, n, unroll*l.Width, many)
	}
	Groups(label+"_one", i, n, l.Width, func() { body(Step{Level: l, I: i}) })
}

// Groups runs body while size elements are left from i to n, which it advances.
func Groups(label string, i, n Register, size int, body func()) {
	next := GP64()
	Label(label)
	LEAQ(Mem{Base: i, Disp: size}, next)
	CMPQ(next, n)
	JGT(LabelRef(label + "_end"))
	body()
	MOVQ(next, i)
	JMP(LabelRef(label))
	Label(label + "_end")
}
