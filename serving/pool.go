// SPDX-License-Identifier: Apache-2.0

package serving

import (
	"math/bits"
	"sync"
)

// bufferPool gives out message buffers in sizes of powers of two. Unlike grpc's
// own pool it does not clear them: every byte handed on is written first, and
// clearing a large buffer costs more than filling it.
//
// Buffers above maxPooledSize are left to the garbage collector, so that one huge
// message does not stay resident. It implements grpc's mem.BufferPool and is safe
// for concurrent use.
type bufferPool struct {
	classes [maxPooledLog2 - minPooledLog2 + 1]sync.Pool
}

const (
	minPooledLog2 = 11 // 2 KiB: above grpc's threshold, below which it does not pool at all
	maxPooledLog2 = 25 // 32 MiB
	maxPooledSize = 1 << maxPooledLog2
)

var buffers bufferPool

// Get returns a buffer of the given length with arbitrary content.
func (p *bufferPool) Get(length int) *[]byte {
	if length > maxPooledSize {
		b := make([]byte, length)
		return &b
	}
	class := sizeClass(length)
	if b, ok := p.classes[class].Get().(*[]byte); ok {
		*b = (*b)[:length]
		return b
	}
	b := make([]byte, length, 1<<(class+minPooledLog2))
	return &b
}

// Put takes a buffer back. Buffers of foreign sizes are dropped.
func (p *bufferPool) Put(b *[]byte) {
	size := cap(*b)
	if size > maxPooledSize || size < 1<<minPooledLog2 || size&(size-1) != 0 {
		return
	}
	p.classes[sizeClass(size)].Put(b)
}

func sizeClass(length int) int {
	if length <= 1<<minPooledLog2 {
		return 0
	}
	return bits.Len(uint(length-1)) - minPooledLog2
}
