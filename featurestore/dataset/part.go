// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"slices"
	"unsafe"

	"github.com/millrace-ml/millrace/featurestore/window"
)

// errPartTooLarge says that a part has more words than marks can point into.
var errPartTooLarge = errors.New("too many events of few entities: a part of them is larger than 16 GiB")

// A query is key, time, row, and, to replay the log, the sequence of the last event that
// it sees. The row is the batch it is in and its place there.
const (
	queryTime = iota // after the key
	queryRow
	queryApplied
)

// rowName names a row by the batch that holds it.
func rowName(batch, offset int) uint64 { return uint64(batch)<<32 | uint64(uint32(offset)) }

func batchOf(row uint64) int  { return int(row >> 32) }
func offsetOf(row uint64) int { return int(uint32(row)) }

// worker is the memory of a goroutine that computes results.
type worker struct {
	// hindsight says that events count from when they happened, if they arrived by asOf.
	hindsight       bool
	asOf            int64
	queries, events []uint64
	groups          groups
	asked, happened runs
	series          []window.Event
	times           []window.Query
	values          []float64
	status          []window.Status
	aggregators     map[*table]*window.Aggregator
	// best are the rows that the queries of a lookup were handed, kept their records, places
	// where the row of a key was handed last.
	best   []best
	kept   []uint64
	places []int32
}

// loadQueries reads a part of a table and marks its queries, by a word of theirs. It returns
// the number of keys; the queries are still in the order in which they were read.
func (w *worker) loadQueries(t *table, part, sortBy int) (keys int, err error) {
	if w.queries, err = t.queries.load(part, w.queries); err != nil {
		return 0, err
	}
	if len(w.queries) > math.MaxInt32 {
		return 0, errPartTooLarge
	}
	size := t.querySize()
	n := len(w.queries) / size
	w.groups.reset(t.words, n)
	w.asked.marks = resize(w.asked.marks, n)
	for i := range n {
		at := i * size
		w.asked.marks[i] = moment{time: int64(w.queries[at+t.words+sortBy]), at: int32(at), number: int32(w.groups.add(w.queries[at:]))}
	}
	return w.groups.len(), nil
}

// load is loadQueries, with the queries arranged, and the events.
func (w *worker) load(t *table, part, sortBy int) (keys int, err error) {
	if keys, err = w.loadQueries(t, part, sortBy); err != nil {
		return 0, err
	}
	w.asked.arrange(keys)
	if w.events, err = t.events.load(part, w.events); err != nil {
		return 0, err
	}
	if len(w.events) > math.MaxInt32 {
		return 0, errPartTooLarge
	}
	return keys, nil
}

// views computes the results of a part of a view.
func (w *worker) views(t *table, part int, out *spreader, block func(row uint64) int) error {
	keys, err := w.load(t, part, queryTime)
	if err != nil || keys == 0 {
		return err
	}
	size := t.layout.size()
	w.happened.marks = w.happened.marks[:0]
	for at := 0; at < len(w.events); at += size {
		if number := w.groups.find(w.events[at:]); number >= 0 {
			w.happened.marks = append(w.happened.marks, moment{time: int64(w.events[at+t.layout.time()]), at: int32(at), number: int32(number)})
		}
	}
	w.happened.arrange(keys)
	for k := range keys {
		if err := w.entity(t, w.happened.of(k), w.asked.of(k), out, block); err != nil {
			return fmt.Errorf("view %s: %w", t.Name, err)
		}
	}
	return nil
}

// entity computes the results of one entity.
func (w *worker) entity(t *table, events, queries []moment, out *spreader, block func(row uint64) int) error {
	if len(events) == 0 {
		return nil // what nothing is known of has no results
	}
	w.series = t.settle(w.series[:0], w.events, events)
	w.times = resize(w.times, len(queries))
	for i, q := range queries {
		w.times[i] = window.Query{At: q.time, AsOf: q.time}
		if w.hindsight {
			w.times[i].AsOf = w.asOf
		}
	}
	width := t.view.Width()
	w.values, w.status = resize(w.values, len(queries)*width), resize(w.status, len(queries)*width)
	if err := w.aggregator(t).Series(w.series, w.times, w.values, w.status); err != nil {
		return err
	}
	for i, q := range queries {
		row := w.queries[int(q.at)+t.words+queryRow]
		words, err := out.record(block(row), t.resultSize(nil))
		if err != nil {
			return err
		}
		t.putResult(words, row, w.values[i*width:(i+1)*width], w.status[i*width:(i+1)*width])
	}
	return nil
}

