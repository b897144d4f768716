// SPDX-License-Identifier: Apache-2.0

package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// dot is the kernel of dot products being written.
type dot struct {
	x, k, lanes reg.Register
	alpha       reg.VecVirtual
}

// dotRows multiplies rows by a vector, four at a time so that each load of the vector
// serves four. Sums are added up in the same order for four as for one.
func dotRows() {
	TEXT("dotRowsAVX2", NOSPLIT, "func(m int, a *float32, lda int, x *float32, k int, c *float32, ldc int, alpha float32, lanes *int32)")
	Doc("dotRowsAVX2 stores alpha times the product of each of m rows with x. Strides are in",
		"bytes. lanes are 16 masks, of which the first k%16 are set.")
	Pragma("noescape")
	m, a := Load(Param("m"), GP64()), Load(Param("a"), GP64())
	lda, c := Load(Param("lda"), GP64()), Load(Param("c"), GP64())
	ldc := Load(Param("ldc"), GP64())
	d := dot{x: Load(Param("x"), GP64()), k: Load(Param("k"), GP64()), lanes: Load(Param("lanes"), GP64()), alpha: YMM()}
	p, _ := Param("alpha").Resolve()
	VBROADCASTSS(p.Addr, d.alpha)
	SUBQ(Imm(4), m)
	JLT(LabelRef("ones"))
	Label("four")
	d.rows(4, a, lda, c, ldc)
	LEAQ(Mem{Base: a, Index: lda, Scale: 4}, a)
	SUBQ(Imm(4), m)
	JGE(LabelRef("four"))
	Label("ones")
	ADDQ(Imm(4), m)
	countDown(m, "one", func() {
		d.rows(1, a, lda, c, ldc)
		ADDQ(lda, a)
	})
	VZEROUPPER()
	RET()
}

// rows writes the products of n rows and moves c past them.
func (d dot) rows(n int, a, lda, c, ldc reg.Register) {
	name := map[int]string{1: "one", 4: "four"}[n]
	pointers := []reg.Register{GP64()}
	MOVQ(a, pointers[0])
	for i := 1; i < n; i++ {
		next := GP64()
		LEAQ(Mem{Base: pointers[i-1], Index: lda, Scale: 1}, next)
		pointers = append(pointers, next)
	}
	x, left := GP64(), GP64()
	MOVQ(d.x, x)
	MOVQ(d.k, left)
	sums := make([][2]reg.VecVirtual, n)
	for i := range sums {
		for v := range sums[i] {
			sums[i][v] = YMM()
			VXORPS(sums[i][v], sums[i][v], sums[i][v])
		}
	}
	SUBQ(Imm(16), left)
	JLT(LabelRef(name + "_tail"))
	Label(name + "_loop")
	for v := range 2 {
		value := YMM()
		VMOVUPS(Mem{Base: x, Disp: v * ymmBytes}, value)
		for i, p := range pointers {
			VFMADD231PS(Mem{Base: p, Disp: v * ymmBytes}, value, sums[i][v])
		}
	}
	for _, p := range append([]reg.Register{x}, pointers...) {
		ADDQ(Imm(2*ymmBytes), p)
	}
	SUBQ(Imm(16), left)
	JGE(LabelRef(name + "_loop"))
	Label(name + "_tail")
	CMPQ(left, I8(-16))
	JEQ(LabelRef(name + "_sum"))
	for v := range 2 {
		lanes, value, other := YMM(), YMM(), YMM()
		VMOVUPS(Mem{Base: d.lanes, Disp: v * ymmBytes}, lanes)
		VMASKMOVPS(Mem{Base: x, Disp: v * ymmBytes}, lanes, value)
		for i, p := range pointers {
			VMASKMOVPS(Mem{Base: p, Disp: v * ymmBytes}, lanes, other)
			VFMADD231PS(other, value, sums[i][v])
		}
	}
	Label(name + "_sum")
	d.store(sums, c, ldc)
}

// store adds up the vectors of each row and stores the sums.
func (d dot) store(sums [][2]reg.VecVirtual, c, ldc reg.Register) {
	var halves []reg.Register
	for _, s := range sums {
		high := XMM()
		VADDPS(s[1], s[0], s[0])
		VEXTRACTF128(Imm(1), s[0], high)
		VADDPS(high, s[0].AsX(), high)
		halves = append(halves, high)
	}
	total := XMM()
	if len(sums) == 1 {
		VHADDPS(halves[0], halves[0], total)
		VHADDPS(total, total, total)
	} else {
		other := XMM()
		VHADDPS(halves[1], halves[0], total)
		VHADDPS(halves[3], halves[2], other)
		VHADDPS(other, total, total)
	}
	VMULPS(d.alpha.AsX(), total, total)
	for i := range sums {
		if i == 0 {
			VMOVSS(total, Mem{Base: c})
		} else {
			VEXTRACTPS(Imm(uint64(i)), total, Mem{Base: c})
		}
		ADDQ(ldc, c)
	}
}
