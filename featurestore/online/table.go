// SPDX-License-Identifier: Apache-2.0

package online

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"sync/atomic"
	"unsafe"

	"github.com/millrace-ml/millrace/featurestore/window"
)

// chunkLen is the number of entities that are allocated together, one bit of a mark
// each.
const chunkLen = 32

// table holds the entities of one table in one shard. Entities have slots, numbered
// over the chunks. What the collector need not look at, marks, heads, keys and index,
// is apart from the states and rows, which have one pointer each.
type table struct {
	index  index
	chunks []*chunk
	states []*[chunkLen]window.State // of a view
	rows   []*[chunkLen]row          // of a lookup
	lookup bool
	free   []uint32 // slots to be used again
	keys   []byte   // of keys that do not fit their head
	dead   int      // bytes of keys that nobody refers to
	used   int      // slots in use
	bytes  int64    // of slots in use and what they hold
}

// chunk is some entities but for what they hold.
type chunk struct {
	used    uint32 // slots in use
	dirty   uint32 // changed since they were copied for a checkpoint
	writing uint32 // copied for a checkpoint that is not finished
	pinned  uint32 // about to be updated: not to be evicted
	removed uint32 // known to be nothing, but not yet on disk
	recent  atomic.Uint32
	heads   [chunkLen]head
}

// head is who an entity is, and what it has.
type head struct {
	applied uint64 // newest sequence that it has
	key     uint64 // the key itself if it has up to 8 bytes, else its place in table.keys
	tag     uint32
	keyLen  uint32
}

// row is what is kept of an entity in a lookup.
type row struct {
	value         []byte // never written to: readers keep it
	time, arrival int64
	id            uint64
}

const (
	keyInHead  = 8
	stateBytes = int64(unsafe.Sizeof(window.State{}))
	rowBytes   = int64(unsafe.Sizeof(row{}))
	placeBytes = 8
	// slotBytes is what an entity takes up besides its state or row: the head, and its
	// place in an index that is half full.
	slotBytes = int64(unsafe.Sizeof(head{})) + 2*placeBytes
)

// newer reports whether an event replaces the row: by time, then arrival, then id.
func (r *row) newer(time, arrival int64, id uint64) bool {
	switch {
	case time != r.time:
		return time > r.time
	case arrival != r.arrival:
		return arrival > r.arrival
	}
	return id > r.id
}

func shortKey(key []byte) (k uint64) {
	if len(key) == 8 {
		return binary.LittleEndian.Uint64(key)
	}
	for i := len(key) - 1; i >= 0; i-- {
		k = k<<8 | uint64(key[i])
	}
	return k
}

// find returns the slot of a key, or -1.
func (t *table) find(hash uint64, key []byte) int {
	places := t.index.places
	if len(places) == 0 {
		return -1
	}
	tag, mask := uint32(hash), len(places)-1
	for i := int(tag) & mask; ; i = (i + 1) & mask {
		p := places[i]
		if p == 0 {
			return -1
		}
		if uint32(p>>32) == tag {
			if slot := int(uint32(p)) - 1; t.is(slot, key) {
				return slot
			}
		}
	}
}

// guess is find without a look at the key: the slot that it most likely has.
func (t *table) guess(hash uint64) int {
	places := t.index.places
	if len(places) == 0 {
		return -1
	}
	tag, mask := uint32(hash), len(places)-1
	for i := int(tag) & mask; places[i] != 0; i = (i + 1) & mask {
		if uint32(places[i]>>32) == tag {
			return int(uint32(places[i])) - 1
		}
	}
	return -1
}

// reach looks at what a slot holds.
func (t *table) reach(slot int) int {
	if !t.lookup {
		return t.state(slot).Len()
	}
	value := t.row(slot).value
	if len(value) == 0 {
		return 0
	}
	return int(value[0]) + int(value[len(value)-1])
}

func (t *table) is(slot int, key []byte) bool {
	h := t.head(slot)
	if int(h.keyLen) != len(key) {
		return false
	}
	if len(key) <= keyInHead {
		return h.key == shortKey(key)
	}
	return bytes.Equal(t.keys[h.key:h.key+uint64(h.keyLen)], key)
}

func (t *table) head(slot int) *head {
	return &t.chunks[slot/chunkLen].heads[slot%chunkLen]
}

func (t *table) state(slot int) *window.State { return &t.states[slot/chunkLen][slot%chunkLen] }

func (t *table) row(slot int) *row { return &t.rows[slot/chunkLen][slot%chunkLen] }

// mark returns the chunk of a slot and its bit there.
func (t *table) mark(slot int) (*chunk, uint32) {
	return t.chunks[slot/chunkLen], 1 << (slot % chunkLen)
}

