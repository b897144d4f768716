// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

func openReaderOf(t testing.TB, o Options) *Log {
	t.Helper()
	l, err := OpenReader(t.Context(), o)
	must(t, err)
	t.Cleanup(func() { _ = l.Close() }) // a test that closed it itself has looked
	return l
}

// keep appends samples from and before to, durably.
func keep(t testing.TB, s *Stream, from, to int) {
	t.Helper()
	var records []Record
	for i := from; i < to; i++ {
		records = append(records, sample(i))
	}
	_, err := s.AppendBatch(t.Context(), records)
	must(t, err)
	must(t, s.log.Sync(t.Context()))
}

func samples(from, to int) (all []Record) {
	for i := from; i < to; i++ {
		all = append(all, sample(i))
	}
	return all
}

// tree is every file below a folder, with its content.
func tree(t testing.TB, dir string) map[string]string {
	t.Helper()
	all := map[string]string{}
	must(t, filepath.WalkDir(dir, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		all[path] = string(text)
		return err
	}))
	return all
}

// A reader beside the owner has all that was durable when it was opened and nothing that
// came later, whatever becomes of the files; its answers never change.
func TestReaderKeepsItsMoment(t *testing.T) {
	o := quiet(Options{Dir: t.TempDir(), SegmentBytes: 64 << 10, MergeParts: 2, HoldFromStart: true})
	l := openLog(t, o)
	s := declare(t, l, everyType)
	keep(t, s, 0, 500)
	must(t, l.Compact(t.Context()))
	keep(t, s, 500, 1000)
	r := openReaderOf(t, o)
	if got := r.Stats(); r.Durable() != 1000 || r.Next() != 1001 || got.LagRecords != 500 || got.PartitionRows != 500 || got.ReplayFrom != 1 {
		t.Fatalf("durable %d, next %d, %+v", r.Durable(), r.Next(), got)
	}
	scan, err := r.Scan(t.Context(), Query{Stream: "predictions"})
	must(t, err)
	l.Hold(HoldNone)
	for i := 1000; i < 1400; i += 100 { // each merges the parts of the day with a new one
		keep(t, s, i, i+100)
		must(t, l.Compact(t.Context()))
	}
	var got []Record
	for scan.Next() {
		got = append(got, scan.Record().Clone())
	}
	must(t, errors.Join(scan.Err(), scan.Close()))
	expectRecords(t, "scan begun before", got, samples(0, 1000))
	for _, versions := range []Versions{Latest, LatestPerEvent, AllVersions} {
		expectRecords(t, fmt.Sprint("versions ", versions), scanAll(t, r, Query{Stream: "predictions", Versions: versions}), samples(0, 1000))
	}
	expectRecords(t, "replay", replayAll(t, r, 0), samples(0, 1000))
	expectRecords(t, "opened now", scanAll(t, openReaderOf(t, o), Query{Stream: "predictions"}), samples(0, 1400))
	must(t, r.Close())
	if err := r.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("closed twice: %v", err)
	}
	if _, err := r.Scan(t.Context(), Query{Stream: "predictions"}); !errors.Is(err, ErrClosed) {
		t.Errorf("scan of a closed reader: %v", err)
	}
}

// The partitions are merged into others in the midst of a scan, before each of the dates
// that it reaches; it goes on behind the record that it had.
func TestReaderGoesOnInOtherPartitions(t *testing.T) {
	o := quiet(Options{Dir: t.TempDir(), MergeParts: 2})
	l := openLog(t, o)
	s := declare(t, l, everyType)
	const days, each = 4, 50
	at := func(day, i int) Record {
		r := sample(day*each + i)
		r.EventTime = day0 + int64(day)*dayMicros + int64(i/2)*1_000_000 // two at each moment
		return r
	}
	var want []Record
	put := func(name string, counted bool) {
		for day := range days {
			for i := range each {
				r := at(day, i)
				r.ID = fmt.Sprint(name, r.ID)
				must(t, s.Append(t.Context(), &r))
				if counted {
					want = append(want, r.Clone())
				}
			}
		}
		must(t, l.Compact(t.Context()))
	}
	put("a", true)
	put("b", true)
	slices.SortFunc(want, func(a, b Record) int { return compareRecords(&a, &b) })
	r := openReaderOf(t, o)
	scan, err := r.Scan(t.Context(), Query{Stream: "predictions", Versions: AllVersions})
	must(t, err)
	var got []Record
	for scan.Next() {
		if len(got)%(2*each) == each {
			put(fmt.Sprint("later", len(got)), false)
		}
		got = append(got, scan.Record().Clone())
	}
	must(t, errors.Join(scan.Err(), scan.Close()))
	expectRecords(t, "scan", got, want)
	if number := r.mu.manifest.Number; number < days {
		t.Errorf("the reader has seen manifest %d alone", number)
	}
	var mu sync.Mutex
	bySlice := map[int][]Record{}
	must(t, r.ScanParallel(t.Context(), Query{Stream: "predictions", Versions: Latest}, 3, func(_ context.Context, slice int, s *Scanner) error {
		mu.Lock()
		defer mu.Unlock()
		for s.Next() {
			if len(bySlice[slice]) == 0 {
				put(fmt.Sprint("latest", slice), false)
			}
			bySlice[slice] = append(bySlice[slice], s.Record().Clone())
		}
		return s.Err()
	}))
	got = nil
	for slice := range len(bySlice) + 1 {
		got = append(got, bySlice[slice]...)
	}
	expectRecords(t, "slices", got, want)
}

