// SPDX-License-Identifier: Apache-2.0

package online

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/bits"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace-ml/millrace/featurestore/plan"
)

// Limits.
const (
	// KeyBytesMax is the longest key of an entity.
	KeyBytesMax = 1<<16 - 1
	// RowBytesMax is the longest row of a lookup.
	RowBytesMax = 1 << 20
	// ShardsMax is the largest number of shards.
	ShardsMax = 1 << 14
	// MemoryBytesMin is the smallest MemoryBytesMax but 0.
	MemoryBytesMin = 1 << 20
	// shardBytesMin is the smallest part of it that a shard gets: some entities of any
	// size that is to be expected.
	shardBytesMin = 64 << 10
)

// Options is how a local store is kept. The zero value of every field but Dir and
// Tables is sensible.
type Options struct {
	// Dir is the folder of the store. It must be given.
	Dir string
	// Tables are what is kept, as plan.Tables gives them.
	Tables []plan.Table
	// Fingerprint tells versions of a table's definition apart: a table whose fingerprint
	// is not that of what is stored is dropped. nil takes the Fingerprint of the view or
	// lookup.
	Fingerprint func(table int) [16]byte

	// Durable returns when the event log is durable up to a sequence. It is called before
	// states that have the event are stored. nil means that everything is.
	Durable func(ctx context.Context, sequence uint64) error
	// Position is the newest sequence that the log has given; events must get theirs
	// within Apply. nil takes the newest one that the store was told of.
	Position func() uint64
	// OnCheckpoint is told after each checkpoint that records up to the sequence, included,
	// need not be replayed any more. It is called by one goroutine at a time.
	OnCheckpoint func(sequence uint64)

	// MemoryBytesMax bounds the memory of entities, besides some 100 MiB for Pebble: those
	// asked for longest ago are then on disk only. 0 keeps all of them in memory. At least
	// MemoryBytesMin.
	MemoryBytesMax int64
	// Shards is the number of parts with a lock each, a power of two up to ShardsMax: 0 is
	// 256, or less if a part of MemoryBytesMax would be too small.
	Shards int

	// CheckpointEvery is the longest time between checkpoints while there are events: 0
	// is a minute, negative leaves it to Local.Checkpoint.
	CheckpointEvery time.Duration
	// CheckpointRecords is the number of events after which there is one earlier: 0 is
	// 300,000. It bounds the time to replay after a crash, unless events come so fast that
	// checkpoints, which rest as long as they work, cannot keep up.
	CheckpointRecords int64
	// SweepEvery is how long it takes to look at every entity for events that lie outside
	// all windows: 0 is 10 minutes, negative never does.
	SweepEvery time.Duration
	// ForgetAfter is how long an entity is remembered that has no event left in any
	// window: 0 is for ever. Until then its counts are present and zero, as a training set
	// has them, from then on not found.
	ForgetAfter time.Duration

	// Now is the clock; nil is the machine's.
	Now func() time.Time
	// Logger gets what happens; nil is slog.Default.
	Logger *slog.Logger

	fs vfs.FS
	// shardBytes, if it is not 0, is the memory of a shard in place of its share of
	// MemoryBytesMax.
	shardBytes int64
	// retryEvery is the longest wait between two attempts of a disk that fails.
	retryEvery time.Duration
}

// EnsureDefaults replaces zero values by what they stand for.
func (o *Options) EnsureDefaults() {
	if o.Shards == 0 {
		o.Shards = 256
		for o.MemoryBytesMax > 0 && o.Shards > 1 && o.MemoryBytesMax/int64(o.Shards) < shardBytesMin {
			o.Shards /= 2
		}
	}
	setDefault(&o.CheckpointEvery, time.Minute)
	setDefault(&o.CheckpointRecords, 300_000)
	setDefault(&o.SweepEvery, 10*time.Minute)
	setDefault(&o.retryEvery, 5*time.Second)
	if o.Fingerprint == nil {
		o.Fingerprint = o.ownFingerprint
	}
	if o.Durable == nil {
		o.Durable = func(context.Context, uint64) error { return nil }
	}
	if o.OnCheckpoint == nil {
		o.OnCheckpoint = func(uint64) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	if o.fs == nil {
		o.fs = vfs.Default
	}
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Validate reports everything that is wrong, after EnsureDefaults. The error wraps
// ErrInvalidOptions.
func (o *Options) Validate() error {
	var errs []error
	refuse := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if o.Dir == "" {
		refuse("dir: name the folder of the store")
	}
	if o.Shards < 1 || o.Shards > ShardsMax || bits.OnesCount(uint(o.Shards)) != 1 {
		refuse("shards: %d is not a power of two from 1 to %d", o.Shards, ShardsMax)
	}
	if o.MemoryBytesMax != 0 && o.MemoryBytesMax < MemoryBytesMin {
		refuse("memory_bytes_max: %d is less than %d; 0 is no bound", o.MemoryBytesMax, MemoryBytesMin)
	}
	if o.MemoryBytesMax > 0 && o.Shards > 0 && o.MemoryBytesMax/int64(o.Shards) < shardBytesMin {
		refuse("shards: %d leave each %d of the memory_bytes_max of %d, less than %d; 0 picks as many as are right",
			o.Shards, o.MemoryBytesMax/int64(o.Shards), o.MemoryBytesMax, shardBytesMin)
	}
	if o.CheckpointRecords < 0 {
		refuse("checkpoint_records: %d is negative", o.CheckpointRecords)
	}
	names := map[string]bool{}
	for i := range o.Tables {
		t := &o.Tables[i]
		if (t.View == nil) == (t.Lookup == nil) {
			refuse("table %d, %q: it is a view or a lookup", i, t.Name)
		}
		if name := storedName(t); names[name] {
			refuse("table %d, %q: there are two of that name", i, t.Name)
		} else {
			names[name] = true
		}
	}
	if len(errs) == 0 {
		return nil
	}
	return fmt.Errorf("online store: %w: %w", ErrInvalidOptions, errors.Join(errs...))
}
