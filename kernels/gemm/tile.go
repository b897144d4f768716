// SPDX-License-Identifier: Apache-2.0

package gemm

import "unsafe"

// tile tells a kernel what to compute: count tiles of some rows and 32 columns (16 with
// AVX2), each the steps on from the one before. Strides and steps are in bytes. The
// kernels know the offsets of the fields: see kernels/_gen/internal/gemmgen.
type tile struct {
	a        *float32 // the tile's first row
	lda      int
	b        *float32 // first row of a panel, or the tile's columns of an unpacked B
	ldb      int
	c        *float32
	ldc      int
	bias     *float32
	add      *float32
	ldadd    int
	k        int // rows of B; pairs of rows in bf16
	count    int // tiles, at least one
	stepA    int
	stepB    int
	stepC    int
	stepBias int
	stepAdd  int
	done     int // tiles so far; the kernel's own
	flags    uint32
	mask     uint32  // the columns there are, one bit each
	alpha    float32 // what sums are multiplied by
	slope    float32 // of a leaky ReLU
	lo, hi   float32 // limits
	lanes    *int32  // the mask for AVX2, a word for each column
	panel    int     // from the first panel to the second, of tiles of 64 columns
}

// A layout that is not what the kernels know makes one of these overflow.
const (
	_ = -(unsafe.Offsetof(tile{}.done) ^ 128)
	_ = -(unsafe.Offsetof(tile{}.lanes) ^ 160)
	_ = -(unsafe.Offsetof(tile{}.hi) ^ 156)
	_ = -(unsafe.Offsetof(tile{}.panel) ^ 168)
)

// pairCols is the number of columns of tiles over two panels.
const pairCols = 2 * panelCols

// What a tile does with its sums, in this order.
const (
	flagScale      = 1 << iota // multiply by alpha
	flagAccumulate             // add what C has
	flagBias
	flagAdd
	flagLo
	flagHi
	flagLeaky
	flagPart // store only the columns of the mask
)

// lanes has masks as AVX2 takes them, of which those of the first columns are set:
// firstLanes gives where to read.
var lanes = func() (table [pairCols + panelCols]int32) {
	for i := range pairCols {
		table[i] = -1
	}
	return table
}()

// firstLanes points at masks of which the first n are set, and the next 32 not.
func firstLanes(n int) *int32 { return &lanes[pairCols-n] }

// columns limits the tile to its first n columns, of width that it could have.
func (t *tile) columns(n, width int) {
	n = min(n, width)
	t.flags &^= flagPart
	if n < width {
		t.flags |= flagPart
	}
	t.mask = uint32(1<<min(n, panelCols) - 1)
	t.lanes = firstLanes(n)
}

// epilogue sets the parameters of an epilogue and returns its flags.
func (t *tile) epilogue(e *Epilogue, alpha float32) (flags uint32) {
	t.alpha = alpha
	if alpha != 1 {
		flags |= flagScale
	}
	if e == nil {
		return flags
	}
	if e.Bias != nil {
		flags |= flagBias
	}
	if e.Add != nil {
		flags |= flagAdd
	}
	switch t.slope = e.Alpha; e.Activation {
	case Relu:
		flags |= flagLo
	case Clip:
		flags |= flagLo | flagHi
		t.lo, t.hi = e.bounds()
	case LeakyRelu:
		flags |= flagLeaky
	}
	return flags
}
