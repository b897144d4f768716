// SPDX-License-Identifier: Apache-2.0

package online

import (
	"context"
	"slices"

	"github.com/millrace-ml/millrace/featurestore/plan"
)

// With a bound on memory, entities that are on disk only are read when they are asked
// for. While one is being read others wait for that, and nobody holds a lock over it.
//
// Nothing stale is served, because an entity changes in memory only and is given up
// only when the disk has all of it. So while it is not in memory the disk is right.
// There is one flight at a time for it, which begins under the lock that saw it
// missing, and which a new entity made meanwhile turns away.

// flightKey names an entity.
type flightKey struct {
	table int
	key   string
}

// flight is an entity being read.
type flight struct {
	done chan struct{}
	// away is set under the lock of the shard when what was read must not be kept.
	away bool
	// value and err are set before done is closed. A nil value is nothing; it is not
	// written to.
	value []byte
	err   error
}

// load reads an entity that is not in memory, and puts it there. The value returned is
// what it held at some moment of the call. resident says that it is in memory after
// all. pins, if it is not nil, gets a pin of the entity if it was this call that put
// it there: else it might be gone before the caller can look.
func (l *Local) load(sh *shard, table int, key []byte, hash uint64, pins *[]pin) (value []byte, resident bool, err error) {
	id := flightKey{table, string(key)}
	sh.mu.Lock()
	if sh.mu.tables[table].find(hash, key) >= 0 {
		sh.mu.Unlock()
		return nil, true, nil
	}
	f := sh.mu.flights[id]
	if f != nil {
		sh.mu.Unlock()
		<-f.done
		return f.value, false, f.err
	}
	f = &flight{done: make(chan struct{})}
	sh.mu.flights[id] = f
	sh.mu.Unlock()

	f.value, f.err = l.disk.get(l.ids[table], key)
	var e entity
	if f.err == nil && f.value != nil {
		e, f.err = l.decode(table, key, slices.Clone(f.value))
	}
	l.land(sh, f, id, hash, &e, pins)
	return f.value, false, f.err
}

// land ends a flight.
func (l *Local) land(sh *shard, f *flight, id flightKey, hash uint64, e *entity, pins *[]pin) {
	sh.mu.Lock()
	if !f.away {
		delete(sh.mu.flights, id)
		if f.err == nil && f.value != nil {
			slot := sh.mu.tables[id.table].put(hash, []byte(id.key), e)
			if pins != nil {
				sh.pinLocked(pins, id.table, slot)
			}
			l.counts.loads.Add(1)
			l.relieveLocked(sh)
		}
	}
	sh.mu.Unlock()
	close(f.done)
}

// turnAwayLocked is told of a new entity.
func (sh *shard) turnAwayLocked(table int, key []byte) {
	if f := sh.mu.flights[flightKey{table, string(key)}]; f != nil {
		f.away = true
		delete(sh.mu.flights, flightKey{table, string(key)})
	}
}

// pin is an entity that must stay in memory.
type pin struct {
	shard       *shard
	table, slot int
}

func (sh *shard) pinLocked(pins *[]pin, table, slot int) {
	c, bit := sh.mu.tables[table].mark(slot)
	c.pinned |= bit
	*pins = append(*pins, pin{sh, table, slot})
}

// pin brings the entity of update i in memory, if there is one, and keeps it there. The
// apply lock of its shard is held.
func (l *Local) pin(ctx context.Context, a *applier, u *plan.Update, i int) error {
	sh, pinned := l.shards[a.places[i]], len(a.pins)
	for {
		if sh.pinResident(&a.pins, u.Table, u.Key, a.hashes[i]) {
			return nil
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		value, resident, err := l.load(sh, u.Table, u.Key, a.hashes[i], &a.pins)
		switch {
		case err != nil:
			return err
		case len(a.pins) > pinned:
			return nil
		case value == nil && !resident:
			return nil // there is nothing, and only the holder of the apply lock can change that
		}
	}
}

func (sh *shard) pinResident(pins *[]pin, table int, key []byte, hash uint64) bool {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	slot := sh.mu.tables[table].find(hash, key)
	if slot >= 0 {
		sh.pinLocked(pins, table, slot)
	}
	return slot >= 0
}

// unpinLocked lets go of what was pinned in a shard.
func (a *applier) unpinLocked(sh *shard) {
	for _, p := range a.pins {
		if p.shard == sh {
			c, bit := sh.mu.tables[p.table].mark(p.slot)
			c.pinned &^= bit
		}
	}
}

// unpin lets go of everything.
func (l *Local) unpin(a *applier) {
	for _, s := range a.shards {
		l.shards[s].mu.Lock()
		a.unpinLocked(l.shards[s])
		l.shards[s].mu.Unlock()
	}
}

// relieveLocked keeps a shard to its budget. What is not on disk cannot be given up, so
// it asks for a checkpoint if nothing else is left.
func (l *Local) relieveLocked(sh *shard) {
	if l.budget == 0 {
		return
	}
	evicted, enough := sh.evictLocked(l.budget)
	l.counts.evicted.Add(evicted)
	if !enough {
		l.askForCheckpoint()
	}
}

// room refuses an event when a shard has twice its budget, none of it on disk.
func (l *Local) room(sh *shard) error {
	sh.mu.RLock()
	over := sh.bytesLocked() > 2*l.budget
	sh.mu.RUnlock()
	if !over {
		return nil
	}
	sh.mu.Lock()
	defer sh.mu.Unlock()
	l.relieveLocked(sh)
	if sh.bytesLocked() > 2*l.budget {
		return ErrMemory
	}
	return nil
}
