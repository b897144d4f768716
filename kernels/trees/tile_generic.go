// SPDX-License-Identifier: Apache-2.0

package trees

import "encoding/binary"

// searchGeneric fills the bit planes of columns for up to 64 rows of x, which begins at
// the first feature of their group.
func searchGeneric(columns []column, tables, x []float32, ldx, rows int, planes []uint64) {
	var values [wordRows]float32
	var places [wordRows]uint8
	for i := range columns {
		c := &columns[i]
		set := planes[int(c.planes)*planeSet:][:planeSet]
		if i == 0 || c.feature != columns[i-1].feature {
			for r := range rows {
				values[r] = x[r*ldx+int(c.feature)]
			}
		}
		set[planeSet-1] = missing(values[:rows])
		clear(places[:])
		table := tables[c.table:]
		for l := range int(c.levels) {
			set[int(c.levels)-1-l] = searchLevel(table[levelStart(l):][:1<<l], l, values[:rows], &places)
		}
	}
}

func missing(values []float32) (word uint64) {
	for r, v := range values {
		if v != v {
			word |= 1 << r
		}
	}
	return word
}

// searchLevel compares each value with the entry that its place names, and puts the
// outcome in bit l of its place.
func searchLevel(entries []float32, l int, values []float32, places *[wordRows]uint8) (word uint64) {
	mask := len(entries) - 1
	for r, v := range values {
		r := r & (wordRows - 1)
		var above uint64
		if v >= entries[int(places[r])&mask] {
			above = 1
		}
		word |= above << r
		places[r] |= uint8(above << (l & 7))
	}
	return word
}

// expandGeneric makes the words of truth of expansions, for tiles of 64 rows. After
// bit b, word j < 2^b says of which rows the low b bits of the place are above j.
func expandGeneric(expansions []expansion, planes, truth []uint64) {
	for i := range expansions {
		ex := &expansions[i]
		set := planes[int(ex.planes)*planeSet:][:planeSet]
		words := truth[ex.at:][:ex.words]
		nan := set[planeSet-1] & -uint64(ex.high)
		words[0] = 0
		for b, plane := range set[:planeSet-1] {
			plane |= nan
			n := min(1<<b, len(words))
			for j, w := range words[:n] {
				if j+1<<b < len(words) {
					words[j+1<<b] = w & plane
				}
				words[j] = w | plane
			}
		}
	}
}

// divideGeneric fills slots: for each node of a tree, from the rows that reach it those
// that go low and those that go high.
func (b *block) divideGeneric(t *pathTree, truth []uint64, slots *[pathSlots]uint64) {
	slots[0], slots[noRows] = ^uint64(0), 0
	out := slots[1:]
	for _, n := range b.nodes[t.node:][:2*t.pairs] {
		if len(out) < 2 {
			break // not in a tree of pathLeaves
		}
		word, reach := truth[n.word()], slots[n.slot()]
		out[0], out[1] = reach&^word, reach&word
		out = out[2:]
	}
	for _, x := range b.exports[t.export:][:t.exports] {
		truth[x.word()] = slots[x.slot()]
	}
}

// numberGeneric gives the number of the leaf that each of 64 rows ends in, from the
// slots of the tree.
func (b *block) numberGeneric(t *pathTree, slots *[pathSlots]uint64, ids *[wordRows]uint8) {
	var all [8]uint64
	planes := all[:]
	if t.kind == leaves32 {
		planes = planes[:5]
	}
	for _, flips := range b.flips[t.flip:][:t.flips] {
		for bit := range planes {
			planes[bit] ^= slots[flips[bit]>>2]
		}
	}
	for k := range wordRows / 8 { // of 8 rows each, their numbers
		var spread uint64
		for bit, plane := range planes {
			spread |= spreadBits[uint8(plane>>(8*k))] << bit
		}
		binary.LittleEndian.PutUint64(ids[8*k:], spread)
	}
}

// spreadBits has, by byte, the byte's bits as eight bytes of 0 or 1.
var spreadBits = func() (table [256]uint64) {
	for b := range table {
		for i := range 8 {
			table[b] |= uint64(b>>i&1) << (8 * i)
		}
	}
	return table
}()

// sumGeneric adds the values of single leaves to 64 sums.
func (b *block) sumGeneric(first, last int, values []float32, s *Scratch) {
	var ids [wordRows]uint8
	sum := (*[wordRows]float32)(s.sum)
	slots := (*[pathSlots]uint64)(s.slots)
	for i := first; i < last; i++ {
		t := &b.trees[i]
		b.divideGeneric(t, s.truth, slots)
		b.numberGeneric(t, slots, &ids)
		leaves := values[t.leaf:]
		for r, id := range &ids {
			sum[r] += leaves[id]
		}
	}
}

// numberTreesGeneric puts the leaf numbers of trees into s.ids, 64 a tree.
func (b *block) numberTreesGeneric(first, last int, s *Scratch) {
	slots := (*[pathSlots]uint64)(s.slots)
	for i := first; i < last; i++ {
		t := &b.trees[i]
		b.divideGeneric(t, s.truth, slots)
		b.numberGeneric(t, slots, (*[wordRows]uint8)(s.ids[(i-first)*wordRows:]))
	}
}
