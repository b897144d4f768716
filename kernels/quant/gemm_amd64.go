// SPDX-License-Identifier: Apache-2.0

//go:build !purego

package quant

import (
	"unsafe"

	"github.com/millrace-ml/millrace/kernels/cpu"
)

// tile is what the kernels read of a job: the rows and columns of one call. Its layout
// is known to the generators.
type tile struct {
	steps     int // of the depth: four products each
	a         unsafe.Pointer
	lda       int
	b         unsafe.Pointer
	columns   int
	out       unsafe.Pointer
	outStride int // bytes
	kind      outputKind

	correct unsafe.Pointer // int32, whole panels
	bias32  unsafe.Pointer // int32, or nil
	zeros   unsafe.Pointer // int32, whole panels, or nil
	sums    unsafe.Pointer // int32, of each row
	wScale  unsafe.Pointer // float32
	wStep   int            // 0 when there is one scale for all columns
	bias    unsafe.Pointer // float32, or nil

	minusZero           int32
	aScale              float32
	outScale, outInvert float32
	lo, hi              float32
	outZero             int32
	flip                uint32
	outByte             uint32 // zero point of the type that is stored
}

func run(j *job, s *Scratch) {
	switch level := cpu.Active(); {
	case level >= cpu.VNNI:
		runVNNI(j, s)
	case level >= cpu.AVX2:
		runWide(j, s)
	default:
		gemmGeneric(j)
	}
}

func reserve(s *Scratch, m int, w *Packed) {
	switch level := cpu.Active(); {
	case level >= cpu.VNNI:
		reserveVNNI(s, m, w)
	case level >= cpu.AVX2:
		reserveWide(s, m, w)
	}
}

// newTile has what is the same for all tiles of a job.
func newTile(j *job) tile {
	return tile{
		kind: j.kind, outStride: j.outStride,
		minusZero: -int32(j.aZero), aScale: j.aScale, outScale: j.outScale, outInvert: 1 / j.outScale,
		lo: j.lo, hi: j.hi, outZero: int32(j.outZero), flip: uint32(j.flip) * 0x01010101, outByte: uint32(j.outZero ^ j.flip),
	}
}

// setColumns makes the tile one of count columns from column first on, which begins a
// panel; outputs begin at column first too.
func (t *tile) setColumns(j *job, first, count int) {
	t.columns = count
	t.b = unsafe.Pointer(unsafe.SliceData(j.w.data[first*j.w.depth:]))
	t.correct = unsafe.Pointer(&j.w.correction[first])
	if j.w.zeros != nil {
		t.zeros = unsafe.Pointer(&j.w.zeros[first])
	}
	if j.kind == sums {
		return
	}
	if j.bias32 != nil {
		t.bias32 = unsafe.Pointer(&j.bias32[first])
	}
	if j.bias != nil {
		t.bias = unsafe.Pointer(&j.bias[first])
	}
	t.wScale = unsafe.Pointer(&j.wScale[0])
	if len(j.wScale) > 1 {
		t.wScale, t.wStep = unsafe.Pointer(&j.wScale[first]), 1
	}
}

// outputAt is where the output of a row and column goes.
func (j *job) outputAt(row, column int) unsafe.Pointer {
	size := 4
	if j.kind == bytes {
		size = 1
	}
	return unsafe.Add(j.out, row*j.outStride+column*size)
}

// split is how many rows each tile has when m rows are shared evenly among tiles of at
// most the given number; the first of them have one more where that does not divide.
func split(m, rowsMax int) (tiles, rows, more int) {
	tiles = (m + rowsMax - 1) / rowsMax
	return tiles, m / tiles, m % tiles
}
