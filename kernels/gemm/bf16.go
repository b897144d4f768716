// SPDX-License-Identifier: Apache-2.0

package gemm

import "unsafe"

// gemmDots is GemmBF16 with dot products of bf16.
func gemmDots(m int, a []float32, lda int, w *PackedBF16, c []float32, ldc int, e *Epilogue, s *Scratch) {
	o := &block{
		m: m, n: w.n, k: pairs(w.k), a: a, lda: lda, c: c, ldc: ldc,
		b: words(w.data), ldb: pairs(w.k) * panelCols, operand: panelsDots, depth: w.k,
	}
	o.multiply(e, 1, s)
}

// gemmWidened is GemmBF16 with products of f32.
func gemmWidened(m int, a []float32, lda int, w *PackedBF16, c []float32, ldc int, e *Epilogue, s *Scratch) {
	o := &block{
		m: m, n: w.n, k: w.k, a: a, lda: lda, c: c, ldc: ldc,
		b16: w.data, ldb: pairs(w.k) * 2 * panelCols, operand: panelsBF16,
	}
	o.multiply(e, 1, s)
}

// words are pairs of bf16 as the words that tiles read.
func words(x []uint16) []float32 {
	return unsafe.Slice((*float32)(unsafe.Pointer(unsafe.SliceData(x))), len(x)/2)
}

// roundRows is copyRows that rounds to bf16. Rows end in zeros up to the stride.
func (o *block) roundRows(whole *block, i int, rows []float32) {
	stride := paddedStride(o.k)
	n := min(2*o.k, whole.depth-2*o.from)
	for r := range o.m {
		to := rows[r*stride:][:stride]
		from := whole.a[(i+r)*whole.lda+2*o.from:][:n]
		roundRow((*uint16)(unsafe.Pointer(&to[0])), &from[0], n)
	}
	o.a, o.lda = rows, stride
}
