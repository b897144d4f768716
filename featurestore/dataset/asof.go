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
// A row can be seen from the later of its time and arrival, and from then on for good. So
// the queries of a key are put in order of time, and each row goes to the first that can
// see it, which keeps the latest; then the latest so far is handed on from query to
// query. Rows are looked at once, in any order: O(rows * log(queries of a key)), whatever
// the arrivals are. Age does not matter here: the TTL is looked at when values are read.

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

// row reads what tells a row apart, and what follows it.
func (t *table) row(w []uint64) (r joined, content []uint64) {
	l := &t.layout
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

// best is the latest row that a query was handed: when it happened, and where its record
// begins and ends in worker.kept, which has those of all queries.
type best struct {
	time  int64
	at    int
	size  int32 // in words, 0 for none
	spare int32 // that there is room for
}

// lookups computes the results of a part of a lookup.
func (w *worker) lookups(t *table, part int, out *spreader, block func(row uint64) int) error {
	keys, err := w.loadQueries(t, part, queryTime)
	if err != nil {
		return err
	}
	w.asked.arrange(keys)
	w.best = resize(w.best, len(w.asked.marks))
	clear(w.best)
	w.places, w.kept = append(w.places[:0], w.asked.starts...), w.kept[:0]
	w.events, err = t.events.each(part, w.events, func(words []uint64) { w.placeRows(t, words) })
	if err != nil {
		return err
	}
	for k := range keys {
		latest := best{}
		for i := w.asked.starts[k]; i < w.asked.starts[k+1]; i++ {
			if here := w.best[i]; here.size > 0 && w.beats(t, here.time, w.record(here), latest) {
				latest = here
			}
			if latest.size == 0 {
				continue
			}
			if err := w.found(t, &w.asked.marks[i], w.record(latest), out, block); err != nil {
				return err
			}
		}
	}
	return nil
}

// record is the record of a row that was kept.
func (w *worker) record(b best) []uint64 { return w.kept[b.at : b.at+int(b.size)] }

// placeRows hands each row of a block to the first query of its key that can see it. Rows
// that come by time find it where the one before was, or a little further.
func (w *worker) placeRows(t *table, words []uint64) {
	marks, size := w.asked.marks, t.layout.size()
	for ; len(words) > 0; words = words[size:] {
		if !t.fixed {
			size = t.layout.key + rowHead + wordsFor(int(words[t.layout.key+rowSize]))
		}
		number := w.groups.find(words)
		if number < 0 {
			continue
		}
		begin, end := w.asked.starts[number], w.asked.starts[number+1]
		happened, seen := w.seenFrom(t, words)
		place := w.places[number]
		if place < end && marks[place].time < seen {
			place++
		}
		if place > begin && marks[place-1].time >= seen || place < end && marks[place].time < seen {
			place = begin + firstAt(marks[begin:end], seen)
		}
		w.places[number] = place
		if place < end && w.beats(t, happened, words, w.best[place]) {
			w.keep(&w.best[place], happened, words[:size])
		}
	}
}

// keep keeps a row for a query, in place of the one that it had.
func (w *worker) keep(b *best, happened int64, record []uint64) {
	if n := int32(len(record)); n > b.spare {
		b.at, b.spare = len(w.kept), n
		w.kept = grow(w.kept, len(record))
	}
	b.time, b.size = happened, int32(len(record))
	copy(w.kept[b.at:], record)
}

// firstAt is the place of the first mark at a time or later.
func firstAt(marks []moment, time int64) int32 {
	low := 0
	for n := len(marks); n > 0; {
		half := (n + 1) / 2
		next := low
		if marks[low+half-1].time < time { // a move, not a jump
			next = low + half
		}
		low, n = next, n-half
	}
	return int32(low)
}

// beats says whether a row replaces another one, which may be none.
func (w *worker) beats(t *table, time int64, record []uint64, other best) bool {
	if other.size == 0 || time != other.time {
		return other.size == 0 || time > other.time
	}
	return t.newer(record, w.record(other))
}

// seenFrom is when a row happened, and the first moment at which a query can see it.
func (w *worker) seenFrom(t *table, record []uint64) (happened, seen int64) {
	if t.fixed && !t.layout.bitemporal {
		happened = int64(record[t.layout.time()])
		return happened, happened
	}
	r, _ := t.row(record)
	if w.hindsight {
		return r.time, r.time
	}
	return r.time, max(r.time, r.arrival)
}

// found writes the result of a query: its row, the time of what was found, and its content.
func (w *worker) found(t *table, q *moment, record []uint64, out *spreader, block func(row uint64) int) error {
	r, content := t.row(record)
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
func (t *table) newer(a, b []uint64) bool {
	x, first := t.row(a)
	y, second := t.row(b)
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
