// SPDX-License-Identifier: Apache-2.0

package suite

import "time"

// pace is how much of everything is measured.
type pace struct {
	rounds        int
	warmup, round time.Duration
	// directEach is the time per batch size of a model run directly.
	directEach time.Duration
	// quiet and swapping are the times before and during swaps.
	quiet, swapping time.Duration
	// cyclesBefore and cycles count loads and unloads.
	cyclesBefore, cycles int
	starts               int
	benchtime            string
}

var (
	// Rounds are short, so that what is compared lies close together in time, and
	// many, so that a disturbed few do not move the median.
	fullPace = pace{
		rounds: 7, warmup: 300 * time.Millisecond, round: 1500 * time.Millisecond,
		directEach: 500 * time.Millisecond,
		quiet:      8 * time.Second, swapping: 12 * time.Second,
		cyclesBefore: 20, cycles: 200, starts: 7, benchtime: "1s",
	}
	quickPace = pace{
		rounds: 2, warmup: 20 * time.Millisecond, round: 100 * time.Millisecond,
		directEach: 20 * time.Millisecond,
		quiet:      300 * time.Millisecond, swapping: 500 * time.Millisecond,
		cyclesBefore: 2, cycles: 4, starts: 1, benchtime: "100x",
	}
)
