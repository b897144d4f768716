// SPDX-License-Identifier: Apache-2.0

// Package bf16 writes the instructions of AVX512_BF16. Neither avo nor Go's assembler
// knows them, so they are written as bytes, and registers must be physical ones.
// Operands are in Intel's order, the result first.
package bf16

import (
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/ir"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The prefixes that the instructions are told apart by.
const (
	prefixF3 = 2
	prefixF2 = 3
)

// Dot adds to each f32 of sum the products of two pairs of bf16.
func Dot(sum, x, y reg.VecPhysical) { // VDPBF16PS: EVEX.512.F3.0F38.W0 52 /r
	write(prefixF3, 0x52, number(sum), number(x), number(y))
}

// Round rounds two vectors of f32 to one of bf16, low first.
func Round(dst, high, low reg.VecPhysical) { // VCVTNE2PS2BF16: EVEX.512.F2.0F38.W0 72 /r
	write(prefixF2, 0x72, number(dst), number(high), number(low))
}

// number is a register's number.
func number(r reg.VecPhysical) uint32 { return uint32(r.PhysicalIndex()) }

// write writes a 512-bit instruction of opcode map 0F38 with three registers: ModRM.reg,
// EVEX.vvvv and ModRM.rm. The prefix has the upper bits of their numbers, inverted.
func write(prefix, opcode, r, v, rm uint32) {
	not := func(number, bit uint32) uint32 { return ^number >> bit & 1 }
	p0 := not(r, 3)<<7 | not(rm, 4)<<6 | not(rm, 3)<<5 | not(r, 4)<<4 | 2
	p1 := ^v&15<<3 | 1<<2 | prefix
	p2 := 2<<5 | not(v, 4)<<3
	raw("LONG", operand.U32(0x62|p0<<8|p1<<16|p2<<24))
	raw("WORD", operand.U16(opcode|(0xc0|r&7<<3|rm&7)<<8))
}

func raw(directive string, value operand.Op) {
	build.Instruction(&ir.Instruction{Opcode: directive, Operands: []operand.Op{value}})
}
