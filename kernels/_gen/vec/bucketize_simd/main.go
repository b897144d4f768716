// SPDX-License-Identifier: Apache-2.0

// Command bucketize_simd generates the search of the buckets of numbers. Among up to
// 255 edges one comparison finds the block of 16 edges, one the place in it.
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
		for _, size := range []int{1, 4} {
			bucketize(l, size)
		}
		bucketizeMany(l)
	}
	Generate()
}

// search is the state of one function.
type search struct {
	vecgen.Level
	predicate     Op // value against edge
	lasts, blocks Register
	coarse        []VecVirtual // the last edge of each block
}

func bucketize(l vecgen.Level, size int) {
	name, to := "bucketize", "int32"
	if size == 1 {
		name, to = "bucketizeBytes", "uint8"
	}
	l.Begin(name, "func(dst *"+to+", src *float32, n int, lasts, blocks *float32, most int, right bool)",
		"counts the edges below or up to each number, but no more than most.")
	dst, src, n, most := vecgen.Arg("dst"), vecgen.Arg("src"), vecgen.Arg("n"), vecgen.Arg("most")
	s := &search{Level: l, lasts: vecgen.Arg("lasts"), blocks: vecgen.Arg("blocks")}
	for v := range 16 / l.Width {
		c := l.Vec()
		VMOVUPS(Mem{Base: s.lasts, Disp: 4 * l.Width * v}, c)
		s.coarse = append(s.coarse, c)
	}
	right := Load(Param("right"), GP8())
	TESTB(right, right)
	JNZ(LabelRef("right"))
	// Not below, or unordered: NaN reaches all edges.
	s.all("left", Imm(5), size, dst, src, n, most)
	Label("right")
	s.all("right_row", Imm(6), size, dst, src, n, most)
}

// all searches all numbers, and returns.
func (s *search) all(label string, predicate Op, size int, dst, src, n, most Register) {
	i := GP64()
	XORQ(i, i)
	for _, unroll := range []int{4, 1} {
		vecgen.Groups(label+[]string{"", "_one", "", "", "_four"}[unroll], i, n, unroll, func() {
			for u := range unroll {
				bucket := s.one(predicate, Mem{Base: src, Index: i, Scale: 4, Disp: 4 * u})
				CMPQ(bucket, most)
				CMOVQGT(most, bucket)
				if size == 1 {
					MOVB(bucket.As8(), Mem{Base: dst, Index: i, Scale: 1, Disp: u})
				} else {
					MOVL(bucket.As32(), Mem{Base: dst, Index: i, Scale: 4, Disp: 4 * u})
				}
			}
		})
	}
	vecgen.Finish()
}

// one counts the edges that a number passes.
func (s *search) one(predicate Op, number Mem) GPVirtual {
	v := s.Vec()
	VBROADCASTSS(number, v)
	block := s.count(predicate, v, func(part int) Op { return s.coarse[part] })
	SHLQ(Imm(4), block)
	place := s.count(predicate, v, func(part int) Op {
		return Mem{Base: s.blocks, Index: block, Scale: 4, Disp: 4 * s.Width * part}
	})
	ADDQ(block, place)
	return place
}

// count is how many of 16 edges v passes.
func (s *search) count(predicate Op, v VecVirtual, edges func(part int) Op) GPVirtual {
	bits := GP64()
	if s.Wide() {
		k := K()
		VCMPPS(predicate, edges(0), v, k)
		KMOVW(k, bits.As32())
		POPCNTL(bits.As32(), bits.As32())
		return bits
	}
	upper := GP32()
	low, high := YMM(), YMM()
	VCMPPS(predicate, edges(0), v, low)
	VCMPPS(predicate, edges(1), v, high)
	VPACKSSDW(high, low, low) // 16 words; their order does not matter for a count
	VPACKSSWB(low, low, low)
	VPMOVMSKB(low, upper) // every lane twice
	POPCNTL(upper, bits.As32())
	SHRL(Imm(1), bits.As32())
	return bits
}
