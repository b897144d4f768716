// SPDX-License-Identifier: Apache-2.0

package tensor

import "math"

// FP16ToFloat32 converts an IEEE 754 binary16 value; every one is exact in float32.
func FP16ToFloat32(h uint16) float32 {
	sign := uint32(h&0x8000) << 16
	exponent := uint32(h>>10) & 0x1f
	fraction := uint32(h & 0x3ff)
	switch {
	case exponent == 0x1f: // infinity and NaN
		return math.Float32frombits(sign | 0x7f800000 | fraction<<13)
	case exponent != 0:
		return math.Float32frombits(sign | (exponent+112)<<23 | fraction<<13)
	}
	// Zero and subnormals: fraction * 2^-24.
	value := float32(fraction) * (1.0 / (1 << 24))
	return math.Float32frombits(math.Float32bits(value) | sign)
}
