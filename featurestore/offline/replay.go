// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
)

// Replay visits the durable records of all streams with a sequence > after, in the
// order of their sequences; what becomes durable meanwhile does not show. The record
// and all it refers to are good until visit returns. For all records of one schema
// columns is one and the same slice while the replay lasts, so a caller can tell schemas
// apart by their stream and the address of the first column; it must not be written to.
// Sequences that [Repair] could not save are passed over. An error of visit ends it and
// is returned.
//
// [ErrTooOld] means that not all of the records are there any more, and
// [ErrUnknownSequence] that after is none that the log has given; then nothing was
// visited.
//
// A replay holds 256 KiB, or as much as the largest group, if that is more.
func (l *Log) Replay(ctx context.Context, after uint64, visit func(stream string, columns []Column, r *Record) error) error {
	v, err := l.replayView(after)
	if err != nil {
		return err
	}
	defer v.release()
	p := player{ctx: ctx, visit: visit, after: after}
	for i := range v.segments {
		if err := p.play(l.options.files, l.options.Dir, &v.segments[i]); err != nil {
			return err
		}
	}
	return nil
}

// replayView is the segments that have the records behind a sequence.
func (l *Log) replayView(after uint64) (*view, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reader != nil && l.mu.closed {
		return nil, ErrClosed
	}
	if after >= l.mu.next {
		return nil, fmt.Errorf("%w: a replay is to begin after %d and the next is %d", ErrUnknownSequence, after, l.mu.next)
	}
	if from := l.replayFromLocked(); after+1 < from {
		return nil, fmt.Errorf("%w: a replay is to begin after sequence %d, and the log can replay from %d on", ErrTooOld, after, from)
	}
	v := &view{log: l}
	for _, some := range [][]*segment{l.mu.held, l.mu.segments} {
		for _, s := range some {
			if s.next > s.header.base && s.next-1 > after {
				v.segments = append(v.segments, *s)
				v.pinned = append(v.pinned, s.name)
			}
		}
	}
	for _, name := range v.pinned {
		l.mu.pins[name]++
	}
	v.users.Store(1)
	return v, nil
}

// replayed is a schema as a replay meets it.
type replayed struct {
	stream  string
	columns []Column
	wanted  []bool  // whose values are decoded; those of other columns stay null
	last    int     // behind the last wanted column
	values  []Value // used again for each record
}

// player hands on the records of segments.
type player struct {
	ctx     context.Context
	visit   func(stream string, columns []Column, r *Record) error
	after   uint64
	frames  frameReader
	known   []*replayed          // over all segments
	schemas map[uint32]*replayed // of the segment
	record  Record
	// only are the columns that are wanted, by stream, see Tail.Only; nil for all.
	only map[string][]string
}

// play visits the records of a segment. It reads the schemas from the segment itself:
// numbers of schemas mean nothing beyond the segments that were live together.
func (p *player) play(files fileSystem, dir string, s *segment) error {
	file, err := files.Open(path.Join(dir, s.name))
	if err != nil {
		return fmt.Errorf("segment %s: %w", s.name, err)
	}
	p.frames.reset(file, s.header.salt, framesStart, s.end)
	return errors.Join(p.playFrames(s, s.header.base, func(uint64) {}), file.Close())
}

// playFrames visits the records from a frame on, whose first record has the sequence next.
// After each frame it tells the sequence behind it.
func (p *player) playFrames(s *segment, next uint64, played func(next uint64)) error {
	for {
		if err := p.ctx.Err(); err != nil {
			return err
		}
		offset := p.frames.offset
		frame, reason, err := p.frames.next()
		if err != nil {
			return fmt.Errorf("segment %s: %w", s.name, err)
		}
		behind := next
		if reason == "" {
			switch frame.kind {
			case 0:
				return nil
			case frameCatalog:
				reason = p.takeCatalog()
			case frameGap:
				_, to, ok := parseGap(p.frames.payload)
				if behind = to; !ok {
					reason = "malformed gap"
				}
			case frameBatch:
				behind, reason, err = p.playBatch(next)
			}
		}
		if err != nil {
			return err
		}
		if reason != "" {
			return &CorruptError{Segment: s.name, Offset: offset, Reason: reason}
		}
		next = behind
		played(next)
	}
}

