// SPDX-License-Identifier: Apache-2.0

// Package optimize makes ONNX models smaller and faster, and says what that costs.
//
// A model is rewritten (constants folded, nodes fused), then the products with constant
// weights, MatMul and Gemm, are given one of these forms:
//
//	dynamic  MatMulInteger on 8-bit weights; the input is quantised by the range that
//	         each run finds in it (DynamicQuantizeLinear)
//	static   QuantizeLinear and DequantizeLinear around the product (QDQ); ranges come
//	         from a run on calibration data
//	bf16     weights of 16 bits behind a Cast to float
//	float    as it was
//
// Invariants:
//
//   - What is written are operators of the standard domain alone, in the patterns that
//     ONNX Runtime and the native engine make kernels of.
//   - Names and types of inputs and outputs stay as they were.
//   - Folding and fusing alone changes results within rounding only.
//   - Every loss that a form brings is measured by running it: per product on the inputs
//     that the data gives it, and on the whole model on every engine at hand.
//
// Functions may be called from many goroutines; they share nothing.
package optimize
