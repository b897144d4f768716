// SPDX-License-Identifier: Apache-2.0

package record

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/evaluation/monitor"
	"github.com/millrace-ml/millrace/evaluation/monitor/drift"
	"github.com/millrace-ml/millrace/evaluation/monitor/estimate"
)

const (
	hour = int64(time.Hour / time.Microsecond)
	day0 = 20_000 * 24 * hour
)

var hourly = monitor.Duration(time.Hour)

// closed is the report of the n-th hour when it closed, and matured two hours later.
func closed(n int, events ...monitor.Event) monitor.Report {
	start := day0 + int64(n)*hour
	return monitor.Report{
		Window: hourly, Start: start, End: start + hour, At: start + hour, Rows: int64(n), Judged: true, Freshness: time.Second, Events: events,
		Columns:   []monitor.ColumnReport{{Name: "amount", Mean: float64(n) + 0.1, SD: math.NaN(), Drift: &drift.Result{Test: drift.CvM, P: 0.5, Threshold: math.Inf(1)}}},
		Decisions: map[string]int64{"pass": 3},
	}
}

func matured(n int, auc float64) monitor.Report {
	r := closed(n)
	r.Matured, r.At, r.Columns, r.Decisions = true, r.End+2*hour, nil, nil
	r.Quality = &monitor.Quality{Rows: 10, Values: estimate.Values{auc}, Cost: math.NaN()}
	return r
}

func event(change monitor.Change, n int, subject string) monitor.Event {
	at := day0 + int64(n+1)*hour
	return monitor.Event{Change: change, At: at, Alarm: monitor.Alarm{Subject: subject, Severity: monitor.Warning, Since: at, Reason: "it moved"}}
}

func open(t *testing.T, dir string) *Store {
	t.Helper()
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func appendTo(t *testing.T, s *Store, reports ...monitor.Report) {
	t.Helper()
	if err := s.Append(reports); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, s *Store, q Query) []Report {
	t.Helper()
	reports, err := s.Reports(q)
	if err != nil {
		t.Fatal(err)
	}
	return reports
}

// hours are the rows of reports, which are their hour's number.
func hours(reports []Report) (numbers []int64) {
	for _, r := range reports {
		numbers = append(numbers, r.Rows)
	}
	return numbers
}

func TestReports(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "monitors", "fraud")
	s := open(t, dir)
	if got := read(t, s, Query{}); len(got) != 0 {
		t.Errorf("an empty record has %d reports", len(got))
	}
	week := closed(9)
	week.Window, week.Start = monitor.Duration(7*24*time.Hour), week.End-7*24*hour
	appendTo(t, s, closed(0), closed(1), matured(0, 0.75), closed(2))
	appendTo(t, s, matured(1, math.NaN()), week)
	yes, no := true, false
	for _, c := range []struct {
		name string
		q    Query
		want []int64
	}{
		{"all, by the moment they were known", Query{}, []int64{0, 1, 0, 2, 1, 9}},
		{"window", Query{Window: hourly}, []int64{0, 1, 0, 2, 1}},
		{"matured", Query{Matured: &yes}, []int64{0, 1}},
		{"closed", Query{Matured: &no, Window: hourly}, []int64{0, 1, 2}},
		{"from", Query{From: day0 + hour, Window: hourly, Matured: &no}, []int64{1, 2}},
		{"to", Query{To: day0 + hour, Window: hourly}, []int64{0, 0}},
		{"newest", Query{Limit: 2}, []int64{1, 9}},
	} {
		for _, from := range []*Store{s, open(t, dir)} { // as written, and as opened again
			if got := hours(read(t, from, c.q)); !slices.Equal(got, c.want) {
				t.Errorf("%s: %v, not %v", c.name, got, c.want)
			}
		}
	}
	got := read(t, s, Query{})
	if c := got[0].Columns[0]; c.Mean != 0.1 || !math.IsNaN(c.SD) || !math.IsNaN(c.Drift.Threshold) || got[0].Decisions["pass"] != 3 || got[0].Freshness != time.Second {
		t.Errorf("a report came back as %+v", got[0])
	}
	if q := got[2].Quality; q.Values[0] != 0.75 || !math.IsNaN(q.Cost) || !math.IsNaN(got[4].Quality.Values[0]) {
		t.Errorf("quality came back as %+v and %+v", q, got[4].Quality)
	}
	if windows, err := s.Windows(); err != nil || len(windows) != 2 || windows[0] != hourly {
		t.Errorf("windows %v %v", windows, err)
	}
}

// TestAgain appends what is there already, and what takes its place.
func TestAgain(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	appendTo(t, s, closed(0), closed(1))
	before := size(t, dir)
	appendTo(t, s, closed(0), closed(1))
	if after := size(t, dir); after != before {
		t.Errorf("reports that were there took %d bytes", after-before)
	}
	other := closed(0)
	other.Note = "with another configuration"
	appendTo(t, s, other)
	for _, from := range []*Store{s, open(t, dir)} {
		if got := read(t, from, Query{}); len(got) != 2 || got[0].Note != other.Note {
			t.Errorf("%+v", got)
		}
	}
}

