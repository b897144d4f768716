// SPDX-License-Identifier: Apache-2.0

package batching

import "time"

// queue holds the items that wait, in dispatch order: level, then earliest due
// time, then arrival. Items without deadline cost O(1), others O(log n).
//
// An item enters the queue by add and leaves it by drop. Between the two it can be
// taken out of its level and restored while a batch is picked.
type queue struct {
	// levels are the priority levels, and last the one of delayed items.
	levels    []level
	objective time.Duration
	timeouts  heap
	waits     heap
	items     int
	rows      int
}

// level is one priority level.
type level struct {
	policy QueuePolicy
	// timed are the items with a deadline, plain those without, in order of arrival.
	timed heap
	plain list
	// held counts the queued items whose own level this is, for MaxQueueSize.
	held int
}

func newQueue(o *Options) queue {
	q := queue{
		levels:    make([]level, o.PriorityLevels+1),
		objective: o.LatencyObjective,
		timeouts:  heap{kind: slotTimeout},
		waits:     heap{kind: slotWait},
	}
	for i := range q.levels {
		q.levels[i] = level{policy: o.policy(i), timed: heap{kind: slotDeadline}, plain: list{kind: linkQueue}}
	}
	return q
}

// times are the times an item is queued with; never where one does not apply.
type times struct {
	order   int64 // when it is due, for its place among others; never is by arrival
	timeout int64 // when its time in the queue is over
	wait    int64 // when it stops waiting for company
}

func (q *queue) add(it *Item, t times) {
	q.items++
	q.rows += it.size
	q.levels[it.level].held++
	it.place = it.level
	it.slots[slotDeadline].at = t.order
	q.enter(it)
	if t.timeout != never {
		q.timeouts.push(it, t.timeout)
	}
	if t.wait != never {
		q.waits.push(it, t.wait)
	}
}

// first is the item to dispatch next, nil when all are taken. The due time of items
// without a deadline is their arrival and the latency objective, which is in order.
func (q *queue) first() *Item {
	for i := range q.levels {
		timed, plain := q.levels[i].timed.top(), q.levels[i].plain.first
		switch {
		case timed == nil && plain == nil:
			continue
		case timed == nil:
			return plain
		case plain == nil || q.objective == 0 || timed.Deadline <= after(plain.Enqueued, q.objective):
			return timed
		default:
			return plain
		}
	}
	return nil
}

// drop takes an item that is out of its level out of the rest of the queue.
func (q *queue) drop(it *Item) {
	q.items--
	q.rows -= it.size
	q.levels[it.level].held--
	q.timeouts.remove(it)
	q.waits.remove(it)
}

// take takes an item out of its level.
func (q *queue) take(it *Item) {
	l := &q.levels[it.place]
	if it.slots[slotDeadline].index > 0 {
		l.timed.remove(it)
	} else {
		l.plain.remove(it)
	}
}

// enter puts an item into its level, behind those of its kind that are due no later.
func (q *queue) enter(it *Item) {
	l := &q.levels[it.place]
	if at := it.slots[slotDeadline].at; at != never {
		l.timed.push(it, at)
	} else {
		l.plain.pushBack(it)
	}
}

// restore puts an item that was taken back to where it was. Items must be restored
// in the reverse order of taking.
func (q *queue) restore(it *Item) {
	l := &q.levels[it.place]
	if at := it.slots[slotDeadline].at; at != never {
		l.timed.push(it, at)
	} else {
		l.plain.pushFront(it)
	}
}

// delay moves an item behind all others; its timeout is spent.
func (q *queue) delay(it *Item) {
	q.take(it)
	q.timeouts.remove(it)
	it.place = len(q.levels) - 1
	q.enter(it)
}
