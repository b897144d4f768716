// SPDX-License-Identifier: Apache-2.0

//go:build !purego

package vec

import "github.com/millrace-ml/millrace/kernels/cpu"

// The kernels take whole groups of 8 elements; plain Go does the rest. Nothing here is
// called with an empty dst.

// whole is how many of n elements the kernels take.
func whole(n int) int {
	if cpu.Active() < cpu.NEON {
		return 0
	}
	return n &^ 7
}

func f32ToF16(dst []uint16, src []float32) {
	done := whole(len(dst))
	f32ToF16NEON(&dst[0], &src[0], done)
	f32ToF16Generic(dst[done:], src[done:])
}

func f16ToF32(dst []float32, src []uint16) {
	done := whole(len(dst))
	f16ToF32NEON(&dst[0], &src[0], done)
	f16ToF32Generic(dst[done:], src[done:])
}

func f32ToBF16(dst []uint16, src []float32) {
	done := whole(len(dst))
	f32ToBF16NEON(&dst[0], &src[0], done)
	f32ToBF16Generic(dst[done:], src[done:])
}

func bf16ToF32(dst []float32, src []uint16) {
	done := whole(len(dst))
	bf16ToF32NEON(&dst[0], &src[0], done)
	bf16ToF32Generic(dst[done:], src[done:])
}

// int64ToF32 has no kernel: vectors of integers this wide go by way of float64 and
// round twice.
func int64ToF32(dst []float32, src []int64) { convertGeneric(dst, src) }

func int32ToF32(dst []float32, src []int32) {
	done := whole(len(dst))
	int32ToF32NEON(&dst[0], &src[0], done)
	convertGeneric(dst[done:], src[done:])
}

func uint8ToF32(dst []float32, src []uint8) {
	done := whole(len(dst))
	uint8ToF32NEON(&dst[0], &src[0], done)
	convertGeneric(dst[done:], src[done:])
}

func int8ToF32(dst []float32, src []int8) {
	done := whole(len(dst))
	int8ToF32NEON(&dst[0], &src[0], done)
	convertGeneric(dst[done:], src[done:])
}

func f32ToInt64(dst []int64, src []float32) {
	done := whole(len(dst))
	f32ToInt64NEON(&dst[0], &src[0], done)
	f32ToInt64Generic(dst[done:], src[done:])
}

func f32ToInt32(dst []int32, src []float32) {
	done := whole(len(dst))
	f32ToInt32NEON(&dst[0], &src[0], done)
	f32ToInt32Generic(dst[done:], src[done:])
}

func boolToF32(dst []float32, src []uint8) {
	done := whole(len(dst))
	boolToF32NEON(&dst[0], &src[0], done)
	boolToF32Generic(dst[done:], src[done:])
}

func f32ToBool(dst []uint8, src []float32) {
	done := whole(len(dst))
	f32ToBoolNEON(&dst[0], &src[0], done)
	f32ToBoolGeneric(dst[done:], src[done:])
}

func f64ToF32(dst []float32, src []float64) {
	done := whole(len(dst))
	f64ToF32NEON(&dst[0], &src[0], done)
	convertGeneric(dst[done:], src[done:])
}

func f32ToF64(dst []float64, src []float32) {
	done := whole(len(dst))
	f32ToF64NEON(&dst[0], &src[0], done)
	convertGeneric(dst[done:], src[done:])
}

func int32ToInt64(dst []int64, src []int32) {
	done := whole(len(dst))
	int32ToInt64NEON(&dst[0], &src[0], done)
	convertGeneric(dst[done:], src[done:])
}

func int64ToInt32(dst []int32, src []int64) {
	done := whole(len(dst))
	int64ToInt32NEON(&dst[0], &src[0], done)
	convertGeneric(dst[done:], src[done:])
}
