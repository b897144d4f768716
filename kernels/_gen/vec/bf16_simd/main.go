// SPDX-License-Identifier: Apache-2.0

// Command bf16_simd generates the rounding of f32 to bf16 by the CPU's own instruction.
package main

import (
	"github.com/mmcloughlin/avo/build"
	"github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"

	"github.com/millrace-ml/millrace/kernels/_gen/internal/bf16"
)

// Registers are named, since avo does not know the instruction and so could not put
// allocated ones into its bytes.
var (
	loads  = []reg.VecPhysical{reg.Z0, reg.Z1, reg.Z2, reg.Z3}
	halves = []reg.VecPhysical{reg.Z4, reg.Z5}
)

func main() {
	build.ConstraintExpr("!purego")
	build.TEXT("f32ToBF16Hardware", build.NOSPLIT, "func(dst *uint16, src *float32, n int) (done int)")
	build.Pragma("noescape")
	build.Doc("f32ToBF16Hardware rounds n elements, a multiple of 64, up to the first block of 64 that",
		"holds a denormal, which the instruction would flush to zero; done of them.")
	dst := build.Load(build.Param("dst"), build.GP64())
	src := build.Load(build.Param("src"), build.GP64())
	n := build.Load(build.Param("n"), build.GP64())
	done := build.GP64()
	build.XORQ(done, done)
	build.Label("loop")
	build.CMPQ(done, n)
	build.JGE(operand.LabelRef("end"))
	denormals := []reg.OpmaskVirtual{build.K(), build.K(), build.K(), build.K()}
	for i, z := range loads {
		build.VMOVUPS(operand.Mem{Base: src, Index: done, Scale: 4, Disp: 64 * i}, z)
	}
	for i, z := range loads {
		build.VFPCLASSPSZ(operand.U8(0x20), z, denormals[i])
	}
	build.KORW(denormals[0], denormals[1], denormals[1])
	build.KORW(denormals[2], denormals[3], denormals[3])
	build.KORTESTW(denormals[1], denormals[3])
	build.JNE(operand.LabelRef("end"))
	for i, z := range halves {
		bf16.Round(z, loads[2*i+1], loads[2*i])
		build.VMOVDQU64(z, operand.Mem{Base: dst, Index: done, Scale: 2, Disp: 64 * i})
	}
	build.ADDQ(operand.U8(64), done)
	build.JMP(operand.LabelRef("loop"))
	build.Label("end")
	build.Store(done, build.ReturnIndex(0))
	build.VZEROUPPER()
	build.RET()
	build.Generate()
}
