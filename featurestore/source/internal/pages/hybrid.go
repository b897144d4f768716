// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/parquet-go/bitpack"
)

// A hybrid is a sequence of runs: a number that repeats, or groups of eight numbers
// packed into bits (Encodings.md, RLE). Both decoders end when dst is full.

var errRunHeader = errors.New("a run's length is malformed")

// run reads a run's header. A run is at most as long as what is left to fill; a packed
// one has whole groups and may be longer, by what the writer padded it with.
func run(src []byte, left int) (count int, packed bool, rest []byte, err error) {
	u, n := binary.Uvarint(src)
	if n == 0 {
		return 0, false, nil, io.ErrUnexpectedEOF
	}
	if n < 0 || u>>1 == 0 {
		return 0, false, nil, errRunHeader
	}
	packed = u&1 != 0
	if packed {
		return int(min(u>>1, uint64(left+7)/8)), true, src[n:], nil
	}
	return int(min(u>>1, uint64(left))), false, src[n:], nil
}

// hybridIndexes unpacks numbers of some width. bitpackPadding bytes behind src must be
// readable.
func hybridIndexes(dst []int32, src []byte, width uint) error {
	if width > 32 {
		return fmt.Errorf("indexes of %d bits", width)
	}
	var tail [8]int32
	for len(dst) > 0 {
		count, packed, rest, err := run(src, len(dst))
		if err != nil {
			return err
		}
		if !packed {
			size := int(width+7) / 8
			if len(rest) < size {
				return io.ErrUnexpectedEOF
			}
			var word [4]byte
			copy(word[:], rest[:size])
			fill(dst[:count], int32(binary.LittleEndian.Uint32(word[:])))
			src, dst = rest[size:], dst[count:]
			continue
		}
		size := count * int(width)
		if len(rest) < size {
			return io.ErrUnexpectedEOF
		}
		whole := min(8*count, len(dst)) / 8 * 8
		bitpack.Unpack(dst[:whole], rest[:size+bitpackPadding], width)
		if dst = dst[whole:]; 8*count > whole {
			last := rest[whole/8*int(width):]
			bitpack.Unpack(tail[:], last[:int(width)+bitpackPadding], width)
			dst = dst[copy(dst, tail[:]):]
		}
		src = rest[size:]
	}
	return nil
}

func fill[T any](dst []T, v T) {
	for i := range dst {
		dst[i] = v
	}
}

// hybridBits unpacks numbers of one bit, as bytes, and says how many are set.
func hybridBits(dst []byte, src []byte) (ones int, err error) {
	for len(dst) > 0 {
		count, packed, rest, err := run(src, len(dst))
		if err != nil {
			return 0, err
		}
		if !packed {
			if len(rest) < 1 {
				return 0, io.ErrUnexpectedEOF
			}
			v := rest[0] & 1
			fill(dst[:count], v)
			ones += int(v) * count
			src, dst = rest[1:], dst[count:]
			continue
		}
		if len(rest) < count {
			return 0, io.ErrUnexpectedEOF
		}
		n := min(8*count, len(dst))
		ones += unpackBits(dst[:n], rest)
		src, dst = rest[count:], dst[n:]
	}
	return ones, nil
}

// unpackBits spreads bits, the lowest first, over bytes. src has enough of them.
func unpackBits(dst, src []byte) (ones int) {
	for i := range dst {
		b := src[i/8] >> (i % 8) & 1
		dst[i] = b
		ones += int(b)
	}
	return ones
}
