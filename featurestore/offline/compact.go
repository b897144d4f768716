// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path"
	"slices"
	"time"
)

// compactSegmentsMax is how many segments go into partitions at once.
const compactSegmentsMax = 16

const dayMicros = 24 * 60 * 60 * 1_000_000

// dayOf is the beginning of an event's date.
func dayOf(event int64) int64 { return event - event%dayMicros }

func dateOf(event int64) string { return time.UnixMicro(event).UTC().Format(time.DateOnly) }

// commit is a manifest to publish, and what is garbage when it is, besides segments.
type commit struct {
	manifest          *manifest
	segments          int // of the oldest, now in partitions
	garbage           []garbage
	compacted, retire int64
}

// Compact stores what is queued, turns every record into partitions and applies the
// retention.
func (l *Log) Compact(ctx context.Context) error {
	if l.reader != nil {
		return ErrReadOnly
	}
	if l.isClosed() {
		return ErrClosed
	}
	if err := l.Sync(ctx); err != nil {
		return err
	}
	if err := l.sealActive(ctx); err != nil {
		return err
	}
	return l.compact(ctx)
}

// compact turns sealed segments into partitions until there are none.
func (l *Log) compact(ctx context.Context) error {
	l.compacting.Lock()
	defer l.compacting.Unlock()
	if l.unpublished != nil { // what it says is complete, so it is said again
		if err := l.publish(ctx, l.unpublished); err != nil {
			return err
		}
	}
	for {
		m, sealed := l.sealedSegments()
		if len(sealed) == 0 {
			break
		}
		c, err := l.makePartitions(ctx, m, sealed)
		if err == nil {
			err = l.publish(ctx, c)
		}
		if err != nil {
			return fmt.Errorf("compact: %w", err)
		}
	}
	if err := l.retain(ctx); err != nil {
		return fmt.Errorf("retention: %w", err)
	}
	return l.collect(ctx, false)
}

func (l *Log) sealedSegments() (*manifest, []segment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var sealed []segment
	for _, s := range l.mu.segments {
		if s == l.mu.active || len(sealed) == compactSegmentsMax {
			break
		}
		sealed = append(sealed, *s)
	}
	return l.mu.manifest, sealed
}

// publish makes a manifest the one that counts. If that fails, nobody knows which
// counts; so the same manifest is published before anything else is.
func (l *Log) publish(ctx context.Context, c *commit) error {
	l.unpublished = c
	if err := c.manifest.store(ctx, l.options.Storage); err != nil {
		return err
	}
	l.unpublished = nil
	l.mu.Lock()
	old := l.mu.manifest
	l.mu.manifest = c.manifest
	l.holdLocked(l.mu.segments[:c.segments])
	l.mu.segments = slices.Delete(l.mu.segments, 0, c.segments)
	l.mu.garbage = append(l.mu.garbage, c.garbage...)
	if old.Number > 0 {
		l.mu.garbage = append(l.mu.garbage, garbage{name: manifestName(old.Number)})
	}
	l.mu.counts.CompactedRecords += c.compacted
	l.mu.counts.RetiredRows += c.retire
	if c.segments > 0 {
		l.mu.counts.Compactions++
	}
	l.mu.Unlock()
	return nil
}

// makePartitions writes the partitions of some segments. On an error it removes them.
func (l *Log) makePartitions(ctx context.Context, m *manifest, sealed []segment) (*commit, error) {
	dates, err := l.datesOf(ctx, sealed)
	if err != nil {
		return nil, err
	}
	last := &sealed[len(sealed)-1]
	next := &manifest{Format: manifestFormat, Number: m.Number + 1, Segment: last.header.number, Through: last.next, Streams: l.Streams(), Retired: m.Retired}
	c := &commit{manifest: next, segments: len(sealed), compacted: int64(last.next - sealed[0].header.base)}
	merged := l.partsToMerge(m, dates)
	for i := range m.Parts {
		if merged[m.Parts[i].Name] {
			c.garbage = append(c.garbage, garbage{name: m.Parts[i].Name})
		} else {
			next.Parts = append(next.Parts, m.Parts[i])
		}
	}
	var made []part
	for _, s := range next.Streams {
		if len(dates[s.Stream]) == 0 {
			continue
		}
		if err := l.compactStream(ctx, m, s, sealed, merged, &made); err != nil {
			return nil, errors.Join(err, l.discard(made))
		}
	}
	next.Parts = append(next.Parts, made...)
	sortParts(next.Parts)
	return c, nil
}

func (l *Log) discard(parts []part) error {
	var all error
	for i := range parts { // also when the caller's context is over
		all = errors.Join(all, l.options.Storage.Delete(context.Background(), parts[i].Name))
	}
	return all
}

// datesOf is the number of records of each stream and day.
func (l *Log) datesOf(ctx context.Context, sealed []segment) (map[string]map[int64]int, error) {
	l.mu.Lock()
	streams := make(map[uint32]string, len(l.mu.catalog.byNumber))
	for number, v := range l.mu.catalog.byNumber {
		streams[number] = v.schema.Stream
	}
	l.mu.Unlock()
	dates := map[string]map[int64]int{}
	for i := range sealed {
		file, err := l.options.files.Open(path.Join(l.options.Dir, sealed[i].name))
		if err != nil {
			return nil, fmt.Errorf("segment %s: %w", sealed[i].name, err)
		}
		c := &segmentCursor{file: file, seg: sealed[i]}
		err = c.countDates(ctx, streams, dates)
		if err = errors.Join(err, file.Close()); err != nil {
			return nil, err
		}
	}
	return dates, nil
}

