// SPDX-License-Identifier: Apache-2.0

package vec

import "math"

// scanGeneric finds, from element at on, those that are better than the threshold or
// do not compare with it. It stops where the candidates might overflow and says how
// many there are and where to go on.
func scanGeneric(row []float32, at int, threshold float32, largest bool, candidates *[found]int32) (n, next int) {
	for ; at < len(row) && n <= found-scanBlock; at++ {
		v := row[at]
		candidates[n] = int32(at)
		if largest && !(v <= threshold) || !largest && !(v >= threshold) {
			n++
		}
	}
	return n, at
}

// boundGeneric is a number that at least k elements reach, or the worst of all: an
// element is of lane i mod boundLanes, and the bound is the k-th best of the lanes' best
// numbers. Assembly may leave a part of the row out.
func boundGeneric(row []float32, k int, largest bool) float32 {
	var best [boundLanes]float32
	start := float32(math.Inf(1))
	if largest {
		start = float32(math.Inf(-1))
	}
	for l := range best {
		best[l] = start
	}
	for i, v := range row {
		b := &best[i%boundLanes]
		if largest && v > *b || !largest && v < *b {
			*b = v
		}
	}
	return kth(&best, k, largest)
}

// kth is the worst of those lanes that fewer than k others beat.
func kth(best *[boundLanes]float32, k int, largest bool) float32 {
	worst := best[0]
	first := true
	for _, v := range best {
		beaten := 0
		for _, w := range best {
			if largest && w > v || !largest && w < v {
				beaten++
			}
		}
		if beaten < k && (first || largest && v < worst || !largest && v > worst) {
			worst, first = v, false
		}
	}
	return worst
}

// countBeyondGeneric counts the elements above a threshold and NaN, or those below it.
func countBeyondGeneric(row []float32, threshold float32, largest bool) int {
	n := 0
	for _, v := range row {
		if largest && !(v <= threshold) || !largest && v < threshold {
			n++
		}
	}
	return n
}
