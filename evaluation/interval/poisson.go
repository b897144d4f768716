// SPDX-License-Identifier: Apache-2.0

package interval

import (
	"encoding/binary"
	"math"
	"math/bits"
	"math/rand/v2"
)

// Counts from Poisson(1): a random byte gives a count by a table. 253 of the 256 bytes are
// shared among the counts 0 to 4, each having the whole part of 256 times its probability.
// The other three mean that another 64 bits choose, from what the whole parts left over.
// So probabilities are right to about 2^-52, though a count costs a byte of randomness and
// a load.

// countMax is the largest count that is drawn before the total is put right: more has a
// probability of 2e-20. A count is at most this and what is added to it: 256 and more, which
// a byte cannot hold, would take hundreds of additions to the same unit. They saturate.
const countMax = 20

// more marks bytes for which further bits choose.
const more = 0x80

// poisson has the count of a byte, or more.
var poisson, leftover = poissonTables()

// poissonTables computes the table, and from which random number on a count is at least 1,
// 2 and so on if the byte said more.
func poissonTables() (table [256]uint8, bounds [countMax]uint64) {
	var rest [countMax + 1]float64
	at, p, left := 0, math.Exp(-1), 0.0
	for k := range rest {
		whole := math.Floor(256 * p)
		for range int(whole) {
			table[at] = uint8(k)
			at++
		}
		rest[k] = 256*p - whole
		left += rest[k]
		p /= float64(k + 1)
	}
	for ; at < len(table); at++ {
		table[at] = more
	}
	sum := 0.0
	for k := range bounds {
		sum += rest[k] / left
		bounds[k] = math.MaxUint64
		if sum < 1 {
			bounds[k] = uint64(math.Ldexp(sum, 64))
		}
	}
	return table, bounds
}

// newSource is the randomness of a draw: of the seed and its number alone, so that it does
// not matter who computes it. ChaCha8 is fixed by its specification, and streams of
// different keys have nothing to do with each other.
func newSource(seed uint64, draw int) *rand.ChaCha8 {
	key := [32]byte{16: 'i', 17: 'n', 18: 't', 19: 'e', 20: 'r', 21: 'v', 22: 'a', 23: 'l'}
	binary.LittleEndian.PutUint64(key[0:], seed)
	binary.LittleEndian.PutUint64(key[8:], uint64(draw))
	return rand.NewChaCha8(key)
}

// fillPoisson fills counts and returns their sum.
func fillPoisson(counts []uint8, source *rand.ChaCha8) int {
	total := 0
	for ; len(counts) >= 8; counts = counts[8:] {
		eight := eightCounts(source)
		binary.LittleEndian.PutUint64(counts, eight)
		total += int(eight * 0x0101010101010101 >> 56) // at most 8*countMax
	}
	if len(counts) > 0 {
		eight := eightCounts(source)
		for i := range counts {
			counts[i] = uint8(eight)
			total += int(counts[i])
			eight >>= 8
		}
	}
	return total
}

// eightCounts draws eight counts, a byte each.
func eightCounts(source *rand.ChaCha8) uint64 {
	w := source.Uint64()
	low := uint64(poisson[uint8(w)]) | uint64(poisson[uint8(w>>8)])<<8 |
		uint64(poisson[uint8(w>>16)])<<16 | uint64(poisson[uint8(w>>24)])<<24
	high := uint64(poisson[uint8(w>>32)]) | uint64(poisson[uint8(w>>40)])<<8 |
		uint64(poisson[uint8(w>>48)])<<16 | uint64(poisson[uint8(w>>56)])<<24
	eight := low | high<<32
	if open := eight & 0x8080808080808080; open != 0 {
		return settle(eight, open, source)
	}
	return eight
}

// settle replaces the bytes that say more.
func settle(eight, open uint64, source *rand.ChaCha8) uint64 {
	for ; open != 0; open &= open - 1 {
		shift := bits.TrailingZeros64(open) - 7
		random, count := source.Uint64(), uint64(0)
		for count < countMax && random >= leftover[count] {
			count++
		}
		eight = eight&^(0xff<<shift) | count<<shift
	}
	return eight
}

// settleTotal adds units or takes them away until there are as many as there should be. The
// units are those of members, or all.
func settleTotal(counts []uint8, members []int32, total, want int, source *rand.ChaCha8) {
	random := rand.New(source)
	n := len(counts)
	if members != nil {
		n = len(members)
	}
	for total != want {
		unit := random.IntN(n)
		if members != nil {
			unit = int(members[unit])
		}
		switch {
		case total < want:
			if counts[unit] < math.MaxUint8 {
				counts[unit]++
			}
			total++
		case random.IntN(countMax) < int(counts[unit]): // in proportion to how often it is in
			counts[unit]--
			total--
		}
	}
}
