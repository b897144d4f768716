// SPDX-License-Identifier: Apache-2.0

// Command hash_simd generates the XXH64 of many integers of 8 bytes. There is no code
// for AVX2, which cannot multiply 64 bits.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"

	"github.com/millrace-ml/millrace/kernels/_gen/internal/vecgen"
)

// The multipliers of XXH64, see kernels/vec.
const (
	prime1 uint64 = 0x9e3779b185ebca87
	prime2 uint64 = 0xc2b2ae3d27d4eb4f
	prime3 uint64 = 0x165667b19e3779f9
	prime4 uint64 = 0x85ebca77c2b2ae63
)

func main() {
	ConstraintExpr("!purego")
	vecgen.AVX512.Begin("hashInt64s", "func(dst *uint64, src *int64, n int, start uint64)",
		"hashes n integers; start is the state that the seed and the length make.")
	dst, src, n := vecgen.Arg("dst"), vecgen.Arg("src"), vecgen.Arg("n")
	start := broadcast(vecgen.Arg("start"))
	var primes [4]Register
	for i, p := range []uint64{prime1, prime2, prime3, prime4} {
		t := GP64()
		MOVQ(U64(p), t)
		primes[i] = broadcast(t)
	}
	i, h := GP64(), ZMM()
	XORQ(i, i)
	vecgen.Groups("row", i, n, 8, func() {
		VMOVDQU64(Mem{Base: src, Index: i, Scale: 8}, h)
		mix(h, start, primes)
		VMOVDQU64(h, Mem{Base: dst, Index: i, Scale: 8})
	})
	CMPQ(i, n)
	JEQ(LabelRef("done"))
	SUBQ(i, n)
	ones, mask := GP64(), K()
	MOVQ(I64(-1), ones)
	BZHIQ(n, ones, ones)
	KMOVW(ones.As32(), mask)
	VMOVDQU64_Z(Mem{Base: src, Index: i, Scale: 8}, mask, h)
	mix(h, start, primes)
	VMOVDQU64(h, mask, Mem{Base: dst, Index: i, Scale: 8})
	Label("done")
	vecgen.Finish()
	Generate()
}

func broadcast(r Register) Register {
	v := ZMM()
	VPBROADCASTQ(r, v)
	return v
}

// mix turns integers into their hashes.
func mix(h, start Register, primes [4]Register) {
	VPMULLQ(primes[1], h, h)
	VPROLQ(Imm(31), h, h)
	VPMULLQ(primes[0], h, h)
	VPXORQ(start, h, h)
	VPROLQ(Imm(27), h, h)
	VPMULLQ(primes[0], h, h)
	VPADDQ(primes[3], h, h)
	shifted := ZMM()
	for _, s := range []struct {
		shift uint64
		by    Register
	}{{33, primes[1]}, {29, primes[2]}, {32, nil}} {
		VPSRLQ(Imm(s.shift), h, shifted)
		VPXORQ(shifted, h, h)
		if s.by != nil {
			VPMULLQ(s.by, h, h)
		}
	}
}
