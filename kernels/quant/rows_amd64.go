// SPDX-License-Identifier: Apache-2.0

//go:build !purego

package quant

// Bytes in a vector of AVX2, which these need.
const vectorBytes = 32

// flipBytes copies src with each byte flipped.
func flipBytes(dst, src []uint8, flip uint8) {
	switch n := len(src); {
	case flip == 0:
		copy(dst, src)
	case n >= vectorBytes:
		flipAVX2(&dst[:n][0], &src[0], n, uint32(flip)*0x01010101)
	default:
		for i, x := range src {
			dst[i] = x ^ flip
		}
	}
}

// sumBytes adds up bytes, each flipped.
func sumBytes(x []uint8, flip uint8) int32 {
	sum := int32(0)
	if whole := len(x) / vectorBytes * vectorBytes; whole > 0 {
		sum = sumAVX2(&x[0], whole, uint32(flip)*0x01010101)
		x = x[whole:]
	}
	for _, v := range x {
		sum += int32(v ^ flip)
	}
	return sum
}

// widenBytes copies src with each byte flipped and made 16 bits wide.
func widenBytes(dst []uint16, src []uint8, flip uint8) {
	if n := len(src); n >= vectorBytes/2 {
		widenAVX2(&dst[:n][0], &src[0], n, uint32(flip)*0x00010001)
		return
	}
	for i, x := range src {
		dst[i] = uint16(x ^ flip)
	}
}
