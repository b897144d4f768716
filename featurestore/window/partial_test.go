// SPDX-License-Identifier: Apache-2.0

package window

import (
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// everything is a view with each aggregation once, over a column and a key.
func everything(t testing.TB) *View {
	d := Definition{Columns: []string{"x", "label"}, Keys: []string{"k"}, HeadEventsMax: 16, EntriesMax: 256,
		DuplicateHorizon: time.Second}
	for fn := range funcs {
		f := Feature{Name: fn.String(), Func: fn, Column: "x", Window: time.Hour, Hop: time.Minute}
		switch fn {
		case LastK:
			f.K = 3
		case Quantile:
			f.Quantile = 0.5
		case Distinct:
			f.ExactMax = 8
		case DecayedSum:
			f.HalfLife = 10 * time.Minute
		}
		d.Features = append(d.Features, f)
	}
	d.Features = append(d.Features,
		Feature{Name: "keys", Func: Distinct, Column: "k", Window: time.Hour, ExactMax: 8},
		Feature{Name: "events", Func: Count, Window: time.Minute, Hop: time.Second},
		Feature{Name: "risk", Func: Mean, Column: "label", Window: time.Hour, Delay: 10 * time.Minute})
	return mustView(t, d)
}

func randomEvent(r *rand.Rand, id int) Event {
	e := Event{Time: r.Int64N(3600 * second), ID: uint64(id), Values: []float64{float64(r.IntN(10000)) / 100, math.NaN()},
		Keys: []uint64{r.Uint64N(100)}}
	if r.IntN(5) == 0 {
		e.Values[0] = r.NormFloat64()
	}
	return e
}

// TestPartialMerge splits events at random, merges in random order with trips through bytes, and
// expects the bits of one pass in order.
func TestPartialMerge(t *testing.T) {
	v := everything(t)
	r := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		whole, parts := v.NewPartial(), make([]*Partial, 1+r.IntN(5))
		for i := range parts {
			parts[i] = v.NewPartial()
		}
		events := make([]Event, r.IntN(60))
		for i := range events {
			events[i] = randomEvent(r, i)
			if err := parts[r.IntN(len(parts))].Add(&events[i]); err != nil {
				t.Fatal(err)
			}
		}
		slices.SortFunc(events, func(a, b Event) int { return int(a.Time - b.Time) })
		for i := range events {
			if err := whole.Add(&events[i]); err != nil {
				t.Fatal(err)
			}
		}
		merged := v.NewPartial()
		for _, i := range r.Perm(len(parts)) {
			stored, _ := parts[i].AppendBinary(nil)
			read := v.NewPartial()
			if err := read.UnmarshalBinary(stored); err != nil {
				t.Fatal(err)
			}
			if err := merged.Merge(read); err != nil {
				t.Fatal(err)
			}
		}
		sameValues(t, v, merged, whole)
	}
}

func sameValues(t *testing.T, v *View, got, want *Partial) {
	t.Helper()
	n := v.Width()
	x, y, xs, ys := make([]float64, n), make([]float64, n), make([]Status, n), make([]Status, n)
	edge := 3600 * int64(second)
	if err := errors.Join(got.Values(edge, x, xs), want.Values(edge, y, ys)); err != nil {
		t.Fatal(err)
	}
	for i := range x {
		if math.Float64bits(x[i]) != math.Float64bits(y[i]) || xs[i] != ys[i] {
			t.Fatalf("value %d: %v %v, want %v %v", i, x[i], xs[i], y[i], ys[i])
		}
	}
}

func TestPartialErrors(t *testing.T) {
	v, other := everything(t), fifteen(t)
	p, e := v.NewPartial(), randomEvent(rand.New(rand.NewPCG(1, 1)), 1)
	if err := p.Add(&e); err != nil {
		t.Fatal(err)
	}
	if err := p.Merge(other.NewPartial()); !errors.Is(err, ErrView) {
		t.Error("merge of another view:", err)
	}
	if err := p.Add(&Event{Values: []float64{1}}); !errors.Is(err, ErrEvent) {
		t.Error("event of another view:", err)
	}
	if err := p.Values(e.Time-1, make([]float64, v.Width()), make([]Status, v.Width())); !errors.Is(err, ErrArguments) {
		t.Error("edge before the newest event:", err)
	}
	stored, _ := p.AppendBinary(nil)
	if err := other.NewPartial().UnmarshalBinary(stored); !errors.Is(err, ErrView) {
		t.Error("bytes of another view:", err)
	}
	for n := range stored {
		if err := p.UnmarshalBinary(stored[:n]); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%d of %d bytes: %v", n, len(stored), err)
		}
	}
}

// TestQuantileError holds the sketch to its stated bound against the sorted values.
func TestQuantileError(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 9))
	var s sketch
	values := make([]float64, 5000)
	for i := range values {
		values[i] = math.Exp(r.NormFloat64()*4) * float64(1-2*r.IntN(2))
		s.add(binOf(values[i]), 1)
	}
	slices.Sort(values)
	for _, q := range []float64{0, 0.01, 0.25, 0.5, 0.75, 0.99, 1} {
		want := values[max(0, int(math.Ceil(q*5000))-1)]
		got, ok := s.quantile(q)
		if !ok || math.Abs(got-want) > math.Abs(want)/127 {
			t.Errorf("quantile %v: %v, want %v", q, got, want)
		}
	}
	for x, want := range map[float64]float64{0: 0, 1e-12: 0, -1e-12: 0, 1e30: middle(binMax), -1e30: -middle(binMax)} {
		if got := middle(binOf(x)); got != want {
			t.Errorf("%v stands for %v, want %v", x, got, want)
		}
	}
}

// TestDistinctError holds the estimate to four standard errors over many sizes.
func TestDistinctError(t *testing.T) {
	var sumSquares float64
	sizes := 0
	for n := 10; n <= 300_000; n = n*3/2 + 1 {
		d := distinct{max: 4}
		for i := range n {
			d.add(mix(uint64(i)*7919 + uint64(n)))
			d.add(mix(uint64(i/2)*7919 + uint64(n))) // again
		}
		relative := d.count()/float64(n) - 1
		if math.Abs(relative) > 4*0.0163 {
			t.Errorf("%d distinct: off by %.1f %%", n, 100*relative)
		}
		sumSquares += relative * relative
		sizes++
	}
	if rms := math.Sqrt(sumSquares / float64(sizes)); rms > 0.02 {
		t.Errorf("root mean square error %.2f %%", 100*rms)
	}
}
