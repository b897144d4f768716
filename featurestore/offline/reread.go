// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"context"
	"errors"
	"fmt"
)

// reread is what a scan of a reader knows to go on in other partitions, should those that
// it reads be gone: merged into others, which have their records in the same order.
type reread struct {
	filter filter
	// The last record that the sources gave.
	id       []byte
	event    int64
	arrival  int64
	sequence uint64
	any      bool
	// lastID is id while records are passed that were there already.
	lastID  string
	passing bool
	tries   int // since the last record that was not there before
}

// passed takes note of a record and tells whether the scan had it before.
func (p *reread) passed(r *Record) bool {
	if p.passing {
		if compareKeys(r.EventTime, r.ArrivalTime, r.Sequence, r.ID, p.event, p.arrival, p.sequence, p.lastID) <= 0 {
			return true
		}
		p.passing, p.tries = false, 0
	}
	p.id, p.event, p.arrival, p.sequence, p.any = append(p.id[:0], r.ID...), r.EventTime, r.ArrivalTime, r.Sequence, true
	return false
}

// moved tells whether an error comes of a partition that the owner of the log took away.
func (l *Log) moved(err error) bool { return l.reader != nil && errors.Is(err, ErrNotFound) }

// refresh has a reader know the partitions of the newest manifest, where those of a view
// are gone because of cause. tried says how often that was so without a record in between.
func (l *Log) refresh(ctx context.Context, v *view, tried int, cause error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if tried >= rereadsMax {
		return fmt.Errorf("%w: %w", ErrChanging, cause)
	}
	m, err := loadManifest(ctx, l.options.Storage)
	if errors.Is(err, ErrNotFound) { // replaced while it was looked up
		return nil
	}
	if err != nil {
		return err
	}
	if m.Number <= v.number { // nothing took its place
		return cause
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if old := l.mu.manifest; m.Number > old.Number {
		m.Segment, m.Through, m.Streams = old.Segment, old.Through, old.Streams
		l.mu.manifest = m
	}
	return nil
}

// resume goes on behind the last record in the partitions that took the place of those of
// the scan.
func (s *Scanner) resume(cause error) error {
	l, p := s.view.log, &s.reread
	if err := l.refresh(s.ctx, s.view, p.tries, cause); err != nil {
		return err
	}
	p.tries++
	f := p.filter
	if p.any {
		f.from = max(f.from, p.event)
		p.lastID, p.passing = string(p.id), true
	}
	l.mu.Lock()
	v, err := l.snapshotLocked(f.stream)
	l.mu.Unlock()
	if err != nil {
		return err
	}
	if v.retired > s.view.retired && v.retired >= f.from {
		v.release()
		return fmt.Errorf("%w: open the log again for what is left", ErrRetired)
	}
	err = s.merge.close()
	s.view.release()
	s.view, s.merge = v, newMerger(v.inputs(f, l.options.ScanMemory))
	return err
}
