// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"cmp"
	"math"
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

// lookups computes the results of a part of a lookup.
func (w *worker) lookups(t *table, part int, out *spreader, block func(row uint64) int) error {
	keys, err := w.load(t, part, queryTime)
	if err != nil || keys == 0 {
		return err
	}
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
	w.happened.arrange(keys)
	for k := range keys {
		if err := w.join(t, w.happened.of(k), w.asked.of(k), out, block); err != nil {
			return err
		}
	}
	return nil
}

// seenFrom is the first moment at which a query can see a row.
func (w *worker) seenFrom(t *table, at int) int64 {
	if w.hindsight || t.fixed && !t.layout.bitemporal {
		return int64(w.events[at+t.layout.time()])
	}
	r, _ := t.row(w.events, int32(at))
	return max(r.time, r.arrival)
}

// join finds the row of each query of an entity. A result is the query's row, the time of
// what was found, and its content.
func (w *worker) join(t *table, rows, queries []moment, out *spreader, block func(row uint64) int) error {
	next, latest := 0, int32(-1)
	plain, newest := t.fixed && !t.layout.bitemporal, int64(math.MinInt64)
	for _, q := range queries {
		for ; next < len(rows) && rows[next].time <= q.time; next++ {
			r := &rows[next]
			// Rows seen from their time on come by time, and need a look only if it is the same.
			if latest < 0 || plain && r.time != newest || t.newer(w.events, r.at, latest) {
				latest, newest = r.at, r.time
			}
		}
		if latest < 0 {
			continue
		}
		r, content := t.row(w.events, latest)
		id := w.queries[int(q.at)+t.words+queryRow]
		words, err := out.record(block(id), resultHead+len(content))
		if err != nil {
			return err
		}
		words[0], words[1] = id, uint64(r.time)
		copy(words[resultHead:], content)
	}
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
