// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// appendRound appends records of two streams in turn, sealing and compacting as told,
// and returns what a replay must give.
func appendRound(t *testing.T, l *Log, from, to int, sealEvery, compactEvery int) (want []Record) {
	t.Helper()
	streams := []*Stream{declare(t, l, everyType), declare(t, l, smallSchema2)}
	for i := from; i < to; i++ {
		r := sample(i)
		if i%2 == 1 {
			r = Record{ID: fmt.Sprint("s-", i), EventTime: day0 - int64(i)*dayMicros, ArrivalTime: day0 + int64(i), Values: []Value{String(fmt.Sprint(i))}}
		}
		sequence, err := streams[i%2].AppendSequence(t.Context(), &r)
		must(t, err)
		must(t, l.WaitDurable(t.Context(), sequence))
		r.Sequence = sequence
		want = append(want, r)
		if i%sealEvery == sealEvery-1 {
			must(t, l.sealActive(t.Context()))
		}
		if i%compactEvery == compactEvery-1 {
			must(t, l.Compact(t.Context()))
		}
	}
	return want
}

var smallSchema2 = Schema{Stream: "outcomes", Columns: []Column{{"text", TypeString}}}

func expectReplay(t *testing.T, what string, l *Log, after uint64, want []Record) {
	t.Helper()
	at := slices.IndexFunc(want, func(r Record) bool { return r.Sequence > after })
	if at < 0 {
		at = len(want)
	}
	got := replayAll(t, l, after)
	expectRecords(t, what, got, want[at:])
	for i := range got {
		if got[i].Sequence != want[at+i].Sequence {
			t.Fatalf("%s: record %d has sequence %d, want %d", what, i, got[i].Sequence, want[at+i].Sequence)
		}
	}
}

// Held and live segments together give every record once and in order, from any
// sequence on, also over restarts, after which numbers of schemas begin anew.
func TestReplay(t *testing.T) {
	o := quiet(Options{Dir: t.TempDir(), HoldFromStart: true})
	var want []Record
	for round := range 4 {
		l := openLog(t, o)
		if rec := l.Recovered(); rec.HeldDamage != nil || (round > 0) != (rec.HeldSegments > 0) {
			t.Errorf("round %d: recovered %+v", round, rec)
		}
		if round == 2 { // another schema gets number 1
			declare(t, l, Schema{Stream: "other", Columns: []Column{{"n", TypeFloat32}}})
		}
		want = append(want, appendRound(t, l, round*30, round*30+30, 7, 10)...)
		for _, after := range []uint64{0, 1, 6, 7, 29, 30, uint64(len(want)) - 1, uint64(len(want))} {
			expectReplay(t, fmt.Sprintf("round %d after %d", round, after), l, after, want)
		}
		if round == 3 {
			must(t, l.Compact(t.Context()))
			expectReplay(t, "all compacted", l, 0, want)
		}
		if err := l.Replay(t.Context(), uint64(len(want)+1), nil); !errors.Is(err, ErrUnknownSequence) {
			t.Errorf("after what was not given: %v", err)
		}
		must(t, l.Close())
	}
	o.HoldFromStart = false
	l := openLog(t, o)
	if st := l.Stats(); st.HeldSegments != 0 || st.HeldBytes != 0 || st.ReplayFrom != uint64(len(want)+1) {
		t.Errorf("without a hold: stats %+v", st)
	}
	if err := l.Replay(t.Context(), 0, nil); !errors.Is(err, ErrTooOld) {
		t.Errorf("without a hold: %v", err)
	}
	if files, _ := filepath.Glob(filepath.Join(o.Dir, "segment-*")); len(files) != 0 {
		t.Errorf("without a hold there are %v", files)
	}
	expectReplay(t, "nothing to replay", l, uint64(len(want)), want)
}

