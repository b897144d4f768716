// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"fmt"
	"sync/atomic"

	"github.com/millrace-ml/millrace/featurestore/online"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// Event is one event of ApplyBatch: the arguments of Apply, and its result.
type Event struct {
	Updates []plan.Update
	// Arrival is when it became known; 0 leaves that to the updates.
	Arrival int64
	// Record gives the event's place in the log; nil if it is not logged.
	Record func() (sequence uint64, err error)
	// Outcomes has at least one element per update.
	Outcomes []window.Outcome
	// Err is what Apply would have returned.
	Err error

	sequence uint64
	// replayed: the event comes from the log, and entities that have it skip it. rebuilt: it
	// does too, but out of order.
	replayed, rebuilt bool
}

// fromLog reports whether the event is in the log anyway.
func (e *Event) fromLog() bool { return e.replayed || e.rebuilt }

// job is work for the writer: events, or a function to run between groups.
type job struct {
	ctx    context.Context // of the caller: events that no group has taken end with it
	events []Event
	run    func()
	one    [1]Event
	next   int // first event that no group has taken yet
	left   int // events without a result
	state  atomic.Int32
	done   chan struct{}
	loaded *batch // to be given back to the loader, for events from the log
}

// States of a job: waiting until the writer takes it or the caller gives up.
const (
	waiting int32 = iota
	taken
	givenUp
)

// Apply implements online.Store. Events of concurrent calls go to Redis together; use
// ApplyBatch for those of one caller. It sets the arrival of the updates' events, if one
// is given. ctx counts until the event is taken up; from then on WriteDeadline does.
//
// An error before record is called leaves nothing behind. After one behind it the event
// is in the log, and the store goes on to apply it: with the next event of the entity, or
// when Redis is back, or when the log is replayed. What a lost answer left open is
// settled by what the entity says of itself. So the same event may be pushed again, with
// the same id, and counts once.
func (s *Store) Apply(ctx context.Context, updates []plan.Update, arrival int64, record func() (sequence uint64, err error), outcomes []window.Outcome) error {
	j := &job{ctx: ctx, done: make(chan struct{}, 1)}
	j.one[0] = Event{Updates: updates, Arrival: arrival, Record: record, Outcomes: outcomes}
	j.events = j.one[:]
	if err := s.applyAll(ctx, j); err != nil {
		return err
	}
	return j.one[0].Err
}

// ApplyBatch is Apply for many events, in their order, in as few round trips as their
// number asks for. Each has an error of its own. What they refer to must stay until it
// returns; see Copies.
func (s *Store) ApplyBatch(ctx context.Context, events []Event) {
	if len(events) == 0 {
		return
	}
	if err := s.applyAll(ctx, &job{ctx: ctx, events: events, done: make(chan struct{}, 1)}); err != nil {
		for i := range events {
			events[i].Err = err
		}
	}
}

// applyAll has the writer apply the events of a job. An error means that none was taken.
func (s *Store) applyAll(ctx context.Context, j *job) error {
	for i := range j.events {
		s.prepare(&j.events[i])
	}
	if s.at() != ready {
		if s.rebuilding(ctx) {
			n, err := s.rebuild(ctx, j.events)
			if j.events = j.events[n:]; err != nil || len(j.events) == 0 {
				return err
			}
		}
		if err := s.usable(ctx); err != nil {
			return err
		}
	}
	if away := s.conn.away.Load(); away != nil {
		return s.conn.unavailable(*away)
	}
	return s.submit(ctx, j)
}

// prepare checks an event and sets its arrival.
func (s *Store) prepare(e *Event) {
	e.Err = nil
	if len(e.Outcomes) < len(e.Updates) {
		e.Err = fmt.Errorf("online store: %d outcomes for %d updates", len(e.Outcomes), len(e.Updates))
		return
	}
	for i := range e.Updates {
		u := &e.Updates[i]
		if u.Table < 0 || u.Table >= len(s.tables) {
			e.Err = fmt.Errorf("online store: %w: table %d of %d", window.ErrEvent, u.Table, len(s.tables))
			return
		}
		if e.Arrival != 0 {
			u.Event.Arrival = e.Arrival
		}
		t := &s.tables[u.Table]
		if err := t.check(u); err != nil {
			e.Err = fmt.Errorf("%s: %w", t.describe(u.Key), err)
			return
		}
	}
}

// submit hands a job to the writer and waits until it is done.
func (s *Store) submit(ctx context.Context, j *job) error {
	j.left = len(j.events)
	select {
	case s.writer.jobs <- j:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.writer.exited:
		return online.ErrClosed
	}
	select {
	case <-j.done:
		return nil
	case <-s.writer.exited:
		select {
		case <-j.done:
			return nil
		default:
			return online.ErrClosed
		}
	case <-ctx.Done():
		if j.state.CompareAndSwap(waiting, givenUp) {
			return ctx.Err()
		}
	}
	<-j.done // the writer is at it, and is bounded in time
	return nil
}

// between has the writer run a function between two groups of events.
func (s *Store) between(ctx context.Context, f func()) error {
	return s.submit(ctx, &job{ctx: ctx, run: f, done: make(chan struct{}, 1)})
}
