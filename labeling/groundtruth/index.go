// SPDX-License-Identifier: Apache-2.0

package groundtruth

import "math"

// entry is a prediction in memory: 40 bytes, without pointers, so that ten million of
// them are no work for the garbage collector.
type entry struct {
	hash   uint64 // of the id
	time   int64
	record ref // of its details; the top bit says that it is mature
	head   ref // of its feedback, newest first
	// older and younger are the entity's neighbours by time and id, as slot+1. In a free
	// entry older is the next free one.
	older, younger uint32
}

const matureBit = ref(1) << refBits

func (e *entry) mature() bool { return e.record&matureBit != 0 }
func (e *entry) place() ref   { return e.record &^ matureBit }

const (
	chunkBits = 16
	chunkSize = 1 << chunkBits
)

// index finds predictions by the hash of their id, and that which is due first. What has
// the hash need not be the prediction asked for: the caller compares ids.
type index struct {
	chunks   []*[chunkSize]entry
	entities []*[chunkSize]uint64 // hash of the entity, if there are entities
	free     uint32               // slot+1
	used     int
	slots    uint32   // ever used
	table    []uint32 // slot+1, by hash, linear probing
	heap     []uint32 // slots by due
	memory   mapped   // of chunks and entities
	window   int64
	late     int64
}

func newIndex(window, late int64, entities bool) *index {
	x := &index{table: make([]uint32, 1024), window: window, late: late}
	if entities {
		x.entities = []*[chunkSize]uint64{}
	}
	return x
}

func (x *index) at(slot uint32) *entry { return &x.chunks[slot>>chunkBits][slot&(chunkSize-1)] }

func (x *index) entity(slot uint32) *uint64 { return &x.entities[slot>>chunkBits][slot&(chunkSize-1)] }

// due is when a prediction is to be looked at: at the end of its window, and then when
// it is to be forgotten.
func (x *index) due(slot uint32) int64 {
	e := x.at(slot)
	if e.mature() {
		return addTimes(e.time, x.window, x.late)
	}
	return addTimes(e.time, x.window)
}

// addTimes adds what is not negative, up to the end of time.
func addTimes(t int64, more ...int64) int64 {
	for _, d := range more {
		if t > math.MaxInt64-d {
			return math.MaxInt64
		}
		t += d
	}
	return t
}

// add takes a prediction in.
func (x *index) add(e entry) (slot uint32, err error) {
	if x.free > 0 {
		slot = x.free - 1
		x.free = x.at(slot).older
	} else {
		slot = x.slots
		x.slots++
		if int(slot>>chunkBits) == len(x.chunks) {
			if err := x.extend(); err != nil {
				x.slots--
				return 0, err
			}
		}
	}
	*x.at(slot) = e
	x.used++
	if x.used*2 > len(x.table) { // fuller, looking for what is not there touches many entries
		x.grow()
	}
	x.enter(slot)
	x.heap = append(x.heap, slot)
	x.up(len(x.heap) - 1)
	return slot, nil
}

// extend makes room for another chunk of predictions.
func (x *index) extend() error {
	if x.entities != nil && len(x.entities) == len(x.chunks) {
		e, err := newMapped[[chunkSize]uint64](&x.memory)
		if err != nil {
			return err
		}
		x.entities = append(x.entities, e)
	}
	c, err := newMapped[[chunkSize]entry](&x.memory)
	if err != nil {
		return err
	}
	x.chunks = append(x.chunks, c)
	return nil
}

// close gives the memory back; the index is not used after it.
func (x *index) close() {
	x.memory.close()
	x.chunks, x.entities, x.heap, x.table = nil, nil, nil, nil
}

func (x *index) enter(slot uint32) {
	mask := uint64(len(x.table) - 1)
	i := x.at(slot).hash & mask
	for x.table[i] != 0 {
		i = (i + 1) & mask
	}
	x.table[i] = slot + 1
}

func (x *index) grow() {
	x.table = make([]uint32, 2*len(x.table))
	for _, slot := range x.heap { // all but the one being added
		x.enter(slot)
	}
}

// each visits the predictions with a hash until visit returns true.
func (x *index) each(hash uint64, visit func(slot uint32) bool) {
	mask := uint64(len(x.table) - 1)
	for i := hash & mask; x.table[i] != 0; i = (i + 1) & mask {
		if slot := x.table[i] - 1; x.at(slot).hash == hash && visit(slot) {
			return
		}
	}
}

// removeFirst forgets the prediction that is due first.
func (x *index) removeFirst() {
	slot := x.heap[0]
	last := len(x.heap) - 1
	x.heap[0] = x.heap[last]
	x.heap = x.heap[:last]
	if last > 0 {
		x.down(0)
	}
	x.leave(slot)
	*x.at(slot) = entry{older: x.free}
	x.free = slot + 1
	x.used--
}

// leave takes a slot out of the table and moves back what was pushed behind it.
func (x *index) leave(slot uint32) {
	mask := uint64(len(x.table) - 1)
	i := x.at(slot).hash & mask
	for x.table[i] != slot+1 {
		i = (i + 1) & mask
	}
	for j := i; ; {
		x.table[i] = 0
		for {
			j = (j + 1) & mask
			if x.table[j] == 0 {
				return
			}
			home := x.at(x.table[j]-1).hash & mask
			if (j-home)&mask >= (j-i)&mask { // it may stand at i
				break
			}
		}
		x.table[i] = x.table[j]
		i = j
	}
}

func (x *index) up(i int) {
	for i > 0 {
		parent := (i - 1) / 2
		if x.due(x.heap[parent]) <= x.due(x.heap[i]) {
			return
		}
		x.heap[parent], x.heap[i] = x.heap[i], x.heap[parent]
		i = parent
	}
}

func (x *index) down(i int) {
	for {
		child := 2*i + 1
		if child >= len(x.heap) {
			return
		}
		if child+1 < len(x.heap) && x.due(x.heap[child+1]) < x.due(x.heap[child]) {
			child++
		}
		if x.due(x.heap[i]) <= x.due(x.heap[child]) {
			return
		}
		x.heap[i], x.heap[child] = x.heap[child], x.heap[i]
		i = child
	}
}
