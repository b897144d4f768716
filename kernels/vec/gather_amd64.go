// SPDX-License-Identifier: Apache-2.0

//go:build !purego

package vec

import "github.com/millrace-ml/millrace/kernels/cpu"

// gatherRows copies the rows that checked indices name; nothing is empty.
func gatherRows(dst, src []byte, rowBytes int, indices []int64, rows int) {
	switch {
	case cpu.Active() >= cpu.AVX512:
		gatherRowsAVX512(&dst[0], &src[0], rowBytes, &indices[0], len(indices), rows)
	case cpu.Active() >= cpu.AVX2:
		gatherRowsAVX2(&dst[0], &src[0], rowBytes, &indices[0], len(indices), rows)
	default:
		gatherRowsGeneric(dst, src, rowBytes, indices, rows)
	}
}

// scatterRows copies to the rows that checked indices name; nothing is empty.
func scatterRows(dst, src []byte, rowBytes int, indices []int64, rows int) {
	switch {
	case cpu.Active() >= cpu.AVX512:
		scatterRowsAVX512(&dst[0], &src[0], rowBytes, &indices[0], len(indices), rows)
	case cpu.Active() >= cpu.AVX2:
		scatterRowsAVX2(&dst[0], &src[0], rowBytes, &indices[0], len(indices), rows)
	default:
		scatterRowsGeneric(dst, src, rowBytes, indices, rows)
	}
}

// copyStrided copies rows that are strides apart; nothing is empty.
func copyStrided(dst []byte, dstStride int, src []byte, srcStride int, width, rows int) {
	switch {
	case cpu.Active() >= cpu.AVX512:
		copyStridedAVX512(&dst[0], dstStride, &src[0], srcStride, width, rows)
	case cpu.Active() >= cpu.AVX2:
		copyStridedAVX2(&dst[0], dstStride, &src[0], srcStride, width, rows)
	default:
		copyStridedGeneric(dst, dstStride, src, srcStride, width, rows)
	}
}