func size(t *testing.T, dir string) (bytes int64) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			t.Fatal(err)
		}
		bytes += info.Size()
	}
	return bytes
}

// TestTorn cuts a segment at each byte of its last report, as a crash may, and goes on.
func TestTorn(t *testing.T) {
	made := t.TempDir()
	s := open(t, made)
	appendTo(t, s, closed(0))
	first := size(t, made)
	appendTo(t, s, closed(1))
	text, err := os.ReadFile(filepath.Join(made, "00000001.jsonl"))
	if err != nil {
		t.Fatal(err)
	}
	for cut := first; cut < int64(len(text)); cut += 7 {
		dir := t.TempDir()
		path := filepath.Join(dir, "00000001.jsonl")
		if err := os.WriteFile(path, text[:cut], 0o644); err != nil {
			t.Fatal(err)
		}
		torn, reader := open(t, dir), open(t, dir)
		if got := hours(read(t, reader, Query{})); !slices.Equal(got, []int64{0}) {
			t.Fatalf("cut at %d: %v was read", cut, got)
		}
		if info, err := os.Stat(path); err != nil || info.Size() != cut {
			t.Fatalf("reading changed the segment: %v %v", info.Size(), err)
		}
		appendTo(t, torn, closed(2))
		for _, from := range []*Store{torn, reader, open(t, dir)} {
			if got := hours(read(t, from, Query{})); !slices.Equal(got, []int64{0, 2}) || from.Damaged() != 0 {
				t.Fatalf("cut at %d and gone on: %v, %d damaged", cut, got, from.Damaged())
			}
		}
	}
}

