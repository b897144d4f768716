// SPDX-License-Identifier: Apache-2.0

package selection

import (
	"fmt"
	"math"
)

// Mean estimates the mean of a quantity over a pool, such as whether the model is right,
// from labelled items of random slices: each weighs the inverse of its propensity (Hájek
// 1971), so slices of different selections may be put together. The standard error is that
// of independent draws, which is a little too large for a slice that is much of its pool.
// Items with propensity 0 were chosen for what they are and must not be among them.
func Mean(values, propensities []float64) (mean, standardError float64, err error) {
	if len(values) != len(propensities) || len(values) < 2 {
		return 0, 0, fmt.Errorf("%w: %d values with %d propensities, want as many and 2 or more", ErrInvalid, len(values), len(propensities))
	}
	var weights, sum float64
	for i, p := range propensities {
		if !(p > 0 && p <= 1) {
			return 0, 0, fmt.Errorf("%w: propensities[%d] is %v: only items of a random slice have one, in (0, 1]", ErrInvalid, i, p)
		}
		weights += 1 / p
		sum += values[i] / p
	}
	mean = sum / weights
	squares := 0.0
	for i, p := range propensities {
		d := (values[i] - mean) / p
		squares += d * d
	}
	n := float64(len(values))
	return mean, math.Sqrt(squares*n/(n-1)) / weights, nil
}
