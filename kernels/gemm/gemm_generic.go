// SPDX-License-Identifier: Apache-2.0

package gemm

// gemmGeneric is Gemm of panels in plain Go.
func gemmGeneric(m int, a []float32, lda int, w *Packed, c []float32, ldc int, e *Epilogue) {
	for j := 0; j < w.n; j += panelCols {
		panel, cols := w.panel(j), min(panelCols, w.n-j)
		for i := range m {
			var sum [panelCols]float32
			for p, x := range a[i*lda:][:w.k] {
				row := (*[panelCols]float32)(panel[p*panelCols:])
				for l := range sum {
					sum[l] += x * row[l]
				}
			}
			out := c[i*ldc+j:][:cols]
			copy(out, sum[:])
			e.finish(out, i, j)
		}
	}
}

// gemmBF16Generic is GemmBF16 in plain Go. It does not round A.
func gemmBF16Generic(m int, a []float32, lda int, w *PackedBF16, c []float32, ldc int, e *Epilogue) {
	for j := 0; j < w.n; j += panelCols {
		panel, cols := w.panel(j), min(panelCols, w.n-j)
		for i := range m {
			var sum [panelCols]float32
			for p, x := range a[i*lda:][:w.k] {
				row := (*[2 * panelCols]uint16)(panel[p/2*2*panelCols:])
				for l := range sum {
					sum[l] += x * widen(row[2*l+p%2])
				}
			}
			out := c[i*ldc+j:][:cols]
			copy(out, sum[:])
			e.finish(out, i, j)
		}
	}
}
