// SPDX-License-Identifier: Apache-2.0

package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// tableVBMI holds a table in one vector, or two where half is 64.
type tableVBMI struct {
	half int
	v    [2]VecVirtual
}

func newTableVBMI(half int) table { return &tableVBMI{half, [2]VecVirtual{ZMM(), ZMM()}} }

func (t *tableVBMI) load(at Register) {
	for i := range t.half / 32 {
		VMOVDQU64(Mem{Base: at}.Offset(64*i), t.v[i])
	}
}

func (t *tableVBMI) lookup(places VecVirtual) {
	if t.half == 64 {
		VPERMI2B(t.v[1], t.v[0], places.AsZ())
	} else {
		VPERMB(t.v[0], places.AsZ(), places.AsZ())
	}
}

// greater is the predicate of unsigned bytes.
var greater = Imm(6)

// vnni is the kernels in 512-bit vectors.
func vnni() isa {
	var ones, low0, low1, id, cleared VecVirtual
	lowest := lowestBit()
	return isa{
		name: "VNNI", needs: "AVX512_VBMI", table: newTableVBMI,
		begin: func() {
			ones, low0, low1, id, cleared = ZMM(), ZMM(), ZMM(), ZMM(), ZMM()
			VPTERNLOGD(Imm(0xff), ones, ones, ones)
			VMOVDQU64(lowest, low0)
			VMOVDQU64(lowest.Offset(64), low1)
			VPXORQ(id, id, id)
		},
		clear: func() { VPXORQ(cleared, cleared, cleared) },
		step: func(t table, steps Register) {
			bin, fires, k := ZMM(), ZMM(), K()
			VMOVDQU64(Mem{Base: steps}, bin)
			t.lookup(bin)
			VPCMPUB(greater, Mem{Base: steps}.Offset(lanes), bin, k)
			VPMOVM2B(k, fires)
			VPTERNLOGD(Imm(0xf8), Mem{Base: steps}.Offset(2*lanes), fires, cleared) // cleared |= fires & mask
		},
		flush: func(planes Register) {
			// The lowest bit that is not cleared, where there is one, is the leaf so far.
			bit, first, some, from := ZMM(), ZMM(), K(), GP32()
			LEAL(Mem{Base: planes}.Offset(-1), from)
			SHLL(Imm(3), from)
			VPBROADCASTB(from, first)
			VPSUBB(ones, cleared, bit)
			VPANDNQ(bit, cleared, bit)
			VPTESTMB(bit, bit, some)
			VPERMI2B(low1, low0, bit)
			VPADDB(first, bit, some, id)
		},
		store: func(ids Register) { VMOVDQU64(id, Mem{Base: ids}) },
		leaf: func(t table, twig, scratch GPVirtual) Mem {
			bins, all, k, holds := ZMM(), YMM(), K(), scratch.As32()
			VMOVDQU(Mem{Base: twig}, bins.AsX())
			t.lookup(bins)
			VPCMPUB(greater, Mem{Base: twig}.Offset(twigBounds), bins.AsX(), k)
			KMOVW(k, holds)
			VPBROADCASTW(holds, all)
			VPTESTNMW(Mem{Base: twig}.Offset(twigClears), all, k)
			KMOVW(k, holds)
			TZCNTL(holds, holds)
			return Mem{Base: twig, Index: scratch, Scale: 4}.Offset(twigWords)
		},
	}
}

// lowestBit is a table of 128 bytes from a byte with one bit set, less its top bit, to
// the number of that bit.
func lowestBit() Mem {
	m := GLOBL("rowLowestBit", RODATA|NOPTR)
	var table [128]byte
	for bit := range 8 {
		table[(1<<bit)&127] = byte(bit)
	}
	for i, b := range table {
		DATA(i, U8(b))
	}
	return m
}
