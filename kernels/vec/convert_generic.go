// SPDX-License-Identifier: Apache-2.0

package vec

import "math"

func f32ToF16Generic(dst []uint16, src []float32) {
	for i := range dst {
		dst[i] = halfOf(src[i])
	}
}

// halfOf rounds one number to binary16.
func halfOf(v float32) uint16 {
	bits := math.Float32bits(v)
	sign, magnitude := uint16(bits>>16)&0x8000, bits&0x7fffffff
	switch {
	case magnitude > 0x7f800000: // NaN, made quiet
		return sign | 0x7e00 | uint16(magnitude>>13&0x3ff)
	case magnitude >= 0x477ff000: // rounds to 2^16 or more
		return sign | 0x7c00
	case magnitude < 0x38800000: // below 2^-14: the unit of the result is 2^-24
		// 0.5's unit in the last place is 2^-24 too, so that the sum rounds there.
		return sign | uint16(math.Float32bits(math.Float32frombits(magnitude)+0.5)-math.Float32bits(0.5))
	}
	// The exponents differ by 112; half a unit less one, and the last bit for ties.
	return sign | uint16((magnitude-112<<23+0xfff+magnitude>>13&1)>>13)
}

func f16ToF32Generic(dst []float32, src []uint16) {
	for i := range dst {
		dst[i] = ofHalf(src[i])
	}
}

// ofHalf converts one number from binary16.
func ofHalf(h uint16) float32 {
	sign, magnitude := uint32(h&0x8000)<<16, uint32(h&0x7fff)
	switch {
	case magnitude > 0x7c00: // NaN, made quiet
		return math.Float32frombits(sign | 0x7fc00000 | magnitude<<13)
	case magnitude == 0x7c00:
		return math.Float32frombits(sign | 0x7f800000)
	case magnitude < 0x400:
		return math.Float32frombits(sign | math.Float32bits(float32(magnitude)*(1.0/(1<<24))))
	}
	return math.Float32frombits(sign | (magnitude<<13 + 112<<23))
}

func f32ToBF16Generic(dst []uint16, src []float32) {
	for i := range dst {
		bits := math.Float32bits(src[i])
		if bits&0x7fffffff > 0x7f800000 {
			dst[i] = uint16(bits>>16) | 0x40 // NaN, made quiet
			continue
		}
		// Half a unit less one, and the last bit for ties.
		dst[i] = uint16((bits + 0x7fff + bits>>16&1) >> 16)
	}
}

func bf16ToF32Generic(dst []float32, src []uint16) {
	for i := range dst {
		dst[i] = math.Float32frombits(uint32(src[i]) << 16)
	}
}

func f32ToInt64Generic(dst []int64, src []float32) {
	for i := range dst {
		dst[i] = math.MinInt64
		if v := src[i]; v >= -1<<63 && v < 1<<63 {
			dst[i] = int64(v)
		}
	}
}

func f32ToInt32Generic(dst []int32, src []float32) {
	for i := range dst {
		dst[i] = math.MinInt32
		if v := src[i]; v >= -1<<31 && v < 1<<31 {
			dst[i] = int32(v)
		}
	}
}

func boolToF32Generic(dst []float32, src []uint8) {
	for i := range dst {
		dst[i] = 0
		if src[i] != 0 {
			dst[i] = 1
		}
	}
}

func f32ToBoolGeneric(dst []uint8, src []float32) {
	for i := range dst {
		dst[i] = 0
		if src[i] != 0 {
			dst[i] = 1
		}
	}
}

// number is what Go itself converts as we want it.
type number interface {
	int8 | uint8 | int32 | int64 | float32 | float64
}

func convertGeneric[D, S number](dst []D, src []S) {
	src = src[:len(dst)]
	for i := range dst {
		dst[i] = D(src[i])
	}
}
