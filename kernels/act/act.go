// SPDX-License-Identifier: Apache-2.0

// Package act is the arithmetic of activations on float32: element-wise maps (Exp,
// Sigmoid, Gelu, Relu, ...), softmax over rows, and normalisation of rows.
//
// What holds for all of them:
//
//   - dst may be src itself; otherwise the two must not overlap. dst has at least as
//     many elements as are written to it: a shorter one is a bug of the caller and
//     panics before anything is written.
//   - An element (for maps) or a row (for softmax and normalisation) gives the same
//     bits wherever it stands: at any offset, in any length, alone or in a batch.
//     Levels of kernels/cpu may differ from each other in the last bits.
//   - Values are within the stated bound of the formula taken in float64; NaN gives
//     NaN, and infinities give what the formula gives. A product of infinity and zero
//     is NaN: Silu, Gelu, GeluTanh, Mish and HardSwish of -Inf are NaN, not their limit,
//     as they are when a graph spells them out in single operators.
//   - Results and arguments may be denormal; nothing is flushed to zero.
//
// Bounds are relative, with 1 ulp being at most 1.2e-7, and the functions say so
// where they are looser. No function allocates, holds state or starts goroutines; all
// may run at the same time on different destinations.
package act

import "fmt"

// fit is dst cut to n elements.
func fit(dst []float32, n int) []float32 {
	if len(dst) < n {
		panic(fmt.Sprintf("act: destination of %d elements for %d", len(dst), n))
	}
	return dst[:n]
}

// block is dst and src cut to rows of cols elements.
func block(dst, src []float32, rows, cols int) (d, s []float32) {
	if rows < 0 || cols < 0 || (cols > 0 && rows > len(src)/cols) {
		panic(fmt.Sprintf("act: source of %d elements for %d rows of %d", len(src), rows, cols))
	}
	n := rows * cols
	return fit(dst, n), src[:n]
}
