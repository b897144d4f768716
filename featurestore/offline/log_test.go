// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Every type, in live segments, in partitions, over a restart, and some in each.
func TestRecordsComeBack(t *testing.T) {
	ctx := t.Context()
	for _, snappy := range []bool{false, true} {
		dir := t.TempDir()
		o := quiet(Options{Dir: dir, Snappy: snappy, RowGroupRows: 37})
		l := openLog(t, o)
		s := declare(t, l, everyType)
		var want []Record
		add := func(from, to int) {
			for i := from; i < to; i++ {
				r := sample(i)
				must(t, s.Append(ctx, &r))
				want = append(want, r)
			}
			must(t, l.Sync(ctx))
		}
		q := Query{Stream: "predictions"}
		add(0, 100)
		expectRecords(t, "live", scanAll(t, l, q), want)
		must(t, l.Compact(ctx))
		expectRecords(t, "in partitions", scanAll(t, l, q), want)
		add(100, 200)
		expectRecords(t, "in both", scanAll(t, l, q), want)
		must(t, l.Close())
		l = openLog(t, o)
		expectRecords(t, "after a restart", scanAll(t, l, q), want)
		s = declare(t, l, everyType)
		add(200, 300)
		must(t, l.Compact(ctx))
		expectRecords(t, "compacted again", scanAll(t, l, q), want)
		if st := l.Stats(); st.Segments != 0 || st.LagRecords != 0 || st.PartitionRows != 300 || st.ScansOpen != 0 {
			t.Errorf("stats %+v", st)
		}
		left, _ := filepath.Glob(filepath.Join(dir, "segment-*"))
		if len(left) != 0 {
			t.Errorf("segments left: %v", left)
		}
		got := scanAll(t, l, Query{Stream: "predictions", Columns: []string{"features", "count"}, From: day0 + 50_000_000, To: day0 + 52_000_000})
		if len(got) != 2 || len(got[0].Values) != 2 || got[1].Values[1].Int64() != 1 || len(got[1].Values[0].Float32List()) != 3 {
			t.Errorf("projection gives %+v", got)
		}
		must(t, l.Close())
	}
}

func TestVersionsAndAsOf(t *testing.T) {
	ctx := t.Context()
	for _, compacted := range []bool{false, true} {
		l := openLog(t, quiet(Options{}))
		s := declare(t, l, Schema{Stream: "outcomes", Columns: []Column{{"label", TypeInt64}}})
		put := func(id string, event, arrival, label int64) {
			must(t, s.AppendSync(ctx, &Record{ID: id, EventTime: day0 + event, ArrivalTime: day0 + arrival, Values: []Value{Int64(label)}}))
			if compacted {
				must(t, l.Compact(ctx))
			}
		}
		put("a", 10, 100, 1)
		put("b", 20, 100, 2)
		put("a", 10, 200, 3)             // corrected
		put("b", 20+2*dayMicros, 300, 4) // moved to another day
		put("c", 30, 400, 5)
		put("c", 30, 400, 6) // same arrival: the one appended last
		put("a", 10, 150, 7) // appended last, arrived before
		check := func(q Query, want string) {
			t.Helper()
			q.Stream = "outcomes"
			var got []string
			for _, r := range scanAll(t, l, q) {
				got = append(got, fmt.Sprintf("%s%d", r.ID, r.Values[0].Int64()))
			}
			if strings.Join(got, " ") != want {
				t.Errorf("compacted %v: %+v gives %v, want %s", compacted, q, got, want)
			}
		}
		check(Query{}, "a3 c6 b4")
		check(Query{To: day0 + dayMicros}, "a3 c6")
		check(Query{Versions: LatestPerEvent}, "a3 b2 c6 b4")
		check(Query{Versions: AllVersions}, "a3 a7 a1 b2 c6 c5 b4")
		check(Query{AsOf: day0 + 199}, "a7 b2")
		check(Query{AsOf: day0 + 299}, "a3 b2")
		check(Query{AsOf: day0 + 99}, "")
		check(Query{From: day0 + 15, To: day0 + 30, AsOf: day0 + 299}, "b2")
		check(Query{From: day0 + 30, To: day0 + 30}, "")
	}
}

