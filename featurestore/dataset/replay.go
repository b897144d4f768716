// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"fmt"
	"unsafe"

	"github.com/millrace-ml/millrace/featurestore/window"
)

// Results that are computed by replaying the log carry marks, in the upper bits of the
// word that names their row.
const (
	// markGone: the record up to which events had been applied is not in the log.
	markGone = uint64(1) << 63
	// markInexact: the state had outgrown its bounds, and an edge of a window was missed.
	markInexact = uint64(1) << 62
	marks       = markGone | markInexact
)

// noExpiry stands for a vector that was not asked for before the newest arrival. The result
// of a view ends with it, or the time up to which events may have been dropped.
const noExpiry = 1 << 63

// replay computes the results of a part of a table from states, by the order of the log: a
// query sees the events up to the one that it names, as online.
func (w *worker) replay(t *table, part int, out *spreader, block func(row uint64) int) error {
	keys, err := w.load(t, part, queryApplied)
	if err != nil || keys == 0 {
		return err
	}
	w.happened.marks = w.happened.marks[:0]
	for at := 0; at < len(w.events); {
		size, order := t.recordAt(w.events[at:])
		if number := w.groups.find(w.events[at:]); number >= 0 {
			w.happened.marks = append(w.happened.marks, moment{time: int64(order >> 1), at: int32(at), number: int32(number)})
		}
		at += size
	}
	w.happened.arrange(keys)
	for k := range keys {
		var err error
		if events, queries := w.happened.of(k), w.asked.of(k); t.View != nil {
			err = w.replayView(t, events, queries, out, block)
		} else {
			err = w.replayLookup(t, events, queries, out, block)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", t.Name, err)
		}
	}
	return nil
}

// recordAt returns the size of an event's record and its order.
func (t *table) recordAt(words []uint64) (size int, order uint64) {
	l := &t.layout
	if t.View == nil && !t.fixed {
		w := words[l.key:]
		return l.key + rowHead + wordsFor(int(w[rowSize])), w[rowOrder]
	}
	return l.size(), words[l.order()]
}

// replayView goes over the events and queries of an entity.
func (w *worker) replayView(t *table, events, queries []moment, out *spreader, block func(row uint64) int) error {
	a := w.aggregator(t)
	var s window.State
	next, width := 0, t.view.Width()
	w.values, w.status = resize(w.values, width), resize(w.status, width)
	for _, q := range queries {
		for ; next < len(events) && events[next].time <= q.time; next++ {
			if err := t.apply(a, &s, w.events[events[next].at:]); err != nil {
				return err
			}
		}
		row, at := w.query(t, q)
		switch {
		case q.time == 0:
			continue // nothing was known of the entity
		case next == 0 || events[next-1].time != q.time:
			row |= markGone
		}
		missed, err := a.Read(&s, at, w.values, w.status)
		if err != nil {
			return err
		}
		if missed > 0 {
			row |= markInexact
		}
		words, err := out.record(block(row&^marks), t.resultSize(nil))
		if err != nil {
			return err
		}
		t.putResult(words, row, w.values, w.status)
		words[len(words)-1] = noExpiry
		if now, _ := s.Now(); at < now {
			words[len(words)-1] = uint64(t.reaches.expiry(now))
		}
	}
	return nil
}

// query returns the row of a query and the moment that it asks for.
func (w *worker) query(t *table, q moment) (row uint64, at int64) {
	words := w.queries[int(q.at)+t.words:]
	return words[queryRow], int64(words[queryTime])
}

// apply does to a state what the online store does.
func (t *table) apply(a *window.Aggregator, s *window.State, record []uint64) error {
	l := &t.layout
	values := record[l.value() : l.value()+l.values]
	e := window.Event{
		Time: int64(record[l.time()]), ID: record[l.id()], Arrival: int64(record[l.arrival()]),
		Values: unsafe.Slice((*float64)(unsafe.Pointer(unsafe.SliceData(values))), len(values)),
		Keys:   record[l.value()+l.values : l.arrival()],
	}
	late := record[l.late()]
	if record[l.order()]&1 == 0 {
		o, err := a.Update(s, &e)
		if err != nil || o != window.Duplicate {
			return err
		}
	}
	for c := range l.values {
		if late>>c&1 == 0 {
			continue
		}
		if _, err := a.Amend(s, e.Time, e.ID, t.columns[c], e.Values[c], e.Arrival); err != nil {
			return err
		}
	}
	return nil
}

// replayLookup goes over the rows and queries of an entity.
func (w *worker) replayLookup(t *table, rows, queries []moment, out *spreader, block func(row uint64) int) error {
	next, latest := 0, int32(-1)
	for _, q := range queries {
		for ; next < len(rows) && rows[next].time <= q.time; next++ {
			if at := rows[next].at; latest < 0 || t.newer(w.events[at:], w.events[latest:]) {
				latest = at
			}
		}
		if q.time == 0 {
			continue
		}
		row, at := w.query(t, q)
		gone := next == 0 || rows[next-1].time != q.time
		if gone {
			row |= markGone
		}
		var r joined
		content := make([]uint64, t.layout.values)
		if !t.fixed {
			content = make([]uint64, 1)
		}
		if latest >= 0 {
			r, content = t.row(w.events[latest:])
		}
		if !gone && (latest < 0 || r.time > at) {
			continue
		}
		words, err := out.record(block(row&^marks), resultHead+len(content))
		if err != nil {
			return err
		}
		words[0], words[1] = row, uint64(r.time)
		copy(words[resultHead:], content)
	}
	return nil
}
