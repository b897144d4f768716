// SPDX-License-Identifier: Apache-2.0

// Command convert_simd generates conversions between datatypes. Those for AVX2 take a
// multiple of 8 elements, those for AVX-512 any count.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"

	"github.com/millrace-ml/millrace/kernels/_gen/internal/vecgen"
)

// conversion is one pair of datatypes.
type conversion struct {
	name     string
	to, from string
	avx2     func(c *context, s vecgen.Step) // nil where Go does as well
	avx512   func(c *context, s vecgen.Step)
}

var conversions = []conversion{
	{"f32ToF16", "uint16", "float32", f32ToF16Narrow, f32ToF16},
	{"f16ToF32", "float32", "uint16", f16ToF32Narrow, f16ToF32},
	{"f32ToBF16", "uint16", "float32", f32ToBF16Narrow, f32ToBF16},
	{"bf16ToF32", "float32", "uint16", bf16ToF32, bf16ToF32},
	{"int64ToF32", "float32", "int64", nil, int64ToF32},
	{"int32ToF32", "float32", "int32", int32ToF32, int32ToF32},
	{"uint8ToF32", "float32", "uint8", uint8ToF32, uint8ToF32},
	{"int8ToF32", "float32", "int8", int8ToF32, int8ToF32},
	{"f32ToInt64", "int64", "float32", nil, f32ToInt64},
	{"f32ToInt32", "int32", "float32", f32ToInt32, f32ToInt32},
	{"boolToF32", "float32", "uint8", boolToF32Narrow, boolToF32},
	{"f32ToBool", "uint8", "float32", f32ToBoolNarrow, f32ToBool},
	{"f64ToF32", "float32", "float64", f64ToF32Narrow, f64ToF32},
	{"f32ToF64", "float64", "float32", f32ToF64Narrow, f32ToF64},
	{"int32ToInt64", "int64", "int32", int32ToInt64Narrow, int32ToInt64},
	{"int64ToInt32", "int32", "int64", int64ToInt32Narrow, int64ToInt32},
}

// context is what a function keeps in registers over its loop.
type context struct {
	dst, src Register
	constant map[uint32]VecVirtual
	level    vecgen.Level
}

func main() {
	ConstraintExpr("!purego")
	for _, l := range vecgen.Levels {
		for _, c := range conversions {
			if l.Wide() || c.avx2 != nil {
				c.generate(l)
			}
		}
	}
	Generate()
}

func (c *conversion) generate(l vecgen.Level) {
	doc := "converts n elements, a multiple of 8."
	body := c.avx2
	if l.Wide() {
		doc, body = "converts n elements.", c.avx512
	}
	l.Begin(c.name, "func(dst *"+c.to+", src *"+c.from+", n int)", doc)
	x := &context{vecgen.Arg("dst"), vecgen.Arg("src"), map[uint32]VecVirtual{}, l}
	n := vecgen.Arg("n")
	switch c.name {
	case "f32ToBF16":
		x.keep(0x7fff, 0x8000, 0x10000, 0x400000, 1)
	case "boolToF32", "f32ToBool":
		x.keep(0, 0x3f800000, 0x01010101)
	}
	if l.Wide() {
		mask := vecgen.RestMask(n)
		if c.name == "f32ToBF16" {
			x.pairs(n, mask)
		} else {
			l.Sweep("row", n, mask, 4, func(s vecgen.Step) { body(x, s) })
		}
	} else {
		i := GP64()
		XORQ(i, i)
		l.Whole("row", i, n, 4, func(s vecgen.Step) { body(x, s) })
	}
	vecgen.Finish()
}

// keep makes vectors of constants.
func (c *context) keep(constants ...uint32) {
	for _, v := range constants {
		if v == 0 {
			c.constant[v] = c.level.Zero()
		} else {
			c.constant[v] = c.level.Broadcast(v)
		}
	}
}

// upper is the mask of elements 8 to 15 of a step.
func upper(s vecgen.Step) Register {
	k := K()
	KSHIFTRW(Imm(8), s.Mask, k)
	return k
}

// halves runs body for elements 0 to 7 and 8 to 15, which a wider datatype needs two
// vectors for.
func halves(s vecgen.Step, body func(s vecgen.Step)) {
	body(s)
	s.Offset += 8
	if s.Mask != nil {
		s.Mask = upper(s)
	}
	body(s)
}
