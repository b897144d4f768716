// SPDX-License-Identifier: Apache-2.0

package gemm

import "unsafe"

const lineBytes = 64

// aligned is n zeros that begin at a cache line, so that no vector crosses two. From
// one huge page on they begin at such a page, which the system is asked to use: pages
// of 4 KiB cost a weight matrix that is read once a third of its bandwidth.
func aligned[T float32 | uint16](n int) []T {
	if n == 0 {
		return nil
	}
	size := int(unsafe.Sizeof(T(0)))
	boundary := lineBytes
	if n*size >= hugeBytes {
		boundary = hugeBytes
	}
	memory := make([]T, n+boundary/size)
	off := -int(uintptr(unsafe.Pointer(unsafe.SliceData(memory)))) & (boundary - 1) / size
	memory = memory[off : off+n : off+n]
	if boundary == hugeBytes {
		adviseHuge(unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(memory))), n*size))
	}
	return memory
}
