// SPDX-License-Identifier: Apache-2.0

package online

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// disk is where checkpoints go. Anybody may read; one goroutine at a time writes.
type disk struct {
	dir     string
	bounded bool  // entities are read one by one
	cache   int64 // bytes
	guard   *guard
	health  *health
	logger  *slog.Logger
	closing chan struct{} // closed when close begins
	backlog atomic.Int64  // bytes flushed and not compacted yet
	mu      struct {
		sync.RWMutex
		db *pebble.DB // nil before it is opened and once it is closed
	}
}

const (
	memtableBytes = 32 << 20
	blockBytes    = 32 << 10
	// backlogMax is how many bytes may await compaction before writing waits.
	backlogMax = 1 << 30
	// manifestBytesMax is about the largest manifest; the guard keeps a copy of it.
	manifestBytesMax = 1 << 20
	// probeBytes must find room before the database is opened.
	probeBytes = 1 << 20
)

func (d *disk) options() *pebble.Options {
	o := &pebble.Options{
		FS:                    d.guard,
		FormatMajorVersion:    pebble.FormatTableFormatV6,
		DisableWAL:            true, // the event log is the write-ahead log
		MemTableSize:          memtableBytes,
		CacheSize:             d.cache,
		L0CompactionThreshold: 8,
		LBaseMaxBytes:         256 << 20,
		MaxOpenFiles:          512,
		MaxManifestFileSize:   manifestBytesMax,
		// Writing waits in flush and room, where it can be called off, never in Pebble.
		MemTableStopWritesThreshold: 1 << 20,
		L0StopWritesThreshold:       1 << 20,
		Logger:                      &pebbleLogger{d},
		EventListener: &pebble.EventListener{
			BackgroundError: func(err error) { d.health.failed(err) },
			FlushEnd:        func(info pebble.FlushInfo) { d.addBacklog(0, info.Output, 1) },
			CompactionEnd:   d.compacted,
			DataCorruption: func(info pebble.DataCorruptionInfo) {
				d.health.failed(fmt.Errorf("%w: %s", ErrCorrupt, info.Path))
			},
		},
	}
	for i := range o.Levels {
		level := &o.Levels[i]
		level.BlockSize = blockBytes
		level.Compression = func() *sstable.CompressionProfile { return sstable.NoCompression }
		if d.bounded {
			level.BlockSize = 4 << 10
			level.FilterPolicy = bloom.FilterPolicy(10)
		}
	}
	return o
}

// compacted notes what is not in the upper level any more.
func (d *disk) compacted(info pebble.CompactionInfo) {
	if info.Err != nil {
		return
	}
	for _, input := range info.Input {
		d.addBacklog(input.Level, input.Tables, -1)
	}
	d.addBacklog(info.Output.Level, info.Output.Tables, 1)
}

func (d *disk) addBacklog(level int, files []pebble.TableInfo, sign int64) {
	if level != 0 {
		return
	}
	for i := range files {
		d.backlog.Add(sign * int64(files[i].Size))
	}
}

// pebbleLogger passes on what Pebble says.
type pebbleLogger struct{ disk *disk }

// Infof implements pebble.Logger; what goes on in Pebble is not news.
func (p *pebbleLogger) Infof(string, ...any) {}

// Errorf implements pebble.Logger.
func (p *pebbleLogger) Errorf(format string, args ...any) {
	p.disk.logger.Warn("storing states: " + fmt.Sprintf(format, args...))
}

// Fatalf implements pebble.Logger. It is called when a manifest could not be written,
// which happens only once the guard is stopped, and then does no harm; and for faults of
// Pebble or ours, after which no state in memory can be trusted to reach the disk as it
// is.
func (p *pebbleLogger) Fatalf(format string, args ...any) {
	if !p.disk.guard.stopped() {
		panic("online store: pebble: " + fmt.Sprintf(format, args...))
	}
}

// open opens the database.
func (d *disk) open() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.probe(); err != nil {
		return d.wrap(err)
	}
	db, err := pebble.Open(d.dir, d.options())
	if err != nil {
		return d.wrap(err)
	}
	d.mu.db = db
	d.backlog.Store(db.Metrics().Levels[0].TablesSize)
	return nil
}

// probe sees whether the disk can be written. While it opens, Pebble repeats the
// manifest until it can.
func (d *disk) probe() (err error) {
	name := d.guard.PathJoin(d.dir, "probe")
	if err := d.guard.MkdirAll(d.dir, 0o755); err != nil {
		return err
	}
	f, err := d.guard.Create(name, vfs.WriteCategoryUnspecified)
	if err != nil {
		return err
	}
	_, err = f.Write(make([]byte, probeBytes))
	if err == nil {
		err = f.Sync()
	}
	return errors.Join(err, f.Close(), d.guard.Remove(name))
}

