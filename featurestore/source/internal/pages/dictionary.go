// SPDX-License-Identifier: Apache-2.0

package pages

import (
	"encoding/binary"
	"math"
	"math/bits"
)

const (
	// dictionaryMax bounds the values of a dictionary: indexes of 12 bits.
	dictionaryMax  = 1 << 12
	dictionarySlot = 15 // bits of the table's size
)

// dictionary numbers the values of a column in the order of their appearance. Numbers
// are kept by their bits.
type dictionary struct {
	words []uint64
	texts []string
	byTxt map[string]int32
	table []int32 // 1 + number of the value; 0 is free
}

func (d *dictionary) size() int { return len(d.words) + len(d.texts) }

// index fills e.indexes, and says whether a dictionary saves room.
func (e *Encoder) index(c *Column, v *Values) bool {
	d := &e.dictionary
	d.words, d.texts = d.words[:0], d.texts[:0]
	e.indexes = grow(e.indexes, v.Rows+8)[:0]
	width := 8
	switch c.Kind {
	case Bools:
		return false
	case Texts:
		return e.indexTexts(v)
	case Floats:
		if !e.indexFloats(c, v) {
			return false
		}
		if c.Single {
			width = 4
		}
	default:
		if !e.indexInts(v) {
			return false
		}
	}
	n := len(e.indexes)
	return n > 0 && width*d.size()+n*bits.Len(uint(d.size()))/8 < width*n
}

func (d *dictionary) clear() {
	if d.table == nil {
		d.table = make([]int32, 1<<dictionarySlot)
		return
	}
	clear(d.table)
}

// number finds a word or adds it; -1 if there are too many.
func (d *dictionary) number(x uint64) int32 {
	// Fibonacci hashing (Knuth, TAOCP 3, 6.4); the upper bits of a float vary most.
	slot := (x ^ x>>32) * 0x9e3779b97f4a7c15 >> (64 - dictionarySlot)
	for {
		switch n := d.table[slot]; {
		case n == 0:
			if len(d.words) == dictionaryMax {
				return -1
			}
			d.words = append(d.words, x)
			d.table[slot] = int32(len(d.words))
			return int32(len(d.words)) - 1
		case d.words[n-1] == x:
			return n - 1
		}
		slot = (slot + 1) & (1<<dictionarySlot - 1)
	}
}

func (e *Encoder) indexFloats(c *Column, v *Values) bool {
	e.dictionary.clear()
	for _, x := range v.Numbers {
		if x != x {
			continue
		}
		word := math.Float64bits(x)
		if c.Single {
			word = uint64(math.Float32bits(float32(x)))
		}
		n := e.number(word)
		if n < 0 {
			return false
		}
		e.indexes = append(e.indexes, n)
	}
	return true
}

func (e *Encoder) indexInts(v *Values) bool {
	e.dictionary.clear()
	for i, x := range v.Ints {
		if len(v.Nulls) > 0 && v.Nulls[i] {
			continue
		}
		n := e.number(uint64(x))
		if n < 0 {
			return false
		}
		e.indexes = append(e.indexes, n)
	}
	return true
}

func (e *Encoder) indexTexts(v *Values) bool {
	d := &e.dictionary
	if d.byTxt == nil {
		d.byTxt = map[string]int32{}
	}
	clear(d.byTxt)
	bytes, all := 0, 0
	for i, x := range v.Texts {
		if len(v.Nulls) > 0 && v.Nulls[i] {
			continue
		}
		n, ok := d.byTxt[x]
		if !ok {
			if len(d.texts) == dictionaryMax {
				return false
			}
			n = int32(len(d.texts))
			d.byTxt[x], d.texts = n, append(d.texts, x)
			bytes += 4 + len(x)
		}
		all += 4 + len(x)
		e.indexes = append(e.indexes, n)
	}
	return len(e.indexes) > 0 && bytes+len(e.indexes)*bits.Len(uint(len(d.texts)))/8 < all
}

// appendPlain appends the values in order.
func (d *dictionary) appendPlain(to []byte, c *Column) []byte {
	for _, x := range d.words {
		if c.Single {
			to = binary.LittleEndian.AppendUint32(to, uint32(x))
		} else {
			to = binary.LittleEndian.AppendUint64(to, x)
		}
	}
	for _, x := range d.texts {
		to = appendText(to, x)
	}
	return to
}
