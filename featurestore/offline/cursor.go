// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"unsafe"
)

// source yields records in the order of compareRecords.
type source interface {
	// next moves to the following record; false at the end.
	next(ctx context.Context) (bool, error)
	// record is the current one, good until next or close.
	record() *Record
	close() error
}

// compareRecords orders by event time, then id, then newest version first: versions
// of one event are side by side, and the first is the one that counts.
func compareRecords(a, b *Record) int {
	return compareKeys(a.EventTime, a.ArrivalTime, a.Sequence, a.ID, b.EventTime, b.ArrivalTime, b.Sequence, b.ID)
}

func compareKeys(event1, arrival1 int64, seq1 uint64, id1 string, event2, arrival2 int64, seq2 uint64, id2 string) int {
	switch {
	case event1 != event2:
		return order(event1 < event2)
	case id1 != id2:
		return strings.Compare(id1, id2)
	case arrival1 != arrival2:
		return order(arrival1 > arrival2)
	case seq1 != seq2:
		return order(seq1 > seq2)
	}
	return 0
}

func order(before bool) int {
	if before {
		return -1
	}
	return 1
}

// filter is what a source is asked for.
type filter struct {
	stream     string
	columns    []Column // of the result
	from, last int64    // event times, both included
	asOf       int64    // latest arrival time
	below      uint64   // of records of partitions, sequences from here on do not count; 0 is no bound
}

func (f *filter) takes(event, arrival int64) bool {
	return event >= f.from && event <= f.last && arrival <= f.asOf
}

// layout says where the values of a schema go.
type layout struct {
	columns []Column
	target  []int
}

func newLayout(columns, wanted []Column) layout {
	l := layout{columns, make([]int, len(columns))}
	for i, c := range columns {
		l.target[i] = slices.IndexFunc(wanted, func(w Column) bool { return w.Name == c.Name })
	}
	return l
}

// entry is a record of a segment in memory.
type entry struct {
	event, arrival int64
	sequence       uint64
	schema         uint32
	at, size       int32 // of the encoded record in the arena
}

const entryBytes = int(unsafe.Sizeof(entry{}))

// segmentCursor yields the records of a segment, which are in order of arrival, in
// order of event time. It holds a window of the next ones and reads the segment again
// for each further window, so its memory does not depend on the segment.
type segmentCursor struct {
	filter
	file    readFile
	seg     segment
	layouts map[uint32]layout // of the schemas of the stream
	window  int               // bytes of a window; twice that while it is filled

	frames  *frameReader
	entries []entry
	arena   []byte
	spare   []byte
	more    bool // there are records behind the window
	pos     int
	started bool
	after   Record // the last record of the window before
	rec     Record
}

// windowBytesMin is the smallest window.
const windowBytesMin = 64 << 10

func (l *Log) openCursor(s segment, f filter, versions map[uint32]*version, window int) (*segmentCursor, error) {
	file, err := l.options.files.Open(path.Join(l.options.Dir, s.name))
	if err != nil {
		return nil, fmt.Errorf("segment %s: %w", s.name, err)
	}
	c := &segmentCursor{filter: f, file: file, seg: s, layouts: map[uint32]layout{}, window: max(window, windowBytesMin)}
	for number, v := range versions {
		if v.schema.Stream == f.stream {
			c.layouts[number] = newLayout(v.schema.Columns, f.columns)
		}
	}
	c.rec.Values = make([]Value, len(f.columns))
	return c, nil
}

func (c *segmentCursor) close() error    { return c.file.Close() }
func (c *segmentCursor) record() *Record { return &c.rec }

func (c *segmentCursor) next(ctx context.Context) (bool, error) {
	if !c.started || (c.pos == len(c.entries) && c.more) {
		if c.started {
			last := &c.entries[c.pos-1]
			c.after = Record{ID: strings.Clone(c.idOf(last)), EventTime: last.event, ArrivalTime: last.arrival, Sequence: last.sequence}
		}
		if err := c.fill(ctx); err != nil {
			return false, err
		}
		c.started = true
	}
	if c.pos == len(c.entries) {
		return false, nil
	}
	e := &c.entries[c.pos]
	c.pos++
	raw := c.arena[e.at : e.at+e.size]
	head, rest, ok := decodeHead(raw)
	layout := c.layouts[e.schema]
	if !ok || !decodeValues(rest, layout.columns, layout.target, c.rec.Values) {
		return false, &CorruptError{Segment: c.seg.name, Offset: c.seg.end, Reason: fmt.Sprintf("record %d, before this offset, is malformed", e.sequence)}
	}
	c.rec.ID, c.rec.EventTime, c.rec.ArrivalTime, c.rec.Sequence = head.id, e.event, e.arrival, e.sequence
	return true, nil
}

