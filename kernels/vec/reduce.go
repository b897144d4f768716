// SPDX-License-Identifier: Apache-2.0

package vec

import "math"

// Reduction makes one number of many.
type Reduction uint8

// The reductions. Of no elements, sums are 0, ReduceMax is -Inf, ReduceMin +Inf and
// ReduceMean NaN. NaN anywhere gives NaN.
const (
	ReduceSum Reduction = iota
	ReduceSumSquares
	ReduceSumAbs
	ReduceMax
	ReduceMin
	ReduceMaxAbs // 0 of no elements
	ReduceMean
)

// Sum adds up all elements, in the order that the package names.
func Sum(a []float32) float32 { return reduce(ReduceSum, a) }

// SumSquares adds up the squares of all elements; so Dot(a, a), to the bit.
func SumSquares(a []float32) float32 { return reduce(ReduceSumSquares, a) }

// SumAbs adds up the magnitudes of all elements.
func SumAbs(a []float32) float32 { return reduce(ReduceSumAbs, a) }

// MaxValue is the largest element; NaN if any is.
func MaxValue(a []float32) float32 { return reduce(ReduceMax, a) }

// MinValue is the smallest element; NaN if any is.
func MinValue(a []float32) float32 { return reduce(ReduceMin, a) }

// Mean is the sum over the count; NaN of no elements.
func Mean(a []float32) float32 { return reduce(ReduceSum, a) / float32(len(a)) }

func reduce(op Reduction, a []float32) float32 {
	var result [1]float32
	reduceRows(op, result[:], a, 1, len(a))
	return result[0]
}

// Dot adds up a[i]*b[i] over all of a, in the order that the package names.
func Dot(a, b []float32) float32 {
	need("Dot", len(a), len(b))
	return dot(a, b)
}

// ArgMax is the first index of the largest element, where NaN counts as largest; -1
// of no elements.
func ArgMax(a []float32) int {
	if len(a) == 0 {
		return -1
	}
	return indexOf(a, MaxValue(a))
}

// ArgMin is the first index of the smallest element, where NaN counts as smallest; -1
// of no elements.
func ArgMin(a []float32) int {
	if len(a) == 0 {
		return -1
	}
	return indexOf(a, MinValue(a))
}

// ReduceRows sets dst[r] to the reduction of row r of src, which is rows x cols.
func ReduceRows(op Reduction, dst, src []float32, rows, cols int) {
	area("ReduceRows", rows, cols, len(src))
	need("ReduceRows", rows, len(dst))
	if rows == 0 {
		return
	}
	if op == ReduceMean {
		reduceRows(ReduceSum, dst, src, rows, cols)
		DivScalar(dst[:rows], dst, float32(cols))
		return
	}
	reduceRows(op, dst, src, rows, cols)
}

// ReduceCols reduces the middle of blocks x mid x cols elements: dst[b, c] becomes
// the reduction of src[b, m, c] over all m, in their order.
func ReduceCols(op Reduction, dst, src []float32, blocks, mid, cols int) {
	if mid < 0 || blocks < 0 {
		tooSmall("ReduceCols", blocks, mid, len(src))
	}
	n := area("ReduceCols", blocks, cols, len(dst))
	if n == 0 {
		return
	}
	block := area("ReduceCols", mid, cols, len(src))
	area("ReduceCols", blocks, block, len(src))
	kind := op
	if op == ReduceMean {
		kind = ReduceSum
	}
	for b := range blocks {
		reduceCols(kind, dst[b*cols:][:cols], src[b*block:][:block], mid, cols)
	}
	if op == ReduceMean {
		DivScalar(dst[:n], dst, float32(mid))
	}
}

// Norm is a length of a row.
type Norm uint8

// The norms: largest magnitude, sum of magnitudes, root of the sum of squares.
const (
	NormMax Norm = iota
	NormL1
	NormL2
)

// rowNorms sets dst[r] to the norm of row r of src, which is rows x cols.
func rowNorms(dst, src []float32, rows, cols int, norm Norm) {
	switch norm {
	case NormMax:
		ReduceRows(ReduceMaxAbs, dst, src, rows, cols)
	case NormL1:
		ReduceRows(ReduceSumAbs, dst, src, rows, cols)
	default:
		ReduceRows(ReduceSumSquares, dst, src, rows, cols)
		for r := range dst[:rows] {
			dst[r] = float32(math.Sqrt(float64(dst[r])))
		}
	}
}

// NormalizeRows divides every row by its norm, the Normalizer of ONNX-ML; NormMax is
// the largest magnitude there. A row whose norm is 0 is copied. dst may be src.
func NormalizeRows(dst, src []float32, rows, cols int, norm Norm) {
	area("NormalizeRows", rows, cols, min(len(dst), len(src)))
	var norms [64]float32
	for first := 0; first < rows && cols > 0; first += len(norms) {
		n := min(rows-first, len(norms))
		from, to := src[first*cols:][:n*cols], dst[first*cols:][:n*cols]
		rowNorms(norms[:], from, n, cols, norm)
		for r := range norms[:n] {
			if norms[r] == 0 {
				norms[r] = 1
			}
		}
		WithColumn(OpDiv, to, from, n, cols, norms[:])
	}
}
