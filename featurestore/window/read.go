// SPDX-License-Identifier: Apache-2.0

package window

import (
	"fmt"
	"time"
)

// Aggregator runs a view. It holds scratch memory that grows to what the view needs, so
// that reading and updating do not allocate, and is for one goroutine at a time.
type Aggregator struct {
	view *View
	read []ir
	finisher
	tails  []int64 // of the spans
	order  []int   // spans of a group, newest tail first
	active []int   // primitives that spans still to come need
	row    row
	gather gather
	wide   []float64 // for Read32

	folder folder
	series []runner
}

// NewAggregator returns an Aggregator of the view.
func (v *View) NewAggregator() *Aggregator {
	return &Aggregator{
		view: v, read: v.newIRs(), gather: newGather(v), tails: make([]int64, len(v.spans)), wide: make([]float64, v.width),
		order: make([]int, 0, len(v.spans)), active: make([]int, 0, len(v.prims)),
		row: row{values: make([]float64, len(v.def.Columns)), keys: make([]uint64, len(v.def.Keys))},
	}
}

// View returns the view it runs.
func (a *Aggregator) View() *View { return a.view }

// Read computes all features at a time, into slices of View.Width elements. It does not
// change the state and does not allocate.
//
// missed is zero when every value is exact. Otherwise the edge of some window fell into a
// tile, and missed is by how much at most the window is off; a tile counts where its newest
// event does. That happens to states that were coarsened to keep their bounds, and to
// reads before State.Now.
//
// Errors: ErrArguments for slices of the wrong length, ErrView for a state of another view.
func (a *Aggregator) Read(s *State, at int64, into []float64, status []Status) (missed time.Duration, err error) {
	v := a.view
	if len(into) != v.width || len(status) != v.width || at < -timeMax || at > timeMax {
		return 0, fmt.Errorf("%w: %d values and %d status at time %d, the view has %d", ErrArguments, len(into),
			len(status), at, v.width)
	}
	if s.view != v.tag && s.view != 0 {
		return 0, ErrView
	}
	newest, found := s.newest(at)
	var off int64
	if found {
		for i := range v.groups {
			off = max(off, a.walk(s, &v.groups[i], at, into, status))
		}
	}
	v.conclude(at, newest, found, into, status)
	return time.Duration(off) * time.Microsecond, nil
}

// Read32 is Read for float32 values, each rounded to nearest.
func (a *Aggregator) Read32(s *State, at int64, into []float32, status []Status) (time.Duration, error) {
	if len(into) != a.view.width {
		return 0, fmt.Errorf("%w: %d values, the view has %d", ErrArguments, len(into), a.view.width)
	}
	missed, err := a.Read(s, at, a.wide, status)
	if err == nil {
		for i, x := range a.wide {
			into[i] = float32(x)
		}
	}
	return missed, err
}

// newest returns the time of the newest event not after at.
func (s *State) newest(at int64) (int64, bool) {
	if s.view == 0 {
		return 0, false
	}
	end, newest := len(s.body), s.last
	for end > 0 && newest > at {
		e := entryAt(s.body, end, newest)
		newest, end = newest-e.difference, e.start
	}
	if end == 0 {
		newest = never
	}
	if s.dropped <= at {
		newest = max(newest, s.dropped)
	}
	return newest, newest != never
}

// walk computes the features of one delay: from the end of their windows back, everything
// into one set of partial results, and at the tail of each window its features out of it.
func (a *Aggregator) walk(s *State, g *group, at int64, into []float64, status []Status) int64 {
	remaining := a.begin(g, at)
	edge, b := at-g.delay, s.body
	end, newest, off := skip(b, len(b), s.last, edge)
	next := 0
	for end > 0 {
		for newest <= a.tails[a.order[next]] {
			remaining = a.emit(g, next, remaining, edge, into, status)
			if next++; next == len(a.order) {
				return off
			}
		}
		tail := a.tails[a.order[next]]
		if end, newest = a.gather.run(b, end, newest, tail); a.gather.n > 0 {
			for _, p := range a.active {
				a.read[p].addAll(&a.gather)
			}
			continue
		}
		e := entryAt(b, end, newest)
		off = max(off, a.mergeEntry(b, &e, tail))
		newest, end = newest-e.difference, e.start
	}
	for ; next < len(a.order); next++ {
		remaining = a.emit(g, next, remaining, edge, into, status)
	}
	return off
}

// begin orders the spans of a group by tail, newest first, and clears what they need.
func (a *Aggregator) begin(g *group, at int64) (remaining uint64) {
	a.order = a.order[:0]
	for _, i := range g.spans {
		a.tails[i] = a.view.spans[i].tail(at)
		a.order = append(a.order, i)
		for k := len(a.order) - 1; k > 0 && a.tails[a.order[k-1]] < a.tails[i]; k-- {
			a.order[k], a.order[k-1] = a.order[k-1], a.order[k]
		}
		remaining |= 1 << i
	}
	for _, m := range g.prims {
		a.read[m.prim].reset()
	}
	a.activate(g, remaining)
	return remaining
}

// activate lists the primitives that the remaining spans need.
func (a *Aggregator) activate(g *group, remaining uint64) {
	a.active = a.active[:0]
	for _, m := range g.prims {
		if m.spans&remaining != 0 {
			a.active = append(a.active, m.prim)
		}
	}
}

// emit finishes the features of the next span in order and returns the spans that remain.
func (a *Aggregator) emit(g *group, next int, remaining uint64, edge int64, into []float64, status []Status) uint64 {
	i := a.order[next]
	for _, f := range a.view.spans[i].features {
		a.finish(&a.view.features[f], a.read, edge, into, status)
	}
	remaining &^= 1 << i
	a.activate(g, remaining)
	return remaining
}

// mergeEntry adds an entry to the active partial results and returns by how much it reaches
// beyond the tail.
func (a *Aggregator) mergeEntry(b []byte, e *entry, tail int64) int64 {
	if !e.tile {
		e.event(b, &a.row)
		for _, p := range a.active {
			a.read[p].add(&a.row)
		}
		return 0
	}
	oldest, at := e.span(b)
	for i, next := 0, 0; next < len(a.active); i++ {
		p := &a.view.prims[i]
		switch {
		case a.active[next] != i:
			at += p.encodedSize(b[at:e.body], uint64(e.newest-oldest))
		default:
			at += a.read[i].merge(b[at:e.body], e.newest)
			next++
		}
	}
	return missedBy(tail, oldest)
}

// missedBy returns how far an edge lies behind the oldest event of a tile that it cuts.
func missedBy(edge, oldest int64) int64 { return max(0, edge-oldest+1) }
