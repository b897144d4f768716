// SPDX-License-Identifier: Apache-2.0

package online

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// applier is the memory of one call.
type applier struct {
	aggregators []*window.Aggregator // by table, nil until needed
	hashes      []uint64             // of the updates
	places      []int                // shards of the updates
	skip        []bool               // updates that are not to be applied
	shards      []int                // the same, each once, ascending: the order of locking
	fresh       window.State         // of an entity that may come to be
	outcomes    []window.Outcome     // of a replay
	pins        []pin                // entities that must stay in memory
}

func (a *applier) aggregator(l *Local, table int) *window.Aggregator {
	if a.aggregators[table] == nil {
		a.aggregators[table] = l.options.Tables[table].View.Window.NewAggregator()
	}
	return a.aggregators[table]
}

// Apply implements Store. Several updates of one entity are applied in their order. It
// sets the arrival of the updates' events, if one is given.
//
// An update of a lookup is Applied, a Duplicate of what is there, or TooLate if what is
// there is newer. An event that does not fit a table wraps window.ErrEvent. When the
// bound on memory is set, errors also wrap ErrMemory, ErrUnavailable or ErrCorrupt.
func (l *Local) Apply(ctx context.Context, updates []plan.Update, arrival int64, record func() (sequence uint64, err error), outcomes []window.Outcome) error {
	if len(outcomes) < len(updates) {
		return fmt.Errorf("online store: %d outcomes for %d updates", len(outcomes), len(updates))
	}
	for i := range updates {
		if arrival != 0 {
			updates[i].Event.Arrival = arrival
		}
		if err := l.check(&updates[i]); err != nil {
			return err
		}
	}
	a := l.appliers.Get().(*applier)
	defer l.appliers.Put(a)
	a.route(l, updates)
	if err := l.lockReady(ctx, a, updates); err != nil {
		return err
	}
	defer l.unlock(a)
	sequence := uint64(0)
	if record != nil {
		var err error
		if sequence, err = record(); err != nil {
			l.unpin(a)
			return err
		}
	}
	if err := l.applyAll(a, updates, sequence, outcomes); err != nil {
		return err
	}
	l.noteApplied(sequence, len(updates))
	return nil
}

// route finds the shards of the updates.
func (a *applier) route(l *Local, updates []plan.Update) {
	a.hashes, a.places, a.shards = a.hashes[:0], a.places[:0], a.shards[:0]
	a.skip, a.pins = a.skip[:0], a.pins[:0]
	for i := range updates {
		hash := l.hashOf(updates[i].Key)
		place := l.shardOf(hash)
		a.hashes, a.places, a.skip = append(a.hashes, hash), append(a.places, place), append(a.skip, false)
		if at, found := slices.BinarySearch(a.shards, place); !found {
			a.shards = slices.Insert(a.shards, at, place)
		}
	}
}

func (l *Local) lock(a *applier) {
	for _, s := range a.shards {
		l.shards[s].apply.Lock()
	}
}

func (l *Local) unlock(a *applier) {
	for _, s := range a.shards {
		l.shards[s].apply.Unlock()
	}
}

// roomAttempts is how often an event that finds no room in memory asks for some.
const roomAttempts = 64

// lockReady takes the apply locks, unless it returns an error.
func (l *Local) lockReady(ctx context.Context, a *applier, updates []plan.Update) (err error) {
	for range roomAttempts {
		before := l.counts.checkpoints.Load()
		l.lock(a)
		if err = l.ready(ctx, a, updates); err == nil {
			return nil
		}
		l.unlock(a)
		if !errors.Is(err, ErrMemory) {
			return err
		}
		if fault := l.makeRoom(ctx, before); fault != nil {
			return fmt.Errorf("%w: %w", err, fault)
		}
	}
	return err
}

// ready makes sure that nothing but the log can fail any more: the store is open, and
// the entities are in memory and stay there.
func (l *Local) ready(ctx context.Context, a *applier, updates []plan.Update) error {
	if l.closed.Load() {
		return ErrClosed
	}
	if l.budget == 0 {
		return nil
	}
	for _, s := range a.shards {
		if err := l.room(l.shards[s]); err != nil {
			return err
		}
	}
	for i := range updates {
		if a.skip[i] {
			continue
		}
		if err := l.pin(ctx, a, &updates[i], i); err != nil {
			l.unpin(a)
			return err
		}
	}
	return nil
}

