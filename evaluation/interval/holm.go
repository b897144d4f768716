// SPDX-License-Identifier: Apache-2.0

package interval

import (
	"math"
	"slices"
)

// Holm adjusts p-values of several tests, such as those of slices: those that are at most
// alpha after it make a false claim among them with a chance of alpha at most, however the
// tests depend on each other. A test that could not be made has NaN, which stays and does
// not count.
func Holm(p []float64) []float64 {
	adjusted := slices.Clone(p)
	var order []int
	for i, value := range p {
		if !math.IsNaN(value) {
			order = append(order, i)
		}
	}
	slices.SortStableFunc(order, func(i, j int) int {
		switch {
		case p[i] < p[j]:
			return -1
		case p[i] > p[j]:
			return 1
		}
		return 0
	})
	floor := 0.0
	for rank, i := range order {
		floor = max(floor, min(1, p[i]*float64(len(order)-rank)))
		adjusted[i] = floor
	}
	return adjusted
}
