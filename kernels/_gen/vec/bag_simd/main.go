// SPDX-License-Identifier: Apache-2.0

// Command bag_simd generates embedding bags and the check of their indices.
package main

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"

	"github.com/millrace-ml/millrace/kernels/_gen/internal/vecgen"
)

// ahead is how many lookups in advance a row is fetched: as many as a common bag has.
// From 16 to 32 measured the same.
const ahead = 20

func main() {
	ConstraintExpr("!purego")
	table := vecgen.MaskTable("bagMasks", 8)
	for _, l := range vecgen.Levels {
		for _, mode := range []string{"Sum", "Weighted", "Max"} {
			bag(l, mode, table)
		}
		within(l)
	}
	Generate()
}

// bags is the state of one function.
type bags struct {
	vecgen.Level
	mode                                         string
	dst, table, stride, index, offset            Register
	left, last, weights, n, count, row, upcoming Register
}

func bag(l vecgen.Level, mode string, table Mem) {
	l.Begin("bag"+mode, "func(vectors, rest int, dst, table *float32, dim int, indices, offsets *int64, count, length, total int, weights *float32, mean bool)",
		"makes rows of bags, of so many vectors of columns or of the rest of one.")
	b := &bags{Level: l, mode: mode}
	b.dst, b.table, b.stride = vecgen.Arg("dst"), vecgen.Arg("table"), vecgen.Arg("dim")
	b.index, b.offset, b.left = vecgen.Arg("indices"), vecgen.Arg("offsets"), vecgen.Arg("count")
	b.weights = vecgen.Arg("weights")
	b.n, b.count, b.row, b.upcoming, b.last = GP64(), GP64(), GP64(), GP64(), GP64()
	SHLQ(Imm(2), b.stride)
	total := vecgen.Arg("total")
	LEAQ(Mem{Base: b.index, Index: total, Scale: 8, Disp: -8}, b.last)
	for _, vectors := range []int{1, 2, 4, 8} {
		next := fmt.Sprintf("not_%d", vectors)
		CMPQ(vecgen.Arg("vectors"), Imm(uint64(vectors)))
		JNE(LabelRef(next))
		b.all(fmt.Sprintf("bag_%d", vectors), vectors, nil)
		Label(next)
	}
	b.all("rest", 1, b.mask(table))
}

// mask is a mask of the rest of a vector.
func (b *bags) mask(table Mem) Register {
	rest := vecgen.Arg("rest")
	if b.Wide() {
		return vecgen.RestMask(rest)
	}
	v := YMM()
	VMOVUPS(vecgen.MaskAt(table, 8, rest), v)
	return v
}

// all makes the rows of all bags, and returns.
func (b *bags) all(label string, vectors int, mask Register) {
	acc := make([]VecVirtual, vectors)
	for j := range acc {
		acc[j] = b.Vec()
	}
	lowest := b.Broadcast(0xff800000)
	Label(label)
	b.size(label)
	for _, a := range acc {
		VXORPS(a.AsX(), a.AsX(), a.AsX())
	}
	MOVQ(b.count, b.n)
	TESTQ(b.n, b.n)
	JZ(LabelRef(label + "_store"))
	if b.mode == "Max" {
		for _, a := range acc {
			VMOVAPS(lowest, a)
		}
	}
	Label(label + "_lookup")
	b.prefetch(vectors)
	MOVQ(Mem{Base: b.index}, b.row)
	IMULQ(b.stride, b.row)
	ADDQ(b.table, b.row)
	b.add(acc, mask)
	ADDQ(Imm(8), b.index)
	DECQ(b.n)
	JNZ(LabelRef(label + "_lookup"))
	if b.mode == "Sum" {
		b.mean(label, acc)
	}
	Label(label + "_store")
	for j, a := range acc {
		b.store(a, Mem{Base: b.dst, Disp: 4 * b.Width * j}, mask)
	}
	ADDQ(b.stride, b.dst)
	DECQ(b.left)
	JNZ(LabelRef(label))
	vecgen.Finish()
}

// size finds the count of the next bag's indices: the same for all without offsets,
// the distance to the next offset, or all that are left.
func (b *bags) size(label string) {
	Load(Param("length"), b.count.(GPVirtual))
	TESTQ(b.offset, b.offset)
	JZ(LabelRef(label + "_sized"))
	CMPQ(b.left, Imm(1))
	JE(LabelRef(label + "_final"))
	MOVQ(Mem{Base: b.offset, Disp: 8}, b.count)
	SUBQ(Mem{Base: b.offset}, b.count)
	ADDQ(Imm(8), b.offset)
	JMP(LabelRef(label + "_sized"))
	Label(label + "_final")
	LEAQ(Mem{Base: b.last, Disp: 8}, b.count)
	SUBQ(b.index, b.count)
	SHRQ(Imm(3), b.count)
	Label(label + "_sized")
}

// prefetch fetches the row of a later index, or of the last one.
func (b *bags) prefetch(vectors int) {
	LEAQ(Mem{Base: b.index, Disp: 8 * ahead}, b.upcoming)
	CMPQ(b.upcoming, b.last)
	CMOVQHI(b.last, b.upcoming)
	MOVQ(Mem{Base: b.upcoming}, b.upcoming)
	IMULQ(b.stride, b.upcoming)
	ADDQ(b.table, b.upcoming)
	for line := 0; line < vectors*b.Width*4; line += 64 {
		PREFETCHT0(Mem{Base: b.upcoming, Disp: line})
	}
}

