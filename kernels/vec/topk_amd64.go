// SPDX-License-Identifier: Apache-2.0

//go:build !purego

package vec

import "github.com/millrace-ml/millrace/kernels/cpu"

// scan finds, from element at on, those that are beyond the threshold or do not
// compare with it. It stops where the candidates might overflow and says how many
// there are and where to go on.
func scan(row []float32, at int, threshold float32, largest bool, candidates *[found]int32) (n, next int) {
	switch {
	case cpu.Active() >= cpu.AVX512:
		return scanAVX512(&row[0], len(row), at, threshold, largest, &candidates[0])
	case cpu.Active() >= cpu.AVX2:
		return scanAVX2(&row[0], len(row), at, threshold, largest, &candidates[0])
	default:
		return scanGeneric(row, at, threshold, largest, candidates)
	}
}

// bound is a number that at least k elements of a row reach, or the worst of all.
func bound(row []float32, k int, largest bool) float32 {
	switch {
	case cpu.Active() >= cpu.AVX512:
		return boundAVX512(&row[0], len(row), k, largest)
	case cpu.Active() >= cpu.AVX2:
		return boundAVX2(&row[0], len(row), k, largest)
	default:
		return boundGeneric(row, k, largest)
	}
}

// countBeyond counts the elements above a threshold and NaN, or those below it.
func countBeyond(row []float32, threshold float32, largest bool) int {
	switch {
	case cpu.Active() >= cpu.AVX512:
		return countBeyondAVX512(&row[0], len(row), threshold, largest)
	case cpu.Active() >= cpu.AVX2:
		return countBeyondAVX2(&row[0], len(row), threshold, largest)
	default:
		return countBeyondGeneric(row, threshold, largest)
	}
}
