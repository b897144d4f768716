// SPDX-License-Identifier: Apache-2.0

package window

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// Query asks for an entity's features at a time, given what had arrived by another.
type Query struct {
	// At is the time asked for, in microseconds since 1970 UTC.
	At int64
	// AsOf bounds the arrival of the events that count; zero means the same as At.
	AsOf int64
}

func (q *Query) asOf() int64 {
	if q.AsOf == 0 {
		return q.At
	}
	return q.AsOf
}

// Series computes all features at all queries from all events of an entity, in one pass over
// both. The results are those that Update and Read would have given, bit for bit; but
// duplicates are found however far they lie apart, the first to arrive counts, and no bound
// on memory coarsens anything.
//
// Events come in any order, best by time. Queries are sorted: neither At nor AsOf ever goes
// back. Row i of the results has View.Width values, from i*Width on. It takes O(log) time per
// event that came in order, a few operations per event and window, and per query what the
// features cost.
//
// Errors: ErrArguments for wrong lengths or unsorted queries, ErrEvent for an event that does
// not fit the view.
func (a *Aggregator) Series(events []Event, queries []Query, into []float64, status []Status) error {
	v := a.view
	if len(into) != len(queries)*v.width || len(status) != len(into) || len(events) > math.MaxInt32 {
		return fmt.Errorf("%w: %d values and %d status for %d queries of %d over %d events", ErrArguments,
			len(into), len(status), len(queries), v.width, len(events))
	}
	for i := range queries {
		q := &queries[i]
		if q.At < -timeMax || q.At > timeMax ||
			i > 0 && (q.At < queries[i-1].At || q.asOf() < queries[i-1].asOf()) {
			return fmt.Errorf("%w: query %d is out of order or range", ErrArguments, i)
		}
	}
	b := backfill{view: v, events: events, queries: queries}
	if err := b.accept(); err != nil {
		return err
	}
	if a.series == nil {
		a.series = make([]runner, len(v.spans))
		for i := range a.series {
			a.series[i] = newRunner(v, &v.spans[i])
		}
	}
	for i := range v.groups {
		b.run(a, &v.groups[i], into, status)
	}
	b.conclude(into, status)
	return nil
}

// backfill is one call of Series.
type backfill struct {
	view    *View
	events  []Event
	queries []Query
	order   []int32 // accepted events by time and id: an index into it is a rank
	starts  []int32 // where the ranks that a query is the first to see begin in seen
	seen    []int32
}

// accept orders the events and leaves out those that are refused or there twice.
func (b *backfill) accept() error {
	for i := range b.events {
		e := &b.events[i]
		if err := b.view.check(e); err != nil {
			return fmt.Errorf("event %d: %w", i, err)
		}
		if b.view.acceptable(e) == Applied {
			b.order = append(b.order, int32(i))
		}
	}
	slices.SortStableFunc(b.order, func(i, j int32) int {
		x, y := &b.events[i], &b.events[j]
		return cmp.Or(cmp.Compare(x.Time, y.Time), cmp.Compare(x.ID, y.ID), cmp.Compare(x.arrival(), y.arrival()))
	})
	b.order = slices.CompactFunc(b.order, func(i, j int32) bool {
		return b.events[i].Time == b.events[j].Time && b.events[i].ID == b.events[j].ID
	})
	return nil
}

// reveal sorts the ranks by the first query at which an event has happened for a delay and arrived.
func (b *backfill) reveal(delay int64) {
	first := make([]int32, len(b.order))
	b.starts = append(b.starts[:0], make([]int32, len(b.queries)+2)...)
	b.seen = append(b.seen[:0], make([]int32, len(b.order))...)
	at := 0
	for r, i := range b.order {
		e := &b.events[i]
		for at < len(b.queries) && b.queries[at].At < e.Time+delay {
			at++
		}
		q := at
		if arrival := e.arrival(); q < len(b.queries) && b.queries[q].asOf() < arrival {
			later, _ := slices.BinarySearchFunc(b.queries[q:], arrival, func(q Query, t int64) int {
				return cmp.Compare(q.asOf(), t)
			})
			q += later
		}
		first[r] = int32(q)
		b.starts[q+1]++
	}
	for q := range len(b.queries) + 1 {
		b.starts[q+1] += b.starts[q]
	}
	next := slices.Clone(b.starts)
	for r, q := range first {
		b.seen[next[q]] = int32(r)
		next[q]++
	}
}

// run computes the features of one delay.
func (b *backfill) run(a *Aggregator, g *group, into []float64, status []Status) {
	b.reveal(g.delay)
	for _, i := range g.spans {
		a.series[i].reset()
	}
	visible := make([]int32, 0, len(b.order))
	width := b.view.width
	for q := range b.queries {
		at := b.queries[q].At
		for _, i := range g.spans {
			a.series[i].advance(b, visible, at)
		}
		for _, r := range b.seen[b.starts[q]:b.starts[q+1]] {
			p := len(visible)
			if p > 0 && visible[p-1] > r {
				p, _ = slices.BinarySearch(visible, r)
			}
			visible = slices.Insert(visible, p, r)
			a.row.set(&b.events[b.order[r]])
			for _, i := range g.spans {
				a.series[i].enter(&a.row)
			}
		}
		row, stat := into[q*width:(q+1)*width], status[q*width:(q+1)*width]
		for _, i := range g.spans {
			a.series[i].settle()
			for _, f := range b.view.spans[i].features {
				a.finish(&b.view.features[f], a.series[i].irs, at-g.delay, row, stat)
			}
		}
	}
}

// conclude finds the newest event of each query and sets the status that follows from it.
func (b *backfill) conclude(into []float64, status []Status) {
	b.reveal(0)
	newest, width := int64(never), b.view.width
	for q := range b.queries {
		for _, r := range b.seen[b.starts[q]:b.starts[q+1]] {
			newest = max(newest, b.events[b.order[r]].Time)
		}
		b.view.conclude(b.queries[q].At, newest, newest != never, into[q*width:(q+1)*width], status[q*width:(q+1)*width])
	}
}
