// SPDX-License-Identifier: Apache-2.0

package online

import (
	"context"
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// A row of a lookup is replaced by a newer one only: by time, then arrival, then id.
func TestLookupOrder(t *testing.T) {
	l := openLocal(t, quiet(Options{Tables: smallTables(t)}))
	reader := l.NewReader()
	for i, c := range []struct {
		time, arrival int64
		id            uint64
		outcome       window.Outcome
		row           string // there afterwards
	}{
		{10, 12, 5, window.Applied, "0"},
		{10, 12, 5, window.Duplicate, "0"},
		{9, 99, 99, window.TooLate, "0"},
		{10, 11, 99, window.TooLate, "0"},
		{10, 12, 4, window.TooLate, "0"},
		{10, 12, 6, window.Applied, "5"},
		{10, 13, 1, window.Applied, "6"},
		{11, 11, 1, window.Applied, "7"},
		{11, 0, 1, window.Duplicate, "7"}, // arrived when it happened
		{11, 0, 2, window.Applied, "9"},
	} {
		u := plan.Update{Table: 1, Key: []byte("k"), Row: []byte{byte('0' + i)},
			Event: window.Event{Time: start + c.time, ID: c.id}}
		if c.arrival != 0 {
			u.Event.Arrival = start + c.arrival
		}
		if o := apply(t, l, u)[0]; o != c.outcome {
			t.Errorf("row %d is %v, want %v", i, o, c.outcome)
		}
		must(t, reader.Fetch(t.Context(), []plan.Ref{{Table: 1, Key: []byte("k")}}))
		row, seen, err := reader.Lookup(0, start+100)
		must(t, err)
		if string(row) != c.row || seen.EventTime < start {
			t.Errorf("after row %d there is %q of %d, want %q", i, row, seen.EventTime, c.row)
		}
		if row, seen, err := reader.Lookup(0, start); row != nil || seen.EventTime != 0 || err != nil {
			t.Errorf("before its time there is %q, %+v, %v", row, seen, err)
		}
		reader.Release()
	}
}

// An update that does not fit is refused whole, with its table and entity, before the
// log is asked; and exactly what package window refuses.
func TestUnfitEvents(t *testing.T) {
	tables := smallTables(t)
	l := openLocal(t, quiet(Options{Tables: tables}))
	good := event(0, "k", start, 1, 1)
	amended := func(column string, value float64) plan.Update {
		u := event(2, "k", start, 1, 1, 1)
		u.Amend = []plan.Amendment{{Column: column, Value: value}}
		return u
	}
	late := event(2, "k", start, 1, 1, 1)
	late.Late = []plan.Amendment{{Column: "nobody", Value: 1}}
	for name, u := range map[string]plan.Update{
		"table":   event(3, "k", start, 1, 1),
		"no key":  event(0, "", start, 1, 1),
		"key":     event(0, strings.Repeat("k", KeyBytesMax+1), start, 1, 1),
		"values":  event(0, "k", start, 1, 1, 2),
		"value":   event(0, "k", start, 1, math.Inf(1)),
		"large":   event(0, "k", start, 1, 2*window.ValueMax),
		"time":    event(0, "k", timeMax+1, 1, 1),
		"early":   event(0, "k", -timeMax-1, 1, 1),
		"keys":    {Table: 0, Key: []byte("k"), Event: window.Event{Time: start, Values: []float64{1}, Keys: []uint64{1}}},
		"arrival": {Table: 0, Key: []byte("k"), Event: window.Event{Time: start, Arrival: timeMax + 1, Values: []float64{1}}},
		"row":     {Table: 1, Key: []byte("k"), Event: window.Event{Time: start}, Row: make([]byte, RowBytesMax+1)},
		"column":  amended("nobody", 1),
		"amount":  amended("fraud", math.Inf(-1)),
		"late":    late,
	} {
		asked := false
		err := l.Apply(t.Context(), []plan.Update{good, u}, 0, func() (uint64, error) { asked = true; return 1, nil }, make([]window.Outcome, 2))
		if !errors.Is(err, window.ErrEvent) || asked {
			t.Errorf("%s: %v, log asked: %v", name, err, asked)
		}
		if u.Table < 3 && !strings.Contains(err.Error(), tables[u.Table].Name) {
			t.Errorf("%s: the error does not name the table: %v", name, err)
		}
		if v := tables[min(u.Table, 2)].View; v != nil && len(u.Amend) == 0 && len(u.Late) == 0 && len(u.Key) == 1 && u.Table < 3 {
			if _, err := v.Window.NewAggregator().Update(&window.State{}, &u.Event); !errors.Is(err, window.ErrEvent) {
				t.Errorf("%s: package window takes it: %v", name, err)
			}
		}
	}
	if n := l.Stats().Tables[0].Entities; n != 0 {
		t.Errorf("%d entities of refused events", n)
	}
	if err := l.Apply(t.Context(), []plan.Update{good}, 0, nil, nil); err == nil {
		t.Error("an event without room for its outcome is taken")
	}
	// A replay passes over it and takes the rest.
	must(t, l.Replay(t.Context(), []plan.Update{event(0, "k", start, 1, 1, 2), good}, 1))
	if s := l.Stats(); s.Refused != 1 || s.Tables[0].Entities != 1 {
		t.Errorf("%d refused, %d entities", s.Refused, s.Tables[0].Entities)
	}
}

// The largest times are taken here as in package window.
func TestExtremeTimes(t *testing.T) {
	l := openLocal(t, quiet(Options{Tables: smallTables(t)}))
	for _, at := range []int64{timeMax, -timeMax, 0, -1} {
		apply(t, l, event(0, "k", at, 1, 1))
	}
}

// Several updates of an entity in one event are applied in order, and all of them by a
// replay too; a late value that comes with a duplicate amends what is there.
func TestSeveralUpdatesOfAnEntity(t *testing.T) {
	l := openLocal(t, quiet(Options{Tables: smallTables(t)}))
	reader := l.NewReader()
	first := event(2, "k", start, 1, math.NaN(), 5)
	again := event(2, "k", start, 1, math.NaN(), 5)
	again.Late = []plan.Amendment{{Column: "fraud", Value: 1}}
	want := []window.Outcome{window.Applied, window.Applied, window.Applied}
	if o := apply(t, l, first, again, event(2, "k", start+1, 2, 0, 6)); [3]window.Outcome(o) != [3]window.Outcome(want) {
		t.Errorf("outcomes %v", o)
	}
	must(t, l.Replay(t.Context(), []plan.Update{event(2, "r", start, 1, 1, 5), event(2, "r", start+1, 2, 0, 6)}, 1))
	must(t, l.Replay(t.Context(), []plan.Update{event(2, "r", start+2, 3, 0, 7)}, 1))
	for _, key := range []string{"k", "r"} {
		v, status, _ := values(t, reader, 2, 2, key, start+5*60*second+10)
		if v[0] != 0.5 || v[1] != 6 || status[0] != window.Present {
			t.Errorf("%s reads %v, %v", key, v, status)
		}
	}
	if s := l.Stats(); s.Replayed != 2 || s.Skipped != 1 {
		t.Errorf("%d replayed, %d skipped", s.Replayed, s.Skipped)
	}
}

// Amending an event that nobody knows makes no entity.
func TestNoEntityOfNothing(t *testing.T) {
	l := openLocal(t, quiet(Options{Tables: smallTables(t)}))
	u := event(2, "k", start, 1)
	u.Amend = []plan.Amendment{{Column: "fraud", Value: 1}}
	if o := apply(t, l, u); o[0] != window.Unknown {
		t.Errorf("outcome %v", o)
	}
	late := event(0, "k", start, 1, 1)
	late.Event.Arrival = start + 2*3600*second
	if o := apply(t, l, late); o[0] != window.TooLate {
		t.Errorf("outcome %v", o)
	}
	if s := l.Stats(); s.Tables[0].Entities != 0 || s.Tables[2].Entities != 0 {
		t.Errorf("entities: %+v", s.Tables)
	}
}

// Reading does not allocate, and an event for entities that are there does so only
// when their memory grows.
func TestAllocations(t *testing.T) {
	if raceEnabled {
		t.Skip("the race detector allocates")
	}
	l := openLocal(t, quiet(Options{Tables: smallTables(t)}))
	ctx := context.Background()
	updates, outcomes := updatesOf("key", 1), make([]window.Outcome, 3)
	push := func() {
		for i := range updates {
			updates[i].Event.ID++
			updates[i].Event.Time += 20 * second
		}
		must(t, l.Apply(ctx, updates, 0, nil, outcomes))
	}
	for range 200 {
		push()
	}
	if n := testing.AllocsPerRun(300, push); n > 1 { // the row of the lookup
		t.Errorf("an event allocates %v times", n)
	}
	reader := l.NewReader()
	refs := []plan.Ref{{Table: 0, Key: []byte("key")}, {Table: 1, Key: []byte("key")}, {Table: 2, Key: []byte("nobody")}}
	into, status := make([]float64, 6), make([]window.Status, 6)
	at := updates[0].Event.Time
	n := testing.AllocsPerRun(100, func() {
		must(t, reader.Fetch(ctx, refs))
		_, err := reader.View(0, at, into, status)
		must(t, err)
		_, _, err = reader.Lookup(1, at)
		must(t, err)
		_, err = reader.View(2, at, into[:2], status[:2])
		must(t, err)
		reader.Release()
	})
	if n != 0 {
		t.Errorf("a read allocates %v times", n)
	}
}

// A reader that is asked for what it did not fetch says so.
func TestReaderRefs(t *testing.T) {
	l := openLocal(t, quiet(Options{Tables: smallTables(t)}))
	r := l.NewReader()
	must(t, r.Fetch(t.Context(), []plan.Ref{{Table: 0, Key: []byte("k")}, {Table: 1, Key: []byte("k")}, {Table: 9, Key: []byte("k")}, {Table: -1}}))
	into, status := make([]float64, 6), make([]window.Status, 6)
	for _, i := range []int{-1, 1, 2, 3, 4} {
		if _, err := r.View(i, start, into, status); err == nil {
			t.Errorf("view of ref %d", i)
		}
	}
	for _, i := range []int{-1, 0, 2, 3, 4} {
		if _, _, err := r.Lookup(i, start); err == nil {
			t.Errorf("lookup of ref %d", i)
		}
	}
	if _, err := r.View(0, start, into[:1], status[:1]); !errors.Is(err, window.ErrArguments) {
		t.Errorf("slices of the wrong length: %v", err)
	}
	r.Release()
	if _, err := r.View(0, start, into, status); err == nil {
		t.Error("a released ref is read")
	}
	refs := make([]plan.Ref, 100)
	for i := range refs {
		refs[i] = plan.Ref{Table: i%7 - 2, Key: []byte("k")} // enough to be approached together
	}
	must(t, r.Fetch(t.Context(), refs))
	for i := range refs {
		if _, err := r.View(i, start, into, status); (err == nil) != (refs[i].Table == 0) && refs[i].Table != 2 {
			t.Errorf("view of ref %d of table %d: %v", i, refs[i].Table, err)
		}
	}
}
