// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Stream appends records of one schema. It may be used by many goroutines.
type Stream struct {
	log     *Log
	version *version
}

// Declare opens a stream for appending, and makes it if it is new. A stream may be
// declared with other columns than before: what a record's schema does not have, reads
// as null. A column that changes its type is refused with ErrInvalidSchema.
func (l *Log) Declare(s Schema) (*Stream, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.mu.closed {
		return nil, ErrClosed
	}
	v, err := l.mu.catalog.declare(s)
	if err != nil {
		return nil, err
	}
	return &Stream{log: l, version: v}, nil
}

// Streams are the streams of the log, by name, with every column they ever had.
func (l *Log) Streams() []Schema {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make([]Schema, 0, len(l.mu.catalog.unions))
	for name, columns := range l.mu.catalog.unions {
		all = append(all, Schema{Stream: name, Columns: slices.Clone(columns)})
	}
	slices.SortFunc(all, func(a, b Schema) int { return strings.Compare(a.Stream, b.Stream) })
	return all
}

// Schema is what the stream's records look like.
func (s *Stream) Schema() Schema {
	return Schema{Stream: s.version.schema.Stream, Columns: slices.Clone(s.version.schema.Columns)}
}

// Append copies the record into the queue and returns. It is durable GroupWait and
// one write and fsync later at most, while the disk keeps up. An error means that it
// was not taken: ErrInvalidRecord, ErrFull (counted in Stats) or ErrClosed.
func (s *Stream) Append(ctx context.Context, r *Record) error {
	_, err := s.append(ctx, r, false)
	return err
}

// AppendSync appends the record and returns when it is durable. Records appended
// meanwhile share one fsync. ErrNotDurable, or the end of ctx, leave open whether the
// record will be in the log.
func (s *Stream) AppendSync(ctx context.Context, r *Record) error {
	o, err := s.append(ctx, r, true)
	if err != nil {
		return err
	}
	return o.wait(ctx)
}

func (o *outcome) wait(ctx context.Context) error {
	select {
	case <-o.known:
		return o.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Stream) append(ctx context.Context, r *Record, wait bool) (*outcome, error) {
	arrival := r.ArrivalTime
	if arrival == 0 {
		arrival = s.log.now()
	}
	b := scratches.Get().(*scratch)
	raw, err := appendRecord(b.bytes[:0], s.version, r, arrival)
	var o *outcome
	if err == nil {
		o, err = s.log.enqueue(ctx, s.version, raw, r.EventTime, wait)
	}
	if cap(raw) <= scratchKeepBytes {
		b.bytes = raw
		scratches.Put(b)
	}
	return o, err
}

// Sync returns when every record appended before it is durable, or the first attempt
// to make them so failed: then the error wraps ErrNotDurable.
func (l *Log) Sync(ctx context.Context) error {
	l.mu.Lock()
	if l.mu.lost != nil {
		defer l.mu.Unlock()
		return fmt.Errorf("%w: %w", ErrNotDurable, l.mu.lost)
	}
	c := l.lastChunkLocked()
	if c == nil {
		l.mu.Unlock()
		return nil
	}
	o := c.await()
	l.mu.flush = true
	l.mu.Unlock()
	l.wakeWriter()
	return o.wait(ctx)
}

func (l *Log) removeGarbage(ctx context.Context, g garbage) error {
	if !g.segment {
		return l.options.Storage.Delete(ctx, g.name)
	}
	err := l.options.files.Remove(path.Join(l.options.Dir, g.name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
