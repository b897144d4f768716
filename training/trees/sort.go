// SPDX-License-Identifier: Apache-2.0

package trees

import "math"

// The digits of the radix sort: three of eleven bits make a 32-bit float.
const (
	digitBits = 11
	digits    = 1 << digitBits
)

// sorter puts the values of columns in order. Its memory is used again.
type sorter struct {
	pairs, spare []uint64
	counts       [3][digits]uint32
}

// sort returns the values that are not NaN with their rows, ascending: the row is in the
// lower 32 bits, a key that rises with the value in the upper. Equal values are in the
// order of their rows.
func (s *sorter) sort(values []float32) []uint64 {
	if cap(s.pairs) < len(values) {
		s.pairs, s.spare = make([]uint64, len(values)), make([]uint64, len(values))
	}
	s.counts = [3][digits]uint32{}
	pairs := s.pairs[:0]
	for row, x := range values {
		if x != x {
			continue
		}
		key := keyOf(x)
		s.counts[0][key%digits]++
		s.counts[1][key>>digitBits%digits]++
		s.counts[2][key>>(2*digitBits)]++
		pairs = append(pairs, uint64(key)<<32|uint64(row))
	}
	spare := s.spare[:len(pairs)]
	for pass := range s.counts {
		scatter(spare, pairs, &s.counts[pass], 32+uint(pass)*digitBits)
		pairs, spare = spare, pairs
	}
	return pairs
}

func scatter(to, from []uint64, counts *[digits]uint32, shift uint) {
	sum := uint32(0)
	for d, n := range counts {
		counts[d] = sum
		sum += n
	}
	for _, pair := range from {
		d := pair >> shift % digits
		to[counts[d]] = pair
		counts[d]++
	}
}

// keyOf maps floats to whole numbers of the same order; both zeros have one.
func keyOf(x float32) uint32 {
	bits := math.Float32bits(x + 0)
	if bits>>31 != 0 {
		return ^bits
	}
	return bits | 1<<31
}

func valueOf(key uint32) float32 {
	if key>>31 != 0 {
		return math.Float32frombits(key &^ (1 << 31))
	}
	return math.Float32frombits(^key)
}
