// SPDX-License-Identifier: Apache-2.0

//go:build !purego

package quant

import (
	"unsafe"

	"github.com/millrace-ml/millrace/kernels/cpu"
)

const (
	rowsAVX2   = 6
	rowsAVX512 = 12
	// groupColumns are computed before their sums are turned into outputs.
	groupColumns = 4 * panelColumns
)

// wideBlock is how many rows are widened at a time, and the distance between them in
// elements; see copyStride.
func wideBlock(m, depth int) (rows, stride int) {
	return blockRows(m, 2*depth), copyStride(2*depth) / 2
}

func reserveWide(s *Scratch, m int, w *Packed) {
	rows, stride := wideBlock(m, w.depth)
	s.wide = grow(s.wide, rows*stride)
	s.sums = grow(s.sums, rows)
	s.tile = grow(s.tile, rowsAVX512*groupColumns)
}

// runWide computes a product with both factors widened to 16 bits.
func runWide(j *job, s *Scratch) {
	reserveWide(s, j.m, j.w)
	t := newTile(j)
	rows, stride := wideBlock(j.m, j.w.depth)
	for first := 0; first < j.m; first += rows {
		b := rowBlock{first: first, rows: min(rows, j.m-first), stride: 2 * stride}
		b.a = unsafe.Pointer(unsafe.SliceData(s.wide))
		for i := range b.rows {
			at := (first + i) * j.lda
			widenBytes(s.wide[i*stride:], j.a[at:at+j.w.k], j.aFlip)
		}
		if j.w.zeros != nil {
			b.sumRows(j, s.sums)
		}
		b.multiplyWide(j, &t, s)
	}
}

// multiplyWide computes all columns of the rows.
func (b *rowBlock) multiplyWide(j *job, t *tile, s *Scratch) {
	rowsMax := rowsAVX2
	if cpu.Active() >= cpu.AVX512 {
		rowsMax = rowsAVX512
	}
	tiles, rows, more := split(b.rows, rowsMax)
	for column := 0; column < j.w.n; column += groupColumns {
		count := min(groupColumns, j.w.n-column)
		t.setColumns(j, column, count)
		row := 0
		for i := range tiles {
			m := rows
			if i < more {
				m++
			}
			x := tile{steps: j.w.depth / depthStep, lda: b.stride, columns: count, outStride: 4 * groupColumns}
			x.a, x.b, x.out = unsafe.Add(b.a, row*b.stride), t.b, unsafe.Pointer(&s.tile[0])
			if rowsMax == rowsAVX512 {
				tileAVX512(m, &x)
			} else {
				tileAVX2(m, &x)
			}
			for r := range m {
				b.finish(j, t, s, row+r, column, s.tile[r*groupColumns:])
			}
			row += m
		}
	}
}

// finish turns the sums of one row, of the tile's columns from first on, into outputs.
func (b *rowBlock) finish(j *job, t *tile, s *Scratch, row, first int, products []int32) {
	x := *t
	x.a = unsafe.Pointer(&products[0])
	x.sums = unsafe.Pointer(&s.sums[row])
	x.out = j.outputAt(b.first+row, first)
	x.columns = t.columns / 8 * 8
	if x.columns > 0 {
		finishAVX2((*byte)(unsafe.Pointer(&x)))
	}
	out := unsafe.Add(j.out, (b.first+row)*j.outStride)
	for i := x.columns; i < t.columns; i++ {
		col := first + i
		sum := products[i] - int32(j.aZero)*j.w.correction[col]
		if j.w.zeros != nil {
			sum -= s.sums[row] * j.w.zeros[col]
		}
		j.finish(out, col, sum)
	}
}

// tileAVX2 runs the kernel for m rows.
func tileAVX2(m int, t *tile) {
	p := (*byte)(unsafe.Pointer(t))
	switch m {
	case 1:
		tileAVX2x1(p)
	case 2:
		tileAVX2x2(p)
	case 3:
		tileAVX2x3(p)
	case 4:
		tileAVX2x4(p)
	case 5:
		tileAVX2x5(p)
	case 6:
		tileAVX2x6(p)
	}
}

// tileAVX512 runs the kernel for m rows.
func tileAVX512(m int, t *tile) {
	p := (*byte)(unsafe.Pointer(t))
	switch m {
	case 1:
		tileAVX512x1(p)
	case 2:
		tileAVX512x2(p)
	case 3:
		tileAVX512x3(p)
	case 4:
		tileAVX512x4(p)
	case 5:
		tileAVX512x5(p)
	case 6:
		tileAVX512x6(p)
	case 7:
		tileAVX512x7(p)
	case 8:
		tileAVX512x8(p)
	case 9:
		tileAVX512x9(p)
	case 10:
		tileAVX512x10(p)
	case 11:
		tileAVX512x11(p)
	case 12:
		tileAVX512x12(p)
	}
}
