// SPDX-License-Identifier: Apache-2.0

package record

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"slices"
	"sort"

	"github.com/millrace-ml/millrace/evaluation/monitor"
)

// batch is how many reports are read at once where few may be enough.
const batch = 64

// Query says which reports are asked for. The zero value asks for all.
type Query struct {
	// Window is the length of windows; 0 is any.
	Window monitor.Duration
	// From and To, in microseconds since 1970, ask for windows that end after From and start
	// before To; 0 is no bound.
	From, To int64
	// Matured asks for windows that matured, or for those that closed; nil for both.
	Matured *bool
	// Limit is the most reports: the newest are taken. 0 is no limit but ReportsMax.
	Limit int
}

func (q *Query) takes(e *entry) bool {
	return (q.Window == 0 || q.Window == e.window) && (q.From == 0 || e.end > q.From) && (q.To == 0 || e.start < q.To) &&
		(q.Matured == nil || *q.Matured == e.matured)
}

// Reports are those that a query asks for, oldest first. They share memory with those of
// other calls: they are for reading.
func (s *Store) Reports(q Query) ([]Report, error) {
	entries, err := s.entries(q.takes)
	if err != nil {
		return nil, err
	}
	if q.Limit > 0 {
		entries = entries[max(0, len(entries)-q.Limit):]
	}
	return s.load(entries)
}

// Damaged counts lines that could not be read.
func (s *Store) Damaged() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.damaged
}

// Windows are the lengths of the windows that there are reports of, shortest first.
func (s *Store) Windows() ([]monitor.Duration, error) {
	entries, err := s.entries(func(*entry) bool { return true })
	if err != nil {
		return nil, err
	}
	seen := map[monitor.Duration]bool{}
	for i := range entries {
		seen[entries[i].window] = true
	}
	return slices.Sorted(maps.Keys(seen)), nil
}

// Events are what happened to alarms, newest first, at most limit; 0 is all. Those of a
// moment are in the order of their report.
func (s *Store) Events(limit int) ([]monitor.Event, error) {
	entries, err := s.entries(func(e *entry) bool { return e.events })
	if err != nil {
		return nil, err
	}
	slices.Reverse(entries)
	var events []monitor.Event
	for len(entries) > 0 && (limit <= 0 || len(events) < limit) {
		n := min(batch, len(entries))
		reports, err := s.load(entries[:n])
		if err != nil {
			return nil, err
		}
		for i := range reports {
			events = append(events, reports[i].Events...)
		}
		entries = entries[n:]
	}
	if limit > 0 {
		events = events[:min(limit, len(events))]
	}
	return events, nil
}

// raised is what Alarms found, so that the next time only newer reports are read.
type raised struct {
	changes int
	at      int64 // of the newest report looked at
	alarms  map[string]monitor.Alarm
}

// Alarms are those that are raised after the last report, by subject: of each subject the
// last thing that happened to it was not that it cleared.
func (s *Store) Alarms() ([]monitor.Alarm, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	entries, err := s.entriesLocked(func(e *entry) bool { return e.events })
	if err != nil {
		return nil, err
	}
	known := &s.mu.raised
	if known.alarms == nil || known.changes != s.mu.changes {
		*known = raised{changes: s.mu.changes, alarms: map[string]monitor.Alarm{}}
	}
	// Those of the same moment are looked at again: a subject has one event of a moment at most.
	after := sort.Search(len(entries), func(i int) bool { return entries[i].at >= known.at })
	for entries = entries[after:]; len(entries) > 0; {
		n := min(batch, len(entries))
		reports, err := s.load(entries[:n])
		if err != nil {
			*known = raised{}
			return nil, err
		}
		for i := range reports {
			known.take(reports[i].Events)
		}
		known.at, entries = entries[n-1].at, entries[n:]
	}
	return slices.SortedFunc(maps.Values(known.alarms), func(a, b monitor.Alarm) int { return cmp.Compare(a.Subject, b.Subject) }), nil
}

func (r *raised) take(events []monitor.Event) {
	for i := range events {
		if a := &events[i].Alarm; events[i].Change == monitor.Cleared {
			delete(r.alarms, a.Subject)
		} else {
			r.alarms[a.Subject] = *a
		}
	}
}

// entries are those that take says, oldest first, as of now.
func (s *Store) entries(take func(*entry) bool) ([]entry, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.entriesLocked(take)
}

func (s *Store) entriesLocked(take func(*entry) bool) ([]entry, error) {
	if s.mu.closed {
		return nil, ErrClosed
	}
	if err := s.refreshLocked(); err != nil {
		return nil, err
	}
	var entries []entry
	for _, e := range s.mu.byKey {
		if take(&e) {
			entries = append(entries, e)
		}
	}
	slices.SortFunc(entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.start, b.start), cmp.Compare(a.window, b.window), cmp.Compare(a.offset, b.offset))
	})
	return entries, nil
}

// load reads reports. Those whose segment was removed since are left out.
func (s *Store) load(entries []entry) ([]Report, error) {
	files := map[int]*os.File{}
	defer func() {
		for _, f := range files {
			if f != nil {
				f.Close()
			}
		}
	}()
	reports := make([]Report, 0, len(entries))
	for i := range entries {
		e := &entries[i]
		if r := s.cache.get(e); r != nil {
			reports = append(reports, *r)
			continue
		}
		f, opened := files[e.segment]
		if !opened {
			var err error
			if f, err = os.Open(s.path(e.segment)); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return nil, err
			}
			files[e.segment] = f
		}
		if f == nil {
			continue
		}
		r, err := readReport(f, e)
		if err != nil {
			return nil, err
		}
		if r != nil {
			s.cache.put(e, r)
			reports = append(reports, *r)
		}
	}
	return reports, nil
}

// readReport is nil if the folder was made anew in between.
func readReport(f *os.File, e *entry) (*Report, error) {
	line := make([]byte, e.length)
	if _, err := f.ReadAt(line, e.offset); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	r := new(Report)
	if err := json.Unmarshal(line, r); err != nil || hashOf(line) != e.hash {
		return nil, nil
	}
	return r, nil
}