// applyAll applies the updates shard by shard. The apply locks of all are held.
func (l *Local) applyAll(a *applier, updates []plan.Update, sequence uint64, outcomes []window.Outcome) error {
	for _, s := range a.shards {
		sh := l.shards[s]
		sh.mu.Lock()
		for i := range updates {
			if a.places[i] != s || a.skip[i] {
				continue
			}
			o, err := l.applyLocked(sh, a, &updates[i], a.hashes[i], sequence)
			if err != nil {
				sh.mu.Unlock()
				return err
			}
			outcomes[i] = o
		}
		if l.budget != 0 {
			a.unpinLocked(sh)
			l.relieveLocked(sh)
		}
		sh.mu.Unlock()
	}
	return nil
}

// applyLocked applies one update. It does not fail for what check lets pass.
func (l *Local) applyLocked(sh *shard, a *applier, u *plan.Update, hash, sequence uint64) (window.Outcome, error) {
	t := &sh.mu.tables[u.Table]
	slot := t.find(hash, u.Key)
	if slot < 0 && l.budget != 0 {
		sh.turnAwayLocked(u.Table, u.Key)
	}
	if t.lookup {
		return applyRow(t, slot, u, hash, sequence), nil
	}
	l.noteArrival(u.Table, arrivalOf(&u.Event))
	s := &a.fresh
	if slot >= 0 {
		s = t.state(slot)
		t.bytes -= int64(s.Bytes())
	}
	o, err := update(a.aggregator(l, u.Table), s, u)
	_, known := s.Now()
	if slot >= 0 {
		t.bytes += int64(s.Bytes())
	} else if known {
		slot = t.insert(hash, u.Key)
		*t.state(slot), a.fresh = a.fresh, window.State{} // moved
		t.bytes += t.contentBytes(slot)
	}
	if known {
		t.touch(slot, sequence)
	}
	if err != nil {
		return 0, l.tableError(u.Table, u.Key, err)
	}
	return o, nil
}

// touch notes that an entity has an event.
func (t *table) touch(slot int, sequence uint64) {
	c, bit := t.mark(slot)
	c.dirty |= bit
	c.removed &^= bit
	h := &c.heads[slot%chunkLen]
	h.applied = max(h.applied, sequence)
	c.recent.Or(bit)
}

// update adds an event to a state, or amends one that is there.
func update(a *window.Aggregator, s *window.State, u *plan.Update) (window.Outcome, error) {
	if len(u.Amend) > 0 {
		return amend(a, s, u, u.Amend)
	}
	o, err := a.Update(s, &u.Event)
	if o == window.Duplicate && err == nil && len(u.Late) > 0 {
		return amend(a, s, u, u.Late)
	}
	return o, err
}

// amend sets columns of an event. It is Applied if one of them was; else the outcome is
// that of the last.
func amend(a *window.Aggregator, s *window.State, u *plan.Update, columns []plan.Amendment) (outcome window.Outcome, err error) {
	applied := false
	for _, c := range columns {
		outcome, err = a.Amend(s, u.Event.Time, u.Event.ID, c.Column, c.Value, arrivalOf(&u.Event))
		if err != nil {
			return 0, err
		}
		applied = applied || outcome == window.Applied
	}
	if applied {
		return window.Applied, nil
	}
	return outcome, nil
}

func arrivalOf(e *window.Event) int64 {
	if e.Arrival == 0 {
		return e.Time
	}
	return e.Arrival
}

// applyRow replaces the row of a lookup, unless what is there is newer.
func applyRow(t *table, slot int, u *plan.Update, hash, sequence uint64) window.Outcome {
	e := &u.Event
	arrival := arrivalOf(e)
	switch {
	case slot < 0:
		slot = t.insert(hash, u.Key)
	case t.row(slot).value == nil: // removed, or new
	case t.row(slot).newer(e.Time, arrival, e.ID):
	default:
		r := t.row(slot)
		t.touch(slot, sequence)
		if r.time == e.Time && r.arrival == arrival && r.id == e.ID {
			return window.Duplicate
		}
		return window.TooLate
	}
	t.bytes -= t.contentBytes(slot)
	value := append(make([]byte, 0, len(u.Row)), u.Row...) // never nil
	*t.row(slot) = row{value: value, time: e.Time, arrival: arrival, id: e.ID}
	t.bytes += t.contentBytes(slot)
	t.touch(slot, sequence)
	return window.Applied
}

