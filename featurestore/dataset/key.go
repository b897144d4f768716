// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"encoding/binary"
	"hash/maphash"
	"math/bits"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
)

// hasher turns the table keys of entities into words: the integer itself where the key is
// one, else two hashes of 64 bits under seeds of this process. Two of n keys share
// both with a chance of n^2/2^129, below 10^-20 for a billion keys.
type hasher struct {
	words int
	seeds [2]maphash.Seed
}

func newHasher(entities []*definition.Entity) hasher {
	if len(entities) == 1 && entities[0].Type == column.Int64 {
		return hasher{words: 1}
	}
	return hasher{words: 2, seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}}
}

// put writes the words of a table key.
func (h *hasher) put(words []uint64, key []byte) {
	if h.words == 1 {
		words[0] = binary.BigEndian.Uint64(key)
		return
	}
	words[0] = maphash.Bytes(h.seeds[0], key)
	words[1] = maphash.Bytes(h.seeds[1], key)
}

// spread mixes the bits of a key's first word (the finaliser of SplitMix64, Steele et
// al. 2014): the upper ones choose a part, the lower ones a place in it.
func spread(word uint64) uint64 {
	word = (word ^ word>>30) * 0xbf58476d1ce4e5b9
	word = (word ^ word>>27) * 0x94d049bb133111eb
	return word ^ word>>31
}

// partOf chooses one of parts, a power of two, for a key.
func partOf(word uint64, parts int) int {
	return int(spread(word) >> (64 - bits.TrailingZeros(uint(parts))))
}

// groups puts records of a part together by key. Its memory is used again.
type groups struct {
	keyWords int
	table    []int32 // place of a key in keys, plus one
	keys     []uint64
}

// reset empties it and makes room for n keys.
func (g *groups) reset(keyWords, n int) {
	size := 16
	for size < 2*n {
		size *= 2
	}
	if cap(g.table) < size {
		g.table = make([]int32, size)
	}
	g.table = g.table[:size]
	clear(g.table)
	g.keyWords, g.keys = keyWords, g.keys[:0]
}

// len is the number of keys.
func (g *groups) len() int { return len(g.keys) / g.keyWords }

// find returns the number of a key, -1 if it is not there.
func (g *groups) find(key []uint64) int {
	mask := uint64(len(g.table) - 1)
	for i := spread(key[0]) & mask; ; i = (i + 1) & mask {
		n := int(g.table[i]) - 1
		if n < 0 || g.same(n, key) {
			return n
		}
	}
}

// add returns the number of a key, which is a new one if it was not there. No more keys
// are added than reset made room for.
func (g *groups) add(key []uint64) int {
	mask := uint64(len(g.table) - 1)
	for i := spread(key[0]) & mask; ; i = (i + 1) & mask {
		n := int(g.table[i]) - 1
		if n < 0 {
			g.keys = append(g.keys, key[:g.keyWords]...)
			n = g.len() - 1
			g.table[i] = int32(n + 1)
			return n
		}
		if g.same(n, key) {
			return n
		}
	}
}

func (g *groups) same(n int, key []uint64) bool {
	if g.keyWords == 1 {
		return g.keys[n] == key[0]
	}
	return g.keys[2*n] == key[0] && g.keys[2*n+1] == key[1]
}
