// SPDX-License-Identifier: Apache-2.0

//go:build !purego

package gemm

import (
	"unsafe"

	"github.com/millrace-ml/millrace/kernels/cpu"
)

// tileShape is the most rows and the columns of the tiles that do m rows and the given
// columns of a panel best; 0 where there are no kernels.
func tileShape(m, columns int) (rows, cols int) {
	switch {
	case cpu.Active() < cpu.NEON:
		return 0, 0
	case columns > panelCols/2 && (m <= 3 || m >= 7 && m <= 9):
		// Few rows share a panel: it is read in whole rows.
		return 3, panelCols
	}
	return 6, panelCols / 2
}

// pairRows is the most rows of tiles over two panels: with 16 sums instead of 8, one row
// keeps two units of multiply-add busy.
func pairRows() int {
	if cpu.Active() < cpu.NEON {
		return 0
	}
	return 1
}

const bf16Rows = 0

// dotsBF16 says that there are no kernels for tiles of bf16.
func dotsBF16() bool { return false }

func (t *tile) runBF16(rows, cols int) { noTile() }

func roundRow(dst *uint16, src *float32, n int) { noTile() }

func noTile() { panic("gemm: no such tile") }

// run computes tiles of a shape that tileShape gives, with all of its columns and up
// to its rows, or over two panels.
func (t *tile) run(rows, cols int) {
	p := (*byte)(unsafe.Pointer(t))
	switch cols {
	case pairCols:
		tileNEONx1x64(p)
	case panelCols:
		runNEONx32(rows, p)
	default:
		runNEONx16(rows, p)
	}
}

func runNEONx32(rows int, p *byte) {
	switch rows {
	case 1:
		tileNEONx1x32(p)
	case 2:
		tileNEONx2x32(p)
	case 3:
		tileNEONx3x32(p)
	default:
		noTile()
	}
}

func runNEONx16(rows int, p *byte) {
	switch rows {
	case 1:
		tileNEONx1x16(p)
	case 2:
		tileNEONx2x16(p)
	case 3:
		tileNEONx3x16(p)
	case 4:
		tileNEONx4x16(p)
	case 5:
		tileNEONx5x16(p)
	case 6:
		tileNEONx6x16(p)
	default:
		noTile()
	}
}

// hasRowKernels reports whether there are the kernels below.
func hasRowKernels() bool { return cpu.Active() >= cpu.NEON }

// packRows copies k rows of 32 values into a panel.
func packRows(panel, b *float32, k, ldb int) { packRowsNEON(panel, b, k, 4*ldb) }

// packColumns makes 4*fours values of each of 8 rows columns of a panel.
func packColumns(panel, b *float32, fours, ldb int) { packColumnsNEON(panel, b, fours, 4*ldb) }

// widenPairs makes two rows of a panel of f32 of each row of one of bf16.
func widenPairs(panel *float32, b *uint16, pairs int) { widenPairsNEON(panel, b, pairs) }

// dots stores alpha times the product of m rows of k values of A with x.
func dots(m int, a *float32, lda int, x *float32, k int, c *float32, ldc int, alpha float32) {
	dotRowsNEON(m, a, 4*lda, x, k, c, 4*ldc, alpha)
}

// quantiseEights stores 8*eights values as 8 bits.
func quantiseEights(dst *uint8, src *float32, eights int, scale, least, most float32) {
	quantiseNEON(dst, src, eights, scale, least, most)
}

// peakF32 runs the peak kernel and returns the width of its vectors.
func peakF32(iterations int) (width int) {
	if cpu.Active() < cpu.NEON {
		return 0
	}
	peakNEON(iterations)
	return 4
}

func peakDots(iterations int) (width int) { return 0 }
