// SPDX-License-Identifier: Apache-2.0

// Package record keeps what a monitor found: its reports, in a folder of their own.
//
// The folder has segments, 00000001.jsonl and so on, with a line of JSON for each report, as
// monitor.Report writes itself:
//
//	R1  What Append returned for is on disk. A line that a crash cut short was not
//	    acknowledged: readers pass over it, and the next Append removes it.
//	R2  There is one report of a window when it closed and one when it matured: a report that
//	    is there already is not written again, and one that differs (the monitor's
//	    configuration changed and the log was read anew) takes its place.
//	R3  At most ReportsMax reports, and SegmentsMax segments of about SegmentBytes, are kept:
//	    when a new segment begins the oldest ones go.
//	R4  A folder is read while another process appends to it. Only one process may append:
//	    whoever holds the project's event log.
//
// A line that cannot be read is left out and counted (Store.Damaged): one bad sector does
// not take all other reports away.
//
// Concurrency: a Store may be used from many goroutines.
package record

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/millrace-ml/millrace/evaluation/monitor"
)

// Bounds of a store.
const (
	// SegmentsMax is the most segments, and SegmentReports the most reports of one.
	SegmentsMax    = 20
	SegmentReports = 1000
	// ReportsMax is the most reports that are kept.
	ReportsMax = SegmentsMax * SegmentReports
	// SegmentBytes is after how many bytes a segment is full.
	SegmentBytes = 16 << 20
	// LineBytesMax is the longest report.
	LineBytesMax = 16 << 20
)

// Report is a report that was kept. Numbers that were not defined are NaN, as are those
// that were infinite.
type Report = monitor.Report

// Store is the record of one monitor.
type Store struct {
	dir   string
	cache cache
	mu    struct {
		sync.Mutex
		index
		file   *os.File // the last segment, nil until the first Append
		closed bool
		raised raised
	}
}

// ErrClosed means that the store was closed.
var ErrClosed = errors.New("the record of the monitor is closed")

// Open opens the record in a folder, which may not be there yet. Nothing is changed by it.
func Open(dir string) (*Store, error) {
	s := &Store{dir: dir}
	s.mu.index = newIndex()
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refreshLocked(); err != nil {
		return nil, err
	}
	return s, nil
}

// Close ends the store. It may be called again.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.closed = true
	if s.mu.file == nil {
		return nil
	}
	err := s.mu.file.Close()
	s.mu.file = nil
	return err
}

// Append keeps reports. They are on disk when it returns; after an error the first ones may
// be, and all can be given again.
func (s *Store) Append(reports []monitor.Report) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.closed {
		return ErrClosed
	}
	if err := s.refreshLocked(); err != nil {
		return err
	}
	for len(reports) > 0 {
		if err := s.roomLocked(); err != nil {
			return fmt.Errorf("record of monitor in %s: %w", s.dir, err)
		}
		last := s.mu.segments[len(s.mu.segments)-1]
		text, taken, err := s.linesLocked(reports, last)
		if err == nil && len(text) > 0 {
			err = s.writeLocked(text, last)
		}
		if err != nil {
			return fmt.Errorf("record of monitor in %s: %w", s.dir, err)
		}
		reports = reports[taken:]
	}
	return nil
}

// linesLocked are the lines of the first reports, as many as a segment has room for. Those
// that are there already have none.
func (s *Store) linesLocked(reports []monitor.Report, last *segment) (text []byte, taken int, err error) {
	lines := last.lines
	for i := range reports {
		if i > 0 && (lines >= SegmentReports || last.read+int64(len(text)) >= SegmentBytes) {
			break
		}
		line, err := reports[i].MarshalJSON()
		if err != nil {
			return nil, 0, err
		}
		if len(line) >= LineBytesMax {
			return nil, 0, fmt.Errorf("a report of %d bytes is more than %d", len(line), LineBytesMax)
		}
		taken++
		if e, ok := s.mu.byKey[keyOf(&reports[i])]; ok && e.hash == hashOf(line) {
			continue
		}
		text = append(append(text, line...), '\n')
		lines++
	}
	return text, taken, nil
}

// writeLocked appends lines and reads them back into the index.
func (s *Store) writeLocked(text []byte, last *segment) error {
	if _, err := s.mu.file.Write(text); err != nil {
		// A part may be written: it is cut off, so that a later line starts at a line's start.
		return errors.Join(err, s.mu.file.Truncate(last.read))
	}
	if err := s.mu.file.Sync(); err != nil {
		return err
	}
	s.mu.take(last, text)
	return nil
}

// roomLocked sees to it that the last segment is open, whole and not full.
func (s *Store) roomLocked() error {
	n := len(s.mu.segments)
	if n == 0 {
		return s.beginLocked(1)
	}
	last := s.mu.segments[n-1]
	if last.lines >= SegmentReports || last.read >= SegmentBytes {
		return s.beginLocked(last.number + 1)
	}
	if s.mu.file != nil {
		return nil
	}
	file, err := os.OpenFile(s.path(last.number), os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		return err
	}
	if err := file.Truncate(last.read); err != nil { // what a crash cut short
		return errors.Join(err, file.Close())
	}
	s.mu.file = file
	return nil
}

// beginLocked begins a segment and removes those that are too many.
func (s *Store) beginLocked(number int) error {
	if s.mu.file != nil {
		if err := s.mu.file.Close(); err != nil {
			return err
		}
		s.mu.file = nil
	}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return err
	}
	file, err := os.OpenFile(s.path(number), os.O_CREATE|os.O_EXCL|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	s.mu.file = file
	s.mu.segments = append(s.mu.segments, &segment{number: number})
	for len(s.mu.segments) > SegmentsMax {
		if err := os.Remove(s.path(s.mu.segments[0].number)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		s.mu.drop(s.mu.segments[0])
	}
	return syncDir(s.dir)
}

func (s *Store) path(number int) string {
	return filepath.Join(s.dir, fmt.Sprintf("%08d%s", number, extension))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// refreshLocked reads what was added since, by this process or another one.
func (s *Store) refreshLocked() error {
	numbers, err := segmentsOf(s.dir)
	if err != nil {
		return fmt.Errorf("record of monitor: %w", err)
	}
	s.mu.keep(numbers)
	for _, g := range s.mu.segments {
		if err := s.readLocked(g); err != nil {
			return fmt.Errorf("record of monitor: %w", err)
		}
	}
	return nil
}

// readLocked reads the whole lines of a segment that are new.
func (s *Store) readLocked(g *segment) error {
	file, err := os.Open(s.path(g.number))
	if errors.Is(err, fs.ErrNotExist) {
		return nil // removed in this moment, the next look drops it
	} else if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil || info.Size() <= g.read {
		return err
	}
	// A full segment ends with one batch of reports at most beyond SegmentBytes.
	size := min(info.Size()-g.read, SegmentBytes+LineBytesMax)
	text := make([]byte, size)
	n, err := file.ReadAt(text, g.read)
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	s.mu.take(g, text[:n])
	return nil
}

func hashOf(line []byte) uint64 {
	h := fnv.New64a()
	h.Write(bytes.TrimSuffix(line, []byte{'\n'}))
	return h.Sum64()
}
