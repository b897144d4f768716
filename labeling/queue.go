// SPDX-License-Identifier: Apache-2.0

package labeling

import "container/heap"

// place is where a task stands in a queue: higher priority first, then the older task.
type place struct {
	priority float64
	seq      uint64
}

func (a place) before(b place) bool {
	if a.priority != b.priority {
		return a.priority > b.priority
	}
	return a.seq < b.seq
}

// queue is a treap of tasks by place: a binary search tree whose shape follows from
// random heights (Seidel, Aragon 1996), so every operation takes about 2 ln n
// comparisons. Heights are hashes of sequences: the same tasks make the same tree.
type queue struct {
	root *node
	size int
}

type node struct {
	place
	height      uint64
	task        *task
	left, right *node
}

// mix is the finalizer of SplitMix64 (Steele, Lea, Flood 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// insert adds a task that is not in the queue.
func (q *queue) insert(t *task, at place) {
	n := &node{place: at, height: mix(at.seq), task: t}
	q.size++
	link := &q.root
	for *link != nil && (*link).height >= n.height {
		if at.before((*link).place) {
			link = &(*link).left
		} else {
			link = &(*link).right
		}
	}
	n.left, n.right = split(*link, at)
	*link = n
}

// split parts a tree into what comes before a place and what does not.
func split(n *node, at place) (left, right *node) {
	l, r := &left, &right
	for n != nil {
		if n.before(at) {
			*l = n
			l = &n.right
			n = n.right
		} else {
			*r = n
			r = &n.left
			n = n.left
		}
	}
	*l, *r = nil, nil
	return left, right
}

// remove takes the task at a place out, if there is one.
func (q *queue) remove(at place) {
	link := &q.root
	for *link != nil && (*link).place != at {
		if at.before((*link).place) {
			link = &(*link).left
		} else {
			link = &(*link).right
		}
	}
	if *link != nil {
		*link = join((*link).left, (*link).right)
		q.size--
	}
}

// join makes one tree of two, all of the first before all of the second.
func join(a, b *node) *node {
	var root *node
	link := &root
	for a != nil && b != nil {
		if a.height >= b.height {
			*link, a = a, a.right
			link = &(*link).right
		} else {
			*link, b = b, b.left
			link = &(*link).left
		}
	}
	if a == nil {
		a = b
	}
	*link = a
	return root
}

// from is the first task at a place or behind it, nil if there is none.
func (q *queue) from(at place) *node {
	var found *node
	for n := q.root; n != nil; {
		if n.before(at) {
			n = n.right
		} else {
			found, n = n, n.left
		}
	}
	return found
}

// leases is a heap of active leases, the first to expire on top.
type leases []*entry

var _ heap.Interface = (*leases)(nil)

// Len, Less, Swap, Push and Pop are for container/heap.
func (l leases) Len() int           { return len(l) }
func (l leases) Less(i, j int) bool { return l[i].lease.expires.Before(l[j].lease.expires) }
func (l leases) Swap(i, j int) {
	l[i], l[j] = l[j], l[i]
	l[i].lease.index, l[j].lease.index = i, j
}

// Push is for container/heap.
func (l *leases) Push(x any) {
	e := x.(*entry) // only entries are pushed
	e.lease.index = len(*l)
	*l = append(*l, e)
}

// Pop is for container/heap.
func (l *leases) Pop() any {
	last := len(*l) - 1
	e := (*l)[last]
	(*l)[last] = nil
	*l = (*l)[:last]
	return e
}
