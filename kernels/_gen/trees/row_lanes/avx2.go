// SPDX-License-Identifier: Apache-2.0

package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

// tableAVX2 holds the first half of a table, 16 bytes in both halves of each vector;
// complements are made of what is found there.
type tableAVX2 struct {
	half int
	v    [4]VecVirtual
}

func newTableAVX2(half int) table {
	return &tableAVX2{half, [4]VecVirtual{YMM(), YMM(), YMM(), YMM()}}
}

func (t *tableAVX2) load(at Register) {
	for i := range t.half / 16 {
		VBROADCASTI128(Mem{Base: at}.Offset(16*i), t.v[i])
	}
}

// lookup selects by bits of the places: a byte shuffle takes the low four of them.
func (t *tableAVX2) lookup(places VecVirtual) {
	sel, bins, other := YMM(), YMM(), YMM()
	pair := func(i int, to VecVirtual) {
		VPSHUFB(places, t.v[i], to)
		VPSHUFB(places, t.v[i+1], other)
		VPBLENDVB(sel, other, to, to)
	}
	VPSLLW(Imm(3), places, sel)
	pair(0, bins)
	if t.half == 64 {
		upper := YMM()
		pair(2, upper)
		VPSLLW(Imm(2), places, sel)
		VPBLENDVB(sel, upper, bins, bins)
	}
	complement := map[int]uint64{32: 2, 64: 1}[t.half]
	VPSLLW(Imm(complement), places, places)
	VPXOR(sel, sel, sel)
	VPCMPGTB(places, sel, places)
	VPXOR(bins, places, places)
}

// avx2 is the kernels in 256-bit vectors: two for a group. What was found stays in
// memory, since registers are few.
func avx2() isa {
	var cleared [2]VecVirtual
	low, nibble := nibbleBit()
	return isa{
		name: "AVX2", needs: "AVX2 and BMI1", table: newTableAVX2,
		begin: func() {
			cleared = [2]VecVirtual{YMM(), YMM()}
			ids, none := Load(Param("ids"), GP64()), YMM()
			VPXOR(none, none, none)
			VMOVDQU(none, Mem{Base: ids})
			VMOVDQU(none, Mem{Base: ids}.Offset(32))
		},
		clear: func() {
			for _, c := range cleared {
				VPXOR(c, c, c)
			}
		},
		step: func(t table, steps Register) {
			for i, c := range cleared {
				at, bin, least := Mem{Base: steps}.Offset(32*i), YMM(), YMM()
				VMOVDQU(at, bin)
				t.lookup(bin)
				VPMAXUB(at.Offset(lanes), bin, least)
				VPCMPEQB(at.Offset(lanes), least, least) // the bin is not greater
				VPANDN(at.Offset(2*lanes), least, least)
				VPOR(least, c, c)
			}
		},
		flush: func(planes Register) { flushAVX2(cleared, planes, low, nibble) },
		store: func(Register) {},
		leaf:  leafAVX2,
	}
}

// flushAVX2 takes the lowest bit that is not cleared, where there is one, for the leaf
// so far.
func flushAVX2(cleared [2]VecVirtual, planes Register, low, nibble Mem) {
	ids, first, from := Load(Param("ids"), GP64()), YMM(), GP32()
	LEAL(Mem{Base: planes}.Offset(-1), from)
	SHLL(Imm(3), from)
	VMOVD(from, first.AsX())
	VPBROADCASTB(first.AsX(), first)
	for i, c := range cleared {
		bit, number, none := YMM(), YMM(), YMM()
		VPCMPEQB(bit, bit, bit)
		VPSUBB(bit, c, bit)
		VPANDN(bit, c, bit)
		VPXOR(none, none, none)
		VPCMPEQB(none, bit, none)
		VPSRLW(Imm(4), bit, number)
		VPAND(nibble, bit, bit)
		VPAND(nibble, number, number)
		table := YMM()
		VMOVDQU(low, table)
		VPSHUFB(bit, table, bit)
		VMOVDQU(low.Offset(32), table)
		VPSHUFB(number, table, number)
		VPADDB(bit, number, number)
		VPADDB(first, number, number)
		VPBLENDVB(none, Mem{Base: ids}.Offset(32*i), number, number)
		VMOVDQU(number, Mem{Base: ids}.Offset(32*i))
	}
}

func leafAVX2(t table, twig, scratch GPVirtual) Mem {
	bins, all, zero, holds := YMM(), YMM(), YMM(), scratch.As32()
	VMOVDQU(Mem{Base: twig}, bins.AsX())
	t.lookup(bins)
	VPMAXUB(Mem{Base: twig}.Offset(twigBounds), bins.AsX(), all.AsX())
	VPCMPEQB(Mem{Base: twig}.Offset(twigBounds), all.AsX(), all.AsX())
	VPMOVMSKB(all.AsX(), holds)
	NOTL(holds)
	VMOVD(holds, all.AsX())
	VPBROADCASTW(all.AsX(), all)
	VPAND(Mem{Base: twig}.Offset(twigClears), all, all)
	VPXOR(zero, zero, zero)
	VPCMPEQW(zero, all, all)
	VPMOVMSKB(all, holds) // two bits a leaf
	TZCNTL(holds, holds)
	return Mem{Base: twig, Index: scratch, Scale: 2}.Offset(twigWords)
}

// nibbleBit is two tables from a nibble with one bit set to the number of that bit, of
// low nibbles and of high ones, and what masks a nibble.
func nibbleBit() (low, nibble Mem) {
	low = GLOBL("rowNibbleBit", RODATA|NOPTR)
	for half := range 2 {
		var table [32]byte
		for bit := range 4 {
			table[1<<bit] = byte(4*half + bit)
			table[16+1<<bit] = byte(4*half + bit)
		}
		for i, b := range table {
			DATA(32*half+i, U8(b))
		}
	}
	nibble = GLOBL("rowNibble", RODATA|NOPTR)
	for i := range 32 {
		DATA(i, U8(15))
	}
	return low, nibble
}
