// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/millrace-ml/millrace/featurestore/online"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

const (
	// batchEvents and batchBytes bound the events from the log that go to the writer
	// together, batchesMax how many such batches there are.
	batchEvents = 1024
	batchBytes  = 4 << 20
	batchesMax  = 3
)

// batch is events from the log.
type batch struct {
	events []Event
	copies Copies
}

// loader collects events from the log for the writer. They are applied while the next
// ones are read; an error shows at a later one or at the end.
type loader struct {
	store *Store
	free  chan *batch // those that are not under way
	// err is the first error of the writer, which does not wait for mu.
	err atomic.Pointer[error]
	mu  struct {
		sync.Mutex
		current *batch
		mine    []plan.Update // scratch
		// outOfOrder: what Rebuild listed is being computed. rebuilt marks, for each bucket and
		// table, what is or was, from a log that ended at end.
		outOfOrder bool
		rebuilt    [][]bool
		end        uint64
	}
}

func newLoader(s *Store) *loader {
	l := &loader{store: s, free: make(chan *batch, batchesMax)}
	for range batchesMax {
		l.free <- &batch{}
	}
	return l
}

// recoveryKey marks the context that Options.Recover is given.
type recoveryKey struct{}

// loading reports whether the caller is the one who brings the states up to the log.
func (s *Store) loading(ctx context.Context) bool {
	switch s.at() {
	case opening:
		return true
	case recovering:
		return ctx.Value(recoveryKey{}) != nil
	}
	return false
}

// rebuilding reports whether the caller computes the tables that Rebuild listed.
func (s *Store) rebuilding(ctx context.Context) bool {
	s.loader.mu.Lock()
	defer s.loader.mu.Unlock()
	return s.loader.mu.outOfOrder && s.loading(ctx)
}

// Rebuild implements online.Store: it lists the tables that Redis does not have up to any
// place in the log. Until ReplayFrom is called, or a new event is pushed, what is given to
// Apply is taken to be the log's events for these tables, in any order; then Apply does
// not wait for Redis, and all outcomes are window.Applied. What the other tables have is
// left alone.
func (s *Store) Rebuild() []int {
	if s.options.Log == "" || s.options.Position() == 0 {
		return nil
	}
	l := s.loader
	l.mu.Lock()
	defer l.mu.Unlock()
	rebuilt, tables := make([][]bool, len(s.buckets)), []int(nil)
	for b := range s.buckets {
		rebuilt[b] = make([]bool, len(s.tables))
		for t, r := range s.buckets[b].record.Load().tables {
			rebuilt[b][t] = !r.known
			if !r.known && !slices.Contains(tables, t) {
				tables = append(tables, t)
			}
		}
	}
	if len(tables) == 0 {
		return nil
	}
	slices.Sort(tables)
	l.mu.outOfOrder, l.mu.rebuilt, l.mu.end = true, rebuilt, s.options.Position()
	if err := s.begin(s.ctx, rebuilt); err != nil {
		l.fail(err)
	}
	return tables
}

// ReplayFrom implements online.Store. It is the place in the log up to which Redis has
// everything, of the tables that need not be rebuilt.
func (s *Store) ReplayFrom() uint64 {
	if s.options.Log == "" {
		return nothingToReplay
	}
	s.loader.mu.Lock()
	s.loader.mu.outOfOrder = false
	s.loader.mu.Unlock()
	return s.through()
}

// through is the lowest place in the log up to which some table has everything.
func (s *Store) through() uint64 {
	through, found := uint64(math.MaxUint64), false
	for b := range s.buckets {
		for _, r := range s.buckets[b].record.Load().tables {
			if r.known {
				through, found = min(through, r.through), true
			}
		}
	}
	if !found {
		return s.options.Position()
	}
	return through
}

// Replay implements online.Store. It returns before the event is applied; an error shows
// at a later call, or when the first push or read or Checkpoint ends the replay. An update
// that does not fit its table any more is counted and passed over.
func (s *Store) Replay(ctx context.Context, updates []plan.Update, sequence uint64) error {
	if !s.loading(ctx) {
		if err := s.usable(ctx); err != nil {
			return err
		}
		return fmt.Errorf("redis at %s: a replay has to come before the first push", s.conn.address)
	}
	s.loader.mu.Lock()
	defer s.loader.mu.Unlock()
	return s.loader.add(ctx, Event{Updates: updates, sequence: sequence, replayed: true})
}

