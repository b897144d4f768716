// SPDX-License-Identifier: Apache-2.0

//go:build !purego

package vec

import "github.com/millrace-ml/millrace/kernels/cpu"

// binaryRows sets dst[r, c] = a[r*stepA+c] op b[r*stepB+c]; rows and cols are not 0.
func binaryRows(op Op, dst, a, b []float32, rows, cols, stepA, stepB int) {
	switch {
	case cpu.Active() >= cpu.AVX512:
		binaryRowsAVX512(uint64(op), &dst[0], &a[0], &b[0], rows, cols, stepA, stepB)
	case cpu.Active() >= cpu.AVX2:
		binaryRowsAVX2(uint64(op), &dst[0], &a[0], &b[0], rows, cols, stepA, stepB)
	default:
		binaryRowsGeneric(op, dst, a, b, rows, cols, stepA, stepB)
	}
}

// binaryColumn sets dst[r, c] = a[r, c] op column[r]; rows and cols are not 0.
func binaryColumn(op Op, dst, a, column []float32, rows, cols int) {
	switch {
	case cpu.Active() >= cpu.AVX512:
		binaryColumnAVX512(uint64(op), &dst[0], &a[0], &column[0], rows, cols)
	case cpu.Active() >= cpu.AVX2:
		binaryColumnAVX2(uint64(op), &dst[0], &a[0], &column[0], rows, cols)
	default:
		binaryColumnGeneric(op, dst, a, column, rows, cols)
	}
}

// ternary meets every row of a with the rows b and c; rows and cols are not 0.
func ternary(op int, dst, a, b, c []float32, rows, cols int) {
	switch {
	case cpu.Active() >= cpu.AVX512:
		ternaryAVX512(uint64(op), &dst[0], &a[0], &b[0], &c[0], rows, cols)
	case cpu.Active() >= cpu.AVX2:
		ternaryAVX2(uint64(op), &dst[0], &a[0], &b[0], &c[0], rows, cols)
	default:
		ternaryGeneric(op, dst, a, b, c, rows, cols)
	}
}

// ternaryScalar meets all elements with two scalars; dst is not empty.
func ternaryScalar(op int, dst, a []float32, b, c float32) {
	switch {
	case cpu.Active() >= cpu.AVX512:
		ternaryScalarAVX512(uint64(op), &dst[0], &a[0], len(dst), b, c)
	case cpu.Active() >= cpu.AVX2:
		ternaryScalarAVX2(uint64(op), &dst[0], &a[0], len(dst), b, c)
	default:
		ternaryScalarGeneric(op, dst, a, b, c)
	}
}

// axpy adds a*x[i] to dst[i]; dst is not empty.
func axpy(dst []float32, a float32, x []float32) {
	switch {
	case cpu.Active() >= cpu.AVX512:
		axpyAVX512(&dst[0], a, &x[0], len(dst))
	case cpu.Active() >= cpu.AVX2:
		axpyAVX2(&dst[0], a, &x[0], len(dst))
	default:
		axpyGeneric(dst, a, x)
	}
}