// wrap gives errors of Pebble our classes.
func (d *disk) wrap(err error) error {
	switch {
	case pebble.IsCorruptionError(err):
		return fmt.Errorf("folder %s: %w: %w; move it away to compute them again from the event log", d.dir, ErrCorrupt, err)
	case errors.Is(err, ErrClosed) || errors.Is(err, ErrCorrupt):
		return err
	}
	return fmt.Errorf("folder %s: %w: %w", d.dir, ErrUnavailable, err)
}

// use calls f with the database.
func (d *disk) use(f func(db *pebble.DB) error) error {
	d.mu.RLock()
	defer d.mu.RUnlock()
	if d.mu.db == nil {
		return ErrClosed
	}
	if err := f(d.mu.db); err != nil {
		return d.wrap(err)
	}
	return nil
}

// failing is the error that the disk fails with, never nil.
func (d *disk) failing() error {
	if err := d.health.failing(); err != nil {
		return err
	}
	return errors.New("the disk failed a moment ago")
}

// get returns a copy of what is stored of an entity, nil if there is nothing.
func (d *disk) get(id uint32, key []byte) (value []byte, err error) {
	var short [64]byte
	err = d.use(func(db *pebble.DB) error {
		stored, closer, err := db.Get(appendDiskKey(short[:0], id, key))
		if errors.Is(err, pebble.ErrNotFound) {
			return nil
		} else if err != nil {
			return err
		}
		value = append(make([]byte, 0, len(stored)), stored...)
		return closer.Close()
	})
	return value, err
}

// commit makes a batch readable. It is durable after a later flush.
func (d *disk) commit(b *pebble.Batch) error {
	return d.use(func(*pebble.DB) error { return b.Commit(pebble.NoSync) })
}

// startFlush begins to make everything committed durable. The channel is closed when
// it is; see await.
func (d *disk) startFlush() (flushed <-chan struct{}, err error) {
	err = d.use(func(db *pebble.DB) (err error) {
		flushed, err = db.AsyncFlush()
		return err
	})
	return flushed, err
}

// await returns when a flush is over, or giveUp is closed.
func (d *disk) await(ctx context.Context, giveUp, flushed <-chan struct{}) error {
	select {
	case <-flushed:
		if d.guard.stopped() {
			return ErrClosed // who knows
		}
		return nil
	case <-d.closing:
		return ErrClosed
	case <-giveUp:
		return d.wrap(d.failing())
	case <-ctx.Done():
		if failing := d.health.failing(); failing != nil {
			return fmt.Errorf("%w; the disk fails: %w", ctx.Err(), failing)
		}
		return ctx.Err()
	}
}

// write commits a small batch and returns when it, and all before it, are durable.
func (d *disk) write(ctx context.Context, giveUp <-chan struct{}, fill func(b *pebble.Batch) error) error {
	err := d.use(func(db *pebble.DB) error {
		b := db.NewBatch()
		if err := fill(b); err != nil {
			return errors.Join(err, b.Close())
		}
		return errors.Join(b.Commit(pebble.NoSync), b.Close())
	})
	if err != nil {
		return err
	}
	flushed, err := d.startFlush()
	if err != nil {
		return err
	}
	return d.await(ctx, giveUp, flushed)
}

// room returns when compactions have kept up. It is asked rarely, so it polls.
func (d *disk) room(ctx context.Context, giveUp <-chan struct{}) error {
	for d.backlog.Load() > backlogMax {
		timer := time.NewTimer(20 * time.Millisecond)
		select {
		case <-timer.C:
		case <-d.closing:
			timer.Stop()
			return ErrClosed
		case <-giveUp:
			timer.Stop()
			return d.wrap(d.failing())
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		}
	}
	return nil
}

// bytes is the size of what is stored. Pebble is not asked: it may be waiting for the
// disk.
func (d *disk) bytes() (n int64) {
	names, err := d.guard.List(d.dir)
	for _, name := range names {
		if info, e := d.guard.Stat(d.guard.PathJoin(d.dir, name)); e == nil && err == nil {
			n += info.Size() // a file may have been removed meanwhile
		}
	}
	return n
}

// closePatience is how long closing waits for what Pebble is doing.
const closePatience = 2 * time.Second

// close closes the database. If the disk fails, now or on the way, or Pebble takes long
// to end what it is doing, that is as if the process had ended.
func (d *disk) close() error {
	close(d.closing)
	fails, closed := d.health.nextFailure(), make(chan struct{})
	var stopper sync.WaitGroup
	stopper.Go(func() {
		patience := time.NewTimer(closePatience)
		defer patience.Stop()
		if d.health.failing() == nil {
			select {
			case <-fails:
			case <-patience.C:
			case <-closed:
				return
			}
		}
		close(d.guard.stop)
	})
	d.mu.Lock()
	defer d.mu.Unlock()
	var err error
	if d.mu.db != nil {
		err = d.mu.db.Close()
		d.mu.db = nil
	}
	close(closed)
	stopper.Wait()
	if d.guard.stopped() {
		return nil // nothing is lost: what is not stored is in the log
	}
	return err
}
