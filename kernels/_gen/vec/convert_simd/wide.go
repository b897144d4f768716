// SPDX-License-Identifier: Apache-2.0

package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"

	"github.com/millrace-ml/millrace/kernels/_gen/internal/vecgen"
)

// An instruction with its masked form; the assembler names them differently.
type moves struct {
	plain, merging func(...Op)
	zeroing        func(from, mask, to Op)
}

var (
	words  = moves{VMOVDQU16, VMOVDQU16, VMOVDQU16_Z}
	bytes  = moves{VMOVDQU8, VMOVDQU8, VMOVDQU8_Z}
	dwords = moves{VMOVDQU32, VMOVDQU32, VMOVDQU32_Z}
	qwords = moves{VMOVDQU64, VMOVDQU64, VMOVDQU64_Z}
)

func (m moves) load(s vecgen.Step, from Mem, v Op) {
	if s.Mask != nil {
		m.zeroing(from, s.Mask, v)
	} else {
		m.plain(from, v)
	}
}

func (m moves) store(s vecgen.Step, v Op, to Mem) {
	if s.Mask != nil {
		m.merging(v, s.Mask, to)
	} else {
		m.plain(v, to)
	}
}

func f32ToF16(c *context, s vecgen.Step) {
	half := YMM()
	VCVTPS2PH(Imm(0), s.Load(c.src), half)
	words.store(s, half, s.At(c.dst, 2))
}

func f16ToF32(c *context, s vecgen.Step) {
	half, v := YMM(), ZMM()
	words.load(s, s.At(c.src, 2), half)
	VCVTPH2PS(half, v)
	s.Store(v, c.dst)
}

// rounded leaves the bfloat16 of v in the upper halves of its elements.
func (c *context) rounded(v VecVirtual) VecVirtual {
	odd, nan, t := K(), K(), ZMM()
	VPTESTMD(c.constant[0x10000], v, odd)
	VCMPPS(Imm(3), v, v, nan)
	// Half a unit less one, or half a unit if the last bit is set.
	VPADDD(c.constant[0x7fff], v, t)
	VPADDD(c.constant[0x8000], v, odd, t)
	VPORD(c.constant[0x400000], v, nan, t)
	return t
}

// pairs converts two vectors at a time to bfloat16, since one instruction then takes
// the upper halves of both.
func (c *context) pairs(n, mask Register) {
	order := ZMM()
	VMOVDQU16(upperHalves(), order)
	i := GP64()
	XORQ(i, i)
	for _, unroll := range []int{2, 1} {
		vecgen.Groups([]string{"", "pair", "pairs"}[unroll], i, n, 32*unroll, func() {
			for u := range unroll {
				s := vecgen.Step{Level: c.level, I: i, Offset: 32 * u}
				t := s
				t.Offset += 16
				first, second := c.rounded(s.Load(c.src)), c.rounded(t.Load(c.src))
				VPERMT2W(second, order, first)
				VMOVDQU16(first, s.At(c.dst, 2))
			}
		})
	}
	c.level.Whole("row", i, n, 1, func(s vecgen.Step) { f32ToBF16(c, s) })
	CMPQ(i, n)
	JGE(LabelRef("done"))
	f32ToBF16(c, vecgen.Step{Level: c.level, I: i, Mask: mask})
	Label("done")
}

// upperHalves are the numbers of the upper words of two vectors' elements.
func upperHalves() Mem {
	table := GLOBL("upperHalves", RODATA|NOPTR)
	for w := range 32 {
		DATA(2*w, U16(2*w+1))
	}
	return table
}

func f32ToBF16(c *context, s vecgen.Step) {
	v, half := c.rounded(s.Load(c.src)), YMM()
	VPSRLD(Imm(16), v, v)
	VPMOVDW(v, half)
	words.store(s, half, s.At(c.dst, 2))
}

func int64ToF32(c *context, s vecgen.Step) {
	halves(s, func(s vecgen.Step) {
		long, v := ZMM(), YMM()
		qwords.load(s, s.At(c.src, 8), long)
		VCVTQQ2PS(long, v)
		s.Store(v, c.dst)
	})
}

func f32ToInt64(c *context, s vecgen.Step) {
	halves(s, func(s vecgen.Step) {
		long, v := ZMM(), YMM()
		dwords.load(s, s.At(c.src, 4), v)
		VCVTTPS2QQ(v, long)
		qwords.store(s, long, s.At(c.dst, 8))
	})
}

func f64ToF32(c *context, s vecgen.Step) {
	halves(s, func(s vecgen.Step) {
		long, v := ZMM(), YMM()
		qwords.load(s, s.At(c.src, 8), long)
		VCVTPD2PS(long, v)
		s.Store(v, c.dst)
	})
}

func f32ToF64(c *context, s vecgen.Step) {
	halves(s, func(s vecgen.Step) {
		long, v := ZMM(), YMM()
		dwords.load(s, s.At(c.src, 4), v)
		VCVTPS2PD(v, long)
		qwords.store(s, long, s.At(c.dst, 8))
	})
}

func int32ToInt64(c *context, s vecgen.Step) {
	halves(s, func(s vecgen.Step) {
		long, v := ZMM(), YMM()
		dwords.load(s, s.At(c.src, 4), v)
		VPMOVSXDQ(v, long)
		qwords.store(s, long, s.At(c.dst, 8))
	})
}

func int64ToInt32(c *context, s vecgen.Step) {
	halves(s, func(s vecgen.Step) {
		long, v := ZMM(), YMM()
		qwords.load(s, s.At(c.src, 8), long)
		VPMOVQD(long, v)
		dwords.store(s, v, s.At(c.dst, 4))
	})
}

func boolToF32(c *context, s vecgen.Step) {
	x, set, v := XMM(), K(), ZMM()
	bytes.load(s, s.At(c.src, 1), x)
	VPTESTMB(x, x, set)
	VMOVAPS_Z(c.constant[0x3f800000], set, v)
	s.Store(v, c.dst)
}

func f32ToBool(c *context, s vecgen.Step) {
	set, x := K(), XMM()
	VCMPPS(Imm(4), c.constant[0], s.Load(c.src), set) // not equal, or unordered
	VMOVDQU8_Z(c.constant[0x01010101].AsX(), set, x)
	bytes.store(s, x, s.At(c.dst, 1))
}
