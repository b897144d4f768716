// SPDX-License-Identifier: Apache-2.0

package online

import (
	"context"
	"errors"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// Local is a Store in memory and in a folder. All its methods may be called at the
// same time, but for Replay.
type Local struct {
	options Options
	shapes  []shape
	// ids are those under which tables are stored.
	ids      []uint32
	seed     maphash.Seed
	shards   []*shard
	budget   int64 // of a shard, in bytes; 0 is no bound
	disk     *disk
	rebuild  []int
	appliers sync.Pool // *applier
	closed   atomic.Bool

	progress progress
	counts   counters
	// watermarks are, by table, the newest arrival of an event, in microseconds since 1970
	// UTC: the clock of the sweep.
	watermarks []atomic.Int64
	sweeper    sweeper

	// checkpointing has an element during a checkpoint.
	checkpointing chan struct{}
	stored        stored // of the last checkpoint; checkpointing guards it
	kick          chan struct{}
	stop          context.CancelFunc
	stopped       chan struct{} // closed when the goroutine has ended
}

var _ Store = (*Local)(nil)

// counters are for Stats.
type counters struct {
	applied, replayed, skipped, refused    atomic.Int64
	loads, evicted, removed                atomic.Int64
	checkpoints, written, checkpointMicros atomic.Int64
	loaded, openMicros, diskBytes          atomic.Int64
}

// OpenLocal opens or makes a store, and loads what it holds. Its goroutine ends with
// Close.
//
// Errors wrap ErrInvalidOptions, ErrCorrupt, ErrVersion, ErrAhead or ErrUnavailable, or
// are ctx's. A table that cannot be used is no error: Rebuild names it.
func OpenLocal(ctx context.Context, o Options) (*Local, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err // a folder nobody waits for is left as it is
	}
	l := newLocal(o)
	began := time.Now()
	if err := l.recover(ctx); err != nil {
		return nil, errors.Join(err, l.disk.close())
	}
	l.counts.diskBytes.Store(l.disk.bytes())
	l.counts.openMicros.Store(time.Since(began).Microseconds())
	l.disk.guard.serving.Store(true)
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	l.stop = stop
	go l.maintain(background)
	return l, nil
}

func newLocal(o Options) *Local {
	l := &Local{options: o, seed: maphash.MakeSeed(), shards: make([]*shard, o.Shards), kick: make(chan struct{}, 1),
		checkpointing: make(chan struct{}, 1), stopped: make(chan struct{}), shapes: make([]shape, len(o.Tables)), ids: make([]uint32, len(o.Tables)),
		watermarks: make([]atomic.Int64, len(o.Tables))}
	for i := range l.shards {
		l.shards[i] = newShard(&o)
	}
	for i, t := range o.Tables {
		if t.View == nil {
			l.shapes[i].lookup = true
			continue
		}
		d := t.View.Window.Definition()
		l.shapes[i] = shape{columns: d.Columns, keys: len(d.Keys)}
	}
	l.appliers.New = func() any { return &applier{aggregators: make([]*window.Aggregator, len(o.Tables))} }
	if l.budget = o.shardBytes; l.budget == 0 {
		l.budget = o.MemoryBytesMax / int64(o.Shards)
	}
	h := &health{}
	l.disk = &disk{dir: o.Dir, bounded: l.budget > 0, cache: 8 << 20, health: h, logger: o.Logger, closing: make(chan struct{}),
		guard: newGuard(o.fs, h, o.retryEvery)}
	if o.MemoryBytesMax > 0 {
		l.disk.cache = min(max(l.disk.cache, o.MemoryBytesMax/8), 64<<20)
	}
	return l
}

// NewReader implements Store. What it returns is a *Reader.
func (l *Local) NewReader() plan.Reader { return newReader(l) }

// Rebuild implements Store. The tables stay listed until Recovered is called, or an
// event is pushed.
func (l *Local) Rebuild() []int { return l.rebuild }

// Close implements Store. Readers of a closed store find what is in memory.
func (l *Local) Close() error {
	if l.closed.Swap(true) {
		return ErrClosed
	}
	l.stop()
	<-l.stopped
	return l.disk.close()
}

// Stats implements Store.
func (l *Local) Stats() Stats {
	c := &l.counts
	s := Stats{
		Tables:  make([]TableStats, len(l.options.Tables)),
		Applied: c.applied.Load(), Replayed: c.replayed.Load(), Skipped: c.skipped.Load(), Refused: c.refused.Load(),
		Loads: c.loads.Load(), Evicted: c.evicted.Load(), Removed: c.removed.Load(),
		ReplayFrom: l.ReplayFrom(), LagRecords: l.progress.lag.Load(),
		Checkpoints: c.checkpoints.Load(), CheckpointEntities: c.written.Load(),
		CheckpointTime: time.Duration(c.checkpointMicros.Load()) * time.Microsecond,
		Failures:       l.disk.health.failures.Load(), Failing: l.disk.health.failing(), DiskBytes: c.diskBytes.Load(),
		Loaded: c.loaded.Load(), OpenTime: time.Duration(c.openMicros.Load()) * time.Microsecond,
	}
	for i := range s.Tables {
		s.Tables[i].Name = l.options.Tables[i].Name
	}
	for _, sh := range l.shards {
		sh.mu.RLock()
		for i := range sh.mu.tables {
			t := &sh.mu.tables[i]
			s.Tables[i].Entities += t.entities()
			s.MemoryBytes += t.memory()
		}
		sh.mu.RUnlock()
	}
	return s
}
