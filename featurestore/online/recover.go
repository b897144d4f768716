// SPDX-License-Identifier: Apache-2.0

package online

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/cockroachdb/pebble/v2"
)

// recover opens what is stored, drops tables that are not what is defined now, and
// loads the rest.
func (l *Local) recover(ctx context.Context) error {
	if err := l.disk.open(); err != nil {
		return err
	}
	old, err := l.readStored()
	if err != nil {
		return err
	}
	if l.options.Position != nil {
		l.progress.opened = l.options.Position()
		if old.ReplayFrom > l.progress.opened {
			return fmt.Errorf("folder %s: %w: they have all up to sequence %d, the log ends at %d; move the folder away to compute them again from the log",
				l.options.Dir, ErrAhead, old.ReplayFrom, l.progress.opened)
		}
	}
	if err := l.adopt(ctx, old); err != nil {
		return err
	}
	l.progress.replayFrom.Store(l.stored.ReplayFrom)
	l.progress.replayed.Store(l.stored.ReplayFrom)
	if l.budget != 0 {
		return nil // entities are loaded when they are asked for
	}
	damaged, err := l.loadAll(ctx)
	if err != nil || len(damaged) == 0 {
		return err
	}
	return l.abandon(ctx, damaged)
}

func (l *Local) readStored() (s *stored, err error) {
	s = &stored{Version: storedVersion}
	err = l.disk.use(func(db *pebble.DB) error {
		value, closer, err := db.Get([]byte{keyMeta})
		if errors.Is(err, pebble.ErrNotFound) {
			return nil
		} else if err != nil {
			return err
		}
		s, err = parseStored(value)
		return errors.Join(err, closer.Close())
	})
	return s, err
}

// adopt gives every table what is stored of it, or nothing under a new id, to be
// rebuilt. A new store whose log has records rebuilds all tables from them, since the
// log may not have all of them to replay; if it has none, there is nothing to do.
func (l *Local) adopt(ctx context.Context, old *stored) error {
	next := stored{Version: storedVersion, ReplayFrom: old.ReplayFrom, NextID: old.NextID}
	first := old.NextID == 0
	if first {
		next.ReplayFrom = l.progress.opened
	}
	kept := map[uint32]bool{}
	for i := range l.options.Tables {
		fingerprint := l.options.Fingerprint(i)
		t := storedTable{Name: storedName(&l.options.Tables[i]), Fingerprint: fingerprint[:]}
		if was := old.table(t.Name); was != nil && !was.Rebuilding && bytes.Equal(was.Fingerprint, t.Fingerprint) {
			t = *was
			kept[t.ID] = true
		} else {
			next.NextID++
			t.ID, t.Rebuilding = next.NextID, !first || next.ReplayFrom > 0
		}
		if t.Rebuilding {
			l.rebuild = append(l.rebuild, i)
		}
		l.ids[i] = t.ID
		next.Tables = append(next.Tables, t)
	}
	var gone []uint32
	for _, was := range old.Tables {
		if !kept[was.ID] {
			gone = append(gone, was.ID)
		}
	}
	return l.install(ctx, next, gone)
}

// abandon starts tables over whose states do not decode.
func (l *Local) abandon(ctx context.Context, tables []int) error {
	next := l.stored
	next.Tables = slices.Clone(next.Tables)
	var gone []uint32
	for _, i := range tables {
		t := &next.Tables[i]
		gone = append(gone, t.ID)
		next.NextID++
		t.ID, t.Rebuilding, t.Entities = next.NextID, true, 0
		l.ids[i] = t.ID
		if !slices.Contains(l.rebuild, i) {
			l.rebuild = append(l.rebuild, i)
		}
		for _, sh := range l.shards {
			sh.mu.Lock()
			sh.mu.tables[i] = table{lookup: sh.mu.tables[i].lookup}
			sh.mu.Unlock()
		}
	}
	return l.install(ctx, next, gone)
}

// install makes a meta record durable, and drops the entities of tables that are gone.
func (l *Local) install(ctx context.Context, next stored, gone []uint32) error {
	err := l.disk.write(ctx, nil, func(b *pebble.Batch) error {
		for _, id := range gone {
			if err := b.DeleteRange(appendDiskKey(nil, id, nil), appendDiskKey(nil, id+1, nil), nil); err != nil {
				return err
			}
		}
		return setStored(b, &next)
	})
	if err == nil {
		l.stored = next
	}
	return err
}

