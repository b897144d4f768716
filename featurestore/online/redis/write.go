// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/millrace-ml/millrace/featurestore/online/cache"
	"github.com/millrace-ml/millrace/featurestore/window"
)

const (
	// callEntities and callBytes bound what one call of a script reads or writes, so that it
	// does not keep Redis from others for long; callsAtOnce those that go off together.
	callEntities = 64
	callBytes    = 512 << 10
	callsAtOnce  = 32
	// smallBytes is what a script copies rather than look at the version alone.
	smallBytes = 2 << 10
	// conflictsMax bounds the attempts to write an entity that others keep changing, and
	// brokenMax those that end without an answer.
	conflictsMax = 64
	brokenMax    = 2
	// After patience attempts the writer takes the turn, so that nobody else writes to the
	// bucket for a moment, of turnMillis at most; it pauses, for pauseMax at most, when it
	// is another's.
	patience   = 3
	turnMillis = "100"
	pauseMax   = 8 * time.Millisecond
)

// calls is requests about entities.
type calls struct {
	requests []request
	entities [][]*entity // of each request
	known    []known     // of each request's bucket
	buckets  []int
}

func (c *calls) full() bool { return len(c.requests) >= callsAtOnce }

// add adds a request for entities of one bucket.
func (c *calls) add(s *Store, sc *script, bucket int, entities []*entity, args []string, k known) {
	keys := append(make([]string, 0, 2+len(entities)), s.buckets[bucket].key)
	if sc == writeScript {
		keys = append(keys, s.buckets[bucket].turn)
	}
	for _, e := range entities {
		keys = append(keys, e.key)
	}
	c.requests = append(c.requests, request{script: sc, keys: keys, args: args})
	c.entities = append(c.entities, entities)
	c.known, c.buckets = append(c.known, k), append(c.buckets, bucket)
}

// byBucket yields runs of entities of one bucket, none with more than callEntities, and
// small ones first.
func byBucket(entities []*entity, yield func(bucket int, some []*entity)) {
	slices.SortStableFunc(entities, func(a, b *entity) int {
		if a.bucket != b.bucket {
			return a.bucket - b.bucket
		}
		return cmp.Compare(min(a.stored, smallBytes+1), min(b.stored, smallBytes+1))
	})
	for len(entities) > 0 {
		n := 1
		for n < len(entities) && n < callEntities && entities[n].bucket == entities[0].bucket {
			n++
		}
		yield(entities[0].bucket, entities[:n])
		entities = entities[n:]
	}
}

// load reads the entities that are not known. A value that is not what was written is the
// error of its entity alone.
func (w *writer) load(ctx context.Context, entities []*entity) error {
	s := w.store
	var missing []*entity
	for _, e := range entities {
		if !e.loaded {
			missing = append(missing, e)
		}
	}
	for attempt := 0; len(missing) > 0; attempt++ {
		if attempt == revisionsMax {
			return fmt.Errorf("redis at %s: %w: the records keep changing", s.conn.address, ErrIncomplete)
		}
		var c calls
		byBucket(missing, func(bucket int, some []*entity) {
			k := s.buckets[bucket].known()
			args := make([]string, 2+len(some))
			args[0], args[1] = k.owner.field, strconv.Itoa(len(some))
			c.add(s, readScript, bucket, some, args, k)
		})
		again, err := w.loaded(ctx, &c)
		if err != nil {
			return err
		}
		missing = again
	}
	return nil
}

// loaded makes the calls of load, and returns the entities to be read again.
func (w *writer) loaded(ctx context.Context, c *calls) (again []*entity, err error) {
	s := w.store
	if err := w.call(ctx, c.requests); err != nil {
		return nil, err
	}
	for i := range c.requests {
		answers, ok, err := w.answers(ctx, c, i)
		if err != nil {
			return nil, err
		}
		if !ok {
			again = append(again, c.entities[i]...)
			continue
		}
		for j, e := range c.entities[i] {
			w.store.counts.loads.Add(1)
			if err := e.take(&s.tables[e.table], &answers[j]); err != nil {
				e.err = err
				continue
			}
			e.settle(c.known[i].owner.id)
		}
	}
	return again, nil
}

// call makes requests in the time that the group has left.
func (w *writer) call(ctx context.Context, requests []request) error {
	c := w.store.conn
	end, _ := ctx.Deadline()
	return c.call(context.Background(), time.Until(end), requests)
}

