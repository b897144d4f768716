// SPDX-License-Identifier: Apache-2.0

// Command topk_simd generates what passes over most of a row in the search of its
// largest or smallest elements: the scan for candidates, and the first threshold.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"

	"github.com/millrace-ml/millrace/kernels/_gen/internal/vecgen"
)

// The most candidates before a scan must end, and the predicates of the threshold
// against an element: of candidates it is not at least as large, or as small.
const (
	full         = 64
	notGreaterEq = 9
	notLessEq    = 6
)

func main() {
	ConstraintExpr("!purego")
	table := vecgen.MaskTable("topkMasks", 64)
	for _, l := range vecgen.Levels {
		scan(l)
		bound(l)
		countBeyond(l, table)
	}
	Generate()
}

// scanner is the state of a scan.
type scanner struct {
	vecgen.Level
	row, n, at, candidates, count Register
	threshold                     VecVirtual
	order                         VecVirtual // of the quarters that packing mixes up
}

func scan(l vecgen.Level) {
	l.Begin("scan", "func(row *float32, n, start int, threshold float32, largest bool, candidates *int32) (count, next int)",
		"finds elements that are beyond the threshold or do not compare with it.")
	s := &scanner{Level: l, row: vecgen.Arg("row"), n: vecgen.Arg("n"), at: vecgen.Arg("start"),
		candidates: vecgen.Arg("candidates"), count: GP64(), threshold: vecgen.Scalar(l, "threshold")}
	if !l.Wide() {
		s.order = YMM()
		VMOVDQU(packOrder(), s.order)
	}
	XORQ(s.count, s.count)
	largest := Load(Param("largest"), GP8())
	TESTB(largest, largest)
	JZ(LabelRef("smallest"))
	s.all("largest", Imm(notGreaterEq))
	Label("smallest")
	s.all("smallest", Imm(notLessEq))
}

// packOrder is the order of the double words of two packed pairs of vectors.
func packOrder() Mem {
	table := GLOBL("packOrder", RODATA|NOPTR)
	for i, v := range []uint32{0, 4, 1, 5, 2, 6, 3, 7} {
		DATA(4*i, U32(v))
	}
	return table
}

// all scans the row, and returns.
func (s *scanner) all(label string, predicate Op) {
	end := label + "_end"
	bits := GP64()
	if s.Wide() {
		s.blocks(label+"_64", end, 64, bits, func() { s.compare64(predicate, bits) })
	} else {
		s.blocks(label+"_32", end, 32, bits, func() { s.compare32(predicate, bits) })
	}
	s.blocks(label+"_one", end, s.Width, bits, func() { s.compareOne(predicate, bits) })
	s.rest(label+"_rest", end, predicate, bits)
	Label(end)
	Store(s.count, Return("count"))
	Store(s.at, Return("next"))
	vecgen.Finish()
}

// blocks scans whole blocks and goes to end when there are many candidates.
func (s *scanner) blocks(label, end string, size int, bits Register, compare func()) {
	vecgen.Groups(label, s.at, s.n, size, func() {
		compare()
		TESTQ(bits, bits)
		JZ(LabelRef(label + "_none"))
		s.collect(label, bits)
		ADDQ(Imm(uint64(size)), s.at)
		CMPQ(s.count, Imm(full))
		JGT(LabelRef(end))
		SUBQ(Imm(uint64(size)), s.at)
		Label(label + "_none")
	})
}

// collect writes the numbers of the bits that are set.
func (s *scanner) collect(label string, bits Register) {
	i := GP64()
	Label(label + "_collect")
	TZCNTQ(bits, i)
	ADDQ(s.at, i)
	MOVL(i.As32(), Mem{Base: s.candidates, Index: s.count, Scale: 4})
	INCQ(s.count)
	BLSRQ(bits, bits)
	JNZ(LabelRef(label + "_collect"))
}

func (s *scanner) element(j int) Mem {
	return Mem{Base: s.row, Index: s.at, Scale: 4, Disp: 4 * s.Width * j}
}

func (s *scanner) compare64(predicate Op, bits Register) {
	k := [4]Register{K(), K(), K(), K()}
	for j := range k {
		VCMPPS(predicate, s.element(j), s.threshold, k[j])
	}
	KUNPCKWD(k[0], k[1], k[1])
	KUNPCKWD(k[2], k[3], k[3])
	KUNPCKDQ(k[1], k[3], k[3])
	KMOVQ(k[3], bits)
}

func (s *scanner) compare32(predicate Op, bits Register) {
	v := [4]VecVirtual{YMM(), YMM(), YMM(), YMM()}
	for j := range v {
		VCMPPS(predicate, s.element(j), s.threshold, v[j])
	}
	VPACKSSDW(v[1], v[0], v[0])
	VPACKSSDW(v[3], v[2], v[2])
	VPACKSSWB(v[2], v[0], v[0])
	VPERMD(v[0], s.order, v[0])
	VPMOVMSKB(v[0], bits.(GPVirtual).As32())
}

func (s *scanner) compareOne(predicate Op, bits Register) {
	if s.Wide() {
		k := K()
		VCMPPS(predicate, s.element(0), s.threshold, k)
		KMOVW(k, bits.(GPVirtual).As32())
		return
	}
	v := YMM()
	VCMPPS(predicate, s.element(0), s.threshold, v)
	VMOVMSKPS(v, bits.(GPVirtual).As32())
}

// rest scans fewer elements than a vector: by mask, or one by one.
func (s *scanner) rest(label, end string, predicate Op, bits Register) {
	Label(label)
	CMPQ(s.at, s.n)
	JGE(LabelRef(end))
	if s.Wide() {
		mask, v := vecgen.RestMask(s.n), ZMM()
		// Scans start and end at whole vectors, but for the last.
		VMOVUPS_Z(s.element(0), mask, v)
		VCMPPS(predicate, v, s.threshold, mask, mask)
		KMOVW(mask, bits.(GPVirtual).As32())
		TESTQ(bits, bits)
		JZ(LabelRef(label + "_none"))
		s.collect(label, bits)
		Label(label + "_none")
		MOVQ(s.n, s.at)
		return
	}
	v := XMM()
	VMOVSS(s.element(0), v)
	VCMPPS(predicate, v, s.threshold.AsX(), v)
	VMOVMSKPS(v, bits.(GPVirtual).As32())
	ANDQ(Imm(1), bits)
	MOVL(s.at.(GPVirtual).As32(), Mem{Base: s.candidates, Index: s.count, Scale: 4})
	ADDQ(bits, s.count)
	INCQ(s.at)
	JMP(LabelRef(label))
}
