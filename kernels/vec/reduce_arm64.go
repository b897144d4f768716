// SPDX-License-Identifier: Apache-2.0

//go:build !purego

package vec

import "github.com/millrace-ml/millrace/kernels/cpu"

// reduceRows reduces each row; there are some. op is not ReduceMean.
func reduceRows(op Reduction, dst, src []float32, rows, cols int) {
	if cols == 0 || cpu.Active() < cpu.NEON {
		reduceRowsGeneric(op, dst, src, rows, cols)
		return
	}
	reduceRowsNEON(uint64(op), &dst[0], &src[0], rows, cols)
}

// reduceCols reduces each column of mid x cols elements; dst is not empty. op is not
// ReduceMean.
func reduceCols(op Reduction, dst, src []float32, mid, cols int) {
	if mid == 0 || cpu.Active() < cpu.NEON {
		reduceColsGeneric(op, dst, src, mid, cols)
		return
	}
	reduceColsNEON(uint64(op), &dst[0], &src[0], mid, cols)
}

// dot adds up a[i]*b[i] over all of a.
func dot(a, b []float32) float32 {
	switch {
	case len(a) == 0:
		return 0
	case cpu.Active() < cpu.NEON:
		return dotGeneric(a, b)
	}
	return dotNEON(&a[0], &b[0], len(a))
}

// indexOf is the first index of v, or of NaN if v is; len(a) if there is none. a is
// not empty.
func indexOf(a []float32, v float32) int {
	if cpu.Active() < cpu.NEON {
		return indexOfGeneric(a, v)
	}
	return indexOfNEON(&a[0], len(a), v, v != v)
}