// answers returns what request i answers for its entities; not ok if the records had to
// be loaded anew.
func (w *writer) answers(ctx context.Context, c *calls, i int) (answers []rueidis.RedisMessage, ok bool, err error) {
	s := w.store
	b := &s.buckets[c.buckets[i]]
	v, answers, err := b.judge(&c.known[i], &c.requests[i].reply)
	if err != nil {
		return nil, false, fmt.Errorf("redis at %s: %w", s.conn.address, err)
	}
	switch v {
	case lostStates:
		return nil, false, s.lose(fmt.Errorf("%s went back in time", b.key))
	case revised:
		if b.record.Load() != c.known[i].record {
			return nil, false, nil // another caller loaded it
		}
		if err := s.refresh(ctx); err != nil {
			return nil, false, err
		}
		return nil, false, s.fence()
	}
	if len(answers) != len(c.entities[i]) && (c.requests[i].script != writeScript || len(answers) > 0) {
		return nil, false, fmt.Errorf("redis at %s: %d answers for %d entities", s.conn.address, len(answers), len(c.entities[i]))
	}
	return answers, true, nil
}

// write applies the tasks of entities and writes them, when the log has them, as often as
// others are quicker. What could not be written has an error after it.
func (w *writer) write(entities []*entity) {
	todo, broken := []*entity(nil), 0
	for _, e := range entities {
		if len(e.tasks) > 0 && e.err == nil {
			todo = append(todo, e)
		}
	}
	if err := w.durable(todo); err != nil {
		failEntities(todo, err)
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), w.store.options.WriteDeadline)
	defer cancel()
	for attempt := 0; ; attempt++ {
		if todo = w.apply(todo); len(todo) == 0 {
			return
		}
		if attempt == w.attempts || ctx.Err() != nil {
			failEntities(todo, fmt.Errorf("redis at %s: %w", w.store.conn.address, ErrConflict))
			return
		}
		again, unknown, err := w.send(ctx, todo, attempt)
		if len(unknown) > 0 {
			if broken++; broken <= brokenMax && ctx.Err() == nil && w.load(ctx, unknown) == nil {
				err = nil
				again = append(again, unknown...)
			}
		}
		if err != nil {
			failEntities(append(again, unknown...), err)
			return
		}
		todo = again
	}
}

// failEntities sets the error of entities without one.
func failEntities(entities []*entity, err error) {
	for _, e := range entities {
		if e.err == nil {
			e.err = err
		}
	}
}

