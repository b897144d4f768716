// SPDX-License-Identifier: Apache-2.0

//go:build purego || !(amd64 || arm64)

package vec

func scan(row []float32, at int, threshold float32, largest bool, candidates *[found]int32) (n, next int) {
	return scanGeneric(row, at, threshold, largest, candidates)
}

func bound(row []float32, k int, largest bool) float32 { return boundGeneric(row, k, largest) }

func countBeyond(row []float32, threshold float32, largest bool) int {
	return countBeyondGeneric(row, threshold, largest)
}