func TestSchemaChanges(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	l := openLog(t, quiet(Options{Dir: dir}))
	one := Schema{Stream: "s", Columns: []Column{{"a", TypeInt64}}}
	two := Schema{Stream: "s", Columns: []Column{{"b", TypeString}, {"a", TypeInt64}}}
	s1 := declare(t, l, one)
	must(t, s1.AppendSync(ctx, &Record{ID: "1", EventTime: day0, Values: []Value{Int64(1)}}))
	must(t, l.Compact(ctx))
	must(t, s1.AppendSync(ctx, &Record{ID: "2", EventTime: day0 + 1, Values: []Value{Int64(2)}}))
	s2 := declare(t, l, two)
	must(t, s2.AppendSync(ctx, &Record{ID: "3", EventTime: day0 + 2, Values: []Value{String("x"), Int64(3)}}))
	must(t, s1.AppendSync(ctx, &Record{ID: "4", EventTime: day0 + 3, Values: []Value{Int64(4)}}))
	look := func() {
		t.Helper()
		var got []string
		for _, r := range scanAll(t, l, Query{Stream: "s", Columns: []string{"a", "b"}}) {
			got = append(got, fmt.Sprint(r.Values[0].Int64(), r.Values[1].IsNull(), r.Values[1].Text()))
		}
		if want := []string{"1 true", "2 true", "3 falsex", "4 true"}; !slices.Equal(got, want) {
			t.Errorf("got %q", got)
		}
	}
	look()
	must(t, l.Close())
	l = openLog(t, quiet(Options{Dir: dir}))
	look()
	for range 2 { // from segments, then from the manifest
		_, err := l.Declare(Schema{Stream: "s", Columns: []Column{{"a", TypeFloat64}}})
		if !errors.Is(err, ErrInvalidSchema) || !strings.Contains(err.Error(), "column a is int64 and cannot become float64") {
			t.Errorf("a type changed: %v", err)
		}
		must(t, l.Compact(ctx))
		look()
		must(t, l.Close())
		l = openLog(t, quiet(Options{Dir: dir}))
	}
	for _, bad := range []Schema{
		{Stream: ""}, {Stream: "a/b"}, {Stream: "x", Columns: []Column{{"id", TypeInt64}}}, {Stream: "x", Columns: []Column{{"a", 0}}},
		{Stream: "x", Columns: []Column{{"a", TypeInt64}, {"a", TypeInt64}}}, {Stream: "x", Columns: []Column{{"a b", TypeInt64}}},
	} {
		if _, err := l.Declare(bad); !errors.Is(err, ErrInvalidSchema) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

func TestBadRecordsAreRefused(t *testing.T) {
	l := openLog(t, quiet(Options{}))
	s := declare(t, l, everyType)
	for name, spoil := range map[string]func(*Record){
		"id has 0 bytes":                      func(r *Record) { r.ID = "" },
		"id has 257 bytes":                    func(r *Record) { r.ID = strings.Repeat("x", 257) },
		"id is not UTF-8":                     func(r *Record) { r.ID = "\xff" },
		"event_time -1 is before 1970":        func(r *Record) { r.EventTime = -1 },
		"days after arrival_time":             func(r *Record) { r.EventTime = r.ArrivalTime + 367*dayMicros },
		"arrival_time -5 is not between":      func(r *Record) { r.ArrivalTime = -5 },
		"7 values for 8 columns":              func(r *Record) { r.Values = r.Values[:7] },
		"column score is float64 and got a":   func(r *Record) { r.Values[1] = Int64(1) },
		"column model is not UTF-8":           func(r *Record) { r.Values[4] = String("\xff") },
		"column blob has 4194305 bytes":       func(r *Record) { r.Values[5] = Bytes(make([]byte, RecordBytesMax+1)) },
		"with column blob the record has":     func(r *Record) { r.Values[5] = Bytes(make([]byte, RecordBytesMax)) },
		"column features has 1048577 element": func(r *Record) { r.Values[7] = Float32List(make([]float32, RecordBytesMax/4+1)) },
	} {
		r := sample(1)
		spoil(&r)
		err := s.Append(t.Context(), &r)
		if !errors.Is(err, ErrInvalidRecord) || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "stream predictions") {
			t.Errorf("%s: %v", name, err)
		}
	}
	if st := l.Stats(); st.Appended != 0 || st.QueueBytes != 0 {
		t.Errorf("stats %+v", st)
	}
}

func TestLockAndClose(t *testing.T) {
	dir := t.TempDir()
	l := openLog(t, quiet(Options{Dir: dir}))
	if _, err := Open(t.Context(), quiet(Options{Dir: dir})); !errors.Is(err, ErrLocked) {
		t.Errorf("opened twice: %v", err)
	}
	s := declare(t, l, everyType)
	must(t, l.Close())
	r := sample(1)
	for what, err := range map[string]error{"append": s.Append(t.Context(), &r), "close": l.Close(), "compact": l.Compact(context.Background())} {
		if !errors.Is(err, ErrClosed) {
			t.Errorf("%s after Close: %v", what, err)
		}
	}
	if _, err := l.Scan(t.Context(), Query{Stream: "nope"}); !errors.Is(err, ErrUnknownStream) {
		t.Errorf("unknown stream: %v", err)
	}
	if _, err := l.Scan(t.Context(), Query{Stream: "predictions", Columns: []string{"nope"}}); !errors.Is(err, ErrInvalidQuery) {
		t.Errorf("unknown column: %v", err)
	}
}

func TestDamageIsNamedAndRepaired(t *testing.T) {
	ctx := t.Context()
	for _, place := range []string{"first batch", "catalog", "headers", "last batch of the first segment"} {
		dir := t.TempDir()
		o := quiet(Options{Dir: dir})
		l := openLog(t, o)
		s := declare(t, l, everyType)
		for i := range 10 {
			r := sample(i)
			must(t, s.AppendSync(ctx, &r))
			if i == 4 {
				must(t, l.sealActive(ctx))
			}
		}
		first := *l.mu.segments[0]
		must(t, l.Close())
		at := map[string][]int64{"first batch": {first.index[0].offset + 50}, "catalog": {framesStart + 30}, "headers": {20, 70},
			"last batch of the first segment": {first.index[4].offset + 3}}[place]
		full := filepath.Join(dir, first.name)
		raw, err := os.ReadFile(full)
		must(t, err)
		for _, offset := range at {
			raw[offset] ^= 0x40
		}
		must(t, os.WriteFile(full, raw, 0o666))
		_, err = Open(ctx, o)
		var damage *CorruptError
		if !errors.As(err, &damage) || !errors.Is(err, ErrCorrupt) || damage.Segment != first.name || damage.Offset > at[0] || damage.Offset < at[0]-60 {
			t.Fatalf("%s: %v", place, err)
		}
		done, err := Repair(ctx, o)
		must(t, err)
		wantLost := map[string]int64{"first batch": 1, "catalog": 0, "headers": 5, "last batch of the first segment": 1}[place]
		if len(done) != 1 || done[0].Lost != wantLost || done[0].Kept != 5-wantLost {
			t.Fatalf("%s: repaired %+v", place, done)
		}
		if aside, err := os.ReadFile(filepath.Join(dir, done[0].Damaged)); err != nil || !slices.Equal(aside, raw) {
			t.Errorf("%s: the damaged segment was not kept: %v", place, err)
		}
		l = openLog(t, o)
		if got := scanAll(t, l, Query{Stream: "predictions"}); len(got) != 10-int(wantLost) {
			t.Errorf("%s: %d records after repair", place, len(got))
		}
		must(t, l.Compact(ctx))
		if got := scanAll(t, l, Query{Stream: "predictions"}); len(got) != 10-int(wantLost) {
			t.Errorf("%s: %d records after repair and compaction", place, len(got))
		}
		must(t, l.Close())
	}
}

func TestTornTailIsCutAndReported(t *testing.T) {
	ctx := t.Context()
	dir := t.TempDir()
	o := quiet(Options{Dir: dir})
	l := openLog(t, o)
	s := declare(t, l, everyType)
	for i := range 3 {
		r := sample(i)
		must(t, s.AppendSync(ctx, &r))
	}
	last := *l.mu.segments[0]
	must(t, l.Close())
	full := filepath.Join(dir, last.name)
	must(t, os.Truncate(full, last.index[2].offset+40))
	for range 2 { // the cut stays while nothing is appended, and when something is
		l = openLog(t, o)
		if rec := l.Recovered(); rec.TornSegment != last.name || rec.TornBytes != 40 || rec.Records != 2 {
			t.Errorf("recovered %+v", rec)
		}
		if got := scanAll(t, l, Query{Stream: "predictions"}); len(got) != 2 {
			t.Errorf("%d records", len(got))
		}
		must(t, l.Close())
	}
	l = openLog(t, o)
	s = declare(t, l, everyType)
	r := sample(9)
	must(t, s.AppendSync(ctx, &r))
	must(t, l.Close())
	l = openLog(t, o)
	if got := scanAll(t, l, Query{Stream: "predictions"}); len(got) != 3 || got[2].Sequence != 3 {
		t.Errorf("got %+v", got)
	}
}
