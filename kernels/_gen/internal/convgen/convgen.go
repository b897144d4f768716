// SPDX-License-Identifier: Apache-2.0

// Package convgen writes the kernels of kernels/conv, for AVX2 and for AVX-512.
//
// Vector registers are assigned here, not by avo: sums first, then what the loop holds.
package convgen

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// The offsets of the fields of conv.job.
const (
	offSrc     = 0
	offOffsets = 8
	offTaps    = 16
	offWeights = 24
	offLdW     = 32
	offBias    = 40
	offDst     = 48
	offLdDst   = 56
	offCols    = 64
	offRows    = 72
	offLdSrc   = 80
	offLow     = 88
	offHigh    = 92
	offTable   = 96
	offWidth   = 104
	offGap     = 112
)

// ISA is a set of vector instructions.
type ISA struct {
	Name string // what kernels' names end in
	Wide bool   // AVX-512, else AVX2
}

func (a ISA) bytes() int {
	if a.Wide {
		return 64
	}
	return 32
}

func (a ISA) lanes() int { return a.bytes() / 4 }

var zmm = []reg.VecPhysical{
	reg.Z0, reg.Z1, reg.Z2, reg.Z3, reg.Z4, reg.Z5, reg.Z6, reg.Z7,
	reg.Z8, reg.Z9, reg.Z10, reg.Z11, reg.Z12, reg.Z13, reg.Z14, reg.Z15,
	reg.Z16, reg.Z17, reg.Z18, reg.Z19, reg.Z20, reg.Z21, reg.Z22, reg.Z23,
	reg.Z24, reg.Z25, reg.Z26, reg.Z27, reg.Z28, reg.Z29, reg.Z30, reg.Z31,
}

func (a ISA) registers() []reg.VecPhysical {
	if a.Wide {
		return zmm
	}
	var ymm []reg.VecPhysical
	for _, z := range zmm[:16] {
		ymm = append(ymm, z.AsY().(reg.VecPhysical))
	}
	return ymm
}

// job is the struct that a kernel gets.
type job struct{ base reg.Register }

func (j job) field(offset int) Mem { return Mem{Base: j.base, Disp: offset} }

func (j job) load(offset int) reg.GPVirtual {
	r := GP64()
	MOVQ(j.field(offset), r)
	return r
}

// begin opens a kernel func(j *byte).
func begin(name, doc string) job {
	TEXT(name, NOSPLIT, "func(j *byte)")
	Doc(name + " " + doc)
	Pragma("noescape")
	return job{Load(Param("j"), GP64())}
}

// atMost is the smaller of n and limit.
func atMost(n reg.Register, limit int) reg.GPVirtual {
	least, r := GP64(), GP64()
	MOVQ(U32(uint32(limit)), least)
	MOVQ(n, r)
	CMPQ(r, least)
	CMOVQGT(least, r)
	return r
}

// mask makes masks of the first count lanes, of one vector or two. With AVX2 they go to
// the vector registers given, with AVX-512 to K1 and K2.
func (a ISA) mask(j job, count reg.GPVirtual, to ...reg.VecPhysical) {
	if a.Wide {
		ones := GP64()
		MOVQ(I32(-1), ones)
		BZHIQ(count, ones, ones)
		KMOVW(ones.As32(), reg.K1)
		if len(to) > 1 {
			SHRQ(U8(16), ones)
			KMOVW(ones.As32(), reg.K2)
		}
		return
	}
	// The job's table is where the lanes that are not set begin.
	table := j.load(offTable)
	NEGQ(count)
	LEAQ(Mem{Base: table, Index: count, Scale: 4}, table)
	for i, r := range to {
		VMOVUPS(Mem{Base: table, Disp: 32 * i}, r)
	}
}

// loadMasked reads the lanes of mask number i of those that mask made.
func (a ISA) loadMasked(from Mem, i int, mask, to reg.VecPhysical) {
	if a.Wide {
		VMOVUPS_Z(from, []reg.OpmaskPhysical{reg.K1, reg.K2}[i], to)
	} else {
		VMASKMOVPS(from, mask, to)
	}
}

// storeMasked writes the lanes of the first mask.
func (a ISA) storeMasked(from, mask reg.VecPhysical, to Mem) {
	if a.Wide {
		VMOVUPS(from, reg.K1, to)
	} else {
		VMASKMOVPS(from, mask, to)
	}
}
