// SPDX-License-Identifier: Apache-2.0

//go:build unix

package groundtruth

import (
	"fmt"
	"syscall"
	"unsafe"
)

// mapped is memory beside the Go heap. The index is most of what a join holds, and on the
// heap the collector would let garbage grow to its size.
type mapped struct{ all [][]byte }

// newMapped returns zeroed memory for one T, which has no pointers.
func newMapped[T any](m *mapped) (*T, error) {
	size := int(unsafe.Sizeof(*new(T)))
	b, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil, fmt.Errorf("memory for the index: %w", err)
	}
	m.all = append(m.all, b)
	return (*T)(unsafe.Pointer(unsafe.SliceData(b))), nil
}

// close gives the memory back.
func (m *mapped) close() {
	for _, b := range m.all {
		_ = syscall.Munmap(b) // it was mapped here and once
	}
	m.all = nil
}
