// SPDX-License-Identifier: Apache-2.0

package vec

func gatherRowsGeneric(dst, src []byte, rowBytes int, indices []int64, rows int) {
	for i, v := range indices {
		copy(dst[i*rowBytes:][:rowBytes], src[fromEnd(v, rows)*rowBytes:])
	}
}

func scatterRowsGeneric(dst, src []byte, rowBytes int, indices []int64, rows int) {
	for i, v := range indices {
		copy(dst[fromEnd(v, rows)*rowBytes:][:rowBytes], src[i*rowBytes:])
	}
}

func fromEnd(index int64, rows int) int {
	if index < 0 {
		return int(index) + rows
	}
	return int(index)
}

func copyStridedGeneric(dst []byte, dstStride int, src []byte, srcStride int, width, rows int) {
	for r := range rows {
		copy(dst[r*dstStride:][:width], src[r*srcStride:])
	}
}