// appendKey appends the key of a slot.
func (t *table) appendKey(dst []byte, slot int) []byte {
	h := t.head(slot)
	if h.keyLen > keyInHead {
		return append(dst, t.keys[h.key:h.key+uint64(h.keyLen)]...)
	}
	for k, n := h.key, h.keyLen; n > 0; n-- {
		dst = append(dst, byte(k))
		k >>= 8
	}
	return dst
}

// insert adds an entity that is not there, with nothing in it.
func (t *table) insert(hash uint64, key []byte) int {
	slot := t.newSlot()
	h := t.head(slot)
	*h = head{tag: uint32(hash), keyLen: uint32(len(key))}
	if len(key) <= keyInHead {
		h.key = shortKey(key)
	} else {
		h.key = uint64(len(t.keys))
		t.keys = append(t.keys, key...)
	}
	t.index.add(h.tag, slot)
	t.bytes += t.slotCost(slot)
	return slot
}

func (t *table) newSlot() int {
	if len(t.free) == 0 {
		t.grow()
	}
	slot := int(t.free[len(t.free)-1])
	t.free = t.free[:len(t.free)-1]
	c, bit := t.mark(slot)
	c.used |= bit
	t.used++
	return slot
}

// grow adds a chunk.
func (t *table) grow() {
	first := len(t.chunks) * chunkLen
	t.chunks = append(t.chunks, new(chunk))
	if t.lookup {
		t.rows = append(t.rows, new([chunkLen]row))
	} else {
		t.states = append(t.states, new([chunkLen]window.State))
	}
	for slot := first + chunkLen - 1; slot >= first; slot-- {
		t.free = append(t.free, uint32(slot))
	}
}

// clear empties an entity and keeps its slot.
func (t *table) clear(slot int) {
	t.bytes -= t.contentBytes(slot)
	if t.lookup {
		*t.row(slot) = row{}
	} else {
		*t.state(slot) = window.State{}
	}
}

// contentBytes is the memory that an entity holds besides its slot.
func (t *table) contentBytes(slot int) int64 {
	if t.lookup {
		return int64(cap(t.row(slot).value))
	}
	return int64(t.state(slot).Bytes()) - stateBytes
}

// slotCost is the memory that an entity of nothing takes up.
func (t *table) slotCost(slot int) int64 {
	cost := slotBytes + stateBytes
	if t.lookup {
		cost = slotBytes + rowBytes
	}
	if n := t.head(slot).keyLen; n > keyInHead {
		cost += int64(n)
	}
	return cost
}

// memory is what the table takes up, slack included.
func (t *table) memory() int64 {
	m := t.bytes - int64(t.used)*slotBytes + int64(len(t.index.places))*placeBytes + int64(cap(t.free))*4 +
		int64(len(t.chunks))*int64(unsafe.Sizeof(chunk{})) + int64(cap(t.keys)-len(t.keys)+t.dead)
	if slack := int64(len(t.chunks)*chunkLen - t.used); t.lookup {
		m += slack * rowBytes
	} else {
		m += slack * stateBytes
	}
	return m
}

// remove gives a slot back.
func (t *table) remove(slot int) {
	t.clear(slot)
	t.bytes -= t.slotCost(slot)
	t.used--
	c, bit := t.mark(slot)
	c.used &^= bit
	c.dirty &^= bit
	c.writing &^= bit
	c.pinned &^= bit
	c.removed &^= bit
	c.recent.And(^bit)
	h := t.head(slot)
	t.index.remove(h.tag, slot)
	if h.keyLen > keyInHead {
		if t.dead += int(h.keyLen); t.dead > 4096 && 2*t.dead > len(t.keys) {
			t.packKeys()
		}
	}
	t.free = append(t.free, uint32(slot))
}

// packKeys leaves out keys that nobody refers to.
func (t *table) packKeys() {
	packed := make([]byte, 0, len(t.keys)-t.dead/2)
	for _, c := range t.chunks {
		for used := c.used; used != 0; used &= used - 1 {
			h := &c.heads[bits.TrailingZeros32(used)]
			if h.keyLen > keyInHead {
				at := uint64(len(packed))
				packed = append(packed, t.keys[h.key:h.key+uint64(h.keyLen)]...)
				h.key = at
			}
		}
	}
	t.keys, t.dead = packed, 0
}

// entities is the number of entities that are something.
func (t *table) entities() (n int64) {
	for _, c := range t.chunks {
		n += int64(bits.OnesCount32(c.used &^ c.removed))
	}
	return n
}
