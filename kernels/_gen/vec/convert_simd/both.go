// SPDX-License-Identifier: Apache-2.0

package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"

	"github.com/millrace-ml/millrace/kernels/_gen/internal/vecgen"
)

// Conversions whose code is the same at both levels.

// widen loads narrow integers into elements of 32 bits.
func widen(c *context, s vecgen.Step, size int, plain func(...Op), zeroing func(from, mask, to Op)) VecVirtual {
	v := s.Vec()
	if s.Mask != nil {
		zeroing(s.At(c.src, size), s.Mask, v)
	} else {
		plain(s.At(c.src, size), v)
	}
	return v
}

func bf16ToF32(c *context, s vecgen.Step) {
	v := widen(c, s, 2, VPMOVZXWD, VPMOVZXWD_Z)
	VPSLLD(Imm(16), v, v)
	s.Store(v, c.dst)
}

func uint8ToF32(c *context, s vecgen.Step) {
	v := widen(c, s, 1, VPMOVZXBD, VPMOVZXBD_Z)
	VCVTDQ2PS(v, v)
	s.Store(v, c.dst)
}

func int8ToF32(c *context, s vecgen.Step) {
	v := widen(c, s, 1, VPMOVSXBD, VPMOVSXBD_Z)
	VCVTDQ2PS(v, v)
	s.Store(v, c.dst)
}

func int32ToF32(c *context, s vecgen.Step) {
	v := s.Load(c.src)
	VCVTDQ2PS(v, v)
	s.Store(v, c.dst)
}

func f32ToInt32(c *context, s vecgen.Step) {
	v := s.Load(c.src)
	VCVTTPS2DQ(v, v)
	s.Store(v, c.dst)
}
