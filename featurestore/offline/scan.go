// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"
	"sync/atomic"
)

// Versions says which versions of an event a scan yields, of those that had arrived
// by Query.AsOf.
type Versions uint8

const (
	// Latest yields, for each id, the version that arrived last; of equal ones, the
	// one appended last. If its event time is outside the range, the id is not
	// yielded. It reads the ids of the whole stream first, at any event time.
	Latest Versions = iota
	// LatestPerEvent takes records for the same event only if id and event time are
	// equal, which needs no reading ahead: right for streams whose versions keep
	// their event time.
	LatestPerEvent
	// AllVersions yields every record; those of equal event time and id newest first.
	AllVersions
)

// Query asks for records of a stream.
type Query struct {
	Stream string
	// Columns are the values of the records, in this order; nil is all columns of
	// the stream, in the order of their appearance.
	Columns []string
	// From and To bound the event time, in microseconds: From is included and To is
	// not. To 0 is no bound.
	From, To int64
	// AsOf bounds the arrival time, included: the log as it was known then. 0 is no
	// bound.
	AsOf     int64
	Versions Versions
}

// view is the log at one moment. Its files stay until it is released.
type view struct {
	log      *Log
	parts    []part
	segments []segment
	versions map[uint32]*version
	columns  []Column // of the stream
	pinned   []string
	users    atomic.Int32

	// Of a reader: the manifest that named the parts, what retention had deleted then,
	// and the sequence behind what its partitions had when it was opened; what a later
	// one merged into them from there on does not count. Of the owner below is 0.
	number  uint64
	retired int64
	below   uint64
}

// snapshot takes a view of what is durable of a stream.
func (l *Log) snapshot(stream string) (*view, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.reader != nil && l.mu.closed {
		return nil, ErrClosed
	}
	return l.snapshotLocked(stream)
}

// snapshotLocked is snapshot where l.mu is held.
func (l *Log) snapshotLocked(stream string) (*view, error) {
	columns, ok := l.mu.catalog.unions[stream]
	if !ok {
		return nil, fmt.Errorf("%w: %.80q", ErrUnknownStream, stream)
	}
	v := &view{log: l, columns: columns, versions: make(map[uint32]*version, len(l.mu.catalog.byNumber))}
	if l.reader != nil {
		v.number, v.retired, v.below = l.mu.manifest.Number, l.mu.manifest.retired(), l.mu.manifest.Through
	}
	for number, version := range l.mu.catalog.byNumber {
		if version.schema.Stream == stream {
			v.versions[number] = version
		}
	}
	for i := range l.mu.manifest.Parts {
		if p := &l.mu.manifest.Parts[i]; p.Stream == stream {
			v.parts = append(v.parts, *p)
			v.pinned = append(v.pinned, p.Name)
		}
	}
	for _, s := range l.mu.segments {
		if len(s.index) > 0 {
			v.segments = append(v.segments, *s)
			v.pinned = append(v.pinned, s.name)
		}
	}
	for _, name := range v.pinned {
		l.mu.pins[name]++
	}
	v.users.Store(1)
	return v, nil
}

// release lets one user go; with the last, the files.
func (v *view) release() {
	if v.users.Add(-1) > 0 {
		return
	}
	v.log.mu.Lock()
	for _, name := range v.pinned {
		if v.log.mu.pins[name]--; v.log.mu.pins[name] == 0 {
			delete(v.log.mu.pins, name)
		}
	}
	last := v.log.reader != nil && v.log.mu.closed && len(v.log.mu.pins) == 0 && len(v.pinned) > 0
	v.log.mu.Unlock()
	if last {
		_ = v.log.lock.Close() // they were only read
	}
	_ = v.log.collect(context.Background(), false) // what fails is tried again, and reported, by the next compaction
}

