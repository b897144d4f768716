// SPDX-License-Identifier: Apache-2.0

//go:build !purego

package vec

import (
	"math"

	"github.com/millrace-ml/millrace/kernels/cpu"
)

// fewValues is how many values are not worth the preparation of edges.
const fewValues = 8

// edgeBlocks are up to 255 edges in blocks of 16, infinities behind them, and the last
// edge of each block. A value that passes all lasts has a 17th block, what is in it
// does not matter: the count is then limited to that of the edges.
type edgeBlocks struct {
	lasts  [16]float32
	blocks [17 * 16]float32
}

func (b *edgeBlocks) set(edges []float32) {
	infinity := float32(math.Inf(1))
	n := copy(b.blocks[:], edges)
	for ; n%16 != 0 || n == len(edges); n++ {
		b.blocks[n] = infinity
	}
	for i := range b.lasts {
		b.lasts[i] = infinity
		if last := 16*i + 15; last < n {
			b.lasts[i] = b.blocks[last]
		}
	}
}

// bucketize finds the buckets of dst's values; there are some.
func bucketize(dst []int32, src, edges []float32, right bool) {
	if cpu.Active() < cpu.AVX2 || len(dst) < fewValues {
		bucketizeGeneric(dst, src, edges, right)
		return
	}
	if len(edges) > twoLevelMax {
		bucketizeMany(dst, src, edges, right)
		return
	}
	var b edgeBlocks
	b.set(edges)
	if cpu.Active() >= cpu.AVX512 {
		bucketizeAVX512(&dst[0], &src[0], len(dst), &b.lasts[0], &b.blocks[0], len(edges), right)
		return
	}
	bucketizeAVX2(&dst[0], &src[0], len(dst), &b.lasts[0], &b.blocks[0], len(edges), right)
}

// bucketizeMany is bucketize for more edges, whose count fits 32 bits.
func bucketizeMany(dst []int32, src, edges []float32, right bool) {
	done := 0
	switch {
	case len(edges) > math.MaxInt32:
	case cpu.Active() >= cpu.AVX512:
		done = len(dst)
		bucketizeManyAVX512(&dst[0], &src[0], done, &edges[0], len(edges), right)
	default:
		done = whole(len(dst))
		bucketizeManyAVX2(&dst[0], &src[0], done, &edges[0], len(edges), right)
	}
	bucketizeGeneric(dst[done:], src[done:], edges, right)
}

// bucketizeBytes is bucketize for at most 255 edges.
func bucketizeBytes(dst []uint8, src, edges []float32, right bool) {
	if cpu.Active() < cpu.AVX2 || len(dst) < fewValues {
		bucketizeGeneric(dst, src, edges, right)
		return
	}
	var b edgeBlocks
	b.set(edges)
	if cpu.Active() >= cpu.AVX512 {
		bucketizeBytesAVX512(&dst[0], &src[0], len(dst), &b.lasts[0], &b.blocks[0], len(edges), right)
		return
	}
	bucketizeBytesAVX2(&dst[0], &src[0], len(dst), &b.lasts[0], &b.blocks[0], len(edges), right)
}
