// SPDX-License-Identifier: Apache-2.0

// Command convert generates the conversions of kernels/quant between floats and 8-bit
// integers, for AVX2 and for AVX-512. Each works on whole vectors; a rest is done by
// going over the last vector's worth again, which the callers make sure exists.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// isa is a width of vectors.
type isa struct {
	name  string
	lanes int // of 4 bytes
	reg   func() VecVirtual
	order Mem // what puts packed bytes in order again
}

func main() {
	ConstraintExpr("!purego")
	avx2 := isa{"AVX2", 8, YMM, order("order8", 8)}
	avx512 := isa{"AVX512", 16, ZMM, order("order16", 16)}
	for _, v := range []isa{avx2, avx512} {
		v.quantize()
		v.valueRange()
		v.dequantize()
		v.scale32()
		v.scaleColumns()
	}
	avx2.flipBytes()
	avx2.sumBytes()
	avx2.widen()
	Generate()
}

// order is the permutation of 4-byte groups that undoes the packing of four vectors in
// 16-byte lanes.
func order(name string, lanes int) Mem {
	table := GLOBL(name, RODATA|NOPTR)
	for i := range lanes {
		perVector := lanes / 4
		DATA(4*i, U32(uint32(i%perVector*4+i/perVector)))
	}
	return table
}

func (v isa) bytes() int { return 4 * v.lanes }

// broadcast fills a vector with a parameter of 4 bytes.
func (v isa) broadcast(name string) VecVirtual {
	r := v.reg()
	VBROADCASTSS(param(name), r)
	return r
}

func param(name string) Mem {
	p, err := Param(name).Resolve()
	if err != nil {
		panic(err)
	}
	return p.Addr
}

// xor is exclusive or in whichever encoding the width has.
func (v isa) xor(a, b, to Op) {
	if v.lanes == 16 {
		VPXORD(a, b, to)
		return
	}
	VPXOR(a, b, to)
}

// loop calls body for every block of n elements, which must be one block at least, the
// last of which may overlap the one before it. advance moves the pointers by a count of
// elements that is in a register.
func loop(n Register, block int, advance func(count Op), body func()) {
	back := GP64()
	Label("loop")
	body()
	SUBQ(U32(uint32(block)), n)
	JE(LabelRef("end"))
	MOVQ(U32(uint32(block)), back)
	CMPQ(n, back)
	CMOVQLT(n, back)
	// A block further on, or as far as leaves one whole block.
	advance(back)
	MOVQ(U32(uint32(block)), back)
	CMPQ(n, back)
	CMOVQLT(back, n)
	JMP(LabelRef("loop"))
	Label("end")
}

func (v isa) quantize() {
	TEXT("quantize"+v.name, NOSPLIT, "func(dst *uint8, src *float32, n int, bound, inverse, rest float32, zero, flip uint32)")
	Doc("quantize"+v.name+" writes src times (inverse + rest), rounded and moved by zero, as",
		"bytes flipped by flip; zero is twice the 16 bits to add, and flip four times the byte.",
		"Values above bound count as bound. n is at least four vectors' worth.")
	Pragma("noescape")
	dst, src, n := Load(Param("dst"), GP64()), Load(Param("src"), GP64()), Load(Param("n"), GP64())
	bound, inverse, rest := v.broadcast("bound"), v.broadcast("inverse"), v.broadcast("rest")
	zero, flip, perm := v.broadcast("zero"), v.broadcast("flip"), v.reg()
	VMOVUPS(v.order, perm)
	advance := func(count Op) {
		LEAQ(Mem{Base: src, Index: count.(Register), Scale: 4}, src)
		ADDQ(count, dst)
	}
	loop(n, 4*v.lanes, advance, func() {
		var q [4]VecVirtual
		for i := range q {
			q[i] = v.reg()
			x, low := v.reg(), v.reg()
			// NaN, which comes second, stays; as an integer it is the lowest, like
			// what overflows downwards.
			VMOVUPS(Mem{Base: src, Disp: i * v.bytes()}, x)
			VMINPS(x, bound, x)
			VMULPS(rest, x, low)
			VFMADD231PS(inverse, x, low)
			VCVTPS2DQ(low, q[i])
		}
		VPACKSSDW(q[1], q[0], q[0])
		VPACKSSDW(q[3], q[2], q[2])
		VPADDSW(zero, q[0], q[0])
		VPADDSW(zero, q[2], q[2])
		VPACKUSWB(q[2], q[0], q[0])
		VPERMD(q[0], perm, q[0])
		v.xor(flip, q[0], q[0])
		VMOVUPS(q[0], Mem{Base: dst})
	})
	VZEROUPPER()
	RET()
}

