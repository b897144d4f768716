// SPDX-License-Identifier: Apache-2.0

package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"

	"github.com/millrace-ml/millrace/kernels/_gen/internal/vecgen"
)

// bucketizeMany is a binary search for as many numbers at once as a vector has. The
// code for AVX2 takes a multiple of 8 numbers.
func bucketizeMany(l vecgen.Level) {
	doc := "counts the edges below or up to each number; there are some."
	if !l.Wide() {
		doc = "counts the edges below or up to each of n numbers, a multiple of 8."
	}
	l.Begin("bucketizeMany", "func(dst *int32, src *float32, n int, edges *float32, count int, right bool)", doc)
	dst, src, n := vecgen.Arg("dst"), vecgen.Arg("src"), vecgen.Arg("n")
	edges, count := vecgen.Arg("edges"), vecgen.Arg("count")
	right := Load(Param("right"), GP8())
	TESTB(right, right)
	JNZ(LabelRef("right"))
	rows(l, "left", Imm(5), dst, src, n, edges, count)
	Label("right")
	rows(l, "right_row", Imm(6), dst, src, n, edges, count)
}

// rows searches all numbers, and returns.
func rows(l vecgen.Level, label string, predicate Op, dst, src, n, edges, count Register) {
	if l.Wide() {
		l.Sweep(label, n, vecgen.RestMask(n), 1, func(s vecgen.Step) {
			search := label + "_search"
			if s.Mask != nil {
				search = label + "_search_rest"
			}
			s.Store(bisect(s, search, predicate, s.Load(src), edges, count), dst)
		})
	} else {
		i := GP64()
		XORQ(i, i)
		l.Whole(label, i, n, 1, func(s vecgen.Step) {
			s.Store(bisect(s, label+"_search", predicate, s.Load(src), edges, count), dst)
		})
	}
	vecgen.Finish()
}

// bisect counts the edges that each of v passes. Counts are from base to base+left.
// What a mask leaves out is a 0, which is searched as well.
func bisect(s vecgen.Step, label string, predicate Op, v VecVirtual, edges, count Register) VecVirtual {
	base, half, edge := s.Zero(), s.Vec(), s.Vec()
	left, step := GP64(), GP64()
	MOVQ(count, left)
	Label(label)
	LEAQ(Mem{Base: left, Disp: 1}, step)
	SHRQ(Imm(1), step)
	VMOVD(step.As32(), half.AsX())
	VPBROADCASTD(half.AsX(), half)
	p := GP64()
	LEAQ(Mem{Base: edges, Index: step, Scale: 4, Disp: -4}, p)
	at := Mem{Base: p, Index: base, Scale: 4}
	if s.Wide() {
		all, passed := K(), K()
		KXNORW(all, all, all)
		VPXORD(edge, edge, edge)
		VGATHERDPS(at, all, edge)
		VCMPPS(predicate, edge, v, passed)
		VPADDD(half, base, passed, base)
	} else {
		all := YMM()
		VPCMPEQD(all, all, all)
		VXORPS(edge, edge, edge)
		VGATHERDPS(all, at, edge)
		VCMPPS(predicate, edge, v, edge)
		VPAND(half, edge, edge)
		VPADDD(edge, base, base)
	}
	SUBQ(step, left)
	JNZ(LabelRef(label))
	return base
}
