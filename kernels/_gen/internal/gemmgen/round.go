// SPDX-License-Identifier: Apache-2.0

package gemmgen

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/millrace-ml/millrace/kernels/_gen/internal/bf16"
)

// Round writes the kernel that rounds a row of f32 to bf16.
func Round(name string) {
	TEXT(name, NOSPLIT, "func(dst *uint16, src *float32, n int)")
	Doc(name+" rounds n values and fills the last 32 of dst up with zeros: dst has room for",
		"a multiple of 32.")
	Pragma("noescape")
	to, from, n := Load(Param("dst"), GP64()), Load(Param("src"), GP64()), Load(Param("n"), GP64())
	low, high, result := reg.Z0, reg.Z1, reg.Z2
	SUBQ(Imm(32), n)
	JLT(LabelRef("tail"))
	Label("loop")
	VMOVUPS(Mem{Base: from}, low)
	VMOVUPS(Mem{Base: from}.Offset(64), high)
	bf16.Round(result, high, low)
	VMOVDQU64(result, Mem{Base: to})
	ADDQ(U32(128), from)
	ADDQ(Imm(64), to)
	SUBQ(Imm(32), n)
	JGE(LabelRef("loop"))
	Label("tail")
	ADDQ(Imm(32), n)
	JEQ(LabelRef("end"))
	mask := GP32()
	MOVL(U32(1<<32-1), mask)
	BZHIL(n.(reg.GPVirtual).As32(), mask, mask)
	KMOVW(mask, reg.K1)
	SHRL(Imm(16), mask)
	KMOVW(mask, reg.K2)
	VMOVUPS_Z(Mem{Base: from}, reg.K1, low)
	VMOVUPS_Z(Mem{Base: from}.Offset(64), reg.K2, high)
	bf16.Round(result, high, low)
	VMOVDQU64(result, Mem{Base: to})
	Label("end")
	VZEROUPPER()
	RET()
}
