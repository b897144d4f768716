// SPDX-License-Identifier: Apache-2.0

//go:build !purego

package vec

import "github.com/millrace-ml/millrace/kernels/cpu"

// bags makes the rows of checked bags; there are some, and dim is not 0. The kernels
// take up to 8 vectors of columns at a time.
func bags(a *bagArgs) {
	if cpu.Active() < cpu.AVX2 || len(a.indices) == 0 {
		bagsGeneric(a)
		return
	}
	width := 8
	if cpu.Active() >= cpu.AVX512 {
		width = 16
	}
	for column, vectors := 0, 8; column < a.dim && vectors > 0; column += vectors * width {
		rest := a.dim - column
		for vectors*width > rest {
			vectors /= 2 // 0 is for a part of a vector
		}
		if width == 16 {
			bagColumnsAVX512(a, column, vectors, rest)
		} else {
			bagColumnsAVX2(a, column, vectors, rest)
		}
	}
}

// parts are the pointers that all kernels take; nil for slices that are not there.
func (a *bagArgs) parts(column int) (dst, table *float32, offsets *int64, weights *float32) {
	if a.offsets != nil {
		offsets = &a.offsets[0]
	}
	if a.weights != nil {
		weights = &a.weights[0]
	}
	return &a.dst[column], &a.table[column], offsets, weights
}

func bagColumnsAVX512(a *bagArgs, column, vectors, rest int) {
	dst, table, offsets, weights := a.parts(column)
	n, mean := len(a.indices), a.mode == BagMean
	switch {
	case a.mode == BagMax:
		bagMaxAVX512(vectors, rest, dst, table, a.dim, &a.indices[0], offsets, a.count, a.length, n, weights, mean)
	case a.weights != nil:
		bagWeightedAVX512(vectors, rest, dst, table, a.dim, &a.indices[0], offsets, a.count, a.length, n, weights, mean)
	default:
		bagSumAVX512(vectors, rest, dst, table, a.dim, &a.indices[0], offsets, a.count, a.length, n, weights, mean)
	}
}

func bagColumnsAVX2(a *bagArgs, column, vectors, rest int) {
	dst, table, offsets, weights := a.parts(column)
	n, mean := len(a.indices), a.mode == BagMean
	switch {
	case a.mode == BagMax:
		bagMaxAVX2(vectors, rest, dst, table, a.dim, &a.indices[0], offsets, a.count, a.length, n, weights, mean)
	case a.weights != nil:
		bagWeightedAVX2(vectors, rest, dst, table, a.dim, &a.indices[0], offsets, a.count, a.length, n, weights, mean)
	default:
		bagSumAVX2(vectors, rest, dst, table, a.dim, &a.indices[0], offsets, a.count, a.length, n, weights, mean)
	}
}

// indicesWithin is whether all indices are from low up to high, which is above low.
// There are some.
func indicesWithin(indices []int64, low, high int64) bool {
	switch {
	case cpu.Active() >= cpu.AVX512:
		return indicesWithinAVX512(&indices[0], len(indices), low, high-low)
	case cpu.Active() >= cpu.AVX2:
		done := len(indices) &^ 3
		return indicesWithinAVX2(&indices[0], done, low, high-low) && indicesWithinGeneric(indices[done:], low, high)
	default:
		return indicesWithinGeneric(indices, low, high)
	}
}
