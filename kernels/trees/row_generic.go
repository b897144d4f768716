// SPDX-License-Identifier: Apache-2.0

package trees

import (
	"encoding/binary"
	"math"
	"math/bits"
)

// binsGeneric writes the tables of a row, 2*half bytes a bank.
func binsGeneric(b *rowBins, x []float32, tables []uint8) {
	for i, slot := range b.slots {
		v := x[slot[0]]
		bounds := b.bounds[slot[2]:]
		block := countReached(bounds[:16], v)
		bin := 16*block + countReached(bounds[16+16*block:][:16], v)
		if v != v {
			bin |= int(slot[1])
		}
		at := i/b.half*2*b.half + i%b.half
		tables[at], tables[at+b.half] = uint8(bin), ^uint8(bin)
	}
}

func countReached(bounds []float32, v float32) int {
	n := 0
	for _, b := range bounds {
		if v >= b {
			n++
		}
	}
	return n
}

// lanesGeneric adds the values of the leaves of the last group to the sum, and finds
// the leaves or twigs of a group.
func lanesGeneric(span *rowSpan, g, last *rowGroup, st *rowState) {
	if last.trees > 0 {
		sumGeneric(span, last, st)
	}
	bins := &span.bins
	tables, ids := st.tables, &st.ids[st.turn]
	st.turn ^= 1
	steps, banks := g.steps, bins.banks()
	clear(ids[:])
	for i := range g.planes {
		var cleared [laneCount]uint8
		for bank := range banks {
			table := tables[bank*2*bins.half:][:2*bins.half]
			for range g.counts[i*banks+bank] {
				for lane := range laneCount {
					if table[steps[lane]] > steps[laneCount+lane] {
						cleared[lane] |= steps[2*laneCount+lane]
					}
				}
				steps = steps[stepBytes:]
			}
		}
		for lane, c := range cleared {
			if c != 255 {
				ids[lane] = uint8((g.planes-1-i)*planeSize + bits.TrailingZeros8(^c))
			}
		}
	}
}

// sumGeneric adds the values of the leaves of the last group to the sum.
func sumGeneric(span *rowSpan, last *rowGroup, st *rowState) {
	findWords(span, last, st)
	st.sum = addWords(st.words[:last.trees], st.sum)
}

// twigsGeneric finds what the leaves of the twigs give that the last group has found.
func twigsGeneric(span *rowSpan, g *rowGroup, st *rowState) {
	for lane, id := range st.found()[:g.trees] {
		twig := span.twigs[(int(g.first[lane])+int(id))*twigBytes:][:twigBytes]
		holds := uint16(0)
		for i := range twigSize {
			if st.tables[twig[i]] > twig[twigBounds+i] {
				holds |= 1 << i
			}
		}
		leaf := 0
		for leaf < twigSize-1 && holds&binary.LittleEndian.Uint16(twig[twigClears+2*leaf:]) != 0 {
			leaf++
		}
		st.words[lane] = binary.LittleEndian.Uint32(twig[twigWords+4*leaf:])
	}
}

// addWords adds values in order.
func addWords(words []uint32, sum float32) float32 {
	for _, g := range words {
		sum += math.Float32frombits(g)
	}
	return sum
}
