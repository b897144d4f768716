// SPDX-License-Identifier: Apache-2.0

package window

import (
	"flag"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var (
	worldsFlag = flag.Int("worlds", 25, "random views with random events to compare State, Series and reference on")
	seedFlag   = flag.Uint64("seed", 1, "seed of the first of them")
)

// world is a random view and what happens to one entity in it.
type world struct {
	rand    *rand.Rand
	def     Definition
	view    *View
	unit    int64 // resolution of times
	spread  int64 // typical time between events
	late    int64 // how late events come
	now     int64
	ids     int
	ref     reference
	sent    []Event
	queries []Query
	values  [][]float64
	status  [][]Status
}

func newWorld(t testing.TB, seed uint64) *world {
	w := &world{rand: rand.New(rand.NewPCG(seed, 7)), unit: 1}
	if w.rand.IntN(2) == 0 {
		w.unit = second
	}
	w.spread = w.unit * (1 + w.rand.Int64N(20))
	w.now = -1000*second + w.rand.Int64N(2000)*second // around 1970: negative times too
	w.def = w.definition()
	view, err := NewView(w.def)
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
	w.view = view
	w.ref.def = view.Definition()
	w.late = []int64{0, 3, 50}[w.rand.IntN(3)] * w.spread
	return w
}

func (w *world) duration(lo, hi int64) time.Duration {
	return time.Duration(w.unit*(lo+w.rand.Int64N(hi-lo+1))) * time.Microsecond
}

func (w *world) definition() Definition {
	d := Definition{Columns: []string{"a", "b"}, Keys: []string{"k"}, HeadEventsMax: 16, EntriesMax: 2048,
		DuplicateHorizon: w.duration(1, 100), FutureMax: w.duration(0, 30)}
	if w.rand.IntN(3) == 0 {
		d.MaxAge = w.duration(1, 300)
	}
	if w.rand.IntN(3) == 0 {
		d.LatenessMax = w.duration(1, 300)
	}
	delays := []time.Duration{0, w.duration(1, 200)}
	for i := range 3 + w.rand.IntN(12) {
		f := Feature{Name: fmt.Sprint(i), Func: Func(w.rand.IntN(int(funcs))), Column: d.Columns[w.rand.IntN(2)],
			Window: w.duration(1, 500), Delay: delays[w.rand.IntN(2)], Default: float64(w.rand.IntN(3))}
		f.Hop = max(time.Microsecond, min(f.Window, f.Window/time.Duration(1+w.rand.IntN(30)))).Truncate(time.Microsecond)
		if f.Column == "b" {
			f.Delay = delays[1] // b is the label, set after the event
		}
		switch f.Func {
		case Count:
			f.Column = []string{"", f.Column}[w.rand.IntN(2)]
		case LastK:
			f.K = 1 + w.rand.IntN(5)
		case Quantile:
			f.Quantile = float64(w.rand.IntN(5)) / 4
		case Distinct:
			f.Column = []string{"k", f.Column}[w.rand.IntN(2)]
			f.ExactMax = 1 + w.rand.IntN(20)
		case DecayedSum:
			f.HalfLife = max(w.duration(1, 300), ((f.Window+f.Hop)/halfLivesMax + time.Microsecond).Truncate(time.Microsecond))
		}
		d.Features = append(d.Features, f)
	}
	return d
}

// value returns numbers of the kinds that meet in practice and some that do not.
func (w *world) value() float64 {
	switch w.rand.IntN(8) {
	case 0:
		return math.NaN()
	case 1:
		return float64(w.rand.IntN(5) - 2)
	case 2:
		return w.rand.NormFloat64() * math.Pow(10, float64(w.rand.IntN(60)-30))
	case 3:
		return math.Copysign(0, -1)
	}
	return float64(w.rand.IntN(100000)-20000) / 100
}

// event returns an event that happens around now and arrives now.
func (w *world) event() Event {
	at := w.now
	switch w.rand.IntN(10) {
	case 0, 1:
		at -= w.rand.Int64N(w.late + 1)
	case 2:
		at -= w.rand.Int64N(w.view.reach + w.late + 1)
	case 3:
		at += w.rand.Int64N(w.view.future + 2*w.unit)
	}
	at -= ((at % w.unit) + w.unit) % w.unit
	w.ids++ // scrambled below, each once
	e := Event{Time: at, Arrival: w.now, ID: uint64(uint32(w.ids * 2654435761)), Values: []float64{w.value(), math.NaN()},
		Keys: []uint64{w.rand.Uint64N(40)}}
	if w.now == 0 {
		e.Arrival = 1
		w.now = 1
	}
	return e
}

// step lets one thing happen and returns whether it is time to read.
func (w *world) step(t *testing.T, a *Aggregator, s *State) (read bool) {
	w.now += w.rand.Int64N(w.spread)
	switch k := w.rand.IntN(20); {
	case k < 12:
		e := w.event()
		outcome, err := a.Update(s, &e)
		if err != nil {
			t.Fatal(err)
		}
		if outcome != Duplicate {
			w.sent = append(w.sent, e)
		} else if w.ref.index(e.Time, e.ID) < 0 {
			t.Fatalf("event %d at %d is no duplicate", e.ID, e.Time)
		}
		w.ref.update(e)
	case k < 14:
		w.repeat(t, a, s)
	case k < 17:
		w.amend(t, a, s)
	case k == 17:
		a.Trim(s, w.now)
	case k == 18:
		stored, _ := s.AppendBinary(nil)
		*s = State{}
		if err := w.view.Decode(s, stored); err != nil {
			t.Fatal(err)
		}
	default:
		return true
	}
	return w.rand.IntN(3) == 0
}

// repeat sends an event again, within the horizon in which that is noticed.
func (w *world) repeat(t *testing.T, a *Aggregator, s *State) {
	if len(w.sent) == 0 {
		return
	}
	e := w.sent[len(w.sent)-1-w.rand.IntN(min(len(w.sent), 10))]
	if e.Time <= w.now-w.view.duplicate || w.ref.index(e.Time, e.ID) < 0 || e.Time-w.now > w.view.future {
		return
	}
	e.Arrival = w.now
	outcome, err := a.Update(s, &e)
	if err != nil || outcome != Duplicate && outcome != TooLate {
		t.Fatalf("repeated event: %v, %v", outcome, err)
	}
}

// amend sets the label of an event before it is due.
func (w *world) amend(t *testing.T, a *Aggregator, s *State) {
	if len(w.sent) == 0 {
		return
	}
	e := w.sent[len(w.sent)-1-w.rand.IntN(min(len(w.sent), 10))]
	x := w.value()
	outcome, err := a.Amend(s, e.Time, e.ID, "b", x, w.now)
	if err != nil {
		t.Fatal(err)
	}
	i := w.ref.index(e.Time, e.ID)
	switch due := w.view.amend[1]; {
	case outcome == Applied && (due == 0 || w.now < e.Time+due):
		w.ref.events[i].Values[1] = x
	case outcome == Applied, i >= 0 && outcome == Unknown && e.Time > w.now-w.view.duplicate && e.Time > w.now-w.view.reach:
		t.Fatalf("amendment of an event at %d, now %d: %v", e.Time, w.now, outcome)
	}
}

// read compares the state with the reference.
func (w *world) read(t *testing.T, a *Aggregator, s *State) bool {
	if w.now == 0 {
		return true
	}
	into, status := make([]float64, w.view.Width()), make([]Status, w.view.Width())
	missed, err := a.Read(s, w.now, into, status)
	if err != nil || missed != 0 {
		t.Fatalf("read: missed %v, %v", missed, err)
	}
	values, want := w.ref.query(w.now, w.now)
	w.queries = append(w.queries, Query{At: w.now})
	w.values, w.status = append(w.values, values), append(w.status, want)
	w.now++ // what arrives from now on was not there
	return w.equal(t, "state", len(w.queries)-1, into, status)
}

func (w *world) equal(t *testing.T, what string, q int, into []float64, status []Status) bool {
	for i := range into {
		if math.Float64bits(into[i]) != math.Float64bits(w.values[q][i]) || status[i] != w.status[q][i] {
			f := slices.IndexFunc(w.view.features, func(c compiled) bool { return c.offset+c.width() > i })
			t.Errorf("%s, query %d at %d, value %d: %v %v, want %v %v; feature %+v", what, q, w.queries[q].At, i,
				into[i], status[i], w.values[q][i], w.status[q][i], w.view.features[f].Feature)
			return false
		}
	}
	return true
}

// TestAgree compares State, Series and reference over random views, events, arrivals, duplicates,
// amendments and round trips through bytes: every value has to have the same bits.
func TestAgree(t *testing.T) {
	var compared, rows, folded int
	for seed := *seedFlag; seed < *seedFlag+uint64(*worldsFlag); seed++ {
		w := newWorld(t, seed)
		a, s := w.view.NewAggregator(), &State{}
		for range 600 {
			if w.step(t, a, s) && !w.read(t, a, s) {
				t.Fatalf("seed %d", seed)
			}
		}
		if s.folded != never {
			folded++
		}
		w.series(t, a)
		w.otherAsOf(t, a)
		rows += 3 * len(w.queries) // state, series, series as of another arrival
		compared += 3 * len(w.queries) * w.view.Width()
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
	if *worldsFlag >= 20 && folded < *worldsFlag/4 {
		t.Errorf("only %d of %d states had tiles", folded, *worldsFlag)
	}
	t.Logf("%d queries and %d values compared, %d of %d states had tiles", rows, compared, folded, *worldsFlag)
}

// all returns every event sent as it is known in the end, in no order.
func (w *world) all() []Event {
	all := slices.Clone(w.ref.events)
	for range len(all) / 10 { // duplicates, later
		e := all[w.rand.IntN(len(all))]
		e.Arrival += w.rand.Int64N(100) * w.spread
		if e.Arrival != 0 {
			all = append(all, e)
		}
	}
	w.rand.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all
}

func (w *world) series(t *testing.T, a *Aggregator) {
	width := w.view.Width()
	into, status := make([]float64, len(w.queries)*width), make([]Status, len(w.queries)*width)
	if err := a.Series(w.all(), w.queries, into, status); err != nil {
		t.Fatal(err)
	}
	for q := range w.queries {
		if !w.equal(t, "series", q, into[q*width:(q+1)*width], status[q*width:(q+1)*width]) {
			return
		}
	}
}

// otherAsOf compares Series with the reference where what had arrived is not what was asked for.
func (w *world) otherAsOf(t *testing.T, a *Aggregator) {
	shift := w.rand.Int64N(100*w.spread) - 50*w.spread
	for q := range w.queries {
		at := w.queries[q].At
		w.queries[q].AsOf = at + shift
		w.values[q], w.status[q] = w.ref.query(at, w.queries[q].asOf())
	}
	if slices.IsSortedFunc(w.queries, func(x, y Query) int { return int(x.asOf() - y.asOf()) }) {
		w.series(t, a)
	}
}