// add takes one row in.
func (b *bags) add(acc []VecVirtual, mask Register) {
	var weight VecVirtual
	if b.mode == "Weighted" {
		weight = b.Vec()
		VBROADCASTSS(Mem{Base: b.weights}, weight)
		ADDQ(Imm(4), b.weights)
	}
	for j, a := range acc {
		v := b.load(Mem{Base: b.row, Disp: 4 * b.Width * j}, mask)
		switch b.mode {
		case "Weighted":
			VMULPS(weight, v, v)
			VADDPS(v, a, a)
		case "Max":
			b.larger(a, v)
		default:
			VADDPS(v, a, a)
		}
	}
}

func (b *bags) load(m Mem, mask Register) VecVirtual {
	v := b.Vec()
	switch {
	case mask == nil:
		VMOVUPS(m, v)
	case b.Wide():
		VMOVUPS_Z(m, mask, v)
	default:
		VMASKMOVPS(m, mask, v)
	}
	return v
}

func (b *bags) store(v VecVirtual, m Mem, mask Register) {
	switch {
	case mask == nil:
		VMOVUPS(v, m)
	case b.Wide():
		VMOVUPS(v, mask, m)
	default:
		VMASKMOVPS(v, mask, m)
	}
}

// larger sets a to the larger of both; an a that is NaN stays.
func (b *bags) larger(a, v VecVirtual) {
	if b.Wide() {
		number := K()
		VCMPPS(Imm(7), a, a, number) // ordered
		VMAXPS(v, a, number, a)
		return
	}
	nan := b.Vec()
	VCMPPS(Imm(3), a, a, nan) // unordered
	VMAXPS(v, a, v)
	VBLENDVPS(nan, a, v, a)
}

// mean divides by the count, if that is what is asked for.
func (b *bags) mean(label string, acc []VecVirtual) {
	flag := Load(Param("mean"), GP8())
	TESTB(flag, flag)
	JZ(LabelRef(label + "_store"))
	count := b.Vec()
	VXORPS(count.AsX(), count.AsX(), count.AsX())
	VCVTSI2SSQ(b.count, count.AsX(), count.AsX())
	VBROADCASTSS(count.AsX(), count)
	for _, a := range acc {
		VDIVPS(count, a, a)
	}
}

// within checks indices. The one for AVX2 takes a multiple of 4.
func within(l vecgen.Level) {
	l.Begin("indicesWithin", "func(indices *int64, n int, low, span int64) bool",
		"is whether all indices are from low on and less than low+span.")
	indices, n := vecgen.Arg("indices"), vecgen.Arg("n")
	low, span := quad(l, vecgen.Arg("low")), vecgen.Arg("span")
	i, result := GP64(), GP8()
	XORQ(i, i)
	if l.Wide() {
		withinWide(indices, n, i, low, quad(l, span), result)
	} else {
		withinNarrow(indices, n, i, low, span, result)
	}
	Store(result, ReturnIndex(0))
	vecgen.Finish()
}

// quad is a vector of an integer.
func quad(l vecgen.Level, r Register) VecVirtual {
	v := l.Vec()
	VMOVQ(r, v.AsX())
	VPBROADCASTQ(v.AsX(), v)
	return v
}

// withinWide finds the largest distance from low, without sign.
func withinWide(indices, n, i Register, low, span VecVirtual, result Register) {
	most, v := ZMM(), ZMM()
	VPXORQ(most, most, most)
	vecgen.Groups("row", i, n, 8, func() {
		VMOVDQU64(Mem{Base: indices, Index: i, Scale: 8}, v)
		VPSUBQ(low, v, v)
		VPMAXUQ(v, most, most)
	})
	rest, mask, bad := GP64(), K(), K()
	MOVQ(n, rest)
	SUBQ(i, rest)
	ones := GP64()
	MOVQ(I64(-1), ones)
	BZHIQ(rest, ones, ones)
	KMOVW(ones.As32(), mask)
	VMOVAPS(low, v) // nothing is the distance of what is not there
	VMOVDQU64(Mem{Base: indices, Index: i, Scale: 8}, mask, v)
	VPSUBQ(low, v, v)
	VPMAXUQ(v, most, most)
	VPCMPUQ(Imm(5), span, most, bad) // not less than
	KTESTB(bad, bad)
	SETEQ(result)
}

// withinNarrow compares with the sign bits turned over, for want of a comparison
// without sign.
func withinNarrow(indices, n, i Register, low VecVirtual, span, result Register) {
	sign, flip := GP64(), YMM()
	MOVQ(I64(-1<<63), sign)
	VMOVQ(sign, flip.AsX())
	VPBROADCASTQ(flip.AsX(), flip)
	DECQ(span)
	XORQ(sign, span)
	last, v, bad := quad(vecgen.AVX2, span), YMM(), YMM()
	VPXOR(bad, bad, bad)
	vecgen.Groups("row", i, n, 4, func() {
		VMOVDQU(Mem{Base: indices, Index: i, Scale: 8}, v)
		VPSUBQ(low, v, v)
		VPXOR(flip, v, v)
		VPCMPGTQ(last, v, v)
		VPOR(v, bad, bad)
	})
	VPTEST(bad, bad)
	SETEQ(result)
}