// pause waits for a random while, longer with each attempt.
func pause(ctx context.Context, attempt int) {
	t := time.NewTimer(rand.N(min(pauseMax, time.Millisecond<<min(attempt, 8)/2)))
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

// durable waits until the log has what is to be written, if it has to.
func (w *writer) durable(todo []*entity) error {
	last := uint64(0)
	for _, e := range todo {
		for i := range e.tasks {
			if t := &e.tasks[i]; t.event == nil || !t.event.fromLog() {
				last = max(last, t.sequence)
			}
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), durableMax)
	defer cancel()
	return w.store.durable(ctx, last)
}

// durableMax bounds the wait for the event log.
const durableMax = 10 * time.Second

// apply carries out the tasks of entities, and returns those that are to be written.
func (w *writer) apply(entities []*entity) []*entity {
	changed := entities[:0]
	for _, e := range entities {
		if e.err != nil || len(e.tasks) == 0 {
			continue
		}
		if e.applied || w.applyTo(e) {
			changed = append(changed, e)
		}
	}
	return changed
}

// applyTo reports whether the entity has changed.
func (w *writer) applyTo(e *entity) bool {
	s := w.store
	own := s.buckets[e.bucket].owner.Load()
	changed, last := false, uint64(0)
	for i := range e.tasks {
		t := &e.tasks[i]
		if t.event != nil && t.event.replayed && e.value.has(own.id, t.sequence) {
			s.counts.skipped.Add(1)
			continue
		}
		id := eventID{t.update.Event.Time, t.update.Event.ID}
		again := t.event != nil && !t.event.fromLog() && w.failed.has(failure{e.table, e.name, id})
		o, c, err := e.value.update(w.aggregator(e.table), &s.tables[e.table], t.update, again)
		if err != nil { // check lets none through
			s.counts.refused.Add(1)
			if t.event != nil {
				t.event.Err = err
			}
			continue
		}
		if t.event != nil && t.outcome < len(t.event.Outcomes) {
			t.event.Outcomes[t.outcome] = o
		}
		if t.event != nil && t.event.fromLog() {
			s.counts.replayed.Add(1)
		} else {
			s.counts.applied.Add(1)
		}
		changed, last = changed || c, max(last, t.sequence)
	}
	if changed {
		w.count++
		e.applied = true
		e.value.stamp(own.id, w.count, last)
		for i := range e.tasks {
			if t := &e.tasks[i]; !t.tried {
				t.tried, t.first = true, w.count
			}
		}
	}
	return changed
}

func (w *writer) aggregator(table int) *window.Aggregator {
	if w.aggregators[table] == nil && w.store.tables[table].view != nil {
		w.aggregators[table] = w.store.tables[table].view.NewAggregator()
	}
	return w.aggregators[table]
}

// send writes entities on condition that they are what they were. It returns those that
// are to be applied and sent again, and those of which no answer came.
func (w *writer) send(ctx context.Context, entities []*entity, attempt int) (again, unknown []*entity, err error) {
	var c calls
	turn := ""
	if attempt >= patience {
		turn = turnMillis
	}
	waits := false
	flush := func() {
		more, lost, wait, e := w.sendCalls(ctx, &c)
		waits = waits || wait
		again, unknown = append(again, more...), append(unknown, lost...)
		if err == nil {
			err = e
		}
		c = calls{}
	}
	byBucket(entities, func(bucket int, some []*entity) {
		for len(some) > 0 {
			n := w.addWrite(&c, bucket, some, turn)
			some = some[n:]
			if c.full() {
				flush()
			}
		}
	})
	if len(c.requests) > 0 {
		flush()
	}
	if waits {
		pause(ctx, attempt)
	}
	return again, unknown, err
}

// addWrite adds a call that writes as many of the entities as it may, and returns how
// many these are.
func (w *writer) addWrite(c *calls, bucket int, some []*entity, turn string) int {
	s := w.store
	k := s.buckets[bucket].known()
	args := make([]string, 6, 6+3*len(some))
	args[0], args[1] = k.record.revision, k.owner.field
	args[2], args[3] = strconv.FormatUint(k.seen, 10), strconv.FormatUint(k.writes, 10)
	args[4] = turn
	// One allocation holds the versions and values of all; a call that is given up may
	// still read it, so it is not used again.
	var arena []byte
	ends := make([]int, 0, 2*len(some))
	small := 0
	for i, e := range some {
		if e.stored <= smallBytes {
			small = i + 1
		}
		if e.version != (cache.Version{}) {
			arena = append(arena, e.version[:]...)
		}
		ends = append(ends, len(arena))
		arena = e.value.append(arena, &s.tables[e.table])
		ends = append(ends, len(arena))
		e.writing = ends[2*i+1] - ends[2*i]
		if len(arena) > callBytes {
			break
		}
	}
	args[5] = strconv.Itoa(small)
	n, all, begin := len(ends)/2, rueidis.BinaryString(arena), 0
	for i := range n {
		version, value := all[begin:ends[2*i]], all[ends[2*i]:ends[2*i+1]]
		args = append(args, version, value, s.tables[some[i].table].ttl)
		begin = ends[2*i+1]
	}
	c.add(s, writeScript, bucket, some[:n], args, k)
	return n
}

// sendCalls makes the calls of send. waits says that it was another's turn.
func (w *writer) sendCalls(ctx context.Context, c *calls) (again, unknown []*entity, waits bool, err error) {
	// Where a request is for a record that another goroutine has just loaded, that may have
	// said so.
	if err := w.store.fence(); err != nil {
		return slices.Concat(c.entities...), nil, false, err
	}
	_ = w.call(ctx, c.requests)
	for i := range c.requests {
		if e := c.requests[i].err; e != nil {
			unknown, err = append(unknown, c.entities[i]...), errors.Join(err, e)
			for _, e := range c.entities[i] {
				e.loaded = false
			}
			continue
		}
		answers, ok, e := w.answers(ctx, c, i)
		if e != nil {
			again, err = append(again, c.entities[i]...), errors.Join(err, e)
			continue
		}
		if !ok || len(answers) == 0 {
			waits = waits || ok
			again = append(again, c.entities[i]...) // nothing was written
			continue
		}
		again = w.written(c, i, answers, again)
	}
	return again, unknown, waits, err
}

// written reads the answers of one call.
func (w *writer) written(c *calls, i int, answers []rueidis.RedisMessage, again []*entity) []*entity {
	s := w.store
	for j, e := range c.entities[i] {
		m := &answers[j]
		if n, err := m.AsInt64(); m.IsInt64() && err == nil && n == 1 {
			s.counts.writes.Add(1)
			e.version, e.applied, e.stored = e.value.version(), false, e.writing
			clear(e.tasks)
			e.tasks = e.tasks[:0]
			continue
		}
		s.counts.conflicts.Add(1)
		if e.err = e.take(&s.tables[e.table], m); e.err == nil {
			e.settle(c.known[i].owner.id)
		}
		again = append(again, e) // apply leaves out what has an error, or no task any more
	}
	return again
}
