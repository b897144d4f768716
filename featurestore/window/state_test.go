// SPDX-License-Identifier: Apache-2.0

package window

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

func event(at int64, id uint64, values ...float64) *Event {
	return &Event{Time: at * second, ID: id, Values: values}
}

func update(t testing.TB, a *Aggregator, s *State, e *Event) Outcome {
	t.Helper()
	o, err := a.Update(s, e)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func read(t testing.TB, a *Aggregator, s *State, at int64) ([]float64, []Status) {
	t.Helper()
	into, status := make([]float64, a.view.Width()), make([]Status, a.view.Width())
	if _, err := a.Read(s, at*second, into, status); err != nil {
		t.Fatal(err)
	}
	return into, status
}

// TestSawtooth spells out which events a window with a hop covers.
func TestSawtooth(t *testing.T) {
	a := mustView(t, Definition{Columns: []string{"x"}, Features: []Feature{
		{Name: "exact", Func: Sum, Column: "x", Window: 10 * time.Second, Hop: time.Second},
		{Name: "hop", Func: Sum, Column: "x", Window: 10 * time.Second, Hop: 5 * time.Second},
		{Name: "late", Func: Sum, Column: "x", Window: 10 * time.Second, Hop: time.Second, Delay: 3 * time.Second},
	}}).NewAggregator()
	s := new(State)
	for i := range int64(20) { // event i, of value 2^i, at second i
		update(t, a, s, event(i+100, uint64(i), float64(int64(1)<<i)))
	}
	sum := func(from, to int64) float64 { return float64(int64(1)<<(to+1) - int64(1)<<from) }
	for _, c := range []struct {
		at   int64
		want []float64
	}{
		{119, []float64{sum(10, 19), sum(6, 19), sum(7, 16)}},  // tails at 109, 105, 106
		{120, []float64{sum(11, 19), sum(11, 19), sum(8, 17)}}, // at 110, 110, 107
		{124, []float64{sum(15, 19), sum(11, 19), sum(12, 19)}},
		{140, []float64{0, 0, 0}},
	} {
		if got, _ := read(t, a, s, c.at); !slices.Equal(got, c.want) {
			t.Errorf("at %d: %v, want %v", c.at, got, c.want)
		}
	}
}

func TestStatus(t *testing.T) {
	a := mustView(t, Definition{Columns: []string{"x"}, MaxAge: time.Minute, Features: []Feature{
		{Name: "count", Func: Count, Window: 10 * time.Second},
		{Name: "mean", Func: Mean, Column: "x", Window: 10 * time.Second, Default: -1},
		{Name: "last", Func: LastK, K: 2, Column: "x", Window: 10 * time.Second, Default: -2},
	}}).NewAggregator()
	s := new(State)
	check := func(at int64, values []float64, status ...Status) {
		t.Helper()
		if v, st := read(t, a, s, at); !slices.Equal(v, values) || !slices.Equal(st, status) {
			t.Errorf("at %d: %v %v, want %v %v", at, v, st, values, status)
		}
	}
	check(5, []float64{0, -1, -2, -2}, NotFound, NotFound, NotFound, NotFound)
	update(t, a, s, event(100, 1, 4))
	update(t, a, s, event(101, 2, math.NaN()))
	check(99, []float64{0, -1, -2, -2}, NotFound, NotFound, NotFound, NotFound)
	check(101, []float64{2, 4, 4, -2}, Present, Present, Present, Null)
	check(120, []float64{0, -1, -2, -2}, Present, Null, Null, Null)
	a.Trim(s, 150*second)
	if s.Len() != 0 {
		t.Errorf("%d entries after trim", s.Len())
	}
	check(161, []float64{0, -1, -2, -2}, Present, Null, Null, Null)
	check(162, []float64{0, -1, -2, -2}, OutsideMaxAge, OutsideMaxAge, OutsideMaxAge, OutsideMaxAge)
}

func TestOutcomes(t *testing.T) {
	a := mustView(t, Definition{Columns: []string{"x"}, LatenessMax: time.Minute, FutureMax: 5 * time.Second,
		DuplicateHorizon: time.Second, HeadEventsMax: 16, Features: []Feature{
			{Name: "sum", Func: Sum, Column: "x", Window: 40 * time.Second, Hop: 10 * time.Second}}}).NewAggregator()
	s := new(State)
	expect := func(want Outcome, e *Event, arrival int64) {
		t.Helper()
		e.Arrival = arrival * second
		if o := update(t, a, s, e); o != want {
			t.Errorf("event at %d arriving at %d: %v, want %v", e.Time/second, arrival, o, want)
		}
	}
	expect(TooLate, event(39, 1, 1), 100)
	expect(TooEarly, event(106, 1, 1), 100)
	if _, known := s.Now(); known {
		t.Error("refused events left a trace")
	}
	expect(Applied, event(105, 1, 1), 100)
	expect(Applied, event(95, 1, 1), 100)
	expect(Duplicate, event(105, 1, 9), 101)
	expect(TooLate, event(50, 1, 1), 100) // outside the window, not the bound on lateness
	for i := range uint64(40) {
		expect(Applied, &Event{Time: 110*second + int64(i)*10_000, ID: i, Values: []float64{1}}, 112)
	}
	expect(Applied, event(120, 1, 1), 120)
	for i := range uint64(40) {
		expect(Applied, &Event{Time: 121*second + int64(i)*10_000, ID: i, Values: []float64{1}}, 124)
	}
	expect(AppliedUnchecked, &Event{Time: 110*second + 5_000, ID: 99, Values: []float64{1}}, 125)
	if v, _ := read(t, a, s, 125); v[0] != 84 {
		t.Errorf("sum %v, want 84", v[0])
	}
	if s.Len() >= 60 {
		t.Errorf("%d entries for 84 events in hops of 10 s", s.Len())
	}
}

func TestAmend(t *testing.T) {
	v := everything(t)
	a, s := v.NewAggregator(), new(State)
	risk := v.Offset("risk")
	amend := func(want Outcome, at int64, id uint64, x float64, arrival int64) {
		t.Helper()
		if o, err := a.Amend(s, at*second, id, "label", x, arrival*second); err != nil || o != want {
			t.Errorf("amendment of event %d: %v, %v, want %v", id, o, err, want)
		}
	}
	amend(Unknown, 0, 1, 1, 5)
	for i := range int64(4) {
		e := event(100+i, uint64(i), 2, math.NaN())
		e.Keys = []uint64{3}
		update(t, a, s, e)
	}
	amend(Applied, 100, 0, 1, 200)
	amend(Applied, 101, 1, 0, 701)
	amend(TooLate, 102, 2, 1, 703)
	amend(Unknown, 103, 9, 1, 200)
	if v, st := read(t, a, s, 700); v[risk] != 1 || st[risk] != Present {
		t.Errorf("risk of the first: %v %v", v[risk], st[risk])
	}
	if v, _ := read(t, a, s, 710); v[risk] != 0.5 {
		t.Errorf("risk of both: %v", v[risk])
	}
	for _, c := range []struct {
		column string
		x      float64
	}{{"none", 1}, {"label", math.Inf(1)}, {"label", 1e200}} {
		if _, err := a.Amend(s, 100*second, 0, c.column, c.x, 200*second); !errors.Is(err, ErrEvent) {
			t.Errorf("amendment of column %q to %v: %v", c.column, c.x, err)
		}
	}
}

// TestBadInput: every bad argument is an error that says what is wrong.
func TestBadInput(t *testing.T) {
	v := fifteen(t)
	a, s := v.NewAggregator(), new(State)
	for _, e := range []*Event{{}, event(1, 1, 1, 2), event(1, 1, math.Inf(-1)), event(1, 1, 1e150),
		{Time: 1 << 60, Values: []float64{1}}, {Values: []float64{1}, Keys: []uint64{1}}} {
		if _, err := a.Update(s, e); !errors.Is(err, ErrEvent) {
			t.Errorf("%+v: %v", e, err)
		}
	}
	update(t, a, s, event(1, 1, 1))
	other := everything(t).NewAggregator()
	wide := make([]float64, other.view.Width())
	if _, err := other.Read(s, 0, wide, make([]Status, len(wide))); !errors.Is(err, ErrView) {
		t.Error("read by another view:", err)
	}
	e := randomEvent(rand.New(rand.NewPCG(1, 1)), 1)
	if _, err := other.Update(s, &e); !errors.Is(err, ErrView) {
		t.Error("update by another view:", err)
	}
	if _, err := a.Read(s, 0, wide[:3], make([]Status, 3)); !errors.Is(err, ErrArguments) {
		t.Error("read into too little:", err)
	}
	into, status := make([]float64, 2*v.Width()), make([]Status, 2*v.Width())
	if err := a.Series(nil, []Query{{At: 2}, {At: 1}}, into, status); !errors.Is(err, ErrArguments) {
		t.Error("unsorted queries:", err)
	}
	if err := a.Series([]Event{{}}, []Query{{At: 1}, {At: 2}}, into, status); !errors.Is(err, ErrEvent) {
		t.Error("bad event in a series:", err)
	}
}

func TestDefinitionErrors(t *testing.T) {
	_, err := NewView(Definition{Columns: []string{"x", "x"}, HeadEventsMax: 3, MaxAge: -1, Features: []Feature{
		{Name: "a", Func: Mean, Column: "y", Window: time.Hour},
		{Name: "a", Func: Sum, Column: "x", Window: time.Nanosecond},
		{Name: "b", Func: funcs, Column: "x", Window: time.Hour, Hop: 2 * time.Hour},
		{Name: "c", Func: Quantile, Column: "x", Window: time.Hour, Quantile: math.NaN()},
		{Name: "d", Func: DecayedSum, Column: "x", Window: time.Hour, HalfLife: time.Second},
		{Name: "e", Func: LastK, Column: "x", Window: time.Hour, K: 65},
		{Name: "f", Func: Distinct, Column: "x", Window: time.Hour, ExactMax: 5000, Delay: -1},
	}})
	if !errors.Is(err, ErrDefinition) {
		t.Fatal(err)
	}
	for _, what := range []string{"same name", "head events max 3", "max age", `mean needs a column of the view, not "y"`,
		"defined twice", "window 1ns", "no such function", "hop 2h", "quantile NaN", "half-life 1s", "k 65", "exact max 5000", "delay"} {
		if !strings.Contains(err.Error(), what) {
			t.Errorf("nothing about %q in: %v", what, err)
		}
	}
}

func TestDefaultHop(t *testing.T) {
	for w, want := range map[time.Duration]time.Duration{
		day: time.Hour, 7 * day: 6 * time.Hour, 30 * day: day, 365 * day: day, time.Hour: 150 * time.Second,
		time.Minute: 2 * time.Second, time.Second: time.Second, time.Millisecond: time.Millisecond,
	} {
		if got := DefaultHop(w); got != want {
			t.Errorf("hop of %v: %v, want %v", w, got, want)
		}
	}
	for fn := range funcs {
		if got, err := ParseFunc(fn.String()); got != fn || err != nil {
			t.Errorf("%v parses as %v, %v", fn, got, err)
		}
	}
	if _, err := ParseFunc("median"); !errors.Is(err, ErrDefinition) {
		t.Error(err)
	}
}

// TestBounds floods a state that may not fold without loss, and holds it to its bounds and
// to the error it reports. Half of the events lie in the future of their arrival.
func TestBounds(t *testing.T) {
	for _, spread := range []int64{0, 1, 1000, second} {
		window := time.Duration(20000*max(1, spread)) * time.Microsecond
		a := mustView(t, Definition{Columns: []string{"x"}, EntriesMax: 256, HeadEventsMax: 16, FutureMax: window / 2,
			Features: []Feature{
				{Name: "count", Func: Count, Window: window, Hop: time.Microsecond},
				{Name: "median", Func: Quantile, Quantile: 0.5, Column: "x", Window: window, Hop: time.Microsecond},
			}}).NewAggregator()
		s, r, now := new(State), rand.New(rand.NewPCG(2, 2)), int64(1)
		var times []int64
		into, status := make([]float64, 2), make([]Status, 2)
		for i := range 8000 {
			now += r.Int64N(spread + 1)
			e := Event{Time: now + r.Int64N(2)*r.Int64N(micros(window)/2), Arrival: now, ID: uint64(i), Values: []float64{r.ExpFloat64()}}
			update(t, a, s, &e)
			times = append(times, e.Time)
			if s.Len() > 256 || len(s.body) > a.view.def.BytesMax {
				t.Fatalf("%d entries, %d bytes", s.Len(), len(s.body))
			}
			if i%500 != 499 {
				continue
			}
			missed, err := a.Read(s, now, into, status)
			if err != nil {
				t.Fatal(err)
			}
			checkMissed(t, times, now, micros(window), missed, into[0])
			if limit := window / 8; missed > limit {
				t.Errorf("spread %d: edge missed by %v, more than %v", spread, missed, limit)
			}
		}
	}
}

// checkMissed holds a count to that of a window with edges moved by as much as was reported.
func checkMissed(t *testing.T, times []int64, now, window int64, missed time.Duration, count float64) {
	t.Helper()
	low, high := 0, 0
	for _, at := range times {
		if at > now-window && at <= now-micros(missed) {
			low++
		}
		if at > now-window-micros(missed) && at <= now {
			high++
		}
	}
	if count < float64(low) || count > float64(high) {
		t.Errorf("count %v, not %d to %d; edge missed by %v", count, low, high, missed)
	}
}

func TestAllocations(t *testing.T) {
	v := everything(t)
	a, s, r := v.NewAggregator(), new(State), rand.New(rand.NewPCG(3, 3))
	for i := range 300 {
		e := randomEvent(r, i)
		e.Arrival = 3600 * second
		update(t, a, s, &e)
	}
	into, status, narrow := make([]float64, v.Width()), make([]Status, v.Width()), make([]float32, v.Width())
	reads := func() {
		_, err := a.Read(s, 3600*second, into, status)
		_, err32 := a.Read32(s, 3600*second, narrow, status)
		if err != nil || err32 != nil {
			t.Fatal(err, err32)
		}
	}
	reads()
	for i := range into {
		if narrow[i] != float32(into[i]) {
			t.Errorf("value %d: %v as float32, %v as float64", i, narrow[i], into[i])
		}
	}
	if n := testing.AllocsPerRun(100, reads); n != 0 {
		t.Errorf("%v allocations per read", n)
	}
}
