// SPDX-License-Identifier: Apache-2.0

//go:build !purego

package vec

import "github.com/millrace-ml/millrace/kernels/cpu"

// reduceRows reduces each row; there are some. op is not ReduceMean.
func reduceRows(op Reduction, dst, src []float32, rows, cols int) {
	switch {
	case cols == 0:
		reduceRowsGeneric(op, dst, src, rows, cols)
	case cpu.Active() >= cpu.AVX512:
		reduceRowsAVX512(uint64(op), &dst[0], &src[0], rows, cols)
	case cpu.Active() >= cpu.AVX2:
		reduceRowsAVX2(uint64(op), &dst[0], &src[0], rows, cols)
	default:
		reduceRowsGeneric(op, dst, src, rows, cols)
	}
}

// reduceCols reduces each column of mid x cols elements; dst is not empty. op is not
// ReduceMean.
func reduceCols(op Reduction, dst, src []float32, mid, cols int) {
	switch {
	case mid == 0:
		reduceColsGeneric(op, dst, src, mid, cols)
	case cpu.Active() >= cpu.AVX512:
		reduceColsAVX512(uint64(op), &dst[0], &src[0], mid, cols)
	case cpu.Active() >= cpu.AVX2:
		reduceColsAVX2(uint64(op), &dst[0], &src[0], mid, cols)
	default:
		reduceColsGeneric(op, dst, src, mid, cols)
	}
}

// dot adds up a[i]*b[i] over all of a.
func dot(a, b []float32) float32 {
	switch {
	case len(a) == 0:
		return 0
	case cpu.Active() >= cpu.AVX512:
		return dotAVX512(&a[0], &b[0], len(a))
	case cpu.Active() >= cpu.AVX2:
		return dotAVX2(&a[0], &b[0], len(a))
	default:
		return dotGeneric(a, b)
	}
}

// indexOf is the first index of v, or of NaN if v is; len(a) if there is none. a is
// not empty.
func indexOf(a []float32, v float32) int {
	switch {
	case cpu.Active() >= cpu.AVX512:
		return indexOfAVX512(&a[0], len(a), v, v != v)
	case cpu.Active() >= cpu.AVX2:
		return indexOfAVX2(&a[0], len(a), v, v != v)
	default:
		return indexOfGeneric(a, v)
	}
}
