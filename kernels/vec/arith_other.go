// SPDX-License-Identifier: Apache-2.0

//go:build purego || !(amd64 || arm64)

package vec

func binaryRows(op Op, dst, a, b []float32, rows, cols, stepA, stepB int) {
	binaryRowsGeneric(op, dst, a, b, rows, cols, stepA, stepB)
}

func binaryColumn(op Op, dst, a, column []float32, rows, cols int) {
	binaryColumnGeneric(op, dst, a, column, rows, cols)
}

func ternary(op int, dst, a, b, c []float32, rows, cols int) {
	ternaryGeneric(op, dst, a, b, c, rows, cols)
}

func ternaryScalar(op int, dst, a []float32, b, c float32) {
	ternaryScalarGeneric(op, dst, a, b, c)
}

func axpy(dst []float32, a float32, x []float32) { axpyGeneric(dst, a, x) }
