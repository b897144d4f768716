// SPDX-License-Identifier: Apache-2.0

package online

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"runtime"
	"slices"
	"time"

	"github.com/cockroachdb/pebble/v2"
)

// Bounds of a checkpoint's steps.
const (
	// batchBytes is the size at which a batch is committed.
	batchBytes = 1 << 20
	// copyEntities and copyBytes end a step: for as long, events for the shard wait.
	copyEntities = 16
	copyBytes    = 64 << 10
)

// Checkpoint implements Store. Pushes and reads go on meanwhile. One checkpoint runs
// at a time.
//
// Errors leave everything as it was, to be written by the next checkpoint: those of
// Options.Durable and ctx, and others wrap ErrUnavailable, ErrCorrupt or ErrClosed.
func (l *Local) Checkpoint(ctx context.Context) error {
	l.disk.guard.hurry.Add(1)
	defer l.disk.guard.hurry.Add(-1)
	return l.checkpointAtLeisure(ctx)
}

func (l *Local) checkpointAtLeisure(ctx context.Context) error {
	if err := l.beginCheckpoint(ctx, nil); err != nil {
		return err
	}
	defer l.endCheckpoint()
	return l.checkpoint(ctx, nil)
}

func (l *Local) beginCheckpoint(ctx context.Context, giveUp <-chan struct{}) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case l.checkpointing <- struct{}{}:
		return nil
	case <-giveUp:
		return l.disk.failing()
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (l *Local) endCheckpoint() { <-l.checkpointing }

// makeRoom returns when there was a checkpoint since the number of them was known, or
// the disk fails meanwhile.
func (l *Local) makeRoom(ctx context.Context, since int64) error {
	l.disk.guard.hurry.Add(1)
	defer l.disk.guard.hurry.Add(-1)
	giveUp := l.disk.health.nextFailure()
	if err := l.beginCheckpoint(ctx, giveUp); err != nil {
		return err
	}
	defer l.endCheckpoint()
	if l.counts.checkpoints.Load() > since {
		return nil
	}
	return l.checkpoint(ctx, giveUp)
}

// checkpoint is Checkpoint, between begin and end.
func (l *Local) checkpoint(ctx context.Context, giveUp <-chan struct{}) error {
	if l.closed.Load() {
		return ErrClosed
	}
	began := time.Now()
	lag := l.progress.lag.Load()
	c := &checkpoint{local: l, giveUp: giveUp, keys: make([]byte, 0, 1<<10), values: make([]byte, 0, 2*copyBytes)}
	err := c.run(ctx)
	if c.batch != nil {
		err = errors.Join(err, c.batch.Close())
	}
	if err != nil {
		l.restoreMarks()
		return fmt.Errorf("checkpoint: %w", err)
	}
	l.disk.health.recovered()
	l.settleMarks()
	l.progress.lag.Add(-lag)
	l.progress.replayFrom.Store(l.stored.ReplayFrom)
	l.counts.checkpoints.Add(1)
	l.counts.written.Store(c.written)
	l.counts.diskBytes.Store(l.disk.bytes())
	l.counts.checkpointMicros.Store(time.Since(began).Microseconds())
	l.options.OnCheckpoint(l.stored.ReplayFrom)
	return nil
}

// checkpoint is one in the making. Entities that changed are copied shard by shard, so
// it is of no single moment; but each says which records it has, and a replay from the
// position noted before the first copy brings all of them up to the log.
type checkpoint struct {
	local   *Local
	giveUp  <-chan struct{}
	batch   *pebble.Batch
	durable uint64          // the log is known to be durable up to here
	newest  uint64          // record in the batch
	bytes   int64           // committed since the last flush began
	flushed <-chan struct{} // of that flush; nil before the first
	written int64           // entities

	// copies of a step
	keys, values []byte
	copies       []copied
}

// copied is where an entity was copied to; a value of -1 is one that was removed.
type copied struct{ keyEnd, valueEnd int }