func TestReplayHandsOnSchemasAndErrors(t *testing.T) {
	l := openLog(t, quiet(Options{HoldFromStart: true}))
	wide := Schema{Stream: "outcomes", Columns: []Column{{"text", TypeString}, {"more", TypeBool}}}
	appendRound(t, l, 0, 10, 3, 5)
	must(t, declare(t, l, wide).AppendSync(t.Context(), &Record{ID: "w", EventTime: day0, Values: []Value{String("x"), Bool(true)}}))
	must(t, l.sealActive(t.Context()))
	appendRound(t, l, 10, 20, 4, 100)
	seen := map[string]*Column{}
	visited := 0
	must(t, l.Replay(t.Context(), 0, func(stream string, columns []Column, r *Record) error {
		visited++
		if len(columns) != len(r.Values) {
			t.Errorf("%d values of %d columns", len(r.Values), len(columns))
		}
		name := fmt.Sprint(stream, columns)
		if old := seen[name]; old != nil && old != &columns[0] {
			t.Errorf("the columns of %s have moved", name)
		}
		seen[name] = &columns[0]
		return nil
	}))
	if visited != 21 || len(seen) != 3 {
		t.Errorf("%d records of %d schemas", visited, len(seen))
	}
	stop := errors.New("enough")
	visited = 0
	err := l.Replay(t.Context(), 2, func(string, []Column, *Record) error {
		if visited++; visited == 4 {
			return stop
		}
		return nil
	})
	if !errors.Is(err, stop) || visited != 4 {
		t.Errorf("stopped after %d: %v", visited, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := l.Replay(ctx, 0, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
	if st := l.Stats(); st.ScansOpen != 0 {
		t.Errorf("files are still held: %+v", st)
	}
}

// Each hold lets go what is not above it, and nothing else.
func TestHold(t *testing.T) {
	l := openLog(t, quiet(Options{}))
	if err := l.Replay(t.Context(), 0, nil); err != nil {
		t.Errorf("replay of a new log: %v", err)
	}
	l.Hold(12)
	var want []Record
	for i := range 6 { // segments of five records
		want = append(want, appendRound(t, l, i*5, i*5+5, 100, 100)...)
		must(t, l.Compact(t.Context()))
	}
	held := func(after, from uint64, segments int) {
		t.Helper()
		st := l.Stats()
		if files, _ := filepath.Glob(filepath.Join(l.options.Dir, "segment-*")); len(files) != segments {
			t.Errorf("hold after %d: files %v", after, files)
		}
		if st.ReplayFrom != from || st.HeldSegments != segments || st.Segments != 0 || (st.HeldBytes > 0) != (segments > 0) || st.HoldsBroken != 0 {
			t.Errorf("hold after %d: stats %+v, want replay from %d and %d segments", after, st, from, segments)
		}
		expectReplay(t, "what is held", l, from-1, want)
		if from > 1 {
			if err := l.Replay(t.Context(), from-2, nil); !errors.Is(err, ErrTooOld) {
				t.Errorf("replay after %d: %v", from-2, err)
			}
		}
		expectRecordsOf(t, l, len(want))
	}
	held(12, 11, 4)
	for _, c := range []struct {
		after, from uint64
		segments    int
	}{{13, 11, 4}, {14, 11, 4}, {15, 16, 3}, {3, 16, 3}, {24, 21, 2}, {30, 31, 0}} {
		l.Hold(c.after)
		held(c.after, c.from, c.segments)
	}
	l.Hold(HoldNone)
	want = append(want, appendRound(t, l, 30, 35, 100, 100)...)
	must(t, l.Compact(t.Context()))
	held(HoldNone, 36, 0)
}

// expectRecordsOf counts the records of both streams by scanning.
func expectRecordsOf(t *testing.T, l *Log, want int) {
	t.Helper()
	n := 0
	for _, s := range l.Streams() {
		n += len(scanAll(t, l, Query{Stream: s.Stream, Columns: []string{}, Versions: AllVersions}))
	}
	if n != want {
		t.Errorf("scans have %d records, want %d", n, want)
	}
}

func TestHoldIsBounded(t *testing.T) {
	l := openLog(t, quiet(Options{HoldFromStart: true, HoldBytesMax: 4 << 10}))
	var want []Record
	for i := range 10 {
		want = append(want, appendRound(t, l, i*10, i*10+10, 100, 100)...)
		must(t, l.Compact(t.Context()))
		if st := l.Stats(); st.HeldBytes > 4<<10 {
			t.Fatalf("stats %+v", st)
		}
	}
	st := l.Stats()
	if st.HoldsBroken == 0 || int(st.HoldsBroken)+st.HeldSegments != 10 || st.HeldSegments == 0 {
		t.Errorf("stats %+v", st)
	}
	expectReplay(t, "what is left", l, st.ReplayFrom-1, want)
	expectRecordsOf(t, l, len(want))
}

// A replay keeps its segments although they are let go meanwhile.
func TestReplayBesideHold(t *testing.T) {
	l := openLog(t, quiet(Options{HoldFromStart: true}))
	want := appendRound(t, l, 0, 30, 5, 5)
	var got []Record
	must(t, l.Replay(t.Context(), 0, func(_ string, _ []Column, r *Record) error {
		if len(got) == 3 {
			l.Hold(HoldNone)
			must(t, l.Compact(t.Context()))
			if files, _ := filepath.Glob(filepath.Join(l.options.Dir, "segment-*")); len(files) == 0 {
				t.Error("the segments are gone")
			}
		}
		got = append(got, r.Clone())
		return nil
	}))
	expectRecords(t, "replay", got, want)
	if files, _ := filepath.Glob(filepath.Join(l.options.Dir, "segment-*")); len(files) != 0 {
		t.Errorf("left are %v", files)
	}
}

// Damage to a segment that is only held does not keep a log from opening: its records
// are in partitions. What is behind it can be replayed, and the rest is refused.
func TestDamageToWhatIsHeld(t *testing.T) {
	for _, damage := range []string{"content", "header", "missing", "cut"} {
		o := quiet(Options{Dir: t.TempDir(), HoldFromStart: true})
		l := openLog(t, o)
		var want []Record
		for i := range 4 {
			want = append(want, appendRound(t, l, i*10, i*10+10, 100, 100)...)
			must(t, l.Compact(t.Context()))
		}
		want = append(want, appendRound(t, l, 40, 50, 100, 100)...)
		full := filepath.Join(o.Dir, l.mu.held[1].name)
		raw, err := os.ReadFile(full)
		must(t, err)
		switch damage {
		case "content":
			raw[len(raw)-9] ^= 1
		case "header":
			raw[20] ^= 1
			raw[70] ^= 1
		case "cut":
			raw = raw[:len(raw)/2]
		}
		must(t, os.WriteFile(full, raw, 0o666))
		if damage == "missing" {
			must(t, os.Remove(full))
		}
		if err := l.Replay(t.Context(), 0, func(string, []Column, *Record) error { return nil }); err == nil && damage != "header" {
			t.Errorf("%s: a replay meets no damage", damage)
		}
		expectReplay(t, damage+", behind it", l, 20, want)
		must(t, l.Close())
		for range 2 {
			l = openLog(t, o)
			rec, st := l.Recovered(), l.Stats()
			if rec.HeldSegments != 2 || st.ReplayFrom != 21 || rec.Records != 10 {
				t.Errorf("%s: recovered %+v, stats %+v", damage, rec, st)
			}
			expectReplay(t, damage+", opened again", l, 20, want)
			expectRecordsOf(t, l, len(want))
			if err := l.Replay(t.Context(), 19, func(string, []Column, *Record) error { return nil }); !errors.Is(err, ErrTooOld) {
				t.Errorf("%s: %v", damage, err)
			}
			must(t, l.Close())
		}
	}
}

// What a repair could not save is passed over, and what it saved keeps its sequence.
func TestReplayOverAGap(t *testing.T) {
	o := quiet(Options{Dir: t.TempDir(), HoldFromStart: true})
	l := openLog(t, o)
	want := appendRound(t, l, 1, 21, 8, 100) // groups of one record
	must(t, l.Close())
	hurt := l.mu.segments[1]
	full := filepath.Join(o.Dir, hurt.name)
	raw, err := os.ReadFile(full)
	must(t, err)
	raw[hurt.index[2].offset+40] ^= 1
	must(t, os.WriteFile(full, raw, 0o666))
	if _, err := Open(t.Context(), o); !errors.Is(err, ErrCorrupt) {
		t.Fatal(err)
	}
	_, err = Repair(t.Context(), o)
	must(t, err)
	lost := int(hurt.header.base) + 2 - 1
	want = slices.Delete(want, lost, lost+1)
	l = openLog(t, o)
	for _, after := range []uint64{0, uint64(lost), uint64(lost) + 1, 19} {
		expectReplay(t, "repaired", l, after, want)
	}
	must(t, l.Compact(t.Context()))
	expectReplay(t, "repaired and compacted", l, 0, want)
	must(t, l.Close())
	l = openLog(t, o)
	expectReplay(t, "and opened again", l, 0, want)
	expectRecordsOf(t, l, len(want))
}

// A repair leaves alone what is held.
func TestRepairKeepsWhatIsHeld(t *testing.T) {
	o := quiet(Options{Dir: t.TempDir(), HoldFromStart: true})
	l := openLog(t, o)
	want := appendRound(t, l, 0, 10, 100, 100)
	must(t, l.Compact(t.Context()))
	must(t, l.Close())
	o.HoldFromStart = false
	_, err := Repair(t.Context(), o)
	must(t, err)
	o.HoldFromStart = true
	expectReplay(t, "repaired", openLog(t, o), 0, want)
}

func TestReplayDoesNotAllocatePerRecord(t *testing.T) {
	l := openLog(t, quiet(Options{}))
	s := declare(t, l, everyType)
	for i := range 5000 {
		r := sample(i)
		must(t, s.Append(t.Context(), &r))
	}
	must(t, l.Sync(t.Context()))
	n := testing.AllocsPerRun(5, func() {
		must(t, l.Replay(t.Context(), 0, func(string, []Column, *Record) error { return nil }))
	})
	if n > 300 {
		t.Errorf("%v allocations for 5000 records", n)
	}
}
