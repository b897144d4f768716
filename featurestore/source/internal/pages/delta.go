// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// Deltas are blocks of differences, each block cut into miniblocks that are packed with
// a width of their own (Encodings.md, DELTA_BINARY_PACKED). Sums wrap, as the format
// wants it.

var errDelta = errors.New("the header of packed differences is malformed")

type deltaHeader struct {
	block, miniblocks int // values in a block, miniblocks in a block
	count             int
	first             int64
}

func readDeltaHeader(src []byte) (h deltaHeader, rest []byte, err error) {
	var fields [3]uint64
	for i := range fields {
		u, n := binary.Uvarint(src)
		if n <= 0 || u > PageBytesMax {
			return h, nil, errDelta
		}
		fields[i], src = u, src[n:]
	}
	first, n := binary.Varint(src)
	if n <= 0 {
		return h, nil, errDelta
	}
	h = deltaHeader{block: int(fields[0]), miniblocks: int(fields[1]), count: int(fields[2]), first: first}
	if h.block <= 0 || h.miniblocks <= 0 || h.block%h.miniblocks != 0 || h.block/h.miniblocks%8 != 0 {
		return h, nil, errDelta
	}
	return h, src[n:], nil
}

// deltas unpacks len(dst) numbers and returns what follows them.
func deltas(dst []int64, src []byte) ([]byte, error) {
	h, src, err := readDeltaHeader(src)
	if err != nil {
		return nil, err
	}
	if h.count != len(dst) {
		return nil, fmt.Errorf("%d packed differences, %d values", h.count, len(dst))
	}
	if len(dst) == 0 {
		return src, nil
	}
	dst[0] = h.first
	last, dst := h.first, dst[1:]
	for len(dst) > 0 {
		least, n := binary.Varint(src)
		if n <= 0 || len(src)-n < h.miniblocks {
			return nil, io.ErrUnexpectedEOF
		}
		widths := src[n : n+h.miniblocks]
		src = src[n+h.miniblocks:]
		for _, width := range widths {
			if len(dst) == 0 {
				break // miniblocks without values take no room
			}
			per := h.block / h.miniblocks
			size := per / 8 * int(width)
			if width > 64 || len(src) < size {
				return nil, io.ErrUnexpectedEOF
			}
			take := min(per, len(dst))
			last = addDeltas(dst[:take], src[:size], uint(width), last, least)
			dst, src = dst[take:], src[size:]
		}
	}
	return src, nil
}

// addDeltas unpacks the differences of a miniblock, adds the least one to each, and sums.
func addDeltas(dst []int64, src []byte, width uint, last, least int64) int64 {
	mask := ^uint64(0)
	if width < 64 {
		mask = 1<<width - 1
	}
	for i := range dst {
		last += least + int64(bitsAt(src, uint(i)*width)&mask)
		dst[i] = last
	}
	return last
}

// bitsAt returns 64 bits from a bit on; what lies behind src is zero.
func bitsAt(src []byte, bit uint) uint64 {
	at, shift := bit/8, bit%8
	if int(at)+9 <= len(src) {
		return binary.LittleEndian.Uint64(src[at:])>>shift | uint64(src[at+8])<<(64-shift)
	}
	var word [9]byte
	if int(at) < len(src) {
		copy(word[:], src[at:])
	}
	return binary.LittleEndian.Uint64(word[:])>>shift | uint64(word[8])<<(64-shift)
}

// deltaLengths reads DELTA_LENGTH_BYTE_ARRAY: n lengths, then the bytes of all values.
// It appends the ends of the values to ends and returns their bytes.
func deltaLengths(ends []int, src []byte, n int, s *Scratch) ([]int, []byte, error) {
	s.deltas = grow(s.deltas, n)
	src, err := deltas(s.deltas, src)
	if err != nil {
		return nil, nil, err
	}
	end := 0
	for _, length := range s.deltas {
		if length < 0 || length > int64(len(src)-end) {
			return nil, nil, io.ErrUnexpectedEOF
		}
		end += int(length)
		ends = append(ends, end)
	}
	return ends, src, nil
}

// deltaBytes reads DELTA_BYTE_ARRAY: for each value how much of the one before it is
// its beginning, then the rests as deltaLengths. The values are put together in
// s.joined, and their ends appended to ends.
func deltaBytes(ends []int, src []byte, n int, s *Scratch) ([]int, []byte, error) {
	s.prefixes = grow(s.prefixes, n)
	src, err := deltas(s.prefixes, src)
	if err != nil {
		return nil, nil, err
	}
	s.ends, src, err = deltaLengths(s.ends[:0], src, n, s)
	if err != nil {
		return nil, nil, err
	}
	joined, before, from := s.joined[:0], 0, 0
	for i, prefix := range s.prefixes {
		rest := src[from:s.ends[i]]
		if prefix < 0 || prefix > int64(len(joined)-before) {
			return nil, nil, errDelta
		}
		if len(joined)+int(prefix)+len(rest) > PageBytesMax {
			return nil, nil, fmt.Errorf("%w: a page of more than %d bytes", ErrUnsupported, PageBytesMax)
		}
		begin := joined[before : before+int(prefix)]
		before, from = len(joined), s.ends[i]
		joined = append(append(joined, begin...), rest...)
		ends = append(ends, len(joined))
	}
	s.joined = joined
	return ends, joined, nil
}
