// SPDX-License-Identifier: Apache-2.0

//go:build !purego

package quant

import "unsafe"

const (
	rowsVNNI = 14
	// blockBytes of activations are worked on at a time: they stay in the second cache
	// together with the panels that stream past them.
	blockBytes = 256 << 10
	// groupBytes of weights are gone over by all rows of a block before the next.
	groupBytes = 256 << 10
)

// blockRows is how many rows of a depth are worked on at a time.
func blockRows(m, depth int) int {
	return min(m, max(blockBytes/max(depth, 1), 2*rowsVNNI))
}

// copyStride is the distance of copied rows: never a multiple of 4096, at which lines of
// different rows push each other out of the first cache.
func copyStride(depth int) int { return roundUp(depth, 64) + 64 }

func reserveVNNI(s *Scratch, m int, w *Packed) {
	rows := blockRows(m, w.depth)
	s.rows = grow(s.rows, rows*copyStride(w.depth))
	if w.zeros != nil {
		s.sums = grow(s.sums, rows)
	}
}

// inPlace reports whether the kernels may read the activations where they are.
func (j *job) inPlace() bool {
	return j.aFlip == 0 && j.w.k == j.w.depth && (j.m == 1 || j.lda%2048 != 0)
}

func runVNNI(j *job, s *Scratch) {
	t := newTile(j)
	inPlace := j.inPlace()
	if j.w.zeros != nil || !inPlace {
		reserveVNNI(s, j.m, j.w)
	}
	rows := blockRows(j.m, j.w.depth)
	for first := 0; first < j.m; first += rows {
		block := rowBlock{first: first, rows: min(rows, j.m-first), stride: j.lda}
		if inPlace {
			block.a = unsafe.Pointer(unsafe.SliceData(j.a[first*j.lda:]))
		} else {
			block.copyRows(j, s.rows)
		}
		if j.w.zeros != nil {
			block.sumRows(j, s.sums)
		}
		block.multiply(j, &t, s)
	}
}

// rowBlock is some rows of activations as the kernels read them.
type rowBlock struct {
	first, rows int
	a           unsafe.Pointer
	stride      int
}

// copyRows makes the block one of copied rows, unsigned and padded.
func (b *rowBlock) copyRows(j *job, to []uint8) {
	b.stride = copyStride(j.w.depth)
	b.a = unsafe.Pointer(unsafe.SliceData(to))
	for i := range b.rows {
		at := (b.first + i) * j.lda
		flipBytes(to[i*b.stride:], j.a[at:at+j.w.k], j.aFlip)
	}
}

// sumRows adds up the activations of each row, unsigned.
func (b *rowBlock) sumRows(j *job, to []int32) {
	for i := range b.rows {
		at := (b.first + i) * j.lda
		to[i] = sumBytes(j.a[at:at+j.w.k], j.aFlip)
	}
}

// multiply computes all columns of the rows.
func (b *rowBlock) multiply(j *job, t *tile, s *Scratch) {
	tiles, rows, more := split(b.rows, rowsVNNI)
	group := max(groupBytes/max(j.w.depth*panelColumns, 1), 1) * panelColumns
	if tiles == 1 {
		group = j.w.n
	}
	t.steps, t.lda = j.w.depth/depthStep, b.stride
	for column := 0; column < j.w.n; column += group {
		t.setColumns(j, column, min(group, j.w.n-column))
		row := 0
		for i := range tiles {
			m := rows
			if i < more {
				m++
			}
			t.a = unsafe.Add(b.a, row*b.stride)
			t.out = j.outputAt(b.first+row, column)
			if j.w.zeros != nil {
				t.sums = unsafe.Pointer(&s.sums[row])
			}
			tileVNNI(m, t)
			row += m
		}
	}
}

// tileVNNI runs the kernel for m rows.
func tileVNNI(m int, t *tile) {
	p := (*byte)(unsafe.Pointer(t))
	switch m {
	case 1:
		tileVNNIx1(p)
	case 2:
		tileVNNIx2(p)
	case 3:
		tileVNNIx3(p)
	case 4:
		tileVNNIx4(p)
	case 5:
		tileVNNIx5(p)
	case 6:
		tileVNNIx6(p)
	case 7:
		tileVNNIx7(p)
	case 8:
		tileVNNIx8(p)
	case 9:
		tileVNNIx9(p)
	case 10:
		tileVNNIx10(p)
	case 11:
		tileVNNIx11(p)
	case 12:
		tileVNNIx12(p)
	case 13:
		tileVNNIx13(p)
	case 14:
		tileVNNIx14(p)
	}
}
