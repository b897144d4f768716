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
	for i := range b.blocks {
		b.blocks[i] = infinity
	}
	copy(b.blocks[:], edges)
	for i := range b.lasts {
		b.lasts[i] = b.blocks[16*i+15]
	}
}

// twoLevels reports whether the kernels find the buckets of so many values.
func twoLevels(values, edges int) bool {
	return cpu.Active() >= cpu.NEON && values >= fewValues && edges <= twoLevelMax
}

// bucketize finds the buckets of dst's values; there are some.
func bucketize(dst []int32, src, edges []float32, right bool) {
	if !twoLevels(len(dst), len(edges)) {
		bucketizeGeneric(dst, src, edges, right)
		return
	}
	var b edgeBlocks
	b.set(edges)
	bucketizeNEON(&dst[0], &src[0], len(dst), &b.lasts[0], &b.blocks[0], len(edges), right)
}

// bucketizeBytes is bucketize for at most 255 edges.
func bucketizeBytes(dst []uint8, src, edges []float32, right bool) {
	if !twoLevels(len(dst), len(edges)) {
		bucketizeGeneric(dst, src, edges, right)
		return
	}
	var b edgeBlocks
	b.set(edges)
	bucketizeBytesNEON(&dst[0], &src[0], len(dst), &b.lasts[0], &b.blocks[0], len(edges), right)
}