// What retention deletes before a scan has read it, is missed with a word; what it
// deletes behind the scan, or outside of what that asks for, is not.
func TestReaderTellsWhatRetentionTook(t *testing.T) {
	now := time.UnixMicro(day0 + dayMicros)
	o := quiet(Options{Dir: t.TempDir(), RetainAge: 36 * time.Hour, Now: func() time.Time { return now }})
	l := openLog(t, o)
	s := declare(t, l, everyType)
	for day := range 5 {
		for i := range 10 {
			r := sample(day*10 + i)
			r.EventTime = day0 + int64(day)*dayMicros + int64(i)
			must(t, s.Append(t.Context(), &r))
		}
	}
	must(t, l.Compact(t.Context()))
	r := openReaderOf(t, o)
	begin := func(from int64) *Scanner {
		scan, err := r.Scan(t.Context(), Query{Stream: "predictions", From: from, Versions: AllVersions})
		must(t, err)
		if !scan.Next() {
			t.Fatal(scan.Err())
		}
		return scan
	}
	rest := func(s *Scanner) (n int, err error) {
		for n = 1; s.Next(); n++ {
		}
		return n, errors.Join(s.Err(), s.Close())
	}
	all, late := begin(0), begin(day0+3*dayMicros)
	now = now.Add(2 * 24 * time.Hour) // days 0 and 1 go
	must(t, l.Compact(t.Context()))
	if n, err := rest(all); !errors.Is(err, ErrRetired) || n != 10 {
		t.Errorf("%d records and %v: day 0 was open and day 1 is gone", n, err)
	}
	if n, err := rest(late); err != nil || n != 20 {
		t.Errorf("%d records of days 3 and 4: %v", n, err)
	}
	if n, err := rest(begin(0)); err != nil || n != 30 {
		t.Errorf("%d records are left: %v", n, err)
	}
	must(t, l.Close())
	l = openLog(t, o) // which keeps the mark in the manifests to come
	s = declare(t, l, everyType)
	keep(t, s, 1, 2)
	must(t, l.Compact(t.Context()))
	if m := l.mu.manifest; m.retired() < day0+dayMicros || m.retired() >= day0+2*dayMicros {
		t.Errorf("retired through %d", m.retired())
	}
}

// A reader changes nothing in the folder, also where an owner would tidy up.
func TestReaderWritesNothing(t *testing.T) {
	o := quiet(Options{Dir: t.TempDir()})
	l := openLog(t, o)
	s := declare(t, l, everyType)
	keep(t, s, 0, 20)
	must(t, l.Compact(t.Context()))
	keep(t, s, 20, 40)
	must(t, l.Close())
	// A machine that stopped has left a torn tail, half a segment, partitions of no manifest
	// and a compacted segment.
	segments, err := filepath.Glob(filepath.Join(o.Dir, "segment-*.log"))
	if err != nil || len(segments) != 1 {
		t.Fatal(segments, err)
	}
	text, err := os.ReadFile(segments[0])
	must(t, err)
	must(t, os.WriteFile(segments[0], append(text, text[framesStart:framesStart+50]...), 0o600))
	must(t, os.WriteFile(segments[0]+temporarySuffix, []byte("half"), 0o600))
	must(t, os.WriteFile(filepath.Join(o.Dir, segmentName(1)), text, 0o600))
	must(t, os.WriteFile(filepath.Join(o.Dir, "stream=predictions", "orphan.parquet"), []byte("none"), 0o600))
	must(t, os.Remove(filepath.Join(o.Dir, lockName)))
	before := tree(t, o.Dir)
	for _, hold := range []bool{false, true} {
		o.HoldFromStart = hold
		r := openReaderOf(t, o)
		expectRecords(t, "scan", scanAll(t, r, Query{Stream: "predictions"}), samples(0, 40))
		if found := r.Recovered(); found.TornBytes != 50 || found.Records != 20 {
			t.Errorf("found %+v", found)
		}
		if _, err := r.Declare(everyType); !errors.Is(err, ErrReadOnly) {
			t.Errorf("declare: %v", err)
		}
		if err := r.Compact(t.Context()); !errors.Is(err, ErrReadOnly) {
			t.Errorf("compact: %v", err)
		}
		r.Hold(HoldNone)
		must(t, r.Sync(t.Context()))
		must(t, r.Close())
	}
	after := tree(t, o.Dir)
	for name := range after {
		if before[name] != after[name] {
			t.Errorf("%s has changed", name)
		}
	}
	if len(before) != len(after) {
		t.Errorf("%d files, and then %d", len(before), len(after))
	}
}

