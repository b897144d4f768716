// SPDX-License-Identifier: Apache-2.0

//go:build !purego

package vec

import "github.com/millrace-ml/millrace/kernels/cpu"

// binaryRows sets dst[r, c] = a[r*stepA+c] op b[r*stepB+c]; rows and cols are not 0.
func binaryRows(op Op, dst, a, b []float32, rows, cols, stepA, stepB int) {
	if cpu.Active() < cpu.NEON {
		binaryRowsGeneric(op, dst, a, b, rows, cols, stepA, stepB)
		return
	}
	binaryRowsNEON(uint64(op), &dst[0], &a[0], &b[0], rows, cols, stepA, stepB)
}

// binaryColumn sets dst[r, c] = a[r, c] op column[r]; rows and cols are not 0.
func binaryColumn(op Op, dst, a, column []float32, rows, cols int) {
	if cpu.Active() < cpu.NEON {
		binaryColumnGeneric(op, dst, a, column, rows, cols)
		return
	}
	binaryColumnNEON(uint64(op), &dst[0], &a[0], &column[0], rows, cols)
}

// ternary meets every row of a with the rows b and c; rows and cols are not 0.
func ternary(op int, dst, a, b, c []float32, rows, cols int) {
	if cpu.Active() < cpu.NEON {
		ternaryGeneric(op, dst, a, b, c, rows, cols)
		return
	}
	ternaryNEON(uint64(op), &dst[0], &a[0], &b[0], &c[0], rows, cols)
}

// ternaryScalar meets all elements with two scalars; dst is not empty.
func ternaryScalar(op int, dst, a []float32, b, c float32) {
	if cpu.Active() < cpu.NEON {
		ternaryScalarGeneric(op, dst, a, b, c)
		return
	}
	ternaryScalarNEON(uint64(op), &dst[0], &a[0], len(dst), b, c)
}

// axpy adds a*x[i] to dst[i]; dst is not empty.
func axpy(dst []float32, a float32, x []float32) {
	if cpu.Active() < cpu.NEON {
		axpyGeneric(dst, a, x)
		return
	}
	axpyNEON(&dst[0], a, &x[0], len(dst))
}