func (c *checkpoint) run(ctx context.Context) error {
	l := c.local
	rebuilt := l.progress.live.Load()
	position := l.position()
	// What is not durable in the log may be lost, and its sequence given to another.
	if err := c.waitDurable(ctx, position); err != nil {
		return err
	}
	next := l.stored
	next.ReplayFrom, next.Tables = position, slices.Clone(next.Tables)
	for i, sh := range l.shards {
		// Whoever was given a sequence up to the position has it applied after this.
		sh.apply.Lock()
		//lint:ignore SA2001 waiting for those who hold the lock is all there is to do
		sh.apply.Unlock()
		if err := c.copyShard(ctx, sh); err != nil {
			return fmt.Errorf("shard %d: %w", i, err)
		}
	}
	if err := c.commit(ctx); err != nil {
		return err
	}
	for i := range next.Tables {
		t := &next.Tables[i]
		t.Entities = l.entities(i)
		t.Rebuilding = t.Rebuilding && !rebuilt
	}
	if err := l.disk.write(ctx, c.giveUp, func(b *pebble.Batch) error { return setStored(b, &next) }); err != nil {
		return err
	}
	l.stored = next
	return nil
}

func (c *checkpoint) waitDurable(ctx context.Context, sequence uint64) error {
	if sequence <= c.durable {
		return nil
	}
	if err := c.local.options.Durable(ctx, sequence); err != nil {
		return fmt.Errorf("event log up to sequence %d: %w", sequence, err)
	}
	c.durable = sequence
	return nil
}

// copyShard copies the entities of a shard that changed, in steps.
func (c *checkpoint) copyShard(ctx context.Context, sh *shard) error {
	for table := range sh.mu.tables { // its length never changes
		for chunk := 0; ; {
			if err := ctx.Err(); err != nil {
				return err
			}
			next, err := c.copyStep(sh, table, chunk)
			if err == nil {
				err = c.add(ctx, table)
			}
			if err != nil {
				return err
			}
			runtime.Gosched() // whoever was woken meanwhile goes first
			if chunk = next; chunk < 0 {
				break
			}
		}
	}
	return nil
}

// copyStep copies a few entities, from a chunk on, and returns the chunk to go on
// with, or -1. Readers go on meanwhile; they do not look at the marks that change.
func (c *checkpoint) copyStep(sh *shard, table, chunk int) (next int, err error) {
	c.keys, c.values, c.copies = c.keys[:0], c.values[:0], c.copies[:0]
	sh.mu.RLock()
	defer sh.mu.RUnlock()
	t := &sh.mu.tables[table]
	for looked := 0; chunk < len(t.chunks); chunk++ {
		if looked++; looked > copyEntities*chunkLen {
			return chunk, nil
		}
		m := t.chunks[chunk]
		for m.dirty != 0 {
			if len(c.copies) == copyEntities || len(c.values) > copyBytes {
				return chunk, nil
			}
			i := bits.TrailingZeros32(m.dirty)
			if err := c.copy(t, m, chunk*chunkLen+i); err != nil {
				return -1, err
			}
			m.dirty &^= 1 << i
			m.writing |= 1 << i
		}
	}
	return -1, nil
}

func (c *checkpoint) copy(t *table, m *chunk, slot int) (err error) {
	at := copied{valueEnd: -1}
	c.keys = t.appendKey(c.keys, slot)
	at.keyEnd = len(c.keys)
	if m.removed&(1<<(slot%chunkLen)) == 0 {
		if c.values, err = t.appendEntity(c.values, slot); err != nil {
			return err
		}
		at.valueEnd = len(c.values)
	}
	c.newest = max(c.newest, t.head(slot).applied)
	c.copies = append(c.copies, at)
	return nil
}