// rebuild takes events that Apply is given while tables are rebuilt, up to one that is not
// from the log: that is a push, which ends the rebuild. It returns how many it took.
func (s *Store) rebuild(ctx context.Context, events []Event) (n int, err error) {
	l := s.loader
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range events {
		e := &events[i]
		if e.Err == nil && e.Record != nil {
			e.sequence, e.Err = e.Record()
		}
		if e.Err != nil {
			continue
		}
		if e.sequence == 0 || e.sequence > l.mu.end {
			if drawn := e.sequence; drawn != 0 {
				e.Record = func() (uint64, error) { return drawn, nil }
			}
			l.mu.outOfOrder = false
			return i, nil
		}
		if err := l.add(ctx, Event{Updates: e.Updates, sequence: e.sequence, rebuilt: true}); err != nil {
			return i, err
		}
		for k := range e.Updates {
			e.Outcomes[k] = window.Applied
		}
	}
	return len(events), nil
}

// add copies an event into the current batch, and sends it off when it is full. l.mu is
// held.
func (l *loader) add(ctx context.Context, e Event) error {
	if err := l.err.Load(); err != nil {
		return *err
	}
	e.Updates = l.concerned(&e)
	if len(e.Updates) == 0 {
		return nil
	}
	if l.mu.current == nil {
		select {
		case l.mu.current = <-l.free:
		case <-ctx.Done():
			return ctx.Err()
		case <-l.store.writer.exited:
			return online.ErrClosed
		}
	}
	b := l.mu.current
	e.Updates = b.copies.Add(e.Updates)
	b.events = append(b.events, e)
	if len(b.events) == batchEvents || b.copies.size() >= batchBytes {
		return l.send(ctx)
	}
	return nil
}

// concerned returns the updates that are still to be applied, as far as the tables tell.
func (l *loader) concerned(e *Event) []plan.Update {
	s, mine := l.store, l.mu.mine[:0]
	for i := range e.Updates {
		u := &e.Updates[i]
		if u.Table < 0 || u.Table >= len(s.tables) || s.tables[u.Table].check(u) != nil {
			s.counts.refused.Add(1)
			continue
		}
		b := bucketOf(u.Key, len(s.buckets))
		rebuilt := l.mu.rebuilt != nil && l.mu.rebuilt[b][u.Table]
		through := s.buckets[b].record.Load().tables[u.Table].through
		if e.rebuilt && !rebuilt || e.replayed && (rebuilt && e.sequence <= l.mu.end || !rebuilt && e.sequence <= through) {
			s.counts.skipped.Add(1)
			continue
		}
		mine = append(mine, *u)
	}
	l.mu.mine = mine
	return mine
}

// send hands the current batch to the writer. l.mu is held.
func (l *loader) send(ctx context.Context) error {
	b := l.mu.current
	if b == nil {
		return nil
	}
	select {
	case l.store.writer.jobs <- &job{ctx: l.store.ctx, events: b.events, left: len(b.events), loaded: b}:
		l.mu.current = nil
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-l.store.writer.exited:
		return online.ErrClosed
	}
}

// fail keeps the first error.
func (l *loader) fail(err error) { l.err.CompareAndSwap(nil, &err) }

// giveBack is called by the writer when a batch has been applied or has failed.
func (l *loader) giveBack(b *batch) {
	for i := range b.events {
		if err := b.events[i].Err; err != nil {
			l.fail(err)
		}
	}
	clear(b.events)
	b.events = b.events[:0]
	b.copies.Reset()
	l.free <- b
}

// flush waits until all that was added is applied, and returns the first error.
func (l *loader) flush(ctx context.Context) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.send(ctx); err != nil {
		return err
	}
	batches := make([]*batch, 0, batchesMax)
	defer func() {
		for _, b := range batches {
			l.free <- b
		}
	}()
	for len(batches) < batchesMax {
		select {
		case b := <-l.free:
			batches = append(batches, b)
		case <-ctx.Done():
			return ctx.Err()
		case <-l.store.writer.exited:
			return online.ErrClosed
		}
	}
	if err := l.err.Load(); err != nil {
		return *err
	}
	return nil
}

// reset forgets what was added, for another attempt.
func (l *loader) reset(ctx context.Context) {
	_ = l.flush(ctx) // what comes of it is void
	l.mu.Lock()
	defer l.mu.Unlock()
	l.err.Store(nil)
	l.mu.outOfOrder, l.mu.rebuilt, l.mu.end = false, nil, 0
}
