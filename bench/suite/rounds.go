// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"context"
	"fmt"
	"slices"
)

// measure takes one value.
type measure func(ctx context.Context) (float64, error)

// interleave takes the values of all measures in each round, in an order that
// turns from round to round, so that none always follows the same other. The
// result holds, for each measure, one value per round.
func interleave(ctx context.Context, rounds int, measures ...measure) ([][]float64, error) {
	values := make([][]float64, len(measures))
	for round := range rounds {
		for turn := range measures {
			i := (round + turn) % len(measures)
			value, err := measures[i](ctx)
			if err != nil {
				return nil, fmt.Errorf("round %d: %w", round+1, err)
			}
			values[i] = append(values[i], value)
		}
	}
	return values, nil
}

// ratios divides round by round.
func ratios(numerators, denominators []float64) []float64 {
	out := make([]float64, len(numerators))
	for i := range numerators {
		out[i] = numerators[i] / denominators[i]
	}
	return out
}

// median is the middle value, or the mean of the two in the middle. Of nothing it
// is 0.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}