// takeCatalog finds the schemas of a segment among those known, or adds them.
func (p *player) takeCatalog() string {
	versions, err := decodeCatalog(p.frames.payload)
	if err != nil {
		return "catalog of schemas: " + err.Error()
	}
	p.schemas = make(map[uint32]*replayed, len(versions))
	for _, v := range versions {
		at := slices.IndexFunc(p.known, func(k *replayed) bool {
			return k.stream == v.schema.Stream && slices.Equal(k.columns, v.schema.Columns)
		})
		if at < 0 {
			at = len(p.known)
			p.known = append(p.known, newReplayed(&v.schema, p.only))
		}
		p.schemas[v.number] = p.known[at]
	}
	return ""
}

func newReplayed(s *Schema, only map[string][]string) *replayed {
	r := &replayed{stream: s.Stream, columns: s.Columns, wanted: make([]bool, len(s.Columns)), values: make([]Value, len(s.Columns))}
	names, some := only[s.Stream]
	if only != nil && !some {
		r.values = nil // no record of it is visited
		return r
	}
	for i, c := range s.Columns {
		if r.wanted[i] = len(names) == 0 || slices.Contains(names, c.Name); r.wanted[i] {
			r.last = i + 1
		}
	}
	return r
}

// passes says that records of the stream are passed over.
func (r *replayed) passes() bool { return r.values == nil }

// decode reads the wanted values of a record. A column has one type, so that nothing stays
// of the record before. What is behind the last wanted column is not looked at: the checksum
// of the frame covers it.
func (r *replayed) decode(rest []byte) bool {
	size := (len(r.columns) + 7) / 8
	if len(rest) < size {
		return false
	}
	nulls := rest[:size]
	rest = rest[size:]
	for i := range r.last {
		var into *Value
		if r.wanted[i] {
			into = &r.values[i]
		}
		if nulls[i/8]&(1<<(i%8)) != 0 {
			if into != nil {
				*into = Value{list: into.list[:0]}
			}
			continue
		}
		var ok bool
		if rest, ok = decodeValue(rest, r.columns[i].Type, into); !ok {
			return false
		}
	}
	return r.last < len(r.columns) || len(rest) == 0
}

// playBatch visits the records of a batch. It returns the sequence behind them, or
// what is wrong with the batch, or the error of visit.
func (p *player) playBatch(next uint64) (uint64, string, error) {
	h, ok := parseBatchHead(p.frames.payload)
	if !ok || h.base != next {
		return next, "a batch that does not follow what is before it", nil
	}
	next += uint64(h.count)
	if next-1 <= p.after {
		return next, "", nil
	}
	var err error
	var schema *replayed
	number := uint32(0) // of schema; no schema has 0
	sound := eachRecord(p.frames.payload, h, func(sequence uint64, raw []byte) bool {
		if sequence <= p.after {
			return true
		}
		head, rest, ok := decodeHead(raw)
		if !ok {
			return false
		}
		if head.schema != number {
			number, schema = head.schema, p.schemas[head.schema]
		}
		if schema != nil && schema.passes() {
			return true
		}
		if schema == nil || !schema.decode(rest) {
			return false
		}
		p.record = Record{ID: head.id, EventTime: head.event, ArrivalTime: head.arrival, Sequence: sequence, Values: schema.values}
		err = p.visit(schema.stream, schema.columns, &p.record)
		return err == nil
	})
	if err == nil && !sound {
		return next, "malformed record in a batch", nil
	}
	return next, "", err
}
