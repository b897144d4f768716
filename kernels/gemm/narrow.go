// SPDX-License-Identifier: Apache-2.0

package gemm

// gemmNarrow is Gemm of a matrix that is kept as columns.
func gemmNarrow(m int, a []float32, lda int, w *Packed, c []float32, ldc int, e *Epilogue) {
	for j := range w.n {
		column := w.data[j*w.column():][:w.k]
		if hasRowKernels() {
			dots(m, &a[0], lda, &column[0], w.k, &c[j], ldc, 1)
		} else {
			dotRowsGeneric(m, a, lda, column, c[j:], ldc, 1)
		}
	}
	if e == nil {
		return
	}
	for i := range m {
		e.addTo(c[i*ldc:][:w.n], i, 0)
	}
	e.activateBlock(m, w.n, c, ldc)
}

// dotRowsGeneric is dots in plain Go: it stores in c[i*ldc] alpha times the product of
// row i of A with x.
func dotRowsGeneric(m int, a []float32, lda int, x []float32, c []float32, ldc int, alpha float32) {
	for i := range m {
		var sum float32
		row := a[i*lda:][:len(x)]
		for p, v := range x {
			sum += v * row[p]
		}
		c[i*ldc] = alpha * sum
	}
}
