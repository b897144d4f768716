// SPDX-License-Identifier: Apache-2.0

//go:build purego || !(amd64 || arm64)

package vec

func reduceRows(op Reduction, dst, src []float32, rows, cols int) {
	reduceRowsGeneric(op, dst, src, rows, cols)
}

func reduceCols(op Reduction, dst, src []float32, mid, cols int) {
	reduceColsGeneric(op, dst, src, mid, cols)
}

func dot(a, b []float32) float32 { return dotGeneric(a, b) }

func indexOf(a []float32, v float32) int { return indexOfGeneric(a, v) }
