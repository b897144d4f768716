// SPDX-License-Identifier: Apache-2.0

package window

import (
	"encoding/binary"
	"math"
	"slices"
)

// A value's bin is made of its exponent and the first binBits bits of its mantissa: no
// logarithm, so the same bin on every machine. Half a bin is 1/128 of its lower edge.
const (
	binBits   = 6
	binShift  = 52 - binBits
	binFirst  = (1023 - 32) << binBits // the bin of 2^-32 in terms of float bits
	binMax    = 96 << binBits          // bins per sign, up to 2^64
	binsBytes = 2*binMax + 1
)

// bin is a number of values in one bin; index is negative for negative values, 0 around zero.
type bin struct {
	index int32
	n     uint64
}

// sketch is a histogram, bins ascending; at most 2*binMax+1 of them.
type sketch struct{ bins []bin }

func binOf(x float64) int32 {
	abs := math.Abs(x)
	if abs < 0x1p-32 {
		return 0
	}
	i := int32(math.Float64bits(abs)>>binShift) - binFirst + 1
	i = min(i, binMax)
	if x < 0 {
		return -i
	}
	return i
}

// middle returns the value that stands for a bin.
func middle(index int32) float64 {
	if index == 0 {
		return 0
	}
	i := max(index, -index)
	x := math.Float64frombits(uint64(i-1+binFirst)<<binShift | 1<<(binShift-1))
	return signed(x, index < 0)
}

// add adds n values to a bin.
func (s *sketch) add(index int32, n uint64) {
	i, found := s.find(index)
	if found {
		s.bins[i].n += n
		return
	}
	s.bins = slices.Insert(s.bins, i, bin{index, n})
}

// remove takes a value out that is in.
func (s *sketch) remove(index int32) {
	i, found := s.find(index)
	if !found {
		return
	}
	if s.bins[i].n--; s.bins[i].n == 0 {
		s.bins = slices.Delete(s.bins, i, i+1)
	}
}

func (s *sketch) find(index int32) (int, bool) {
	return slices.BinarySearchFunc(s.bins, index, func(b bin, i int32) int { return int(b.index) - int(i) })
}

// quantile returns the value of nearest rank, and false when there is none.
func (s *sketch) quantile(q float64) (float64, bool) {
	var total uint64
	for _, b := range s.bins {
		total += b.n
	}
	if total == 0 {
		return 0, false
	}
	rank := max(1, uint64(math.Ceil(q*float64(total))))
	for _, b := range s.bins {
		if b.n >= rank {
			return middle(b.index), true
		}
		rank -= b.n
	}
	return middle(s.bins[len(s.bins)-1].index), true
}

// append encodes the histogram: uvarint bins; per bin uvarint distance from the bin before
// (the first from -binMax) and uvarint values.
func (s *sketch) append(dst []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s.bins)))
	last := int32(-binMax)
	for _, b := range s.bins {
		dst = binary.AppendUvarint(dst, uint64(b.index-last))
		dst = binary.AppendUvarint(dst, min(b.n, countMax))
		last = b.index
	}
	return dst
}

// merge adds an encoded histogram and returns its length. b has been checked.
func (s *sketch) merge(b []byte) int {
	bins, at := uvarint(b)
	index := int32(-binMax)
	for range bins {
		distance, n := uvarint(b[at:])
		at += n
		values, n := uvarint(b[at:])
		at += n
		index += int32(distance)
		s.add(index, values)
	}
	return at
}

// sketchSize returns the length of the encoded histogram at the beginning of b, or -1.
func sketchSize(b []byte) int {
	bins, at := uvarint(b)
	if at < 0 || bins > binsBytes {
		return -1
	}
	index := int64(-binMax)
	for i := range bins {
		distance, n := uvarint(b[at:])
		if n < 0 || distance > 2*binMax || distance == 0 && i > 0 {
			return -1
		}
		at += n
		values, n := uvarint(b[at:])
		if n < 0 || values == 0 || values > countMax {
			return -1
		}
		at += n
		if index += int64(distance); index > binMax {
			return -1
		}
	}
	return at
}