func (c *segmentCursor) idOf(e *entry) string {
	head, _, _ := decodeHead(c.arena[e.at : e.at+e.size])
	return head.id
}

func (c *segmentCursor) compare(a, b entry) int {
	if a.event != b.event {
		return order(a.event < b.event)
	}
	return compareKeys(a.event, a.arrival, a.sequence, c.idOf(&a), b.event, b.arrival, b.sequence, c.idOf(&b))
}

// fill reads the segment for the next window.
func (c *segmentCursor) fill(ctx context.Context) error {
	c.entries, c.arena, c.pos, c.more = c.entries[:0], c.arena[:0], 0, false
	from := c.from
	if c.started {
		from = max(from, c.after.EventTime)
	}
	for _, f := range c.seg.index {
		if f.maxEvent < from || f.minEvent > c.ceiling() {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		payload, head, err := c.frame(f)
		if err != nil {
			return err
		}
		eachRecord(payload, head, func(sequence uint64, raw []byte) bool {
			c.offer(sequence, raw)
			return true
		})
	}
	c.pos = 0
	slices.SortFunc(c.entries, c.compare)
	return nil
}

// ceiling is the latest event time that the window still takes.
func (c *segmentCursor) ceiling() int64 {
	if c.more {
		return c.entries[c.pos].event // of the last kept entry; see shrink
	}
	return c.last
}

// offer adds a record to the window if it belongs there.
func (c *segmentCursor) offer(sequence uint64, raw []byte) {
	head, _, ok := decodeHead(raw)
	if !ok || !c.takes(head.event, head.arrival) {
		return
	}
	if _, ok := c.layouts[head.schema]; !ok {
		return
	}
	if c.started && compareKeys(head.event, head.arrival, sequence, head.id, c.after.EventTime, c.after.ArrivalTime, c.after.Sequence, c.after.ID) <= 0 {
		return
	}
	e := entry{head.event, head.arrival, sequence, head.schema, int32(len(c.arena)), int32(len(raw))}
	if c.more {
		if top := &c.entries[c.pos]; compareKeys(e.event, e.arrival, e.sequence, head.id, top.event, top.arrival, top.sequence, c.idOf(top)) > 0 {
			return
		}
	}
	c.arena = append(c.arena, raw...)
	c.entries = append(c.entries, e)
	if len(c.arena)+len(c.entries)*entryBytes > 2*c.window && len(c.entries) > 1 {
		c.shrink()
	}
}

// shrink keeps the first records of the window. While it is filled, c.pos is the
// place of the last one kept: what is behind that is for a later window.
func (c *segmentCursor) shrink() {
	slices.SortFunc(c.entries, c.compare)
	kept, bytes := 0, 0
	c.spare = c.spare[:0]
	for i := range c.entries {
		e := &c.entries[i]
		bytes += int(e.size) + entryBytes
		if kept > 0 && bytes > c.window {
			break
		}
		at := int32(len(c.spare))
		c.spare = append(c.spare, c.arena[e.at:e.at+e.size]...)
		e.at = at
		kept++
	}
	c.more = c.more || kept < len(c.entries)
	c.entries = c.entries[:kept]
	c.arena, c.spare = c.spare, c.arena
	c.pos = kept - 1
}

// frame reads and checks one batch.
func (c *segmentCursor) frame(f frameIndex) ([]byte, batchHead, error) {
	if c.frames == nil {
		c.frames = newFrameReader(c.file, c.seg.header.salt, f.offset, c.seg.end)
	}
	c.frames.seek(c.file, f.offset)
	frame, reason, err := c.frames.next()
	if err != nil {
		return nil, batchHead{}, fmt.Errorf("segment %s: %w", c.seg.name, err)
	}
	head, ok := parseBatchHead(c.frames.payload)
	if reason == "" && (frame.kind != frameBatch || !ok) {
		reason = "a batch was here and is no more"
	}
	if reason != "" {
		return nil, batchHead{}, &CorruptError{Segment: c.seg.name, Offset: f.offset, Reason: reason}
	}
	return c.frames.payload, head, nil
}
