// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"

	"github.com/millrace-ml/millrace/featurestore/online"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

const (
	// jobsMax bounds calls of Apply that wait for the writer; more wait for their turn.
	jobsMax = 256
	// groupEvents and groupUpdates bound the events that are written together; one event more
	// may go beyond.
	groupEvents  = 512
	groupUpdates = 2048
	// pendingMax bounds updates that are in the log but not in Redis. A group more can come
	// on top of it; then no event is taken until there are less.
	pendingMax = 4096
)

// writer is the one goroutine that changes entities. It takes the events that wait, all
// at once, logs them one after the other, applies them to what it knows of their
// entities, and writes these on condition that nobody else did. Entities that it wrote
// before need no reading.
type writer struct {
	store  *Store
	jobs   chan *job
	exited chan struct{}
	rest   *job // taken, with events for the next group

	entities    map[string]*entity // by key in Redis
	use         use
	bytesMax    int64
	pending     map[string]*entity // with tasks that are logged and not written
	pendingLen  int                // their tasks
	aggregators []*window.Aggregator
	losses      uint64
	failed      failures
	count       uint64 // of the last write
	group       uint64
	attempts    int // conflictsMax; tests have less patience

	// Of the group under way:
	events  []*Event
	jobOf   []*job // of the events
	updates int    // their number
	touches []touch
	touched []*entity
	key     []byte
}

// touch is an update of an event, and its entity.
type touch struct {
	event, update int
	entity        *entity
}

func newWriter(s *Store) *writer {
	return &writer{
		store: s, jobs: make(chan *job, jobsMax), exited: make(chan struct{}),
		entities: map[string]*entity{}, pending: map[string]*entity{},
		bytesMax: s.options.CacheBytes / 2, aggregators: make([]*window.Aggregator, len(s.tables)),
		count: rand.Uint64(), attempts: conflictsMax,
	}
}

// run ends when the store is closed.
func (w *writer) run() {
	defer close(w.exited)
	for {
		j := w.rest
		if w.rest = nil; j == nil {
			select {
			case j = <-w.jobs:
			case <-w.store.ctx.Done():
				w.end()
				return
			}
		}
		if !w.collect(j) {
			continue
		}
		w.process()
		w.settle()
	}
}

// end tries once more to write what is pending.
func (w *writer) end() {
	if len(w.pending) > 0 && w.losses == w.store.losses.Load() && w.store.conn.away.Load() == nil {
		ctx, cancel := context.WithTimeout(context.Background(), w.store.options.WriteDeadline)
		defer cancel()
		w.drain(ctx)
	}
}

// collect fills a group, beginning with a job. It runs a function at once, and returns
// false if there are no events.
func (w *writer) collect(j *job) bool {
	w.events, w.jobOf, w.updates = w.events[:0], w.jobOf[:0], 0
	for j != nil {
		if j.run != nil && len(w.events) > 0 {
			w.rest = j
			break
		}
		w.takeFrom(j)
		if w.rest != nil || w.full() {
			break
		}
		select {
		case j = <-w.jobs:
		default:
			j = nil
		}
	}
	return len(w.events) > 0
}

// takeFrom takes what fits of a job.
func (w *writer) takeFrom(j *job) {
	if j.next == 0 && !j.state.CompareAndSwap(waiting, taken) {
		return // the caller has given up
	}
	if j.run != nil {
		j.run()
		j.done <- struct{}{}
		return
	}
	begun := j.next > 0
	for ; j.next < len(j.events) && !w.full(); j.next++ {
		e := &j.events[j.next]
		if e.Err == nil && begun && j.ctx.Err() != nil {
			e.Err = j.ctx.Err()
		}
		w.events, w.jobOf = append(w.events, e), append(w.jobOf, j)
		w.updates += len(e.Updates)
	}
	if j.next < len(j.events) {
		w.rest = j
	}
}

func (w *writer) full() bool { return len(w.events) >= groupEvents || w.updates >= groupUpdates }

// settle tells the callers.
func (w *writer) settle() {
	for _, j := range w.jobOf {
		if j.left--; j.left > 0 {
			continue
		}
		if j.loaded != nil {
			w.store.loader.giveBack(j.loaded)
		} else {
			j.done <- struct{}{}
		}
	}
	w.relieve()
	clear(w.events)
	clear(w.jobOf)
	clear(w.touches)
	clear(w.touched)
	w.touches, w.touched = w.touches[:0], w.touched[:0]
}

