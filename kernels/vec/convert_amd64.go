// SPDX-License-Identifier: Apache-2.0

//go:build !purego

package vec

import "github.com/millrace-ml/millrace/kernels/cpu"

// The kernels for AVX2 take whole vectors of 8 elements; plain Go does the rest.
// Nothing here is called with an empty dst.

// whole is how many of n elements those kernels take.
func whole(n int) int { return n &^ 7 }

func f32ToF16(dst []uint16, src []float32) {
	if cpu.Active() >= cpu.AVX512 {
		f32ToF16AVX512(&dst[0], &src[0], len(dst))
		return
	}
	done := 0
	if cpu.Active() >= cpu.AVX2 {
		done = whole(len(dst))
		f32ToF16AVX2(&dst[0], &src[0], done)
	}
	f32ToF16Generic(dst[done:], src[done:])
}

func f16ToF32(dst []float32, src []uint16) {
	if cpu.Active() >= cpu.AVX512 {
		f16ToF32AVX512(&dst[0], &src[0], len(dst))
		return
	}
	done := 0
	if cpu.Active() >= cpu.AVX2 {
		done = whole(len(dst))
		f16ToF32AVX2(&dst[0], &src[0], done)
	}
	f16ToF32Generic(dst[done:], src[done:])
}

func f32ToBF16(dst []uint16, src []float32) {
	if cpu.Active() >= cpu.BF16 {
		dst, src = f32ToBF16Blocks(dst, src)
		if len(dst) == 0 {
			return
		}
	}
	if cpu.Active() >= cpu.AVX512 {
		f32ToBF16AVX512(&dst[0], &src[0], len(dst))
		return
	}
	done := 0
	if cpu.Active() >= cpu.AVX2 {
		done = whole(len(dst))
		f32ToBF16AVX2(&dst[0], &src[0], done)
	}
	f32ToBF16Generic(dst[done:], src[done:])
}

// f32ToBF16Blocks converts whole blocks of 64 by the CPU's own instruction, which is
// faster than integer arithmetic but flushes denormals: blocks with some are left to
// that. It gives what is left at the end.
func f32ToBF16Blocks(dst []uint16, src []float32) ([]uint16, []float32) {
	const block = 64
	for len(dst) >= block {
		done := f32ToBF16Hardware(&dst[0], &src[0], len(dst)/block*block)
		dst, src = dst[done:], src[done:]
		if len(dst) >= block {
			f32ToBF16AVX512(&dst[0], &src[0], block)
			dst, src = dst[block:], src[block:]
		}
	}
	return dst, src
}

func bf16ToF32(dst []float32, src []uint16) {
	if cpu.Active() >= cpu.AVX512 {
		bf16ToF32AVX512(&dst[0], &src[0], len(dst))
		return
	}
	done := 0
	if cpu.Active() >= cpu.AVX2 {
		done = whole(len(dst))
		bf16ToF32AVX2(&dst[0], &src[0], done)
	}
	bf16ToF32Generic(dst[done:], src[done:])
}

func int64ToF32(dst []float32, src []int64) {
	if cpu.Active() >= cpu.AVX512 {
		int64ToF32AVX512(&dst[0], &src[0], len(dst))
		return
	}
	convertGeneric(dst, src)
}

func int32ToF32(dst []float32, src []int32) {
	if cpu.Active() >= cpu.AVX512 {
		int32ToF32AVX512(&dst[0], &src[0], len(dst))
		return
	}
	done := 0
	if cpu.Active() >= cpu.AVX2 {
		done = whole(len(dst))
		int32ToF32AVX2(&dst[0], &src[0], done)
	}
	convertGeneric(dst[done:], src[done:])
}

func uint8ToF32(dst []float32, src []uint8) {
	if cpu.Active() >= cpu.AVX512 {
		uint8ToF32AVX512(&dst[0], &src[0], len(dst))
		return
	}
	done := 0
	if cpu.Active() >= cpu.AVX2 {
		done = whole(len(dst))
		uint8ToF32AVX2(&dst[0], &src[0], done)
	}
	convertGeneric(dst[done:], src[done:])
}