func TestReaderOfNoLog(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "notes.txt"), []byte("none"), 0o600))
	for _, dir := range []string{dir, filepath.Join(dir, "gone")} {
		if _, err := OpenReader(t.Context(), Options{Dir: dir}); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), dir) {
			t.Errorf("%s: %v", dir, err)
		}
	}
	l := openLog(t, quiet(Options{Dir: dir})) // that has nothing yet
	r := openReaderOf(t, l.options)
	if r.Next() != 1 || len(r.Streams()) != 0 {
		t.Errorf("next %d, streams %v", r.Next(), r.Streams())
	}
	if _, err := OpenReader(t.Context(), Options{}); !errors.Is(err, ErrInvalidOptions) {
		t.Errorf("no options: %v", err)
	}
}

// A segment that is damaged is no torn tail, and looking again does not help.
func TestReaderMeetsDamage(t *testing.T) {
	disk := newMemFS(1)
	o := quiet(Options{Dir: "log", SegmentBytes: 64 << 10, files: disk})
	l := openLog(t, o)
	s := declare(t, l, everyType)
	for i := range 5 {
		keep(t, s, i*400, i*400+400)
	}
	first := disk.now["log/"+segmentName(1)]
	first.data[len(first.data)/2] ^= 1
	var damage *CorruptError
	if _, err := OpenReader(t.Context(), o); !errors.As(err, &damage) || damage.Segment != segmentName(1) {
		t.Errorf("opened with %v", err)
	}
}

// meddled runs something before a listing: what the owner does between two steps of a
// reader.
type meddled struct {
	fileSystem
	before func(prefix string)
}

func (m *meddled) List(dir, prefix string) ([]fileInfo, error) {
	m.before(prefix)
	return m.fileSystem.List(dir, prefix)
}

// The owner compacts between any two steps of opening: the reader misses nothing. If it
// never stops, the reader does.
func TestReaderOpensBesideCompactions(t *testing.T) {
	for _, step := range []string{segmentPrefix, manifestPrefix} {
		disk := newMemFS(1)
		o := quiet(Options{Dir: "log", Snappy: true, files: disk})
		l := openLog(t, o)
		s := declare(t, l, everyType)
		keep(t, s, 0, 10)
		n, times := 10, 3
		listed := 0
		o.files = &meddled{disk, func(prefix string) {
			if listed++; prefix != step || n/10 > times || (step == manifestPrefix && listed == 1) {
				return
			}
			keep(t, s, n, n+10)
			n += 10
			must(t, l.Compact(t.Context()))
		}}
		r := openReaderOf(t, o)
		if got := scanAll(t, r, Query{Stream: "predictions"}); len(got) != n || n != 10*times+10 {
			t.Errorf("meddled with %s: %d records, want %d", step, len(got), n)
		}
		times = math.MaxInt
		if _, err := OpenReader(t.Context(), o); !errors.Is(err, ErrChanging) {
			t.Errorf("meddled with %s: %v", step, err)
		}
	}
}

// A listing that lacks a segment made meanwhile, and has the one after it, is read again.
func TestReaderListsAgain(t *testing.T) {
	disk := newMemFS(1)
	o := quiet(Options{Dir: "log", SegmentBytes: 64 << 10, files: disk})
	l := openLog(t, o)
	s := declare(t, l, everyType)
	for i := range 5 {
		keep(t, s, i*400, i*400+400)
	}
	hidden := "log/" + segmentName(2)
	file := disk.now[hidden]
	delete(disk.now, hidden)
	listed := 0
	o.files = &meddled{disk, func(prefix string) {
		if prefix != segmentPrefix {
			return
		}
		if listed++; listed == 2 { // when it looks whether the damage is any
			disk.now[hidden] = file
		}
	}}
	expectRecords(t, "scan", scanAll(t, openReaderOf(t, o), Query{Stream: "predictions"}), samples(0, 2000))
}
