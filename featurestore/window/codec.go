// SPDX-License-Identifier: Apache-2.0

package window

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// Kinds of compact floats. Decimals of up to four places, as money and measurements have,
// come back exactly: the nearest float64 to n/10^k is what parsing the decimal gave.
const (
	kindNull = 0
	kindRaw  = 15
	places   = 5 // kinds 1 to 5 divide by 10^0 to 10^4, 6 to 10 by the negative
)

var (
	scales = [16]float64{1, 1, 10, 100, 1000, 10000, -1, -10, -100, -1000, -10000, 1, 1, 1, 1, 1}
	masks  = [16]uint64{0, 1<<8 - 1, 1<<16 - 1, 1<<24 - 1, 1<<32 - 1, 1<<40 - 1, 1<<48 - 1, 1<<56 - 1, 1<<64 - 1}
)

// load returns the little-endian integer in the first n <= 8 bytes of b.
func load(b []byte, n int) uint64 {
	if len(b) >= 8 {
		return binary.LittleEndian.Uint64(b) & masks[n&15]
	}
	return loadShort(b, n)
}

func loadShort(b []byte, n int) (u uint64) {
	for i := n - 1; i >= 0; i-- {
		u = u<<8 | uint64(b[i])
	}
	return u
}

// appendShort appends the first n bytes of u, little endian.
func appendShort(dst []byte, u uint64, n int) []byte {
	for range n {
		dst = append(dst, byte(u))
		u >>= 8
	}
	return dst
}

func byteLen(u uint64) int { return (bits.Len64(u) + 7) / 8 }

// appendFloat appends x as a compact float; NaN is null.
func appendFloat(dst []byte, x float64) []byte {
	if x != x {
		return append(dst, kindNull<<4)
	}
	abs := math.Abs(x)
	for k := 1; k <= places; k++ {
		n := math.RoundToEven(abs * scales[k])
		if n >= 1<<48 {
			break
		}
		if n/scales[k] != abs {
			continue
		}
		size, kind := byteLen(uint64(n)), k
		if x < 0 {
			kind += places
		}
		return appendShort(append(dst, byte(kind<<4|size)), uint64(n), size)
	}
	return binary.LittleEndian.AppendUint64(append(dst, kindRaw<<4|8), math.Float64bits(x))
}

// float returns the compact float at the beginning of b and its length. b has been checked.
func float(b []byte) (float64, int) {
	kind, n := b[0]>>4, int(b[0]&15)
	u := load(b[1:], n)
	switch kind {
	case kindNull:
		return math.NaN(), 1
	case kindRaw:
		return math.Float64frombits(u), 9
	}
	return float64(u) / scales[kind], 1 + n
}

// floatSize returns the length of the compact float at the beginning of b, or -1.
func floatSize(b []byte) int {
	if len(b) == 0 {
		return -1
	}
	kind, n := int(b[0]>>4), int(b[0]&15)
	switch {
	case len(b) < 1+n,
		kind == kindNull && n != 0,
		kind == kindRaw && (n != 8 || !(math.Abs(math.Float64frombits(load(b[1:], 8))) <= ValueMax)),
		kind > 2*places && kind != kindRaw,
		kind != kindRaw && n > 6:
		return -1
	}
	return 1 + n
}

// uvarint returns the unsigned integer at the beginning of b and its length, or -1.
func uvarint(b []byte) (uint64, int) {
	if len(b) > 0 && b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	u, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, -1
	}
	return u, n
}