func (v isa) valueRange() {
	TEXT("range"+v.name, NOSPLIT, "func(src *float32, n int, result *float32)")
	Doc("range"+v.name+" stores the lowest and then the highest of each lane. n is at least four",
		"vectors' worth.")
	Pragma("noescape")
	src, n := Load(Param("src"), GP64()), Load(Param("n"), GP64())
	var lo, hi [4]VecVirtual
	inf := GP32()
	for i := range lo {
		lo[i], hi[i] = v.reg(), v.reg()
		MOVL(U32(0x7f800000), inf)
		VMOVD(inf, lo[i].AsX())
		VBROADCASTSS(lo[i].AsX(), lo[i])
		MOVL(U32(0xff800000), inf)
		VMOVD(inf, hi[i].AsX())
		VBROADCASTSS(hi[i].AsX(), hi[i])
	}
	advance := func(count Op) { LEAQ(Mem{Base: src, Index: count.(Register), Scale: 4}, src) }
	loop(n, 4*v.lanes, advance, func() {
		for i := range lo {
			x := v.reg()
			VMOVUPS(Mem{Base: src, Disp: i * v.bytes()}, x)
			// What was found comes second: it stays when x is NaN.
			VMINPS(lo[i], x, lo[i])
			VMAXPS(hi[i], x, hi[i])
		}
	})
	for s := 2; s > 0; s /= 2 {
		for i := range s {
			VMINPS(lo[i+s], lo[i], lo[i])
			VMAXPS(hi[i+s], hi[i], hi[i])
		}
	}
	result := Load(Param("result"), GP64())
	VMOVUPS(lo[0], Mem{Base: result})
	VMOVUPS(hi[0], Mem{Base: result, Disp: v.bytes()})
	VZEROUPPER()
	RET()
}

func (v isa) dequantize() {
	TEXT("dequantize"+v.name, NOSPLIT, "func(dst *float32, src *uint8, n int, scale float32, zero, flip uint32)")
	Doc("dequantize" + v.name + " is (src^flip - zero) * scale. n is at least two vectors' worth.")
	Pragma("noescape")
	dst, src, n := Load(Param("dst"), GP64()), Load(Param("src"), GP64()), Load(Param("n"), GP64())
	scale, zero, flip := v.broadcast("scale"), v.broadcast("zero"), v.broadcast("flip")
	advance := func(count Op) {
		ADDQ(count, src)
		LEAQ(Mem{Base: dst, Index: count.(Register), Scale: 4}, dst)
	}
	loop(n, 2*v.lanes, advance, func() {
		for i := range 2 {
			x := v.reg()
			VPMOVZXBD(Mem{Base: src, Disp: i * v.lanes}, x)
			v.xor(flip, x, x)
			VPSUBD(zero, x, x)
			VCVTDQ2PS(x, x)
			VMULPS(scale, x, x)
			VMOVUPS(x, Mem{Base: dst, Disp: i * v.bytes()})
		}
	})
	VZEROUPPER()
	RET()
}

func (v isa) scale32() {
	TEXT("scale32"+v.name, NOSPLIT, "func(dst *float32, src *int32, n int, scale float32)")
	Doc("scale32" + v.name + " is src * scale. n is at least two vectors' worth.")
	Pragma("noescape")
	dst, src, n := Load(Param("dst"), GP64()), Load(Param("src"), GP64()), Load(Param("n"), GP64())
	scale := v.broadcast("scale")
	advance := func(count Op) {
		LEAQ(Mem{Base: src, Index: count.(Register), Scale: 4}, src)
		LEAQ(Mem{Base: dst, Index: count.(Register), Scale: 4}, dst)
	}
	loop(n, 2*v.lanes, advance, func() {
		for i := range 2 {
			x := v.reg()
			VCVTDQ2PS(Mem{Base: src, Disp: i * v.bytes()}, x)
			VMULPS(scale, x, x)
			VMOVUPS(x, Mem{Base: dst, Disp: i * v.bytes()})
		}
	})
	VZEROUPPER()
	RET()
}

