// SPDX-License-Identifier: Apache-2.0

package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"

	"github.com/millrace-ml/millrace/kernels/_gen/internal/vecgen"
)

// Conversions with AVX2, 8 elements at a time.

func f32ToF16Narrow(c *context, s vecgen.Step) {
	VCVTPS2PH(Imm(0), s.Load(c.src), s.At(c.dst, 2))
}

func f16ToF32Narrow(c *context, s vecgen.Step) {
	v := YMM()
	VCVTPH2PS(s.At(c.src, 2), v)
	s.Store(v, c.dst)
}

func f32ToBF16Narrow(c *context, s vecgen.Step) {
	v, t, nan := s.Load(c.src), YMM(), YMM()
	VCMPPS(Imm(3), v, v, nan)
	// Half a unit less one, and the last bit for ties.
	VPSRLD(Imm(16), v, t)
	VPAND(c.constant[1], t, t)
	VPADDD(c.constant[0x7fff], t, t)
	VPADDD(v, t, t)
	VPOR(c.constant[0x400000], v, v)
	VBLENDVPS(nan, v, t, t)
	VPSRLD(Imm(16), t, t)
	packed(t)
	VMOVDQU(t.AsX(), s.At(c.dst, 2))
}

// packed moves the lower words of v's elements together, which are not above 65535.
func packed(v VecVirtual) {
	VPACKUSDW(v, v, v)
	VPERMQ(Imm(0xd8), v, v)
}

func boolToF32Narrow(c *context, s vecgen.Step) {
	v := widen(c, s, 1, VPMOVZXBD, nil)
	VPCMPEQD(c.constant[0], v, v)
	VPANDN(c.constant[0x3f800000], v, v)
	s.Store(v, c.dst)
}

func f32ToBoolNarrow(c *context, s vecgen.Step) {
	v := s.Load(c.src)
	VCMPPS(Imm(4), c.constant[0], v, v) // not equal, or unordered
	VPSRLD(Imm(31), v, v)
	packed(v)
	VPACKUSWB(v.AsX(), v.AsX(), v.AsX())
	VMOVQ(v.AsX(), s.At(c.dst, 1))
}

// parts runs body for elements 0 to 3 and 4 to 7.
func parts(s vecgen.Step, body func(s vecgen.Step)) {
	body(s)
	s.Offset += 4
	body(s)
}

func f64ToF32Narrow(c *context, s vecgen.Step) {
	parts(s, func(s vecgen.Step) {
		v, x := YMM(), XMM()
		VMOVUPD(s.At(c.src, 8), v)
		VCVTPD2PSY(v, x)
		VMOVUPS(x, s.At(c.dst, 4))
	})
}

func f32ToF64Narrow(c *context, s vecgen.Step) {
	parts(s, func(s vecgen.Step) {
		v := YMM()
		VCVTPS2PD(s.At(c.src, 4), v)
		VMOVUPD(v, s.At(c.dst, 8))
	})
}

func int32ToInt64Narrow(c *context, s vecgen.Step) {
	parts(s, func(s vecgen.Step) {
		v := YMM()
		VPMOVSXDQ(s.At(c.src, 4), v)
		VMOVDQU(v, s.At(c.dst, 8))
	})
}

func int64ToInt32Narrow(c *context, s vecgen.Step) {
	v := YMM()
	high := s
	high.Offset += 4
	VMOVUPS(s.At(c.src, 8), v)
	VSHUFPS(Imm(0x88), high.At(c.src, 8), v, v) // the lower halves, in pairs
	VPERMQ(Imm(0xd8), v, v)
	VMOVDQU(v, s.At(c.dst, 4))
}
