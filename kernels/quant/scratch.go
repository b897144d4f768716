// SPDX-License-Identifier: Apache-2.0

package quant

// Scratch is what the products of one goroutine need beyond registers. The zero value
// is ready; it grows to the largest product that it served.
type Scratch struct {
	rows []uint8  // activations, where they cannot be read in place
	wide []uint16 // activations in 16 bits, where bytes cannot be multiplied
	sums []int32  // of each row of activations
	tile []int32  // sums of products, where they cannot stay in registers
}

// Reserve makes s large enough for products of up to m rows with w, at the level now
// active, so that they do not allocate.
func (s *Scratch) Reserve(m int, w *Packed) {
	if m > 0 {
		reserve(s, m, w)
	}
}

// grow is a slice of n elements on a cache line: list, or a new one when that is short.
func grow[T uint8 | uint16 | int32](list []T, n int) []T {
	if cap(list) >= n {
		return list[:n]
	}
	return aligned[T](n)
}