func (v isa) scaleColumns() {
	TEXT("scaleColumns"+v.name, NOSPLIT, "func(dst *float32, src *int32, scale *float32, n int)")
	Doc("scaleColumns" + v.name + " is src * scale, one by one. n is at least one vector's worth.")
	Pragma("noescape")
	dst, src, n := Load(Param("dst"), GP64()), Load(Param("src"), GP64()), Load(Param("n"), GP64())
	scale := Load(Param("scale"), GP64())
	advance := func(count Op) {
		for _, p := range []Register{dst, src, scale} {
			LEAQ(Mem{Base: p, Index: count.(Register), Scale: 4}, p)
		}
	}
	loop(n, v.lanes, advance, func() {
		x := v.reg()
		VCVTDQ2PS(Mem{Base: src}, x)
		VMULPS(Mem{Base: scale}, x, x)
		VMOVUPS(x, Mem{Base: dst})
	})
	VZEROUPPER()
	RET()
}

func (v isa) flipBytes() {
	TEXT("flip"+v.name, NOSPLIT, "func(dst, src *uint8, n int, flip uint32)")
	Doc("flip" + v.name + " is src^flip. n is at least one vector's worth.")
	Pragma("noescape")
	dst, src, n := Load(Param("dst"), GP64()), Load(Param("src"), GP64()), Load(Param("n"), GP64())
	flip := v.broadcast("flip")
	advance := func(count Op) {
		ADDQ(count, src)
		ADDQ(count, dst)
	}
	loop(n, v.bytes(), advance, func() {
		x := v.reg()
		VPXOR(Mem{Base: src}, flip, x)
		VMOVUPS(x, Mem{Base: dst})
	})
	VZEROUPPER()
	RET()
}

func (v isa) widen() {
	TEXT("widen"+v.name, NOSPLIT, "func(dst *uint16, src *uint8, n int, flip uint32)")
	Doc("widen" + v.name + " is src^flip in 16 bits; flip is twice those. n is at least half a vector's worth.")
	Pragma("noescape")
	dst, src, n := Load(Param("dst"), GP64()), Load(Param("src"), GP64()), Load(Param("n"), GP64())
	flip := v.broadcast("flip")
	advance := func(count Op) {
		ADDQ(count, src)
		LEAQ(Mem{Base: dst, Index: count.(Register), Scale: 2}, dst)
	}
	loop(n, v.bytes()/2, advance, func() {
		x := v.reg()
		VPMOVZXBW(Mem{Base: src}, x)
		VPXOR(flip, x, x)
		VMOVUPS(x, Mem{Base: dst})
	})
	VZEROUPPER()
	RET()
}

func (v isa) sumBytes() {
	TEXT("sum"+v.name, NOSPLIT, "func(src *uint8, n int, flip uint32) int32")
	Doc("sum" + v.name + " adds up src^flip. n is a multiple of a vector's worth, and not 0.")
	Pragma("noescape")
	src, n := Load(Param("src"), GP64()), Load(Param("n"), GP64())
	sum, none, flip := v.reg(), v.reg(), v.broadcast("flip")
	VXORPS(sum, sum, sum)
	VXORPS(none, none, none)
	Label("loop")
	x := v.reg()
	VPXOR(Mem{Base: src}, flip, x)
	VPSADBW(x, none, x)
	VPADDQ(x, sum, sum)
	ADDQ(U32(uint32(v.bytes())), src)
	SUBQ(U32(uint32(v.bytes())), n)
	JNE(LabelRef("loop"))
	half := XMM()
	VEXTRACTI128(U8(1), sum, half)
	VPADDQ(sum.AsX(), half, half)
	VPSHUFD(U8(0x4e), half, sum.AsX())
	VPADDQ(sum.AsX(), half, half)
	total := GP32()
	VMOVD(half, total)
	Store(total, ReturnIndex(0))
	VZEROUPPER()
	RET()
}
