// SPDX-License-Identifier: Apache-2.0

package convgen

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// vectors is how many vectors of columns make a tile: as many as there are registers for
// beside one for weights and one for a mask, up to what hides the latency of sums.
func (a ISA) vectors(rows int) int {
	most := len(a.registers()) - 2
	if rows == 1 {
		return min(8, most/2) // columns are multiplied where they are
	}
	return min(8, most/(rows+1))
}

// Rows writes the kernel that sums so many rows of a convolution.
func (a ISA) Rows(rows int) {
	name := fmt.Sprintf("rows%d%s", rows, a.Name)
	k := &rowsKernel{ISA: a, rows: rows}
	k.job = begin(name, fmt.Sprintf("sums %d rows.", rows))
	k.src, k.dst, k.left = k.load(offSrc), k.load(offDst), k.load(offCols)
	k.ldw, k.ldd = k.load(offLdW), k.load(offLdDst)
	most := a.vectors(rows)
	Label("tile")
	CMPQ(k.left, U32(uint32(most*a.lanes())))
	JLT(LabelRef("part"))
	k.tile(most, false)
	Label("part")
	for vectors := min(3, most); vectors > 1; vectors-- {
		CMPQ(k.left, U32(uint32((vectors-1)*a.lanes()+1)))
		JLT(LabelRef(fmt.Sprintf("part%d", vectors-1)))
		k.tile(vectors, true)
		Label(fmt.Sprintf("part%d", vectors-1))
	}
	k.tile(1, true)
	Label("done")
	VZEROUPPER()
	RET()
}

// rowsKernel is a kernel being written.
type rowsKernel struct {
	ISA
	job
	rows           int
	src, dst, left reg.GPVirtual
	ldw, ldd       reg.GPVirtual
}

// tile sums the next vectors of columns, the last of which may be partial when masked.
func (k *rowsKernel) tile(vectors int, masked bool) {
	all := k.registers()
	sums := all[:k.rows*vectors]
	x, w := all[len(sums):], all[len(all)-2]
	mask := all[len(all)-1]
	loop := fmt.Sprintf("taps%d", vectors)
	if masked {
		loop += "masked"
		rest := GP64()
		LEAQ(Mem{Base: k.left, Disp: -(vectors - 1) * k.lanes()}, rest)
		k.mask(k.job, atMost(rest, k.lanes()), mask)
	}
	k.start(sums, vectors)
	weights, offsets, taps := k.load(offWeights), k.load(offOffsets), k.load(offTaps)
	Label(loop)
	at := GP64()
	MOVQ(Mem{Base: offsets}, at)
	column := func(v int) Mem { return Mem{Base: k.src, Index: at, Scale: 1, Disp: v * k.bytes()} }
	if k.rows == 1 && !masked {
		VBROADCASTSS(Mem{Base: weights}, w)
		for v, sum := range sums {
			VFMADD231PS(column(v), w, sum)
		}
	} else {
		for v := range vectors {
			if masked && v == vectors-1 {
				k.loadMasked(column(v), 0, mask, x[v])
			} else {
				VMOVUPS(column(v), x[v])
			}
		}
		for i := range k.rows {
			VBROADCASTSS(Mem{Base: weights, Disp: 4 * i}, w)
			for v := range vectors {
				VFMADD231PS(x[v], w, sums[i*vectors+v])
			}
		}
	}
	ADDQ(U8(8), offsets)
	ADDQ(k.ldw, weights)
	DECQ(taps)
	JNE(LabelRef(loop))
	k.limit(sums, x[0], w)
	k.store(sums, vectors, masked, mask)
	ADDQ(U32(uint32(vectors*k.bytes())), k.src)
	ADDQ(U32(uint32(vectors*k.bytes())), k.dst)
	SUBQ(U32(uint32(vectors*k.lanes())), k.left)
	JLE(LabelRef("done"))
	JMP(LabelRef("tile"))
}

// start sets every sum to its row's bias.
func (k *rowsKernel) start(sums []reg.VecPhysical, vectors int) {
	bias := k.load(offBias)
	for i := range k.rows {
		VBROADCASTSS(Mem{Base: bias, Disp: 4 * i}, sums[i*vectors])
		for v := 1; v < vectors; v++ {
			VMOVAPS(sums[i*vectors], sums[i*vectors+v])
		}
	}
}

// limit keeps the sums between low and high. Of MAXPS and MINPS a NaN in the operand
// that is named first here is the result.
func (k *rowsKernel) limit(sums []reg.VecPhysical, low, high reg.VecPhysical) {
	VBROADCASTSS(k.field(offLow), low)
	VBROADCASTSS(k.field(offHigh), high)
	for _, sum := range sums {
		VMAXPS(sum, low, sum)
		VMINPS(sum, high, sum)
	}
}

func (k *rowsKernel) store(sums []reg.VecPhysical, vectors int, masked bool, mask reg.VecPhysical) {
	row := GP64()
	MOVQ(k.dst, row)
	for i := range k.rows {
		for v := range vectors {
			to := Mem{Base: row, Disp: v * k.bytes()}
			if masked && v == vectors-1 {
				k.storeMasked(sums[i*vectors+v], mask, to)
			} else {
				VMOVUPS(sums[i*vectors+v], to)
			}
		}
		if i < k.rows-1 {
			ADDQ(k.ldd, row)
		}
	}
}