// TestDamaged has lines that are no reports, between some that are.
func TestDamaged(t *testing.T) {
	dir := t.TempDir()
	good, err := json.Marshal(closed(3))
	if err != nil {
		t.Fatal(err)
	}
	text := "\x00\x00\n{}\n" + string(good) + "\n{\"window\":\"1h\",\"start\":7,\"end\":3}\n"
	if err := os.WriteFile(filepath.Join(dir, "00000007.jsonl"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	s := open(t, dir)
	if got := hours(read(t, s, Query{})); !slices.Equal(got, []int64{3}) || s.Damaged() != 3 {
		t.Errorf("%v, %d damaged", got, s.Damaged())
	}
	appendTo(t, s, closed(4))
	if got := hours(read(t, s, Query{})); !slices.Equal(got, []int64{3, 4}) {
		t.Errorf("%v", got)
	}
}

// TestBound appends more than is kept.
func TestBound(t *testing.T) {
	dir := t.TempDir()
	s, reader := open(t, dir), open(t, dir)
	small := func(n int) monitor.Report {
		start := day0 + int64(n)*hour
		return monitor.Report{Window: hourly, Start: start, End: start + hour, At: start, Rows: int64(n)}
	}
	total := ReportsMax + 3*SegmentReports/2
	for n := 0; n < total; n += 5000 {
		var batch []monitor.Report
		for i := n; i < min(n+5000, total); i++ {
			batch = append(batch, small(i))
		}
		appendTo(t, s, batch...)
	}
	numbers, err := segmentsOf(dir)
	if err != nil || len(numbers) != SegmentsMax || numbers[0] != 3 {
		t.Fatalf("segments %v, %v", numbers, err)
	}
	for _, from := range []*Store{s, reader} {
		entries, err := from.entries(func(*entry) bool { return true })
		if err != nil || len(entries) != total-2*SegmentReports || len(entries) > ReportsMax {
			t.Errorf("%d reports are kept, %v", len(entries), err)
		}
		if got := hours(read(t, from, Query{Limit: 2})); !slices.Equal(got, []int64{int64(total - 2), int64(total - 1)}) {
			t.Errorf("the newest are %v", got)
		}
	}
}

// TestEvents asks what happened to alarms.
func TestEvents(t *testing.T) {
	s := open(t, t.TempDir())
	appendTo(t, s,
		closed(0, event(monitor.Raised, 0, "drift:1h:a"), event(monitor.Raised, 0, "drift:1h:b")), closed(1),
		closed(2, event(monitor.Still, 2, "drift:1h:a"), event(monitor.Cleared, 2, "drift:1h:b")))
	events, err := s.Events(0)
	if err != nil || len(events) != 4 || events[0].Change != monitor.Still || events[3].Alarm.Subject != "drift:1h:b" {
		t.Errorf("%v: %+v", err, events)
	}
	if some, err := s.Events(1); err != nil || len(some) != 1 || some[0] != events[0] {
		t.Errorf("%v: %+v", err, some)
	}
	alarms, err := s.Alarms()
	if err != nil || len(alarms) != 1 || alarms[0] != events[0].Alarm {
		t.Errorf("%v: raised are %+v", err, alarms)
	}
}

// TestAtOnce reads while another store of the same folder, as of another process, appends.
func TestAtOnce(t *testing.T) {
	dir := t.TempDir()
	writer := open(t, dir)
	const n = 60
	var wg sync.WaitGroup
	done := make(chan struct{})
	for range 2 {
		reader := open(t, dir)
		wg.Go(func() {
			last := 0
			for ended := false; !ended; {
				select {
				case <-done:
					ended = true // and one more look
				default:
				}
				got, err := reader.Reports(Query{})
				if err != nil || len(got) < last || reader.Damaged() > 0 {
					t.Errorf("%d reports after %d, %d damaged: %v", len(got), last, reader.Damaged(), err)
					return
				}
				for i, r := range got {
					if r.Rows != int64(i) {
						t.Errorf("report %d is of hour %d", i, r.Rows)
						return
					}
				}
				last = len(got)
			}
			if last != n {
				t.Errorf("%d of %d were seen", last, n)
			}
		})
	}
	for i := range n {
		appendTo(t, writer, closed(i))
	}
	close(done)
	wg.Wait()
}

func TestClosed(t *testing.T) {
	s := open(t, t.TempDir())
	appendTo(t, s, closed(0))
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Fatal(err)
	}
	_, err := s.Reports(Query{})
	if !errors.Is(err, ErrClosed) || !errors.Is(s.Append([]monitor.Report{closed(1)}), ErrClosed) {
		t.Errorf("a closed record answers: %v", err)
	}
	if _, err := Open(filepath.Join("/dev/null", fmt.Sprint(1))); err == nil {
		t.Error("a file was opened as a folder")
	}
}

// TestDecodedReports: what is kept decoded is bounded, is not used for a report that took
// another's place, and is not changed by what callers do with the list.
func TestDecodedReports(t *testing.T) {
	s := open(t, t.TempDir())
	put := func(r monitor.Report) {
		t.Helper()
		if err := s.Append([]monitor.Report{r}); err != nil {
			t.Fatal(err)
		}
	}
	rows := func() (rows []int64) {
		t.Helper()
		reports, err := s.Reports(Query{})
		if err != nil {
			t.Fatal(err)
		}
		for i := range reports {
			rows = append(rows, reports[i].Rows)
			reports[i].Rows = -1
		}
		return rows
	}
	put(closed(0))
	put(closed(1))
	for range 2 {
		if got := rows(); !slices.Equal(got, []int64{0, 1}) {
			t.Fatalf("rows %v", got)
		}
	}
	again := closed(1)
	again.Rows = 7
	put(again)
	if got := rows(); !slices.Equal(got, []int64{0, 7}) {
		t.Errorf("rows %v after a report was replaced", got)
	}
	if n := len(s.cache.mu.byKey); n != 2 {
		t.Errorf("%d reports are kept decoded", n)
	}
	for i := range 20 {
		s.cache.put(&entry{key: key{start: int64(i)}, length: CacheBytes / 10}, &Report{})
	}
	if s.cache.mu.bytes > CacheBytes || len(s.cache.mu.byKey) < 9 {
		t.Errorf("%d reports of %d bytes are kept decoded", len(s.cache.mu.byKey), s.cache.mu.bytes)
	}
}

// TestAlarmsAsTheyCome asks after each report, of one store and of a new one: what is raised is
// the same whether all was read before or not, also where a report is replaced or comes late,
// and where old ones are removed.
func TestAlarmsAsTheyCome(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	check := func(want ...string) {
		t.Helper()
		for _, store := range []*Store{s, open(t, dir)} {
			alarms, err := store.Alarms()
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, a := range alarms {
				got = append(got, a.Subject)
			}
			if !slices.Equal(got, want) {
				t.Errorf("raised are %v, want %v", got, want)
			}
		}
	}
	check()
	appendTo(t, s, closed(0), closed(1, event(monitor.Raised, 1, "b")))
	check("b")
	appendTo(t, s, closed(2, event(monitor.Still, 2, "b"), event(monitor.Raised, 2, "a")))
	check("a", "b")
	appendTo(t, s, closed(4, event(monitor.Cleared, 4, "b")))
	check("a")
	appendTo(t, s, closed(3, event(monitor.Raised, 3, "c"))) // of a log that was read anew
	check("a", "c")
	appendTo(t, s, closed(4, event(monitor.Still, 4, "b"), event(monitor.Cleared, 4, "c"))) // likewise
	check("a", "b")
	var many []monitor.Report
	for n := range ReportsMax {
		many = append(many, closed(5+n))
	}
	appendTo(t, s, many...)
	check()
}
