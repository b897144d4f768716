// SPDX-License-Identifier: Apache-2.0

//go:build !purego

package quant

import (
	"unsafe"

	"github.com/millrace-ml/millrace/kernels/cpu"
)

const (
	rowsNEON = 6
	// blockBytes of activations are worked on at a time: they stay in the second cache
	// while all panels pass by.
	blockBytes = 128 << 10
)

// rowOutputs is what the kernel that finishes a row reads. Its layout is known to the
// generator.
type rowOutputs struct {
	sums    *int32
	out     unsafe.Pointer
	columns int
	kind    outputKind

	correct *int32
	bias32  *int32 // or nil
	zeros   *int32 // or nil
	wScale  *float32
	wStep   int      // 0 when there is one scale for all columns
	bias    *float32 // or nil

	minusZero           int32
	rowSum              int32
	aScale              float32
	outScale, outInvert float32
	lo, hi              float32
	outZero             int32
	flip                uint32
}

// A layout that is not what the kernel knows makes one of these overflow.
const (
	_ = -(unsafe.Offsetof(rowOutputs{}.bias) ^ 72)
	_ = -(unsafe.Offsetof(rowOutputs{}.flip) ^ 112)
)

// signedRows are activations as the kernels read them: signed, in rows that are padded
// to whole steps and not a multiple of 4096 bytes apart.
type signedRows struct {
	first, rows int
	a           []uint8
	stride      int
}

// neonBlock is how many rows are worked on at a time, and their distance.
func neonBlock(m int, w *Packed) (rows, stride int) {
	stride = roundUp(w.depth, 64) + 64
	return min(m, max(blockBytes/stride/rowsNEON, 1)*rowsNEON), stride
}

func reserve(s *Scratch, m int, w *Packed) {
	if cpu.Active() < cpu.NEON {
		return
	}
	rows, stride := neonBlock(m, w)
	s.rows = grow(s.rows, rows*stride)
	s.sums = grow(s.sums, rows)
	s.tile = grow(s.tile, rowsNEON*panelColumns)
}

func run(j *job, s *Scratch) {
	if cpu.Active() < cpu.NEON || j.w.k == 0 {
		gemmGeneric(j)
		return
	}
	reserve(s, j.m, j.w)
	rows, stride := neonBlock(j.m, j.w)
	for first := 0; first < j.m; first += rows {
		b := signedRows{first: first, rows: min(rows, j.m-first), a: s.rows, stride: stride}
		b.copyFrom(j, s.sums)
		for column := 0; column < j.w.n; column += panelColumns {
			b.multiply(j, s, column)
		}
	}
}

// copyFrom makes the activations of a job signed and adds up each row. Behind a row
// there may be anything: the weights of those steps are zeros.
func (b *signedRows) copyFrom(j *job, sums []int32) {
	for i := range b.rows {
		at := (b.first + i) * j.lda
		row := b.a[i*b.stride:][:j.w.k]
		flipBytes(row, j.a[at:at+j.w.k], j.aFlip^0x80)
		if j.w.zeros != nil {
			sums[i] = sumSigned(row)
		}
	}
}

// multiply computes the columns of a panel, in tiles that differ by at most one row.
func (b *signedRows) multiply(j *job, s *Scratch, column int) {
	t := newOutputs(j, column)
	tiles := (b.rows + rowsNEON - 1) / rowsNEON
	rows, longer := b.rows/tiles, b.rows%tiles
	panel, steps := &j.w.data[column*j.w.depth], j.w.depth/depthStep
	for row, i := 0, 0; i < tiles; i++ {
		m := rows
		if i < longer {
			m++
		}
		tileNEON(m, &b.a[row*b.stride], b.stride, panel, steps, &s.tile[0])
		for r := range m {
			b.finish(j, &t, row+r, column, s.tile[r*panelColumns:][:panelColumns], s.sums[row+r])
		}
		row += m
	}
}

// newOutputs has what is the same for all rows of the columns from column on, which
// begins a panel. The zero point is that of signed activations.
func newOutputs(j *job, column int) rowOutputs {
	t := rowOutputs{
		columns: min(panelColumns, j.w.n-column) / 4 * 4, kind: j.kind, correct: &j.w.correction[column],
		minusZero: 128 - int32(j.aZero), aScale: j.aScale, outScale: j.outScale, outInvert: 1 / j.outScale,
		lo: j.lo, hi: j.hi, outZero: int32(j.outZero), flip: quarters(j.flip),
	}
	if j.w.zeros != nil {
		t.zeros = &j.w.zeros[column]
	}
	if j.kind == sums {
		return t
	}
	if j.bias32 != nil {
		t.bias32 = &j.bias32[column]
	}
	if j.bias != nil {
		t.bias = &j.bias[column]
	}
	t.wScale = &j.wScale[0]
	if len(j.wScale) > 1 {
		t.wScale, t.wStep = &j.wScale[column], 1
	}
	return t
}

// finish turns the sums of a row into outputs from a column on.
func (b *signedRows) finish(j *job, t *rowOutputs, row, column int, products []int32, rowSum int32) {
	out := unsafe.Add(j.out, (b.first+row)*j.outStride)
	if t.columns > 0 {
		size := 4
		if j.kind == bytes {
			size = 1
		}
		t.sums, t.out, t.rowSum = &products[0], unsafe.Add(out, column*size), rowSum
		finishNEON((*byte)(unsafe.Pointer(t)))
	}
	for i := t.columns; i < min(panelColumns, j.w.n-column); i++ {
		sum := products[i] + t.minusZero*j.w.correction[column+i]
		if j.w.zeros != nil {
			sum -= rowSum * j.w.zeros[column+i]
		}
		j.finish(out, column+i, sum)
	}
}

// tileNEON runs the kernel for m rows.
func tileNEON(m int, a *uint8, lda int, b *int8, steps int, out *int32) {
	switch m {
	case 1:
		tileNEONx1(a, lda, b, steps, out)
	case 2:
		tileNEONx2(a, lda, b, steps, out)
	case 3:
		tileNEONx3(a, lda, b, steps, out)
	case 4:
		tileNEONx4(a, lda, b, steps, out)
	case 5:
		tileNEONx5(a, lda, b, steps, out)
	case 6:
		tileNEONx6(a, lda, b, steps, out)
	}
}
