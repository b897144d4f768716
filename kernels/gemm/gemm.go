// SPDX-License-Identifier: Apache-2.0

// Package gemm multiplies matrices of f32 and bf16 on one core.
//
// Weights are packed once (Pack, PackBF16) into a layout that is the same at every CPU
// level, so a Packed stays valid when cpu.Limit changes:
//
//	n > 4   panels of 32 columns, each K rows of 32 values (128 bytes), one panel after
//	        another, the last one filled up with zeros
//	n <= 4  columns one after another, each K values filled up to a multiple of 16
//	bf16    panels as above, whose rows are pairs of k: 32 times (k, k+1); columns of f32
//	        where n <= 4
//
// A product walks over blocks of A's rows that fit the L2 cache, over the panels, and
// over tiles of up to 14 rows and 32 columns (AVX-512; 6 x 16 with AVX2) whose sums
// stay in registers for the whole K loop. Bias, residual and the simple activations are
// applied there, before the only store. Rows of A are read where they are unless their
// stride would make them fight for the same cache lines; then they are copied.
//
// All matrices are row-major. A stride (lda, ldb, ldc) counts elements from one row to
// the next and is at least the number of columns; it is not looked at where there is
// one row. Outputs must not overlap inputs. Slices that are too short are errors of the
// programmer and panic before any memory is touched.
//
// Sums are in f32 and in the order of k (in parts of up to 1024), with fused
// multiply-add where the CPU has it. So a row of Gemm's results has the same bits alone
// as among other rows, whatever m is, and the same bits with AVX2 as with AVX-512;
// GemmBF16 and GemmQuantised keep the first half of this promise, MatMul does not.
// |error| <= K * 2^-24 * sum |a*b|, plus what an activation adds. NaN and infinities
// behave as in plain arithmetic.
//
// Packed weights are immutable and may be shared; a Scratch belongs to one call at a
// time. Nothing here starts goroutines or, Reserve and the constructors apart,
// allocates.
package gemm

import "fmt"

// Gemm computes C = activation(A*W + bias + residual), where A is m x K, W is K x N
// and C is m x N; e may be nil. Columns of C beyond N are not written.
func Gemm(m int, a []float32, lda int, w *Packed, c []float32, ldc int, e *Epilogue, s *Scratch) {
	checkGemm(m, len(a), lda, w.k, len(c), ldc, w.n)
	e.check(m, w.n)
	s.check(needs(m, w))
	if m == 0 || w.n == 0 {
		return
	}
	gemm(m, a, lda, w, c, ldc, e, s)
}

// gemm is Gemm of at least one row and one column, with operands that were checked.
func gemm(m int, a []float32, lda int, w *Packed, c []float32, ldc int, e *Epilogue, s *Scratch) {
	switch {
	case w.k == 0:
		gemmEmpty(m, w.n, c, ldc, e)
	case w.narrow():
		gemmNarrow(m, a, lda, w, c, ldc, e)
	case !hasRowKernels():
		gemmGeneric(m, a, lda, w, c, ldc, e)
	default:
		newBlock(m, a, lda, w, c, ldc).multiply(e, 1, s)
	}
}

// newBlock is a product with packed weights.
func newBlock(m int, a []float32, lda int, w *Packed, c []float32, ldc int) *block {
	return &block{
		m: m, n: w.n, k: w.k, a: a, lda: lda, c: c, ldc: ldc,
		b: w.data, ldb: w.k * panelCols,
	}
}

// gemmEmpty stores sums of nothing.
func gemmEmpty(m, n int, c []float32, ldc int, e *Epilogue) {
	for i := range m {
		row := c[i*ldc:][:n]
		clear(row)
		e.finish(row, i, 0)
	}
}

// GemmBF16 is Gemm with weights in bf16. At the level cpu.BF16 the values of A are
// rounded to bf16 too, which adds 2^-8 * sum |a*b| to the error, and denormals count as
// zero; below it the weights are widened to f32 in passing and A is used as it is. That
// halves the memory but not the time: where time matters more, pack f32 there.
func GemmBF16(m int, a []float32, lda int, w *PackedBF16, c []float32, ldc int, e *Epilogue, s *Scratch) {
	checkGemm(m, len(a), lda, w.k, len(c), ldc, w.n)
	e.check(m, w.n)
	s.check(needsBF16(m, w))
	if m == 0 || w.n == 0 {
		return
	}
	switch {
	case w.k == 0:
		gemmEmpty(m, w.n, c, ldc, e)
	case w.columns != nil:
		gemmNarrow(m, a, lda, w.columns, c, ldc, e)
	case dotsBF16():
		gemmDots(m, a, lda, w, c, ldc, e, s)
	case !hasRowKernels():
		gemmBF16Generic(m, a, lda, w, c, ldc, e)
	default:
		gemmWidened(m, a, lda, w, c, ldc, e, s)
	}
}

// checkGemm panics unless A of m x k and C of m x n fit their slices.
func checkGemm(m, lenA, lda, k, lenC, ldc, n int) {
	if m < 0 {
		panic(fmt.Sprintf("gemm: %d rows", m))
	}
	checkMatrix("A", lenA, m, k, lda)
	checkMatrix("C", lenC, m, n, ldc)
}

// checkMatrix panics unless rows x cols values, stride apart, fit a slice of length.
// No product of sizes is formed before it is known not to overflow.
func checkMatrix(name string, length, rows, cols, stride int) {
	switch {
	case rows == 0 || cols == 0:
	case rows < 0 || cols < 0 || length < cols,
		rows > 1 && (stride < cols || rows-1 > (length-cols)/stride):
		panic(fmt.Sprintf("gemm: %s of %d x %d with stride %d in a slice of %d", name, rows, cols, stride, length))
	}
}
