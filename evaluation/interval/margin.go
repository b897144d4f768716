// SPDX-License-Identifier: Apache-2.0

package interval

import "math"

// NonInferior is the one-sided p-value of "the true difference is -margin or less", for a
// difference (A less B, more being better) that is normal with a standard error. Where it
// is small, A is not worse than B by margin. It is NaN if se is not above 0.
func NonInferior(difference, se, margin float64) float64 {
	if !(se > 0) {
		return math.NaN()
	}
	return normal.CDF(-(difference + margin) / se)
}

// Equivalent is the p-value of "the true difference is margin or more, either way": the
// larger one of the two one-sided tests. NaN if se is not above 0.
func Equivalent(difference, se, margin float64) float64 {
	return max(NonInferior(difference, se, margin), NonInferior(-difference, se, margin))
}
