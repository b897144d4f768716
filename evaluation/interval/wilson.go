// SPDX-License-Identifier: Apache-2.0

package interval

import (
	"fmt"
	"math"
)

// Wilson is the interval of a proportion, such as precision at a threshold, by the score
// test. Trials are independent. It covers well with few trials too, where value and
// standard error do not. Errors wrap ErrData.
func Wilson(successes, trials int, level float64) (low, high float64, err error) {
	if trials < 1 || successes < 0 || successes > trials {
		return 0, 0, fmt.Errorf("%w: %d successes in %d trials", ErrData, successes, trials)
	}
	if !(level > 0 && level < 1) {
		return 0, 0, fmt.Errorf("%w: level %v, it has to be between 0 and 1, such as 0.95", ErrData, level)
	}
	n, z := float64(trials), reachOf(level)
	p := float64(successes) / n
	middle := (p + z*z/(2*n)) / (1 + z*z/n)
	reach := z / (1 + z*z/n) * math.Sqrt(p*(1-p)/n+z*z/(4*n*n))
	return max(0, middle-reach), min(1, middle+reach), nil
}