func (c *segmentCursor) countDates(ctx context.Context, streams map[uint32]string, dates map[string]map[int64]int) error {
	for _, f := range c.seg.index {
		if err := ctx.Err(); err != nil {
			return err
		}
		payload, head, err := c.frame(f)
		if err != nil {
			return err
		}
		eachRecord(payload, head, func(_ uint64, raw []byte) bool {
			h, _, ok := decodeHead(raw)
			if !ok {
				return false
			}
			days := dates[streams[h.schema]]
			if days == nil {
				days = map[int64]int{}
				dates[streams[h.schema]] = days
			}
			days[dayOf(h.event)]++
			return true
		})
	}
	return nil
}

// partsToMerge names the small parts of those dates that would get too many.
func (l *Log) partsToMerge(m *manifest, dates map[string]map[int64]int) map[string]bool {
	merged := map[string]bool{}
	var small []string
	for i := 0; i < len(m.Parts); {
		first := &m.Parts[i]
		small = small[:0]
		for ; i < len(m.Parts) && m.Parts[i].Stream == first.Stream && m.Parts[i].Date == first.Date; i++ {
			if m.Parts[i].Bytes < l.options.MergeBytes {
				small = append(small, m.Parts[i].Name)
			}
		}
		if len(small)+1 < l.options.MergeParts || dates[first.Stream][dayOf(first.MinEvent)] == 0 {
			continue
		}
		for _, name := range small {
			merged[name] = true
		}
	}
	return merged
}

// compactStream writes the partitions of a stream, a date after the other, and adds
// them to made.
func (l *Log) compactStream(ctx context.Context, m *manifest, s Schema, sealed []segment, merged map[string]bool, made *[]part) (err error) {
	v := &view{log: l, segments: sealed, versions: l.versionsOf(s.Stream)}
	for i := range m.Parts {
		if m.Parts[i].Stream == s.Stream && merged[m.Parts[i].Name] {
			v.parts = append(v.parts, m.Parts[i])
		}
	}
	all := filter{stream: s.Stream, columns: s.Columns, from: math.MinInt64, last: math.MaxInt64, asOf: math.MaxInt64}
	merge := newMerger(v.inputs(all, l.options.CompactMemory))
	defer func() { err = errors.Join(err, merge.close()) }()
	more, err := merge.next(ctx)
	for more && err == nil {
		var p part
		p, more, err = l.writePart(ctx, m.Number+1, s, merge)
		if err == nil {
			*made = append(*made, p)
		}
	}
	return err
}

func (l *Log) versionsOf(stream string) map[uint32]*version {
	l.mu.Lock()
	defer l.mu.Unlock()
	versions := map[uint32]*version{}
	for number, v := range l.mu.catalog.byNumber {
		if v.schema.Stream == stream {
			versions[number] = v
		}
	}
	return versions
}

// writePart writes the records of one date, from the current one on.
func (l *Log) writePart(ctx context.Context, number uint64, s Schema, merge *merger) (p part, more bool, err error) {
	day := dayOf(merge.record().EventTime)
	date := dateOf(day)
	name := fmt.Sprintf("%s%s/date=%s/part-%d.parquet", partPrefix, s.Stream, date, number)
	err = l.options.Storage.Put(ctx, name, func(w io.Writer) error {
		counted := &countingWriter{w: w}
		out := newPartWriter(counted, s.Stream, s.Columns, &l.options)
		more = true
		for more && dayOf(merge.record().EventTime) == day {
			if err := out.write(merge.record()); err != nil {
				return err
			}
			var err error
			if more, err = merge.next(ctx); err != nil {
				return err
			}
		}
		if err := out.close(); err != nil {
			return err
		}
		p = out.part
		p.Bytes = counted.bytes
		return nil
	})
	p.Name, p.Date = name, date
	return p, more, err
}

type countingWriter struct {
	w     io.Writer
	bytes int64
}

func (c *countingWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.bytes += int64(n)
	return n, err
}

// retain drops the partitions that are too old or too much.
func (l *Log) retain(ctx context.Context) error {
	l.mu.Lock()
	m := l.mu.manifest
	l.mu.Unlock()
	gone := l.retired(m)
	if len(gone) == 0 {
		return nil
	}
	next := *m
	next.Number++
	next.Parts = nil
	retired := m.retired()
	next.Retired = &retired
	c := &commit{manifest: &next}
	for i := range m.Parts {
		if gone[m.Parts[i].Name] {
			c.garbage = append(c.garbage, garbage{name: m.Parts[i].Name})
			c.retire += m.Parts[i].Rows
			retired = max(retired, m.Parts[i].MaxEvent)
		} else {
			next.Parts = append(next.Parts, m.Parts[i])
		}
	}
	return l.publish(ctx, c)
}

// retired names the parts that retention drops.
func (l *Log) retired(m *manifest) map[string]bool {
	gone := map[string]bool{}
	var left int64
	byDate := slices.Clone(m.Parts)
	oldest := int64(math.MinInt64)
	if l.options.RetainAge > 0 {
		oldest = l.now() - l.options.RetainAge.Microseconds()
	}
	byDate = slices.DeleteFunc(byDate, func(p part) bool {
		if p.MaxEvent < oldest {
			gone[p.Name] = true
			return true
		}
		left += p.Bytes
		return false
	})
	if l.options.RetainBytes == 0 {
		return gone
	}
	slices.SortStableFunc(byDate, func(a, b part) int { return cmp.Compare(dayOf(a.MinEvent), dayOf(b.MinEvent)) })
	for i := 0; left > l.options.RetainBytes && i < len(byDate); {
		for day := dayOf(byDate[i].MinEvent); i < len(byDate) && dayOf(byDate[i].MinEvent) == day; i++ {
			gone[byDate[i].Name] = true
			left -= byDate[i].Bytes
		}
	}
	return gone
}