// failAll ends the group with an error, but for events that have one.
func (w *writer) failAll(err error) {
	for _, e := range w.events {
		if e.Err == nil {
			e.Err = err
		}
	}
}

// process applies the events of the group.
func (w *writer) process() {
	ctx, cancel := context.WithTimeout(context.Background(), w.store.options.WriteDeadline)
	defer cancel()
	if err := w.ready(ctx); err != nil {
		w.failAll(err)
		return
	}
	w.group++
	w.gather()
	if err := w.load(ctx, w.touched); err != nil {
		w.failAll(err)
		w.conclude(err)
		return
	}
	w.record()
	w.write(w.touched)
	w.conclude(nil)
}

// drain writes what is pending, as far as a group goes.
func (w *writer) drain(ctx context.Context) {
	w.group++
	w.touched = w.touched[:0]
	tasks := 0
	for _, e := range w.pending {
		if tasks += len(e.tasks); tasks > groupEvents && len(w.touched) > 0 {
			break
		}
		w.revive(e)
	}
	err := w.load(ctx, w.touched)
	if err == nil {
		w.write(w.touched)
	}
	w.conclude(err)
	w.relieve()
}

// drainAll writes what is pending, while it gets less.
func (w *writer) drainAll() {
	if w.void(); w.store.at() != ready || w.store.fence() != nil {
		return
	}
	for left := w.pendingLen; left > 0; left = w.pendingLen {
		ctx, cancel := context.WithTimeout(context.Background(), w.store.options.WriteDeadline)
		w.drain(ctx)
		cancel()
		if w.pendingLen >= left {
			return
		}
	}
}

// through is the place in the log up to which everything is in Redis.
func (w *writer) through() uint64 {
	w.drainAll()
	through := w.store.options.Position()
	for _, e := range w.pending {
		for i := range e.tasks {
			through = min(through, e.tasks[i].sequence-1)
		}
	}
	return through
}

// revive makes an entity with pending tasks one of the group.
func (w *writer) revive(e *entity) {
	delete(w.pending, e.key)
	w.pendingLen -= len(e.tasks)
	w.entities[e.key] = e
	e.group, e.err = w.group, nil
	w.touched = append(w.touched, e)
	w.use.add(e)
}

// ready makes sure that the group may be written.
func (w *writer) ready(ctx context.Context) error {
	s := w.store
	p := s.at()
	if p == closed {
		return online.ErrClosed
	}
	for i, e := range w.events {
		loads := w.jobOf[i].loaded != nil
		if e.Err == nil && (!loads && p != ready || loads && p != opening && p != recovering) {
			e.Err = s.incomplete()
		}
	}
	if err := s.fence(); err != nil {
		return err
	}
	if away := s.conn.away.Load(); away != nil {
		return s.conn.unavailable(*away)
	}
	w.void()
	if len(w.pending) > 0 && p == ready {
		w.drain(ctx)
		if w.pendingLen >= pendingMax {
			return s.conn.unavailable(fmt.Errorf("%d updates wait to be written", w.pendingLen))
		}
	}
	return w.announce(ctx)
}

// announce makes known that events come which no log has, before the first of them.
func (w *writer) announce(ctx context.Context) error {
	s := w.store
	logged := func(e *Event) bool { return e.fromLog() || s.options.Log != "" && e.Record != nil }
	if !slices.ContainsFunc(w.events, func(e *Event) bool { return e.Err == nil && !logged(e) }) {
		return nil
	}
	for b := range s.buckets {
		if !s.buckets[b].record.Load().hasMember("") {
			return s.insist(ctx, unloggedScript, func(b int) []string {
				return append([]string{s.buckets[b].record.Load().revision}, s.prints()...)
			}, func(_ int, st *state) bool { return st.record != nil && st.record.hasMember("") })
		}
	}
	return nil
}

// void forgets everything if states were lost: it comes again with the log.
func (w *writer) void() {
	losses := w.store.losses.Load()
	if w.losses == losses {
		return
	}
	w.losses = losses
	clear(w.entities)
	clear(w.pending)
	w.use, w.pendingLen = use{}, 0
	w.store.counts.pending.Store(0)
}

