// SPDX-License-Identifier: Apache-2.0

package convgen

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// What a pool makes of the elements of a window.
const (
	Sum = iota
	Max
	Filter // their sum with weights, from a bias on, between limits
)

// Pool writes the kernel that makes one number of each window. step is how far apart
// windows are: 1 or 2 elements.
func (a ISA) Pool(make, step int) {
	name := []string{"sum", "max", "filter"}[make]
	what := []string{"sums windows", "takes the largest of windows", "sums weighted windows"}[make]
	k := &poolKernel{ISA: a, make: make, step: step}
	k.job = begin(fmt.Sprintf("%s%d%s", name, step, a.Name), fmt.Sprintf("%s that are %d apart.", what, step))
	k.write()
}

// poolKernel is a kernel being written.
type poolKernel struct {
	ISA
	job
	make, step      int
	even, low, high reg.VecPhysical
	masks           []reg.VecPhysical
}

func (k *poolKernel) write() {
	all := k.registers()
	first := all[1]
	k.masks, k.even, k.low, k.high = all[4:6], all[6], all[7], all[8]
	switch k.make {
	case Filter:
		VBROADCASTSS(Mem{Base: k.load(offBias)}, first)
		VBROADCASTSS(k.field(offHigh), k.high)
		VBROADCASTSS(k.field(offLow), k.low)
	default:
		VBROADCASTSS(k.field(offLow), first)
	}
	if k.Wide && k.step == 2 {
		VMOVUPS(Mem{Base: k.load(offTable)}, k.even)
	}
	srcRow, dstRow, rows := k.load(offSrc), k.load(offDst), k.load(offRows)
	Label("row")
	src, dst, left := GP64(), GP64(), k.load(offCols)
	MOVQ(srcRow, src)
	MOVQ(dstRow, dst)
	Label("cols")
	if k.step == 1 {
		// Two vectors at a time, with AVX2 as long as they are whole.
		least := 2 * k.lanes()
		if k.Wide {
			least = k.lanes() + 1
		}
		CMPQ(left, U32(uint32(least)))
		JLT(LabelRef("single"))
		k.window(src, dst, first, 2, left)
		SUBQ(U32(uint32(2*k.lanes())), left)
		JG(LabelRef("cols"))
		JMP(LabelRef("next"))
		Label("single")
	}
	k.window(src, dst, first, 1, left)
	SUBQ(U32(uint32(k.lanes())), left)
	JG(LabelRef("cols"))
	Label("next")
	ADDQ(k.field(offLdSrc), srcRow)
	ADDQ(k.field(offLdDst), dstRow)
	DECQ(rows)
	JNE(LabelRef("row"))
	VZEROUPPER()
	RET()
}

// window makes vectors of outputs and goes on behind them. The last may be partial, but
// for the second one with AVX2.
func (k *poolKernel) window(src, dst reg.GPVirtual, first reg.VecPhysical, vectors int, left reg.GPVirtual) {
	all := k.registers()
	sums, x, y, w := []reg.VecPhysical{all[0], all[9]}[:vectors], all[2], all[3], all[10]
	switch {
	case vectors == 1:
		k.readMasks(left)
	case k.Wide:
		rest := GP64()
		LEAQ(Mem{Base: left, Disp: -k.lanes()}, rest)
		k.mask(k.job, atMost(rest, k.lanes()), k.masks[0])
	}
	for _, sum := range sums {
		VMOVAPS(first, sum)
	}
	offsets, taps, at := k.load(offOffsets), k.load(offTaps), GP64()
	var weights reg.Register
	if k.make == Filter {
		weights = k.load(offWeights)
	}
	loop := fmt.Sprintf("taps%d", vectors)
	Label(loop)
	MOVQ(Mem{Base: offsets}, at)
	if k.make == Filter {
		VBROADCASTSS(Mem{Base: weights}, w)
		ADDQ(U8(4), weights)
	}
	for v, sum := range sums {
		from := Mem{Base: src, Index: at, Scale: 1, Disp: v * k.bytes()}
		switch {
		case vectors == 1:
			k.read(from, x, y)
		case v == 1 && k.Wide:
			k.loadMasked(from, 0, k.masks[0], x)
		default:
			VMOVUPS(from, x)
		}
		k.add(x, w, sum)
	}
	ADDQ(U8(8), offsets)
	DECQ(taps)
	JNE(LabelRef(loop))
	for v, sum := range sums {
		if k.make == Filter {
			VMAXPS(sum, k.low, sum)
			VMINPS(sum, k.high, sum)
		}
		to := Mem{Base: dst, Disp: v * k.bytes()}
		switch {
		case vectors == 1:
			k.store(sum, left, to)
		case v == 1 && k.Wide:
			k.storeMasked(sum, k.masks[0], to)
		default:
			VMOVUPS(sum, to)
		}
	}
	ADDQ(U32(uint32(vectors*k.step*k.bytes())), src)
	ADDQ(U32(uint32(vectors*k.bytes())), dst)
}

// add takes a window's next elements in.
func (k *poolKernel) add(x, w, sum reg.VecPhysical) {
	switch k.make {
	case Max:
		VMAXPS(x, sum, sum)
	case Sum:
		VADDPS(x, sum, sum)
	case Filter:
		VFMADD231PS(x, w, sum)
	}
}

// store writes the columns there are. Masked stores are slow with AVX2.
func (k *poolKernel) store(sum reg.VecPhysical, left reg.GPVirtual, to Mem) {
	CMPQ(left, U32(uint32(k.lanes())))
	JLT(LabelRef("part"))
	VMOVUPS(sum, to)
	JMP(LabelRef("stored"))
	Label("part")
	k.mask(k.job, atMost(left, k.lanes()), k.masks[0])
	k.storeMasked(sum, k.masks[0], to)
	Label("stored")
}

// readMasks makes the masks of what the next columns read: nothing behind the last
// window's element is touched.
func (k *poolKernel) readMasks(left reg.GPVirtual) {
	if k.step == 1 {
		k.mask(k.job, atMost(left, k.lanes()), k.masks[0])
		return
	}
	read := GP64()
	LEAQ(Mem{Base: left, Index: left, Scale: 1, Disp: -1}, read)
	k.mask(k.job, atMost(read, 2*k.lanes()), k.masks...)
}

// read loads a vector of elements that are the step apart.
func (k *poolKernel) read(from Mem, x, y reg.VecPhysical) {
	k.loadMasked(from, 0, k.masks[0], x)
	if k.step == 1 {
		return
	}
	k.loadMasked(from.Offset(k.bytes()), 1, k.masks[1], y)
	if k.Wide {
		VPERMT2PS(y, k.even, x)
		return
	}
	const pairs, quarters = 0x88, 0xd8 // elements 0, 2 of both; quarters 0, 2, 1, 3
	VSHUFPS(U8(pairs), y, x, x)
	VPERMPD(U8(quarters), x, x)
}
