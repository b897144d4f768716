// SPDX-License-Identifier: Apache-2.0

//go:build purego || !(amd64 || arm64)

package gemm

// tileShape says that there are no kernels.
func tileShape(m, columns int) (rows, cols int) { return 0, 0 }

const bf16Rows = 0

func pairRows() int { return 0 }

func dotsBF16() bool { return false }

func (t *tile) run(rows, cols int) { noKernels() }

func (t *tile) runBF16(rows, cols int) { noKernels() }

func roundRow(dst *uint16, src *float32, n int) { noKernels() }

func hasRowKernels() bool { return false }

func packRows(panel, b *float32, k, ldb int) { noKernels() }

func packColumns(panel, b *float32, fours, ldb int) { noKernels() }

func widenPairs(panel *float32, b *uint16, pairs int) { noKernels() }

func dots(m int, a *float32, lda int, x *float32, k int, c *float32, ldc int, alpha float32) {
	noKernels()
}

func quantiseEights(dst *uint8, src *float32, eights int, scale, least, most float32) { noKernels() }

func peakF32(iterations int) (width int) { return 0 }

func peakDots(iterations int) (width int) { return 0 }

// noKernels is never reached: callers ask first.
func noKernels() { panic("gemm: no kernels") }