// add puts the copies of a step in the batch.
func (c *checkpoint) add(ctx context.Context, table int) error {
	if c.batch == nil {
		err := c.local.disk.use(func(db *pebble.DB) error {
			c.batch = db.NewBatchWithSize(batchBytes + 2*copyBytes)
			return nil
		})
		if err != nil {
			return err
		}
	}
	var key [256]byte
	keyBegin, valueBegin := 0, 0
	for _, at := range c.copies {
		k := appendDiskKey(key[:0], c.local.ids[table], c.keys[keyBegin:at.keyEnd])
		keyBegin = at.keyEnd
		var err error
		if at.valueEnd < 0 {
			err = c.batch.Delete(k, nil)
		} else {
			err = c.batch.Set(k, c.values[valueBegin:at.valueEnd], nil)
			valueBegin = at.valueEnd
		}
		if err != nil {
			return err
		}
	}
	c.written += int64(len(c.copies))
	if c.batch.Len() < batchBytes {
		return nil
	}
	return c.commit(ctx)
}

// commit writes the batch, once the log has every record in it.
func (c *checkpoint) commit(ctx context.Context) error {
	if c.batch == nil || c.batch.Empty() {
		return nil
	}
	if err := c.waitDurable(ctx, c.newest); err != nil {
		return err
	}
	if err := c.local.disk.commit(c.batch); err != nil {
		return err
	}
	c.bytes += int64(c.batch.Len())
	c.batch.Reset()
	if c.bytes < memtableBytes {
		return nil
	}
	c.bytes = 0
	return c.flush(ctx)
}

// flush begins a flush, when the one before is over: so there are two memtables at most.
func (c *checkpoint) flush(ctx context.Context) (err error) {
	d := c.local.disk
	if c.flushed != nil {
		err = d.await(ctx, c.giveUp, c.flushed)
	}
	if err == nil {
		err = d.room(ctx, c.giveUp)
	}
	if err == nil {
		c.flushed, err = d.startFlush()
	}
	return err
}

// restoreMarks makes what a failed checkpoint has copied dirty again, whatever of it
// reached the disk.
func (l *Local) restoreMarks() {
	l.eachChunk(func(_ *table, _ int, c *chunk) {
		c.dirty |= c.writing
		c.writing = 0
	})
}

// settleMarks makes what a checkpoint has written clean, and gives the slots of removed
// entities back.
func (l *Local) settleMarks() {
	l.eachChunk(func(t *table, first int, c *chunk) {
		gone := c.removed & c.writing &^ (c.dirty | c.pinned)
		c.writing = 0
		for ; gone != 0; gone &= gone - 1 {
			t.remove(first + bits.TrailingZeros32(gone))
		}
	})
	if l.budget == 0 {
		return
	}
	for _, sh := range l.shards {
		sh.mu.Lock()
		evicted, _ := sh.evictLocked(l.budget)
		sh.mu.Unlock()
		l.counts.evicted.Add(evicted)
	}
}

// marksChunks is the number of chunks whose marks are changed in one step.
const marksChunks = 64

// eachChunk calls f for all chunks, a few at a time under the lock of their shard. first
// is the slot that the chunk begins with.
func (l *Local) eachChunk(f func(t *table, first int, c *chunk)) {
	for _, sh := range l.shards {
		for table := range sh.mu.tables { // its length never changes
			t := &sh.mu.tables[table]
			for next := 0; next >= 0; {
				next = sh.someChunks(t, next, f)
			}
		}
	}
}

func (sh *shard) someChunks(t *table, from int, f func(t *table, first int, c *chunk)) (next int) {
	sh.mu.Lock()
	defer sh.mu.Unlock()
	for i := from; i < len(t.chunks); i++ {
		if i == from+marksChunks {
			return i
		}
		f(t, i*chunkLen, t.chunks[i])
	}
	return -1
}

// entities is the number of entities of a table in memory.
func (l *Local) entities(table int) (n int64) {
	for _, sh := range l.shards {
		sh.mu.RLock()
		n += sh.mu.tables[table].entities()
		sh.mu.RUnlock()
	}
	return n
}
