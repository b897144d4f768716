// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"cmp"
	"slices"
	"unsafe"

	"github.com/millrace-ml/millrace/featurestore/source"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// The point-in-time join of a lookup: for a query at time t, of the rows of its entity
// that had happened and arrived by t the latest, by time, arrival, id.
//
// Rows are sorted by the moment from which they can be seen, the later of time and
// arrival; from then on a row is seen for good. So one walk over rows and queries
// in order of time finds the row of every query: O(rows + queries), whatever the
// arrivals are. Age does not matter here: the TTL is looked at when values are read.

// A row of a lookup with texts is, after the key, time, id, arrival, order as in layout,
// size in bytes, bytes.
const (
	rowTime = iota
	rowID
	rowArrival
	rowOrder
	rowSize
	rowHead
)

// joined is what tells two rows apart.
type joined struct {
	time, arrival int64
	id, order     uint64
}

// row reads what tells the row at a place of the words apart, and what follows it.
func (t *table) row(words []uint64, at int32) (r joined, content []uint64) {
	l, w := &t.layout, words[at:]
	if !t.fixed {
		w = w[l.key:]
		return joined{int64(w[rowTime]), int64(w[rowArrival]), w[rowID], w[rowOrder]}, w[rowSize : rowHead+wordsFor(int(w[rowSize]))]
	}
	r = joined{time: int64(w[l.time()]), id: w[l.id()]}
	r.arrival = r.time
	if l.bitemporal {
		r.arrival, r.order = int64(w[l.arrival()]), w[l.order()]
	}
	return r, w[l.value() : l.value()+l.values]
}

// lookups computes the results of a part of a lookup: one walk over its rows and queries in
// order of time, with the latest row of each key at hand.
func (w *worker) lookups(t *table, part int, out *spreader, block func(row uint64) int) error {
	keys, err := w.loadQueries(t, part, queryTime)
	if err != nil || keys == 0 {
		return err
	}
	w.asked.sortByTime()
	w.rows(t)
	w.happened.sortByTime()
	w.latest = resize(w.latest, keys)
	for i := range w.latest {
		w.latest[i] = -1
	}
	rows, next := w.happened.marks, 0
	plain := t.fixed && !t.layout.bitemporal
	for i := range w.asked.marks {
		q := &w.asked.marks[i]
		for ; next < len(rows) && rows[next].time <= q.time; next++ {
			r := &rows[next]
			// Rows seen from their time on come by time, and need a look only if it is the same.
			if before := w.latest[r.number]; before < 0 || plain && uint64(r.time) != w.events[int(before)+t.layout.time()] || t.newer(w.events, r.at, before) {
				w.latest[r.number] = r.at
			}
		}
		if found := w.latest[q.number]; found >= 0 {
			if err := w.found(t, q, found, out, block); err != nil {
				return err
			}
		}
	}
	return nil
}

// rows marks the rows of a part whose keys somebody asks for.
func (w *worker) rows(t *table) {
	w.happened.marks = w.happened.marks[:0]
	size := t.layout.size()
	for at := 0; at < len(w.events); at += size {
		if !t.fixed {
			size = t.layout.key + rowHead + wordsFor(int(w.events[at+t.layout.key+rowSize]))
		}
		if number := w.groups.find(w.events[at:]); number >= 0 {
			w.happened.marks = append(w.happened.marks, moment{time: w.seenFrom(t, at), at: int32(at), number: int32(number)})
		}
	}
}

// seenFrom is the first moment at which a query can see a row.
func (w *worker) seenFrom(t *table, at int) int64 {
	if w.hindsight || t.fixed && !t.layout.bitemporal {
		return int64(w.events[at+t.layout.time()])
	}
	r, _ := t.row(w.events, int32(at))
	return max(r.time, r.arrival)
}

// found writes the result of a query: its row, the time of what was found, and its content.
func (w *worker) found(t *table, q *moment, row int32, out *spreader, block func(row uint64) int) error {
	r, content := t.row(w.events, row)
	id := w.queries[int(q.at)+t.words+queryRow]
	words, err := out.record(block(id), resultHead+len(content))
	if err != nil {
		return err
	}
	words[0], words[1] = id, uint64(r.time)
	copy(words[resultHead:], content)
	return nil
}

// resultHead is the number of words of a result of a lookup before the content.
const resultHead = 2

// newer says whether row a replaces row b. Of rows equal in all that counts the one logged
// first stays, and then the one whose content is lower, so that the order of reading
// does not matter.
func (t *table) newer(words []uint64, a, b int32) bool {
	x, first := t.row(words, a)
	y, second := t.row(words, b)
	if x.time != y.time {
		return x.time > y.time
	}
	return cmp.Or(cmp.Compare(x.arrival, y.arrival), cmp.Compare(t.idOf(&x), t.idOf(&y)), cmp.Compare(y.order, x.order),
		slices.Compare(second, first)) > 0
}

// idOf is the id of a row as the log would know it.
func (t *table) idOf(r *joined) uint64 {
	if r.order != 0 || t.hashesIDs() {
		return r.id
	}
	name := source.AppendRowID(make([]byte, 0, 40), int64(r.id))
	return window.KeyOf(unsafe.String(unsafe.SliceData(name), len(name)))
}
