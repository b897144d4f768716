// SPDX-License-Identifier: Apache-2.0

package vec

// The conversions of this file convert len(dst) elements. dst and src may not overlap.
// Rounding is to nearest, ties to even, unless said otherwise; denormals are kept, and
// NaN stays NaN with its sign and the upper part of its payload.

// F32ToF16 rounds to binary16; what is too large becomes infinite.
func F32ToF16(dst []uint16, src []float32) {
	need("F32ToF16", len(dst), len(src))
	if len(dst) > 0 {
		f32ToF16(dst, src)
	}
}

// F16ToF32 converts binary16 exactly.
func F16ToF32(dst []float32, src []uint16) {
	need("F16ToF32", len(dst), len(src))
	if len(dst) > 0 {
		f16ToF32(dst, src)
	}
}

// F32ToBF16 rounds to bfloat16; what is too large becomes infinite.
func F32ToBF16(dst []uint16, src []float32) {
	need("F32ToBF16", len(dst), len(src))
	if len(dst) > 0 {
		f32ToBF16(dst, src)
	}
}

// BF16ToF32 converts bfloat16 exactly.
func BF16ToF32(dst []float32, src []uint16) {
	need("BF16ToF32", len(dst), len(src))
	if len(dst) > 0 {
		bf16ToF32(dst, src)
	}
}

// Int64ToF32 rounds integers to float32.
func Int64ToF32(dst []float32, src []int64) {
	need("Int64ToF32", len(dst), len(src))
	if len(dst) > 0 {
		int64ToF32(dst, src)
	}
}

// Int32ToF32 rounds integers to float32.
func Int32ToF32(dst []float32, src []int32) {
	need("Int32ToF32", len(dst), len(src))
	if len(dst) > 0 {
		int32ToF32(dst, src)
	}
}

// Uint8ToF32 converts bytes exactly.
func Uint8ToF32(dst []float32, src []uint8) {
	need("Uint8ToF32", len(dst), len(src))
	if len(dst) > 0 {
		uint8ToF32(dst, src)
	}
}

// Int8ToF32 converts signed bytes exactly.
func Int8ToF32(dst []float32, src []int8) {
	need("Int8ToF32", len(dst), len(src))
	if len(dst) > 0 {
		int8ToF32(dst, src)
	}
}

// F32ToInt64 rounds towards zero. NaN and what is out of range become the smallest
// integer, as on amd64.
func F32ToInt64(dst []int64, src []float32) {
	need("F32ToInt64", len(dst), len(src))
	if len(dst) > 0 {
		f32ToInt64(dst, src)
	}
}

// F32ToInt32 rounds towards zero. NaN and what is out of range become the smallest
// integer, as on amd64.
func F32ToInt32(dst []int32, src []float32) {
	need("F32ToInt32", len(dst), len(src))
	if len(dst) > 0 {
		f32ToInt32(dst, src)
	}
}

// BoolToF32 makes 1 of every byte that is not 0.
func BoolToF32(dst []float32, src []uint8) {
	need("BoolToF32", len(dst), len(src))
	if len(dst) > 0 {
		boolToF32(dst, src)
	}
}

// F32ToBool makes 0 of zeros and 1 of all else, NaN too.
func F32ToBool(dst []uint8, src []float32) {
	need("F32ToBool", len(dst), len(src))
	if len(dst) > 0 {
		f32ToBool(dst, src)
	}
}

// F64ToF32 rounds to float32; what is too large becomes infinite.
func F64ToF32(dst []float32, src []float64) {
	need("F64ToF32", len(dst), len(src))
	if len(dst) > 0 {
		f64ToF32(dst, src)
	}
}

// F32ToF64 converts exactly.
func F32ToF64(dst []float64, src []float32) {
	need("F32ToF64", len(dst), len(src))
	if len(dst) > 0 {
		f32ToF64(dst, src)
	}
}

// Int32ToInt64 widens integers.
func Int32ToInt64(dst []int64, src []int32) {
	need("Int32ToInt64", len(dst), len(src))
	if len(dst) > 0 {
		int32ToInt64(dst, src)
	}
}

// Int64ToInt32 keeps the lower half of integers.
func Int64ToInt32(dst []int32, src []int64) {
	need("Int64ToInt32", len(dst), len(src))
	if len(dst) > 0 {
		int64ToInt32(dst, src)
	}
}
