// SPDX-License-Identifier: Apache-2.0

//go:build purego || !(amd64 || arm64)

package vec

func f32ToF16(dst []uint16, src []float32)  { f32ToF16Generic(dst, src) }
func f16ToF32(dst []float32, src []uint16)  { f16ToF32Generic(dst, src) }
func f32ToBF16(dst []uint16, src []float32) { f32ToBF16Generic(dst, src) }
func bf16ToF32(dst []float32, src []uint16) { bf16ToF32Generic(dst, src) }
func int64ToF32(dst []float32, src []int64) { convertGeneric(dst, src) }
func int32ToF32(dst []float32, src []int32) { convertGeneric(dst, src) }
func uint8ToF32(dst []float32, src []uint8) { convertGeneric(dst, src) }
func int8ToF32(dst []float32, src []int8)   { convertGeneric(dst, src) }
func f32ToInt64(dst []int64, src []float32) { f32ToInt64Generic(dst, src) }
func f32ToInt32(dst []int32, src []float32) { f32ToInt32Generic(dst, src) }
func boolToF32(dst []float32, src []uint8)  { boolToF32Generic(dst, src) }
func f32ToBool(dst []uint8, src []float32)  { f32ToBoolGeneric(dst, src) }
func f64ToF32(dst []float32, src []float64) { convertGeneric(dst, src) }
func f32ToF64(dst []float64, src []float32) { convertGeneric(dst, src) }
func int32ToInt64(dst []int64, src []int32) { convertGeneric(dst, src) }
func int64ToInt32(dst []int32, src []int64) { convertGeneric(dst, src) }
