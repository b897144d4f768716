// SPDX-License-Identifier: Apache-2.0

//go:build !purego

package gemm

import (
	"unsafe"

	"github.com/millrace-ml/millrace/kernels/cpu"
)

// tileShape is the most rows and the columns of the tiles that do m rows and the given
// columns of a panel best at this level; 0 where there are no kernels.
func tileShape(m, columns int) (rows, cols int) {
	switch level := cpu.Active(); {
	case level < cpu.AVX2:
		return 0, 0
	case columns <= panelCols/2:
		return 6, panelCols / 2
	case level >= cpu.AVX512:
		return 14, panelCols
	case m <= 3 || m >= 7 && m <= 9:
		// Tiles of 16 columns would skip every other half of a row, which is slow where
		// the panel does not come from near and few rows share it.
		return 3, panelCols
	}
	return 6, panelCols / 2
}

// pairRows is the most rows of tiles over two panels. With few rows these hide the
// latency of the multiply-add that one panel leaves open.
func pairRows() int {
	switch level := cpu.Active(); {
	case level >= cpu.AVX512:
		return 2
	case level >= cpu.AVX2:
		return 1
	}
	return 0
}

// bf16Rows is the most rows of a tile of bf16, of 32 columns.
const bf16Rows = 14

// dotsBF16 reports whether there are kernels for tiles of bf16.
func dotsBF16() bool { return cpu.Active() >= cpu.BF16 }

// run computes tiles of a shape that tileShape gives, with all of its columns and up
// to its rows, or over two panels.
func (t *tile) run(rows, cols int) {
	p := (*byte)(unsafe.Pointer(t))
	wide := cpu.Active() >= cpu.AVX512
	switch {
	case wide && cols == panelCols:
		runAVX512(rows, p)
	case wide && cols == pairCols && rows == 1:
		tileAVX512x1x64(p)
	case wide && cols == pairCols:
		tileAVX512x2x64(p)
	case cols == pairCols:
		tileAVX2x1x64(p)
	case cols == panelCols:
		runAVX2x32(rows, p)
	default:
		runAVX2x16(rows, p)
	}
}

func noTile() { panic("gemm: no tile of so many rows") }

func runAVX512(rows int, p *byte) {
	switch rows {
	case 1:
		tileAVX512x1x32(p)
	case 2:
		tileAVX512x2x32(p)
	case 3:
		tileAVX512x3x32(p)
	case 4:
		tileAVX512x4x32(p)
	case 5:
		tileAVX512x5x32(p)
	case 6:
		tileAVX512x6x32(p)
	case 7:
		tileAVX512x7x32(p)
	case 8:
		tileAVX512x8x32(p)
	case 9:
		tileAVX512x9x32(p)
	case 10:
		tileAVX512x10x32(p)
	case 11:
		tileAVX512x11x32(p)
	case 12:
		tileAVX512x12x32(p)
	case 13:
		tileAVX512x13x32(p)
	case 14:
		tileAVX512x14x32(p)
	default:
		noTile()
	}
}

func runAVX2x32(rows int, p *byte) {
	switch rows {
	case 1:
		tileAVX2x1x32(p)
	case 2:
		tileAVX2x2x32(p)
	case 3:
		tileAVX2x3x32(p)
	default:
		noTile()
	}
}

func runAVX2x16(rows int, p *byte) {
	switch rows {
	case 1:
		tileAVX2x1x16(p)
	case 2:
		tileAVX2x2x16(p)
	case 3:
		tileAVX2x3x16(p)
	case 4:
		tileAVX2x4x16(p)
	case 5:
		tileAVX2x5x16(p)
	case 6:
		tileAVX2x6x16(p)
	default:
		noTile()
	}
}

// runBF16 is run for tiles of bf16.
func (t *tile) runBF16(rows, cols int) {
	p := (*byte)(unsafe.Pointer(t))
	if cols == pairCols {
		if rows == 1 {
			tileBF16x1x64(p)
		} else {
			tileBF16x2x64(p)
		}
		return
	}
	switch rows {
	case 1:
		tileBF16x1x32(p)
	case 2:
		tileBF16x2x32(p)
	case 3:
		tileBF16x3x32(p)
	case 4:
		tileBF16x4x32(p)
	case 5:
		tileBF16x5x32(p)
	case 6:
		tileBF16x6x32(p)
	case 7:
		tileBF16x7x32(p)
	case 8:
		tileBF16x8x32(p)
	case 9:
		tileBF16x9x32(p)
	case 10:
		tileBF16x10x32(p)
	case 11:
		tileBF16x11x32(p)
	case 12:
		tileBF16x12x32(p)
	case 13:
		tileBF16x13x32(p)
	case 14:
		tileBF16x14x32(p)
	default:
		noTile()
	}
}

// roundRow rounds n values to bf16, filled up with zeros to a multiple of 32.
func roundRow(dst *uint16, src *float32, n int) { roundBF16(dst, src, n) }

// hasRowKernels reports whether there are the kernels below.
func hasRowKernels() bool { return cpu.Active() >= cpu.AVX2 }

// packRows copies k rows of 32 values into a panel.
func packRows(panel, b *float32, k, ldb int) { packRowsAVX2(panel, b, k, 4*ldb) }

// packColumns makes 4*fours values of each of 8 rows columns of a panel.
func packColumns(panel, b *float32, fours, ldb int) { packColumnsAVX2(panel, b, fours, 4*ldb) }

// widenPairs makes two rows of a panel of f32 of each row of one of bf16.
func widenPairs(panel *float32, b *uint16, pairs int) { widenPairsAVX2(panel, b, pairs) }

// dots stores alpha times the product of m rows of k values of A with x.
func dots(m int, a *float32, lda int, x *float32, k int, c *float32, ldc int, alpha float32) {
	dotRowsAVX2(m, a, 4*lda, x, k, c, 4*ldc, alpha, firstLanes(k%16))
}

// quantiseEights stores 8*eights values as 8 bits.
func quantiseEights(dst *uint8, src *float32, eights int, scale, least, most float32) {
	quantiseAVX2(dst, src, eights, scale, least, most)
}

// peakF32 runs the peak kernel and returns the width of its vectors.
func peakF32(iterations int) (width int) {
	switch level := cpu.Active(); {
	case level >= cpu.AVX512:
		peakAVX512(iterations)
		return 16
	case level >= cpu.AVX2:
		peakAVX2(iterations)
		return 8
	}
	return 0
}

func peakDots(iterations int) (width int) {
	if !dotsBF16() {
		return 0
	}
	peakBF16(iterations)
	return 16
}
