// SPDX-License-Identifier: Apache-2.0

package batching

// Kinds of list an item can be in at the same time, one of each.
const (
	linkQueue   = iota // a level's items without a deadline, later the answered items
	linkArrival        // unanswered items in the order of arrival, with PreserveOrdering
	linkCount
)

type link struct{ next, prev *Item }

// list is a doubly linked list through the items themselves: O(1) and without
// allocation.
type list struct {
	kind        int
	first, last *Item
}

func (l *list) pushBack(it *Item) {
	it.links[l.kind] = link{prev: l.last}
	if l.last == nil {
		l.first = it
	} else {
		l.last.links[l.kind].next = it
	}
	l.last = it
}

func (l *list) pushFront(it *Item) {
	it.links[l.kind] = link{next: l.first}
	if l.first == nil {
		l.last = it
	} else {
		l.first.links[l.kind].prev = it
	}
	l.first = it
}

func (l *list) remove(it *Item) {
	at := it.links[l.kind]
	if at.prev == nil {
		l.first = at.next
	} else {
		at.prev.links[l.kind].next = at.next
	}
	if at.next == nil {
		l.last = at.prev
	} else {
		at.next.links[l.kind].prev = at.prev
	}
	it.links[l.kind] = link{}
}
