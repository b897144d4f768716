// SPDX-License-Identifier: Apache-2.0

package kernels

import (
	"encoding/binary"
	"math/rand/v2"

	"github.com/millrace-ml/millrace/engine/tensor"
)

// tensorOf is values as a tensor.
func tensorOf[T float32 | int64 | uint8](name string, datatype tensor.Datatype, values []T, shape []int) tensor.Tensor {
	t := tensor.Tensor{Name: name, Datatype: datatype}
	for _, extent := range shape {
		t.Shape = append(t.Shape, int64(extent))
	}
	// Append fails only for types without a size.
	t.Data, _ = binary.Append(make([]byte, 0, len(values)*datatype.Size()), binary.LittleEndian, values)
	return t
}

// normal draws n values of the normal distribution, times scale.
func normal(r *rand.Rand, n int, scale float64) []float32 {
	values := make([]float32, n)
	for i := range values {
		values[i] = float32(r.NormFloat64() * scale)
	}
	return values
}

// bytes draws n bytes.
func bytes(r *rand.Rand, n int) []uint8 {
	values := make([]uint8, n)
	for i := range values {
		values[i] = uint8(r.Uint32())
	}
	return values
}

// widened are values as float64.
func widened[T float32 | int32 | uint8](values []T) []float64 {
	wide := make([]float64, len(values))
	for i, v := range values {
		wide[i] = float64(v)
	}
	return wide
}