// timeMax bounds times as package window does.
const timeMax = int64(1) << 59

// check reports what makes an update unfit for its table.
func (l *Local) check(u *plan.Update) error {
	if u.Table < 0 || u.Table >= len(l.options.Tables) {
		return fmt.Errorf("online store: %w: table %d of %d", window.ErrEvent, u.Table, len(l.options.Tables))
	}
	if err := l.checkUpdate(u, &l.shapes[u.Table]); err != nil {
		return l.tableError(u.Table, u.Key, err)
	}
	return nil
}

func (l *Local) checkUpdate(u *plan.Update, shape *shape) error {
	e := &u.Event
	switch {
	case len(u.Key) == 0 || len(u.Key) > KeyBytesMax:
		return fmt.Errorf("%w: a key of %d bytes; it has 1 to %d", window.ErrEvent, len(u.Key), KeyBytesMax)
	case !inTime(e.Time) || !inTime(e.Arrival):
		return fmt.Errorf("%w: time %d or arrival %d out of range", window.ErrEvent, e.Time, e.Arrival)
	case shape.lookup && len(u.Row) > RowBytesMax:
		return fmt.Errorf("%w: a row of %d bytes, at most %d", window.ErrEvent, len(u.Row), RowBytesMax)
	case shape.lookup:
		return nil
	}
	for _, list := range [...][]plan.Amendment{u.Amend, u.Late} {
		for _, c := range list {
			if !slices.Contains(shape.columns, c.Column) || math.Abs(c.Value) > window.ValueMax {
				return fmt.Errorf("%w: column %q cannot be %v", window.ErrEvent, c.Column, c.Value)
			}
		}
	}
	if len(u.Amend) > 0 {
		return nil
	}
	if len(e.Values) != len(shape.columns) || len(e.Keys) != shape.keys {
		return fmt.Errorf("%w: %d values and %d keys for %d columns and %d key columns", window.ErrEvent,
			len(e.Values), len(e.Keys), len(shape.columns), shape.keys)
	}
	for i, x := range e.Values {
		if math.Abs(x) > window.ValueMax {
			return fmt.Errorf("%w: column %q: %v is not finite or too large", window.ErrEvent, shape.columns[i], x)
		}
	}
	return nil
}

func inTime(t int64) bool { return t >= -timeMax && t <= timeMax }

// shape is what fits a table.
type shape struct {
	lookup  bool
	columns []string
	keys    int
}

// tableError says where an error is.
func (l *Local) tableError(table int, key []byte, err error) error {
	t := &l.options.Tables[table]
	entities := entitiesOf(t)
	return fmt.Errorf("%s, entity %s: %w", t.Name, plan.FormatKey(entities, key), err)
}

// Replay implements Store. An update that does not fit its table any more is counted
// and passed over.
func (l *Local) Replay(ctx context.Context, updates []plan.Update, sequence uint64) error {
	a := l.appliers.Get().(*applier)
	defer l.appliers.Put(a)
	a.route(l, updates)
	for i := range updates {
		if l.check(&updates[i]) != nil {
			a.skip[i] = true
			l.counts.refused.Add(1)
		}
	}
	a.outcomes = slices.Grow(a.outcomes[:0], len(updates))[:len(updates)]
	if err := l.lockReady(ctx, a, updates); err != nil {
		return err
	}
	defer l.unlock(a)
	l.skipApplied(a, updates, sequence)
	if err := l.applyAll(a, updates, sequence, a.outcomes); err != nil {
		return err
	}
	l.noteReplayed(sequence)
	return nil
}

// skipApplied passes over the updates of entities that have a record already.
func (l *Local) skipApplied(a *applier, updates []plan.Update, sequence uint64) {
	for i := range updates {
		if a.skip[i] {
			continue
		}
		sh := l.shards[a.places[i]]
		sh.mu.RLock()
		t := &sh.mu.tables[updates[i].Table]
		slot := t.find(a.hashes[i], updates[i].Key)
		a.skip[i] = slot >= 0 && t.head(slot).applied >= sequence
		sh.mu.RUnlock()
		if a.skip[i] {
			l.counts.skipped.Add(1)
		} else {
			l.counts.replayed.Add(1)
		}
	}
}