// gather finds the entities of the events.
func (w *writer) gather() {
	w.touches, w.touched = w.touches[:0], w.touched[:0]
	for i, e := range w.events {
		if e.Err != nil {
			continue
		}
		for k := range e.Updates {
			w.touches = append(w.touches, touch{i, k, w.entity(&e.Updates[k])})
		}
	}
}

// entity returns the entity of an update, which is then of the group.
func (w *writer) entity(u *plan.Update) *entity {
	s := w.store
	place := bucketOf(u.Key, len(s.buckets))
	b := &s.buckets[place]
	w.key = b.appendKey(w.key[:0], b.record.Load().tables[u.Table].part, u.Key)
	if e := w.pending[string(w.key)]; e != nil {
		w.revive(e)
		return e
	}
	e := w.entities[string(w.key)]
	if e == nil {
		e = &entity{key: string(w.key), bucket: place, table: u.Table}
		e.name = e.key[len(e.key)-len(u.Key):]
		w.entities[e.key] = e
	} else if e.group != w.group {
		w.use.remove(e)
	}
	if e.group != w.group {
		e.group, e.err = w.group, nil
		w.touched = append(w.touched, e)
		w.use.add(e)
	}
	return e
}

// record asks for the events' places in the log and hands their updates to the entities.
func (w *writer) record() {
	s := w.store
	next := 0
	for i, e := range w.events {
		first := next
		for next < len(w.touches) && w.touches[next].event == i {
			next++
		}
		touches := w.touches[first:next]
		for _, t := range touches {
			if t.entity.err != nil && e.Err == nil {
				e.Err = w.describe(t.entity)
			}
		}
		if e.Err == nil && e.Record != nil {
			e.sequence, e.Err = e.Record()
		}
		if e.Err != nil {
			continue
		}
		for _, t := range touches {
			t.entity.tasks = append(t.entity.tasks, task{update: &e.Updates[t.update], event: e, outcome: t.update, sequence: e.sequence})
		}
		s.counts.events.Add(1)
	}
}

// conclude tells the events what became of their updates, and keeps what is logged but not
// written. An error is that of all entities which have none of their own.
func (w *writer) conclude(err error) {
	for _, e := range w.touched {
		if e.err == nil {
			e.err = err
		}
		if e.err != nil {
			w.fail(e)
		}
		clear(e.tasks)
		e.tasks = e.tasks[:0]
	}
	w.store.counts.pending.Store(int64(w.pendingLen)) // not before: what is tried again is pending until it is written
}

// fail tells the events of an entity's tasks, forgets the entity, and keeps the tasks that
// are in the log and will not come again by a replay.
func (w *writer) fail(e *entity) {
	keep := w.store.options.Log != "" && !errors.Is(e.err, online.ErrCorrupt)
	p := &entity{key: e.key, name: e.name, bucket: e.bucket, table: e.table}
	for _, t := range e.tasks {
		if t.event != nil && t.event.Err == nil {
			t.event.Err = w.describe(e)
		}
		if !keep || t.sequence == 0 || t.event != nil && t.event.fromLog() {
			continue
		}
		if t.event != nil {
			u := clone(t.update)
			for _, other := range t.event.Updates { // some may have been written
				w.failed.add(failure{other.Table, string(other.Key), eventID{other.Event.Time, other.Event.ID}})
			}
			t.update, t.event = &u, nil
		}
		p.tasks = append(p.tasks, t)
	}
	w.use.remove(e)
	delete(w.entities, e.key)
	if len(p.tasks) > 0 {
		w.pending[p.key] = p
		w.pendingLen += len(p.tasks)
	}
}

// describe says which entity has an error.
func (w *writer) describe(e *entity) error {
	return fmt.Errorf("%s: %w", w.store.tables[e.table].describe([]byte(e.name)), e.err)
}

// relieve forgets the entities used longest ago until the rest fits the memory.
func (w *writer) relieve() {
	for _, e := range w.touched {
		if w.entities[e.key] == e { // its size has changed
			w.use.remove(e)
			w.use.add(e)
		}
	}
	for w.use.bytes > w.bytesMax && w.use.oldest != nil {
		e := w.use.oldest
		w.use.remove(e)
		delete(w.entities, e.key)
		w.store.counts.evicted.Add(1)
	}
	w.store.counts.writerBytes.Store(w.use.bytes)
	w.store.counts.writerEntities.Store(int64(len(w.entities)))
}
