// SPDX-License-Identifier: Apache-2.0

package gemmgen

import (
	. "github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

var zmm = []reg.VecPhysical{
	reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7,
	reg.Z8, reg.Z9, reg.Z10, reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15,
	reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23,
	reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31,
}

// vectorRegisters are the registers of AVX-512 or AVX2.
func vectorRegisters(wide bool) []reg.VecPhysical {
	if wide {
		return zmm
	}
	var ymm []reg.VecPhysical
	for _, z := range zmm[:16] {
		ymm = append(ymm, z.AsY().(reg.VecPhysical))
	}
	return ymm
}

// number is a register's number.
func number(r reg.VecPhysical) uint32 {
	for i, z := range zmm {
		if r.PhysicalIndex() == z.PhysicalIndex() {
			return uint32(i)
		}
	}
	panic("not a vector register")
}

// The instructions of AVX512_BF16 are known to neither avo nor Go's assembler and are
// written as bytes. Operands are in Intel's order, the result first.

// dotBF16 adds to each f32 of sum the products of two pairs of bf16.
func dotBF16(sum, x, y reg.VecPhysical) { // VDPBF16PS: EVEX.512.F3.0F38.W0 52 /r
	const f3 = 2
	evex(f3, 0x52, number(sum), number(x), number(y))
}

// roundBF16 rounds two vectors of f32 to one of bf16, low first.
func roundBF16(dst, high, low reg.VecPhysical) { // VCVTNE2PS2BF16: EVEX.512.F2.0F38.W0 72 /r
	const f2 = 3
	evex(f2, 0x72, number(dst), number(high), number(low))
}

// evex writes a 512-bit instruction of opcode map 0F38 with three registers: ModRM.reg,
// EVEX.vvvv and ModRM.rm. The prefix has the upper bits of their numbers, inverted.
func evex(prefix, opcode, r, v, rm uint32) {
	not := func(number, bit uint32) uint32 { return ^number >> bit & 1 }
	p0 := not(r, 3)<<7 | not(rm, 4)<<6 | not(rm, 3)<<5 | not(r, 4)<<4 | 2
	p1 := ^v&15<<3 | 1<<2 | prefix
	p2 := 2<<5 | not(v, 4)<<3
	raw("LONG", U32(0x62|p0<<8|p1<<16|p2<<24))
	raw("WORD", U16(opcode|(0xc0|r&7<<3|rm&7)<<8))
}

func raw(directive string, value Op) {
	Instruction(&ir.Instruction{Opcode: directive, Operands: []Op{value}})
}
