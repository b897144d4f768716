// SPDX-License-Identifier: Apache-2.0

//go:build !purego

package vec

import (
	"math"

	"github.com/millrace-ml/millrace/kernels/cpu"
)

// skipBlock is what the kernels of this file look at together.
const skipBlock = 16

// scan finds, from element at on, those that are beyond the threshold or do not
// compare with it. It stops where the candidates might overflow and says how many
// there are and where to go on. Blocks without any are passed over by vectors.
func scan(row []float32, at int, threshold float32, largest bool, candidates *[found]int32) (n, next int) {
	if cpu.Active() < cpu.NEON {
		return scanGeneric(row, at, threshold, largest, candidates)
	}
	for at < len(row) && n <= found-scanBlock {
		at += skipNEON(&row[at], len(row)-at, threshold, largest)
		for end := min(at+skipBlock, len(row)); at < end; at++ {
			v := row[at]
			candidates[n] = int32(at)
			if largest && !(v <= threshold) || !largest && !(v >= threshold) {
				n++
			}
		}
	}
	return n, at
}

// bound is a number that at least k elements of a row reach, or the worst of all.
func bound(row []float32, k int, largest bool) float32 {
	if cpu.Active() < cpu.NEON {
		return boundGeneric(row, k, largest)
	}
	var best [boundLanes]float32
	start := float32(math.Inf(1))
	if largest {
		start = float32(math.Inf(-1))
	}
	for l := range best {
		best[l] = start
	}
	boundNEON(&row[0], len(row), largest, &best[0])
	return kth(&best, k, largest)
}

// countBeyond counts the elements above a threshold and NaN, or those below it.
func countBeyond(row []float32, threshold float32, largest bool) int {
	if cpu.Active() < cpu.NEON || len(row) > math.MaxInt32 {
		return countBeyondGeneric(row, threshold, largest)
	}
	done := len(row) &^ (skipBlock - 1)
	return countBeyondNEON(&row[0], done, threshold, largest) + countBeyondGeneric(row[done:], threshold, largest)
}
