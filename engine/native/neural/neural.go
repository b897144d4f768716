// SPDX-License-Identifier: Apache-2.0

// Package neural holds the operators of neural networks beyond dense layers:
// convolution and pooling, attention, recurrent layers, Einsum, Resize and the
// normalisations that go with pictures. All are for FP32; Einsum takes more.
//
// Convolutions and pools of 1 to 3 dimensions run on kernels/conv, which read windows
// of the input. Where a window would leave the input (padding) or is not one element on
// from the one before it (strides), one picture at a time is copied to memory of the
// instance, laid out as the kernels want it; a convolution of 1 x 1 or without padding
// reads its input where it is. Everything else multiplies on kernels/gemm.
//
// What an operator keeps between runs is in the Scratch of its instance and bounded by
// elementsMax; it is made when shapes are bound.
package neural

import (
	"math"
	"slices"

	"github.com/millrace-ml/millrace/engine/native/op"
)

// Operators lists what this package runs.
func Operators() []op.Definition {
	return slices.Concat(
		convolutionOperators(), poolOperators(), attentionOperators(), recurrentOperators(),
		einsumOperators(), resizeOperators(), normOperators(),
	)
}

// Measured speeds of the kernels on a core with AVX-512, for estimates.
const (
	flopsPerNano = 90.0
	bytesPerNano = 24.0
	callNanos    = 30.0
)

// elementsMax bounds what an operator keeps for itself, so that attributes of a few
// bytes cannot ask for any amount of memory.
const elementsMax = 1 << 26

// floats is memory of an instance that operators use one after the other.
type floats struct{ data []float32 }

// sharedKey finds the memory that all operators of this package have in common.
type sharedKey struct{ part int }

// shared is memory of at least n elements, which any operator of the instance may write
// to. part tells pieces apart that are in use at the same time. What it holds is read
// through the pointer in each run, as it moves when it grows.
func shared(s *op.Scratch, part, n int) *floats {
	f := op.Keep(s, sharedKey{part}, func() *floats { return &floats{} })
	f.reserve(n)
	return f
}

func (f *floats) reserve(n int) {
	if len(f.data) < n {
		f.data = op.As[float32](&op.Value{Data: op.AlignedBytes(4 * n)})
	}
}

// volume is the product of extents.
func volume(extents []int) int {
	n := 1
	for _, d := range extents {
		n *= d
	}
	return n
}

// bounded is the product of extents, or an error where it is beyond elementsMax.
func bounded(what string, extents ...int) (int, error) {
	n := 1
	for _, d := range extents {
		if d < 0 || (d > 0 && n > elementsMax/d) {
			return 0, op.NotCovered("%s of %v elements", what, extents)
		}
		n *= d
	}
	return n, nil
}

// lowest is below every number.
var lowest = float32(math.Inf(-1))
