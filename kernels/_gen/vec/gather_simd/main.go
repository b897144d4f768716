// SPDX-License-Identifier: Apache-2.0

// Command gather_simd generates copies of many rows of bytes: strided, from rows that
// indices name, and to them.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"

	"github.com/millrace-ml/millrace/kernels/_gen/internal/vecgen"
)

func main() {
	ConstraintExpr("!purego")
	for _, l := range vecgen.Levels {
		copyStrided(l)
		indexed(l, "gatherRows", "copies the rows of src that indices name.")
		indexed(l, "scatterRows", "copies rows of src to those that indices name.")
	}
	Generate()
}

func copyStrided(l vecgen.Level) {
	l.Begin("copyStrided", "func(dst *byte, dstStride int, src *byte, srcStride int, width, rows int)",
		"copies rows of width bytes that are strides apart.")
	dst, src := vecgen.Arg("dst"), vecgen.Arg("src")
	dstStride, srcStride := vecgen.Arg("dstStride"), vecgen.Arg("srcStride")
	width, rows := vecgen.Arg("width"), vecgen.Arg("rows")
	copies(l, width, func(label string, copyRow func(to, from Register)) {
		Label(label)
		copyRow(dst, src)
		ADDQ(dstStride, dst)
		ADDQ(srcStride, src)
		DECQ(rows)
		JNZ(LabelRef(label))
		vecgen.Finish()
	})
}

// indexed is a gather or a scatter; negative indices count from the end.
func indexed(l vecgen.Level, name, doc string) {
	l.Begin(name, "func(dst, src *byte, rowBytes int, indices *int64, n, rows int)", doc)
	dst, src, width := vecgen.Arg("dst"), vecgen.Arg("src"), vecgen.Arg("rowBytes")
	indices, n, rows := vecgen.Arg("indices"), vecgen.Arg("n"), vecgen.Arg("rows")
	table, next := src, dst
	if name == "scatterRows" {
		table, next = dst, src
	}
	row, fromEnd := GP64(), GP64()
	copies(l, width, func(label string, copyRow func(to, from Register)) {
		Label(label)
		MOVQ(Mem{Base: indices}, row)
		LEAQ(Mem{Base: row, Index: rows, Scale: 1}, fromEnd)
		TESTQ(row, row)
		CMOVQMI(fromEnd, row)
		IMULQ(width, row)
		ADDQ(table, row)
		if name == "scatterRows" {
			copyRow(row, next)
		} else {
			copyRow(next, row)
		}
		ADDQ(width, next)
		ADDQ(Imm(8), indices)
		DECQ(n)
		JNZ(LabelRef(label))
		vecgen.Finish()
	})
}

// copies has loop write a loop over rows for each kind of width, and branches to it.
func copies(l vecgen.Level, width Register, loop func(label string, copyRow func(to, from Register))) {
	if l.Wide() {
		mask := byteMask(width)
		loop("wide", func(to, from Register) { copyWide(to, from, width, mask) })
		return
	}
	for _, k := range []struct {
		label string
		from  int
		copy  func(to, from, width Register)
	}{{"vectors", 32, copyVectors}, {"pair16", 16, copyPair16}, {"pair8", 8, copyPair8}, {"pair4", 4, copyPair4}} {
		CMPQ(width, Imm(uint64(k.from)))
		JLT(LabelRef("below_" + k.label))
		loop(k.label, func(to, from Register) { k.copy(to, from, width) })
		Label("below_" + k.label)
	}
	loop("bytes", func(to, from Register) { copyBytes(to, from, width) })
}

// byteMask is a mask of the lowest width%64 bits.
func byteMask(width Register) Register {
	t, ones, k := GP64(), GP64(), K()
	MOVQ(width, t)
	ANDQ(Imm(63), t)
	MOVQ(I64(-1), ones)
	BZHIQ(t, ones, ones)
	KMOVQ(ones, k)
	return k
}

// copyWide copies vectors, and what is left by mask.
func copyWide(to, from, width, mask Register) {
	i, v := GP64(), ZMM()
	XORQ(i, i)
	vecgen.Groups("quads", i, width, 256, func() {
		for line := 0; line < 256; line += 64 {
			t := ZMM()
			VMOVDQU64(Mem{Base: from, Index: i, Scale: 1, Disp: line}, t)
			VMOVDQU64(t, Mem{Base: to, Index: i, Scale: 1, Disp: line})
		}
	})
	vecgen.Groups("lines", i, width, 64, func() {
		VMOVDQU64(Mem{Base: from, Index: i, Scale: 1}, v)
		VMOVDQU64(v, Mem{Base: to, Index: i, Scale: 1})
	})
	CMPQ(i, width)
	JEQ(LabelRef("copied"))
	VMOVDQU8_Z(Mem{Base: from, Index: i, Scale: 1}, mask, v)
	VMOVDQU8(v, mask, Mem{Base: to, Index: i, Scale: 1})
	Label("copied")
}

// copyVectors copies vectors, and the last 32 bytes once more.
func copyVectors(to, from, width Register) {
	i, v := GP64(), YMM()
	XORQ(i, i)
	vecgen.Groups("vector", i, width, 32, func() {
		VMOVDQU(Mem{Base: from, Index: i, Scale: 1}, v)
		VMOVDQU(v, Mem{Base: to, Index: i, Scale: 1})
	})
	VMOVDQU(Mem{Base: from, Index: width, Scale: 1, Disp: -32}, v)
	VMOVDQU(v, Mem{Base: to, Index: width, Scale: 1, Disp: -32})
}

// The pairs copy the first and the last bytes, which may overlap.

func copyPair16(to, from, width Register) {
	a, b := XMM(), XMM()
	VMOVDQU(Mem{Base: from}, a)
	VMOVDQU(Mem{Base: from, Index: width, Scale: 1, Disp: -16}, b)
	VMOVDQU(a, Mem{Base: to})
	VMOVDQU(b, Mem{Base: to, Index: width, Scale: 1, Disp: -16})
}

func copyPair8(to, from, width Register) {
	a, b := GP64(), GP64()
	MOVQ(Mem{Base: from}, a)
	MOVQ(Mem{Base: from, Index: width, Scale: 1, Disp: -8}, b)
	MOVQ(a, Mem{Base: to})
	MOVQ(b, Mem{Base: to, Index: width, Scale: 1, Disp: -8})
}

func copyPair4(to, from, width Register) {
	a, b := GP32(), GP32()
	MOVL(Mem{Base: from}, a)
	MOVL(Mem{Base: from, Index: width, Scale: 1, Disp: -4}, b)
	MOVL(a, Mem{Base: to})
	MOVL(b, Mem{Base: to, Index: width, Scale: 1, Disp: -4})
}

func copyBytes(to, from, width Register) {
	i, b := GP64(), GP8()
	XORQ(i, i)
	Label("byte")
	MOVB(Mem{Base: from, Index: i, Scale: 1}, b)
	MOVB(b, Mem{Base: to, Index: i, Scale: 1})
	INCQ(i)
	CMPQ(i, width)
	JNE(LabelRef("byte"))
}