func setStored(b *pebble.Batch, s *stored) error {
	value, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return b.Set([]byte{keyMeta}, value, nil)
}

// span is a range of stored keys of one table.
type span struct {
	table      int
	begin, end []byte
}

// loadAll puts everything that is stored in memory. It returns the tables that have
// states which do not decode.
func (l *Local) loadAll(ctx context.Context) (damaged []int, err error) {
	for i := range l.options.Tables {
		if n := l.stored.Tables[i].Entities; n > 0 {
			l.presize(i, n)
		}
	}
	spans, err := l.spans()
	if err != nil {
		return nil, err
	}
	bad := make([]atomic.Bool, len(l.options.Tables))
	work := make(chan span, len(spans))
	for _, s := range spans {
		work <- s
	}
	close(work)
	errs := make([]error, min(runtime.GOMAXPROCS(0), len(spans)))
	var group sync.WaitGroup
	for w := range errs {
		group.Go(func() {
			for s := range work {
				if errs[w] == nil && !bad[s.table].Load() {
					errs[w] = l.loadSpan(ctx, &s, &bad[s.table])
				}
			}
		})
	}
	group.Wait()
	for i := range bad {
		if bad[i].Load() {
			damaged = append(damaged, i)
		}
	}
	return damaged, errors.Join(errs...)
}

// presize makes room for about n entities of a table.
func (l *Local) presize(table int, n int64) {
	each := int(min(n, 1<<32)) / len(l.shards)
	for _, sh := range l.shards {
		sh.mu.Lock()
		sh.mu.tables[table].index.presize(each + each/16)
		sh.mu.Unlock()
	}
}

// spans cuts the tables where stored files do, so that workers have about the same to
// do.
func (l *Local) spans() (spans []span, err error) {
	var cuts [][]byte
	err = l.disk.use(func(db *pebble.DB) error {
		levels, err := db.SSTables()
		for _, files := range levels {
			for i := range files {
				cuts = append(cuts, slices.Clone(files[i].Smallest.UserKey))
			}
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	slices.SortFunc(cuts, bytes.Compare)
	for i, id := range l.ids {
		s := span{i, appendDiskKey(nil, id, nil), appendDiskKey(nil, id+1, nil)}
		for _, cut := range cuts {
			if bytes.Compare(cut, s.begin) > 0 && bytes.Compare(cut, s.end) < 0 {
				spans = append(spans, span{i, s.begin, cut})
				s.begin = cut
			}
		}
		spans = append(spans, s)
	}
	return spans, nil
}

func (l *Local) loadSpan(ctx context.Context, s *span, bad *atomic.Bool) error {
	return l.disk.use(func(db *pebble.DB) error {
		it, err := db.NewIterWithContext(ctx, &pebble.IterOptions{LowerBound: s.begin, UpperBound: s.end})
		if err != nil {
			return err
		}
		n := int64(0)
		for ok := it.First(); ok && err == nil; ok = it.Next() {
			if n++; n%1024 == 0 {
				err = ctx.Err()
			}
			if fault := l.loadEntity(s.table, it); fault != nil {
				bad.Store(true)
				l.options.Logger.Error("stored states are dropped and computed again", "error", fault)
				break
			}
		}
		l.counts.loaded.Add(n)
		return errors.Join(err, it.Error(), it.Close())
	})
}

// loadEntity puts the entity at an iterator in memory.
func (l *Local) loadEntity(table int, it *pebble.Iterator) error {
	value, err := it.ValueAndErr()
	if err != nil {
		return nil // it.Error has it
	}
	key := it.Key()[keyHeadBytes:]
	e, err := l.decode(table, key, slices.Clone(value))
	if err != nil {
		return err
	}
	hash := l.hashOf(key)
	sh := l.shards[l.shardOf(hash)]
	sh.mu.Lock()
	sh.mu.tables[table].put(hash, key, &e)
	sh.mu.Unlock()
	return nil
}
