// SPDX-License-Identifier: Apache-2.0

package gemm

import (
	"fmt"
	"math"
)

const (
	// panelCols is the number of columns of a panel: two AVX-512 vectors of f32.
	panelCols = 32
	// narrowCols is the most columns that are kept as columns. A dot product for each
	// of them is faster than a tile of which they would fill an eighth.
	narrowCols = 4
	// narrowAlign is what the columns of a narrow matrix are filled up to.
	narrowAlign = 16
)

// Packed is a K x N matrix of f32 in the layout that the kernels read. It is immutable.
type Packed struct {
	k, n int
	data []float32
}

// Pack lays out b, which is k x n, or n x k when transposed, with ldb elements from
// one of its rows to the next. b is not kept.
func Pack(k, n int, b []float32, ldb int, transposed bool) *Packed {
	checkWeights(k, n, len(b), ldb, transposed)
	w := &Packed{k: k, n: n}
	if w.narrow() {
		w.data = aligned[float32](n * w.column())
		for j := range n {
			column := w.data[j*w.column():][:k]
			for i := range column {
				column[i] = b[index(i, j, ldb, transposed)]
			}
		}
		return w
	}
	if k == 0 { // columns of nothing, of which there may be any number
		return w
	}
	w.data = aligned[float32](panels(n) * k * panelCols)
	for j := 0; j < n; j += panelCols {
		packPanel(w.panel(j), k, min(panelCols, n-j), b[min(len(b), index(0, j, ldb, transposed)):], ldb, transposed)
	}
	return w
}

// packPanel copies cols columns of b (or rows, when transposed) into a panel of k rows.
func packPanel(panel []float32, k, cols int, b []float32, ldb int, transposed bool) {
	for i := range k {
		row := panel[i*panelCols:][:cols]
		if !transposed {
			copy(row, b[i*ldb:])
			continue
		}
		for j := range row {
			row[j] = b[j*ldb+i]
		}
	}
}

// K is the number of rows, the length of the sums.
func (w *Packed) K() int { return w.k }

// N is the number of columns.
func (w *Packed) N() int { return w.n }

// Bytes is the memory that the packed values take.
func (w *Packed) Bytes() int { return 4 * len(w.data) }

// narrow reports that the matrix is kept as columns.
func (w *Packed) narrow() bool { return w.n <= narrowCols }

// column is the number of values from one column of a narrow matrix to the next.
func (w *Packed) column() int { return (w.k + narrowAlign - 1) / narrowAlign * narrowAlign }

// panel is the panel that begins at column j.
func (w *Packed) panel(j int) []float32 {
	return w.data[j*w.k : (j+panelCols)*w.k]
}

// PackedBF16 is a K x N matrix of bf16 in the layout that the kernels read. It is
// immutable.
type PackedBF16 struct {
	k, n    int
	data    []uint16
	columns *Packed // instead of data, the values in f32 where the matrix is narrow
}

// PackBF16 is Pack with values rounded to bf16, ties to even. NaN stays NaN.
func PackBF16(k, n int, b []float32, ldb int, transposed bool) *PackedBF16 {
	checkWeights(k, n, len(b), ldb, transposed)
	return packBF16(k, n, func(i, j int) uint16 { return bf16(b[index(i, j, ldb, transposed)]) })
}

// PackBF16Bits is PackBF16 for values that are bf16 already: the upper halves of f32.
func PackBF16Bits(k, n int, b []uint16, ldb int, transposed bool) *PackedBF16 {
	checkWeights(k, n, len(b), ldb, transposed)
	return packBF16(k, n, func(i, j int) uint16 { return b[index(i, j, ldb, transposed)] })
}

func packBF16(k, n int, at func(i, j int) uint16) *PackedBF16 {
	if n <= narrowCols {
		columns := make([]float32, k*n)
		for i := range columns {
			columns[i] = widen(at(i/n, i%n))
		}
		return &PackedBF16{k: k, n: n, columns: Pack(k, n, columns, n, false)}
	}
	w := &PackedBF16{k: k, n: n}
	if k == 0 {
		return w
	}
	w.data = aligned[uint16](panels(n) * pairs(k) * 2 * panelCols)
	for j := range n {
		panel, col := w.panel(j/panelCols*panelCols), j%panelCols
		for i := range k {
			panel[i/2*2*panelCols+2*col+i%2] = at(i, j)
		}
	}
	return w
}

// K is the number of rows, the length of the sums.
func (w *PackedBF16) K() int { return w.k }

// N is the number of columns.
func (w *PackedBF16) N() int { return w.n }

// Bytes is the memory that the packed values take.
func (w *PackedBF16) Bytes() int {
	if w.columns != nil {
		return w.columns.Bytes()
	}
	return 2 * len(w.data)
}

// panel is the panel that begins at column j.
func (w *PackedBF16) panel(j int) []uint16 {
	return w.data[j*2*pairs(w.k) : (j+panelCols)*2*pairs(w.k)]
}

// panels is the number of panels of n columns.
func panels(n int) int { return (n + panelCols - 1) / panelCols }

// pairs is the number of pairs of k, the last one filled up with a zero.
func pairs(k int) int { return (k + 1) / 2 }

// index is where b has the weight of row i and column j.
func index(i, j, ldb int, transposed bool) int {
	if transposed {
		return j*ldb + i
	}
	return i*ldb + j
}

func checkWeights(k, n, length, ldb int, transposed bool) {
	if k < 0 || n < 0 {
		panic(fmt.Sprintf("gemm: weights of %d x %d", k, n))
	}
	if transposed {
		checkMatrix("transposed weights", length, n, k, ldb)
		return
	}
	checkMatrix("weights", length, k, n, ldb)
}

// bf16 rounds to the nearest bf16, ties to even.
func bf16(x float32) uint16 {
	bits := math.Float32bits(x)
	if x != x {
		// Rounding could carry a NaN's mantissa over into the exponent.
		return uint16(bits>>16) | 0x40
	}
	return uint16((bits + 0x7fff + bits>>16&1) >> 16)
}

// widen is the f32 of a bf16.
func widen(b uint16) float32 { return math.Float32frombits(uint32(b) << 16) }
