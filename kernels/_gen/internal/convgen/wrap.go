// SPDX-License-Identifier: Apache-2.0

package convgen

import (
	"fmt"

	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	"github.com/mmcloughlin/avo/reg"
)

// Wrap writes the kernel, for AVX-512, that sums so many rows of a convolution whose
// columns go on behind a gap in the input after each width of them. A vector of columns
// is loaded in up to so many segments, each over the one before it.
func (a ISA) Wrap(rows, segments int) {
	name := fmt.Sprintf("wrap%dx%d%s", rows, segments, a.Name)
	k := &wrapKernel{rowsKernel: rowsKernel{ISA: a, rows: rows}, segments: segments}
	k.job = begin(name, fmt.Sprintf("sums %d rows, whose vectors lie in up to %d rows of a picture.", rows, segments))
	k.src, k.dst, k.left = k.load(offSrc), k.load(offDst), k.load(offCols)
	k.col = GP64()
	XORQ(k.col, k.col)
	Label("tile")
	CMPQ(k.left, U32(uint32(wrapVectors*a.lanes())))
	JLT(LabelRef("part"))
	k.tile(wrapVectors, false)
	Label("part")
	for vectors := wrapVectors; vectors > 1; vectors-- {
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

// wrapVectors is the most vectors of columns in a tile, for which there are masks.
const wrapVectors = 3

var opmasks = []reg.OpmaskPhysical{reg.K1, reg.K2, reg.K3, reg.K4, reg.K5, reg.K6}

// tailMask is of the columns that there are of the last vector.
var tailMask = reg.K7

type wrapKernel struct {
	rowsKernel
	segments int
	col      reg.GPVirtual // of the next vector's first column, in its row
}

// segmentMask is that of the columns of vector v from segment s on; the first has none.
func (k *wrapKernel) segmentMask(v, s int) reg.OpmaskPhysical {
	return opmasks[v*(k.segments-1)+s-1]
}

func (k *wrapKernel) tile(vectors int, masked bool) {
	all := k.registers()
	sums := all[:k.rows*vectors]
	x, w := all[len(sums):len(sums)+vectors], all[len(sums)+vectors]
	starts := make([]reg.GPVirtual, vectors)
	for v := range starts {
		starts[v] = k.vector(v)
	}
	loop := fmt.Sprintf("taps%d", vectors)
	if masked {
		loop += "masked"
		k.cut(vectors - 1)
	}
	k.start(sums, vectors)
	weights, offsets, taps := k.load(offWeights), k.load(offOffsets), k.load(offTaps)
	Label(loop)
	at := []reg.GPVirtual{GP64()}
	MOVQ(Mem{Base: offsets}, at[0])
	for s := 1; s < k.segments; s++ {
		next := GP64()
		MOVQ(at[s-1], next)
		ADDQ(k.field(offGap), next)
		at = append(at, next)
	}
	for v, start := range starts {
		first := Mem{Base: start, Index: at[0], Scale: 1}
		if masked && v == vectors-1 {
			VMOVUPS_Z(first, tailMask, x[v])
		} else {
			VMOVUPS(first, x[v])
		}
		for s := 1; s < k.segments; s++ {
			VMOVUPS(Mem{Base: start, Index: at[s], Scale: 1}, k.segmentMask(v, s), x[v])
		}
	}
	for i := range k.rows {
		VBROADCASTSS(Mem{Base: weights, Disp: 4 * i}, w)
		for v := range vectors {
			VFMADD231PS(x[v], w, sums[i*vectors+v])
		}
	}
	ADDQ(U8(8), offsets)
	ADDQ(U8(uint8(4*k.rows)), weights)
	DECQ(taps)
	JNE(LabelRef(loop))
	k.limit(sums, x[0], w)
	k.storeWrapped(sums, vectors, masked)
	ADDQ(U32(uint32(vectors*k.bytes())), k.dst)
	SUBQ(U32(uint32(vectors*k.lanes())), k.left)
	JLE(LabelRef("done"))
	JMP(LabelRef("tile"))
}

// vector gives where the next vector begins and makes its masks, and goes on to the one
// behind it.
func (k *wrapKernel) vector(v int) reg.GPVirtual {
	start := GP64()
	MOVQ(k.src, start)
	end := k.load(offWidth)
	SUBQ(k.col, end)
	for s := 1; s < k.segments; s++ {
		if s > 1 {
			ADDQ(k.field(offWidth), end)
		}
		count, mask := atMost(end, 63), GP64()
		MOVQ(I32(-1), mask)
		SHLXQ(count, mask, mask)
		KMOVW(mask.As32(), k.segmentMask(v, s))
	}
	ADDQ(U32(uint32(k.bytes())), k.src)
	ADDQ(U32(uint32(k.lanes())), k.col)
	for range k.segments - 1 {
		col, src := GP64(), GP64()
		MOVQ(k.src, src)
		ADDQ(k.field(offGap), src)
		MOVQ(k.col, col)
		SUBQ(k.field(offWidth), col)
		CMOVQGE(col, k.col)
		CMOVQGE(src, k.src)
	}
	return start
}

// cut limits the masks of the last vector to the columns that there are.
func (k *wrapKernel) cut(last int) {
	rest, ones := GP64(), GP64()
	LEAQ(Mem{Base: k.left, Disp: -last * k.lanes()}, rest)
	MOVQ(I32(-1), ones)
	count := atMost(rest, k.lanes())
	BZHIQ(count, ones, ones)
	KMOVW(ones.As32(), tailMask)
	for s := 1; s < k.segments; s++ {
		KANDW(tailMask, k.segmentMask(last, s), k.segmentMask(last, s))
	}
}

func (k *wrapKernel) storeWrapped(sums []reg.VecPhysical, vectors int, masked bool) {
	row, ldd := GP64(), k.load(offLdDst)
	MOVQ(k.dst, row)
	for i := range k.rows {
		for v := range vectors {
			to := Mem{Base: row, Disp: v * k.bytes()}
			if masked && v == vectors-1 {
				VMOVUPS(sums[i*vectors+v], tailMask, to)
			} else {
				VMOVUPS(sums[i*vectors+v], to)
			}
		}
		if i < k.rows-1 {
			ADDQ(ldd, row)
		}
	}
}