// inputs are the sources for a filter, each opened when it is reached.
func (v *view) inputs(f filter, memory int) []*input {
	var all []*input
	for _, p := range v.parts {
		if p.MaxEvent >= f.from && p.MinEvent <= f.last && p.MinArrival <= f.asOf {
			all = append(all, &input{first: max(p.MinEvent, f.from), open: func(ctx context.Context) (source, error) {
				return openPart(ctx, v.log.options.Storage, p, f)
			}})
		}
	}
	window := memory / 2 / max(len(v.segments), 1) // filling takes twice the window
	for _, s := range v.segments {
		first := int64(math.MaxInt64)
		for _, batch := range s.index {
			if batch.maxEvent >= f.from && batch.minEvent <= f.last {
				first = min(first, max(batch.minEvent, f.from))
			}
		}
		if first < math.MaxInt64 {
			all = append(all, &input{first: first, open: func(context.Context) (source, error) {
				return v.log.openCursor(s, f, v.versions, window)
			}})
		}
	}
	return all
}

// filterOf checks a query and turns it into what sources are asked for.
func (v *view) filterOf(q *Query) (filter, error) {
	f := filter{stream: q.Stream, from: q.From, last: q.To - 1, asOf: q.AsOf, below: v.below}
	if q.To == 0 {
		f.last = math.MaxInt64
	}
	if q.AsOf == 0 {
		f.asOf = math.MaxInt64
	}
	switch {
	case f.from > f.last && q.From != q.To:
		return f, fmt.Errorf("%w: range of event times begins with %d and ends before %d", ErrInvalidQuery, q.From, q.To)
	case q.Versions > AllVersions:
		return f, fmt.Errorf("%w: versions %d", ErrInvalidQuery, q.Versions)
	case q.Columns == nil:
		f.columns = v.columns
		return f, nil
	}
	for i, name := range q.Columns {
		at := slices.IndexFunc(v.columns, func(c Column) bool { return c.Name == name })
		if at < 0 {
			return f, fmt.Errorf("%w: stream %s has no column %.150q", ErrInvalidQuery, q.Stream, name)
		}
		if slices.Contains(q.Columns[:i], name) {
			return f, fmt.Errorf("%w: column %s is asked for twice", ErrInvalidQuery, name)
		}
		f.columns = append(f.columns, v.columns[at])
	}
	return f, nil
}

// Scanner yields records one after another, by event time and then id. It is used by
// one goroutine.
type Scanner struct {
	ctx      context.Context
	view     *view
	columns  []Column
	merge    *merger
	versions Versions
	winners  *winners // of Latest
	newest   newest
	current  bool
	err      error
	reread   reread // of a reader
}

// Scan reads what is durable now; what comes later does not show. The scanner must be
// closed. It holds ScanMemory bytes of live segments at most (64 KiB for each at
// least), and a page for each column of the partitions of one date.
func (l *Log) Scan(ctx context.Context, q Query) (s *Scanner, err error) {
	err = l.viewing(ctx, q.Stream, func(v *view) (err error) {
		s, err = v.scan(ctx, &q)
		return err
	})
	return s, err
}

// viewing takes a view of a stream and hands it to begin, which has it from then on; after
// an error it is released. In a reader it does so again while compactions take away what
// begin reads.
func (l *Log) viewing(ctx context.Context, stream string, begin func(*view) error) error {
	for again := 0; ; again++ {
		v, err := l.snapshot(stream)
		if err != nil {
			return err
		}
		if err = begin(v); err == nil {
			return nil
		}
		v.release()
		if !l.moved(err) {
			return err
		}
		if err := l.refresh(ctx, v, again, err); err != nil {
			return err
		}
	}
}

func (v *view) scan(ctx context.Context, q *Query) (*Scanner, error) {
	f, err := v.filterOf(q)
	if err != nil {
		return nil, err
	}
	s := &Scanner{ctx: ctx, view: v, columns: f.columns, versions: q.Versions, reread: reread{filter: f}}
	if q.Versions == Latest {
		if s.winners, err = v.findWinners(ctx, f); err != nil {
			return nil, err
		}
	}
	s.merge = newMerger(v.inputs(f, v.log.options.ScanMemory))
	return s, nil
}

// Columns are the columns of the records.
func (s *Scanner) Columns() []Column { return slices.Clone(s.columns) }

