// SPDX-License-Identifier: Apache-2.0

package batching

// Kinds of heap an item can be in at the same time, one of each.
const (
	slotDeadline = iota // a level's items with a deadline, by deadline
	slotTimeout         // items whose time in the queue ends, by that time
	slotWait            // items that wait for company, by when they stop
	slotCount
)

// slot is an item's place in one heap.
type slot struct {
	at    int64 // the time it is ordered by
	index int   // one more than its position, 0 when it is not in the heap
}

// heap is a binary heap of items by time and then arrival. Each item knows its
// position, so that any of them can be taken out in O(log n). Items that come in the
// order of their times, as they do with equal timeouts, are added in O(1).
type heap struct {
	kind  int
	items []*Item
}

// top is the earliest item, nil when there is none.
func (h *heap) top() *Item {
	if len(h.items) == 0 {
		return nil
	}
	return h.items[0]
}

// next is the earliest time, never when the heap is empty.
func (h *heap) next() int64 {
	if len(h.items) == 0 {
		return never
	}
	return h.items[0].slots[h.kind].at
}

func (h *heap) push(it *Item, at int64) {
	it.slots[h.kind].at = at
	h.items = append(h.items, it)
	h.up(len(h.items)-1, it)
}

// remove takes an item out; one that is not in the heap is left alone.
func (h *heap) remove(it *Item) {
	i := it.slots[h.kind].index - 1
	if i < 0 {
		return
	}
	it.slots[h.kind].index = 0
	n := len(h.items) - 1
	moved := h.items[n]
	h.items[n] = nil
	h.items = h.items[:n]
	if i == n {
		return
	}
	if i > 0 && h.before(moved, h.items[(i-1)/2]) {
		h.up(i, moved)
	} else {
		h.down(i, moved)
	}
}

// up puts it at position i or, as far as it comes earlier, towards the top.
func (h *heap) up(i int, it *Item) {
	for i > 0 {
		parent := (i - 1) / 2
		if !h.before(it, h.items[parent]) {
			break
		}
		h.set(i, h.items[parent])
		i = parent
	}
	h.set(i, it)
}

// down puts it at position i or, as far as it comes later, towards the bottom.
func (h *heap) down(i int, it *Item) {
	for {
		child := 2*i + 1
		if child >= len(h.items) {
			break
		}
		if right := child + 1; right < len(h.items) && h.before(h.items[right], h.items[child]) {
			child = right
		}
		if !h.before(h.items[child], it) {
			break
		}
		h.set(i, h.items[child])
		i = child
	}
	h.set(i, it)
}

func (h *heap) set(i int, it *Item) {
	h.items[i] = it
	it.slots[h.kind].index = i + 1
}

func (h *heap) before(a, b *Item) bool {
	x, y := a.slots[h.kind].at, b.slots[h.kind].at
	return x < y || x == y && a.seq < b.seq
}
