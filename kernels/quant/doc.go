// SPDX-License-Identifier: Apache-2.0

// Package quant is 8-bit arithmetic: conversions between floats and 8-bit integers, and
// matrix products of 8-bit activations with prepacked 8-bit weights.
//
// Results are the same to the bit at every CPU level, and they are those of the ONNX
// operators: QuantizeLinear, DequantizeLinear, DynamicQuantizeLinear, MatMulInteger and
// QLinearMatMul. Rounding is half to even, out of range values saturate, and NaN
// becomes the lowest value of the type, as ONNX Runtime has it. Integer sums wrap at 32
// bits as the standard's do; no sum of up to 33025 products can reach that.
//
// Internally activations are unsigned and weights signed, which is what the dot-product
// instruction multiplies: the other two types are moved by 128 together with their zero
// points, which changes no result.
//
// Slices that a function writes must not overlap those that it reads. A slice that is
// too short is a programmer's error and panics before anything is written. Functions
// may run at the same time as long as each has its own Scratch and its own output; a
// Packed is immutable and shared freely.
package quant

// Byte is an 8-bit integer of either signedness.
type Byte interface{ int8 | uint8 }

// signFlip is what turns a value of type T into the unsigned one of the same order: 128
// is added to signed values, which is the flip of their highest bit.
func signFlip[T Byte]() uint8 {
	if T(0)-1 < 0 {
		return 0x80
	}
	return 0
}