func int8ToF32(dst []float32, src []int8) {
	if cpu.Active() >= cpu.AVX512 {
		int8ToF32AVX512(&dst[0], &src[0], len(dst))
		return
	}
	done := 0
	if cpu.Active() >= cpu.AVX2 {
		done = whole(len(dst))
		int8ToF32AVX2(&dst[0], &src[0], done)
	}
	convertGeneric(dst[done:], src[done:])
}

func f32ToInt64(dst []int64, src []float32) {
	if cpu.Active() >= cpu.AVX512 {
		f32ToInt64AVX512(&dst[0], &src[0], len(dst))
		return
	}
	f32ToInt64Generic(dst, src)
}

func f32ToInt32(dst []int32, src []float32) {
	if cpu.Active() >= cpu.AVX512 {
		f32ToInt32AVX512(&dst[0], &src[0], len(dst))
		return
	}
	done := 0
	if cpu.Active() >= cpu.AVX2 {
		done = whole(len(dst))
		f32ToInt32AVX2(&dst[0], &src[0], done)
	}
	f32ToInt32Generic(dst[done:], src[done:])
}

func boolToF32(dst []float32, src []uint8) {
	if cpu.Active() >= cpu.AVX512 {
		boolToF32AVX512(&dst[0], &src[0], len(dst))
		return
	}
	done := 0
	if cpu.Active() >= cpu.AVX2 {
		done = whole(len(dst))
		boolToF32AVX2(&dst[0], &src[0], done)
	}
	boolToF32Generic(dst[done:], src[done:])
}

func f32ToBool(dst []uint8, src []float32) {
	if cpu.Active() >= cpu.AVX512 {
		f32ToBoolAVX512(&dst[0], &src[0], len(dst))
		return
	}
	done := 0
	if cpu.Active() >= cpu.AVX2 {
		done = whole(len(dst))
		f32ToBoolAVX2(&dst[0], &src[0], done)
	}
	f32ToBoolGeneric(dst[done:], src[done:])
}

func f64ToF32(dst []float32, src []float64) {
	if cpu.Active() >= cpu.AVX512 {
		f64ToF32AVX512(&dst[0], &src[0], len(dst))
		return
	}
	done := 0
	if cpu.Active() >= cpu.AVX2 {
		done = whole(len(dst))
		f64ToF32AVX2(&dst[0], &src[0], done)
	}
	convertGeneric(dst[done:], src[done:])
}

func f32ToF64(dst []float64, src []float32) {
	if cpu.Active() >= cpu.AVX512 {
		f32ToF64AVX512(&dst[0], &src[0], len(dst))
		return
	}
	done := 0
	if cpu.Active() >= cpu.AVX2 {
		done = whole(len(dst))
		f32ToF64AVX2(&dst[0], &src[0], done)
	}
	convertGeneric(dst[done:], src[done:])
}

func int32ToInt64(dst []int64, src []int32) {
	if cpu.Active() >= cpu.AVX512 {
		int32ToInt64AVX512(&dst[0], &src[0], len(dst))
		return
	}
	done := 0
	if cpu.Active() >= cpu.AVX2 {
		done = whole(len(dst))
		int32ToInt64AVX2(&dst[0], &src[0], done)
	}
	convertGeneric(dst[done:], src[done:])
}

func int64ToInt32(dst []int32, src []int64) {
	if cpu.Active() >= cpu.AVX512 {
		int64ToInt32AVX512(&dst[0], &src[0], len(dst))
		return
	}
	done := 0
	if cpu.Active() >= cpu.AVX2 {
		done = whole(len(dst))
		int64ToInt32AVX2(&dst[0], &src[0], done)
	}
	convertGeneric(dst[done:], src[done:])
}
