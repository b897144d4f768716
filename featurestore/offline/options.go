// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"errors"
	"fmt"
	"time"
)

// Limits of Options.
const (
	// GroupBytesMax is the largest GroupBytes.
	GroupBytesMax = 16 << 20
	// QueueBytesMax is the largest QueueBytes.
	QueueBytesMax = 1 << 30
	// SegmentBytesMax is the largest SegmentBytes.
	SegmentBytesMax = 4 << 30
)

// Options is how a log is kept. The zero value of every field but Dir is sensible.
type Options struct {
	// Dir is the folder of the log. It must be given.
	Dir string
	// Storage holds partitions and manifests; nil is the folder Dir itself. Segments
	// are always in Dir, since they need fsync.
	Storage Storage

	// QueueBytes bounds the encoded records that are not stored yet: 0 is 16 MiB, at
	// least twice GroupBytes, at most QueueBytesMax. A record may exceed it by itself.
	QueueBytes int
	// QueueRecords bounds their number: 0 is 1<<17.
	QueueRecords int
	// WaitWhenFull is how long an append waits for room before ErrFull. 0 drops at
	// once, negative waits as long as the append's context allows.
	WaitWhenFull time.Duration
	// GroupWait is the longest a record waits for company before its group is written
	// and synced: 0 is 5 ms, at most a minute. It bounds what a crash can take of
	// records that were not appended synchronously.
	GroupWait time.Duration
	// GroupBytes is the size at which a group does not wait: 0 is 1 MiB, 4 KiB to
	// GroupBytesMax.
	GroupBytes int

	// SegmentBytes seals a segment: 0 is 64 MiB, 64 KiB to SegmentBytesMax.
	SegmentBytes int64
	// SegmentAge seals a segment that has records, so they reach Parquet: 0 is 5
	// minutes, at least a millisecond. It is looked at every CompactEvery.
	SegmentAge time.Duration
	// CompactEvery is how often sealed segments are turned into partitions, besides
	// whenever one is sealed: 0 is 30 s, negative leaves it to Log.Compact.
	CompactEvery time.Duration
	// CompactMemory bounds the records held while compacting, in bytes: 0 is 64 MiB,
	// at least 1 MiB. Less means that segments are read more often.
	CompactMemory int
	// RowGroupRows and RowGroupBytes bound a row group, the latter before compression:
	// 0 is 1<<17 rows, at most 1<<24, and 32 MiB, 64 KiB to 1 GiB.
	RowGroupRows  int
	RowGroupBytes int
	// MergeParts is how many small parts a date may have before a compaction that
	// adds another merges them: 0 is 8, 2 to 1000.
	MergeParts int
	// MergeBytes is the size, in bytes, from which a part is not small: 0 is 128 MiB.
	MergeBytes int64
	// Snappy compresses with Snappy instead of Zstandard.
	Snappy bool

	// RetainAge deletes partitions all of whose events are older: 0 keeps them.
	RetainAge time.Duration
	// RetainBytes deletes the partitions of the oldest dates while all together are
	// larger: 0 keeps them.
	RetainBytes int64

	// HoldFromStart opens the log with a hold on every segment that is there, so that
	// none goes before [Log.Hold] says from where it is needed. Without it, segments
	// whose records are in partitions are removed when the log is opened.
	HoldFromStart bool
	// HoldBytesMax bounds the size of segments that are held for Replay though their
	// records are in partitions: 0 is 16 GiB. Beyond it the oldest go, and a replay that
	// needs them meets ErrTooOld.
	HoldBytesMax int64

	// ScanMemory bounds the records of live segments that one scan holds, in bytes,
	// over all segments: 0 is 64 MiB, at least 1 MiB.
	ScanMemory int
	// VersionsMax bounds the ids with several versions that a scan with Latest can
	// tell apart, at about 64 bytes each: 0 is 1<<20, at most 1<<26.
	VersionsMax int

	// Now is the clock; nil is the machine's.
	Now func() time.Time

	files fileSystem // nil is the machine's
}

// EnsureDefaults replaces zero values by what they stand for.
func (o *Options) EnsureDefaults() {
	or(&o.QueueBytes, 16<<20)
	or(&o.QueueRecords, 1<<17)
	or(&o.GroupWait, 5*time.Millisecond)
	or(&o.GroupBytes, 1<<20)
	or(&o.SegmentBytes, 64<<20)
	or(&o.SegmentAge, 5*time.Minute)
	or(&o.CompactEvery, 30*time.Second)
	or(&o.CompactMemory, 64<<20)
	or(&o.RowGroupRows, 1<<17)
	or(&o.RowGroupBytes, 32<<20)
	or(&o.MergeParts, 8)
	or(&o.MergeBytes, 128<<20)
	or(&o.HoldBytesMax, 16<<30)
	or(&o.ScanMemory, 64<<20)
	or(&o.VersionsMax, 1<<20)
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.files == nil {
		o.files = osFS{}
	}
	if o.Storage == nil {
		o.Storage = &folder{fs: o.files, dir: o.Dir}
	}
}

func or[T comparable](v *T, fallback T) {
	var zero T
	if *v == zero {
		*v = fallback
	}
}

// Validate reports everything that is wrong, after EnsureDefaults. The error wraps
// ErrInvalidOptions.
func (o *Options) Validate() error {
	var p problems
	if o.Dir == "" {
		p.add("Dir is missing")
	}
	within(&p, "GroupBytes", o.GroupBytes, 4<<10, GroupBytesMax)
	within(&p, "QueueBytes", o.QueueBytes, 2*o.GroupBytes, QueueBytesMax)
	within(&p, "QueueRecords", o.QueueRecords, 1, 1<<30)
	within(&p, "GroupWait", o.GroupWait, time.Microsecond, time.Minute)
	within(&p, "SegmentBytes", o.SegmentBytes, 64<<10, SegmentBytesMax)
	within(&p, "SegmentAge", o.SegmentAge, time.Millisecond, 1<<62)
	within(&p, "CompactMemory", o.CompactMemory, 1<<20, 1<<40)
	within(&p, "RowGroupRows", o.RowGroupRows, 1, 1<<24)
	within(&p, "RowGroupBytes", o.RowGroupBytes, 64<<10, 1<<30)
	within(&p, "MergeParts", o.MergeParts, 2, 1000)
	within(&p, "MergeBytes", o.MergeBytes, 1, 1<<62)
	within(&p, "RetainAge", o.RetainAge, 0, 1<<62)
	within(&p, "RetainBytes", o.RetainBytes, 0, 1<<62)
	within(&p, "HoldBytesMax", o.HoldBytesMax, 1, 1<<62)
	within(&p, "ScanMemory", o.ScanMemory, 1<<20, 1<<40)
	within(&p, "VersionsMax", o.VersionsMax, 1, 1<<26)
	return errors.Join(p...)
}

type problems []error

func (p *problems) add(format string, args ...any) {
	*p = append(*p, fmt.Errorf("%w: %s", ErrInvalidOptions, fmt.Sprintf(format, args...)))
}

func within[T int | int64 | time.Duration](p *problems, name string, value, low, high T) {
	if value < low || value > high {
		p.add("%s is %v, want %v to %v", name, value, low, high)
	}
}
