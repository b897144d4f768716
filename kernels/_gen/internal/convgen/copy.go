// SPDX-License-Identifier: Apache-2.0

package convgen

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
)

// Copy writes the kernel that copies rows. Their tails are masked with AVX-512; with
// AVX2, where masked stores are slow, they overlap what is copied already.
func (a ISA) Copy() {
	j := begin("copy"+a.Name, "copies rows.")
	srcRow, dstRow, rows := j.load(offSrc), j.load(offDst), j.load(offRows)
	ldSrc, ldDst, cols := j.load(offLdSrc), j.load(offLdDst), j.load(offCols)
	all := a.registers()
	x, mask := all[0], all[1]
	whole, tail := GP64(), GP64()
	MOVQ(cols, whole)
	ANDQ(I32(int32(-a.lanes())), whole)
	MOVQ(cols, tail)
	SUBQ(whole, tail)
	SHLQ(U8(2), whole) // bytes
	bits := GP64()
	MOVQ(tail, bits)
	a.mask(j, bits, mask)
	Label("row")
	at := GP64()
	XORQ(at, at)
	CMPQ(at, whole)
	JEQ(LabelRef("tail"))
	Label("vectors")
	VMOVUPS(Mem{Base: srcRow, Index: at, Scale: 1}, x)
	VMOVUPS(x, Mem{Base: dstRow, Index: at, Scale: 1})
	ADDQ(U32(uint32(a.bytes())), at)
	CMPQ(at, whole)
	JLT(LabelRef("vectors"))
	Label("tail")
	TESTQ(tail, tail)
	JEQ(LabelRef("next"))
	if !a.Wide {
		TESTQ(whole, whole)
		JEQ(LabelRef("masked"))
		from, to := GP64(), GP64()
		LEAQ(Mem{Base: srcRow, Index: cols, Scale: 4, Disp: -a.bytes()}, from)
		LEAQ(Mem{Base: dstRow, Index: cols, Scale: 4, Disp: -a.bytes()}, to)
		VMOVUPS(Mem{Base: from}, x)
		VMOVUPS(x, Mem{Base: to})
		JMP(LabelRef("next"))
		Label("masked")
	}
	a.loadMasked(Mem{Base: srcRow, Index: at, Scale: 1}, 0, mask, x)
	a.storeMasked(x, mask, Mem{Base: dstRow, Index: at, Scale: 1})
	Label("next")
	ADDQ(ldSrc, srcRow)
	ADDQ(ldDst, dstRow)
	DECQ(rows)
	JNE(LabelRef("row"))
	VZEROUPPER()
	RET()
}
