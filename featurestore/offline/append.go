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
	if l.reader != nil {
		return nil, fmt.Errorf("stream %.80q: %w", s.Stream, ErrReadOnly)
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
	_, err := s.AppendSequence(ctx, r)
	return err
}

// AppendSequence is Append, and says which sequence the record has. Sequences begin
// with 1. The record is not durable yet, see [Log.WaitDurable]; a crash before it is
// may leave its sequence to another record.
func (s *Stream) AppendSequence(ctx context.Context, r *Record) (uint64, error) {
	b := scratches.Get().(*scratch)
	raw, err := appendRecord(b.bytes[:0], s.version, r, s.log.arrivalOf(r))
	var sequence uint64
	if err == nil {
		sequence, err = s.log.enqueue(ctx, s.version, raw, 1)
	}
	b.putBack(raw)
	return sequence, err
}

// AppendBatch appends records one behind the other: the first gets the sequence that
// is returned, and nothing of other appends comes between. All are taken or, with an
// error, none; a crash before they are durable may leave the first ones of them. More
// than one record must fit into an empty queue together, or the error wraps
// ErrInvalidRecord. Of no records the sequence is 0.
func (s *Stream) AppendBatch(ctx context.Context, records []Record) (first uint64, err error) {
	if len(records) == 0 {
		return 0, nil
	}
	b := scratches.Get().(*scratch)
	raw, err := s.appendRecords(b.bytes[:0], records)
	if err == nil {
		first, err = s.log.enqueue(ctx, s.version, raw, len(records))
	}
	b.putBack(raw)
	return first, err
}

func (s *Stream) appendRecords(raw []byte, records []Record) (_ []byte, err error) {
	o := &s.log.options
	for i := range records {
		r := &records[i]
		if raw, err = appendRecord(raw, s.version, r, s.log.arrivalOf(r)); err != nil {
			return raw, fmt.Errorf("record %d of %d: %w", i, len(records), err)
		}
		if len(records) > 1 && (len(raw) > o.QueueBytes || len(records) > o.QueueRecords) {
			return raw, fmt.Errorf("%w: stream %s: a batch of %d records does not fit into a queue of %d records and %d bytes; append it in parts",
				ErrInvalidRecord, s.version.schema.Stream, len(records), o.QueueRecords, o.QueueBytes)
		}
	}
	return raw, nil
}

// arrivalOf is when a record arrived: now, if it does not say.
func (l *Log) arrivalOf(r *Record) int64 {
	if r.ArrivalTime == 0 {
		return l.now()
	}
	return r.ArrivalTime
}

// AppendSync appends the record and returns when it is durable. Records appended
// meanwhile share one fsync. ErrNotDurable, or the end of ctx, leave open whether the
// record will be in the log.
func (s *Stream) AppendSync(ctx context.Context, r *Record) error {
	sequence, err := s.AppendSequence(ctx, r)
	if err != nil {
		return err
	}
	return s.log.WaitDurable(ctx, sequence)
}

// WaitDurable returns when every record up to and including a sequence is durable, or
// the attempt to make it so failed that was under way or came next: then the error
// wraps ErrNotDurable, the log goes on trying, and WaitDurable may be called again. All
// who wait for a group share its fsync. The group is written at once if the disk is
// idle, and else when the fsync under way is over: so it takes two fsyncs at most while
// groups stay below GroupBytes. A sequence that the log has not given yet is
// ErrUnknownSequence.
func (l *Log) WaitDurable(ctx context.Context, sequence uint64) error {
	l.mu.Lock()
	if sequence >= l.mu.next {
		defer l.mu.Unlock()
		return fmt.Errorf("%w: %d is waited for and the next is %d", ErrUnknownSequence, sequence, l.mu.next)
	}
	o, err := l.outcomeLocked(sequence)
	l.mu.Unlock()
	if o == nil {
		return err
	}
	l.wakeWriter()
	return o.wait(ctx)
}

// Sync returns when every record appended before it is durable, or the first attempt
// to make them so failed: then the error wraps ErrNotDurable.
func (l *Log) Sync(ctx context.Context) error {
	return l.WaitDurable(ctx, l.Next()-1)
}

// Next is the sequence that the next record will get: 1 in a new log.
func (l *Log) Next() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.next
}

// Durable is the sequence of the last durable record, 0 if there never was one. All
// before it are durable too.
func (l *Log) Durable() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.mu.durable
}

func (o *outcome) wait(ctx context.Context) error {
	select {
	case <-o.known:
		return o.err
	case <-ctx.Done():
		return ctx.Err()
	}
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