func (w *worker) aggregator(t *table) *window.Aggregator {
	a := w.aggregators[t]
	if a == nil {
		a = t.view.NewAggregator()
		w.aggregators[t] = a
	}
	return a
}

// settle turns the records of an entity, in order of time, into events: of those with one
// time and id the first to be acceptable counts, and the others only amend its late
// columns, as they would have online. The events refer to the words.
func (t *table) settle(to []window.Event, words []uint64, marks []moment) []window.Event {
	l := &t.layout
	sortTies(marks, func(a, b int32) int { return l.compare(words, a, b) })
	for i := 0; i < len(marks); {
		j := i + 1
		for j < len(marks) && marks[j].time == marks[i].time && words[int(marks[j].at)+l.id()] == words[int(marks[i].at)+l.id()] {
			j++
		}
		if e, ok := t.merge(words, marks[i:j]); ok {
			to = append(to, e)
		}
		i = j
	}
	return to
}

// compare orders records of one time by id, arrival, place in the log and content, so that
// the order in which they were read does not matter. Of two that arrived together the
// one with fewer nulls is first: it is the event, and the other amends it.
func (l *layout) compare(words []uint64, a, b int32) int {
	x, y := words[a:int(a)+l.size()], words[b:int(b)+l.size()]
	c := cmp.Compare(x[l.id()], y[l.id()])
	if c == 0 && l.bitemporal {
		c = cmp.Or(cmp.Compare(int64(x[l.arrival()]), int64(y[l.arrival()])), cmp.Compare(x[l.order()]>>1, y[l.order()]>>1),
			cmp.Compare(x[l.order()], y[l.order()]))
	}
	if c == 0 {
		c = cmp.Or(cmp.Compare(l.nulls(x), l.nulls(y)), slices.Compare(x, y))
	}
	return c
}

func (l *layout) nulls(record []uint64) (n int) {
	for _, v := range record[l.value() : l.value()+l.values] {
		if x := math.Float64frombits(v); x != x {
			n++
		}
	}
	return n
}

// merge makes one event of the records of one time and id, in order; false if none of them
// is an event.
func (t *table) merge(words []uint64, marks []moment) (e window.Event, ok bool) {
	l := &t.layout
	for _, m := range marks {
		record := words[m.at : int(m.at)+l.size()]
		switch {
		case !ok:
			if e, ok = t.event(record); ok && !l.bitemporal {
				return e, true // the others are the same event again, with nothing to amend
			}
		case record[l.late()] != 0:
			t.amend(&e, record)
		}
	}
	return e, ok
}

// event reads a record; false if it only amends or came too early or too late.
func (t *table) event(record []uint64) (e window.Event, ok bool) {
	l := &t.layout
	values := record[l.value() : l.value()+l.values]
	e = window.Event{
		Time: int64(record[l.time()]), ID: record[l.id()],
		Values: unsafe.Slice((*float64)(unsafe.Pointer(unsafe.SliceData(values))), len(values)),
		Keys:   record[l.value()+l.values : l.arrival()],
	}
	e.Arrival = e.Time
	if l.bitemporal {
		e.Arrival = int64(record[l.arrival()])
		ok = record[l.order()]&1 == 0
		late := e.Arrival - e.Time
		return e, ok && late <= t.latenessMax && -late <= t.futureMax
	}
	return e, true
}

// amend sets late columns that became known before they first counted.
func (t *table) amend(e *window.Event, record []uint64) {
	l := &t.layout
	for c := range l.values {
		if record[l.late()]>>c&1 == 0 {
			continue
		}
		if d := t.delays[c]; d < 0 || int64(record[l.arrival()]) <= e.Time+d {
			e.Values[c] = math.Float64frombits(record[l.value()+c])
		}
	}
}
