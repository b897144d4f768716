// SPDX-License-Identifier: Apache-2.0

package trees

import "math"

// A packed sum has the sum of g in its upper 32 bits, with a sign, and that of h in its
// lower, without: it is (G << 32) + H, so that adding and subtracting words adds and
// subtracts both, as long as H of every sum that occurs is within 0 and 2³²-1 and G is
// within 32 bits. scaleOf sees to that for the sum of all rows, and so for any of them.

func gOf(sum uint64) int32  { return int32(sum >> 32) }
func hOf(sum uint64) uint32 { return uint32(sum) }

// scale says how many units of a packed sum make 1. Both are powers of two, so that whole
// numbers are exact.
type scale struct{ g, h float64 }

// scaleOf makes the sums of |g| and h over all rows fit, each row rounded up.
func scaleOf(absG, h float64, rows int) scale {
	return scale{powerBelow((math.MaxInt32 - float64(rows)) / absG), powerBelow((math.MaxUint32 - float64(rows)) / h)}
}

// powerBelow returns the greatest power of two that is at most x; sums of zero, which any
// scale fits, give 1.
func powerBelow(x float64) float64 {
	if math.IsInf(x, 0) || math.IsNaN(x) {
		return 1
	}
	_, exponent := math.Frexp(x)
	return math.Ldexp(1, min(exponent-1, 900))
}

// rounder added to a number below 2⁵¹ leaves it, rounded, in the lower bits.
const rounder = 3 << 51

// pack rounds derivatives to packed ones. No h becomes 0: a sum is empty where H is 0.
func (s scale) pack(pairs []pair, to []uint64) {
	to = to[:len(pairs)]
	for i, p := range pairs {
		g := math.Float64bits(float64(p.g)*s.g+rounder) - math.Float64bits(rounder)
		h := math.Float64bits(float64(p.h)*s.h+rounder) - math.Float64bits(rounder)
		to[i] = g<<32 + max(h, 1)
	}
}