// Next moves to the next record. It is false at the end and after an error.
func (s *Scanner) Next() bool {
	s.current = false
	for s.err == nil && s.merge != nil {
		more, err := s.merge.next(s.ctx)
		if err != nil && s.view.log.moved(err) {
			if err = s.resume(err); err == nil {
				continue
			}
		}
		if err != nil {
			s.err = fmt.Errorf("scan: %w", err)
		}
		if !more {
			return false
		}
		r := s.merge.record()
		if s.view.log.reader != nil && s.reread.passed(r) {
			continue
		}
		if s.versions != AllVersions && s.newest.isOld(r) {
			continue
		}
		if s.versions == Latest && s.winners.beaten(r) {
			continue
		}
		s.current = true
		return true
	}
	return false
}

// Record is the current record. It and all it refers to are good until Next or Close;
// see [Record.Clone].
func (s *Scanner) Record() *Record {
	if !s.current {
		return nil
	}
	return s.merge.record()
}

// Err is what ended the scan early.
func (s *Scanner) Err() error { return s.err }

// Close lets the files go. A second Close does nothing.
func (s *Scanner) Close() error {
	if s.merge == nil {
		return nil
	}
	err := s.merge.close()
	s.merge, s.current = nil, false
	s.view.release()
	return err
}

// slicesMax bounds the slices of a parallel scan.
const slicesMax = 4096

// ScanParallel cuts a scan at the dates of its partitions and hands the slices to
// visit, workers at a time, from 1 to 256. Slice numbers follow event time; within one
// the order is that of Scan. All slices see the log at the same moment, and each holds
// what a Scan holds. The first error ends it.
func (l *Log) ScanParallel(ctx context.Context, q Query, workers int, visit func(ctx context.Context, slice int, s *Scanner) error) error {
	if workers < 1 || workers > 256 {
		return fmt.Errorf("%w: %d workers, want 1 to 256", ErrInvalidQuery, workers)
	}
	var v *view
	var f filter
	var w *winners
	err := l.viewing(ctx, q.Stream, func(taken *view) (err error) {
		v = taken
		if f, err = v.filterOf(&q); err == nil && q.Versions == Latest {
			w, err = v.findWinners(ctx, f)
		}
		return err
	})
	if err != nil {
		return err
	}
	defer v.release()
	return v.scanSlices(ctx, q.Versions, f, w, workers, visit)
}

func (v *view) scanSlices(ctx context.Context, versions Versions, f filter, w *winners, workers int, visit func(context.Context, int, *Scanner) error) error {
	cuts := v.cuts(f)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var group sync.WaitGroup
	var taken atomic.Int64
	for range min(workers, len(cuts)-1) {
		group.Go(func() {
			for ctx.Err() == nil {
				i := int(taken.Add(1)) - 1
				if i >= len(cuts)-1 {
					return
				}
				part := f
				part.from, part.last = cuts[i], cuts[i+1]-1
				if i == len(cuts)-2 {
					part.last = f.last
				}
				v.users.Add(1)
				s := &Scanner{ctx: ctx, view: v, columns: f.columns, versions: versions, winners: w, reread: reread{filter: part},
					merge: newMerger(v.inputs(part, v.log.options.ScanMemory))}
				if err := errors.Join(visit(ctx, i, s), s.Close()); err != nil {
					cancel(err)
				}
			}
		})
	}
	group.Wait()
	return context.Cause(ctx)
}

// cuts are the bounds of slices: the range of the filter, cut where dates begin.
func (v *view) cuts(f filter) []int64 {
	cuts := []int64{f.from}
	for _, p := range v.parts { // by date
		if day := dayOf(p.MinEvent); day > cuts[len(cuts)-1] && day <= f.last {
			cuts = append(cuts, day)
		}
	}
	for len(cuts) > slicesMax {
		kept := cuts[:0]
		for i := 0; i < len(cuts); i += 2 {
			kept = append(kept, cuts[i])
		}
		cuts = kept
	}
	return append(cuts, f.last) // the last slice ends with f.last itself
}
