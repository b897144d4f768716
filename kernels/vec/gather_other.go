// SPDX-License-Identifier: Apache-2.0

//go:build purego || !amd64

package vec

func gatherRows(dst, src []byte, rowBytes int, indices []int64, rows int) {
	gatherRowsGeneric(dst, src, rowBytes, indices, rows)
}

func scatterRows(dst, src []byte, rowBytes int, indices []int64, rows int) {
	scatterRowsGeneric(dst, src, rowBytes, indices, rows)
}

func copyStrided(dst []byte, dstStride int, src []byte, srcStride int, width, rows int) {
	copyStridedGeneric(dst, dstStride, src, srcStride, width, rows)
}
