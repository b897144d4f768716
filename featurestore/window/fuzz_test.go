// SPDX-License-Identifier: Apache-2.0

package window

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
)

// FuzzDecode feeds bytes to Decode and Partial; what is taken must be safe to use.
func FuzzDecode(f *testing.F) {
	v := everything(f)
	a, r := v.NewAggregator(), rand.New(rand.NewPCG(1, 1))
	s, p := new(State), v.NewPartial()
	for i := range 200 {
		if i < 5 || i%30 == 0 {
			stored, _ := s.AppendBinary(nil)
			part, _ := p.AppendBinary(nil)
			f.Add(stored, part)
		}
		e := randomEvent(r, i)
		e.Arrival = 3600 * second
		if _, err := a.Update(s, &e); err != nil {
			f.Fatal(err)
		}
		if err := p.Add(&e); err != nil {
			f.Fatal(err)
		}
	}
	f.Fuzz(func(t *testing.T, stored, part []byte) {
		into, status := make([]float64, v.Width()), make([]Status, v.Width())
		usePartial(t, v, part, into, status)
		var s State
		if err := v.Decode(&s, stored); err != nil {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrView) {
				t.Fatal(err)
			}
			return
		}
		now, _ := s.Now()
		now = max(now, -1<<58)
		use(t, a, &s, now, into, status)
		again, _ := s.AppendBinary(nil)
		var copied State
		if err := v.Decode(&copied, again); err != nil {
			t.Fatal(err)
		}
	})
}

// TestGreatestPartials merges results of the largest counts and sums that bytes may have,
// and expects what comes of it to be read again.
func TestGreatestPartials(t *testing.T) {
	v := everything(t)
	p := v.NewPartial()
	e := Event{Time: 1, Values: []float64{1, 1}, Keys: []uint64{1}}
	if err := p.Add(&e); err != nil {
		t.Fatal(err)
	}
	for i := range p.irs {
		r := &p.irs[i]
		r.n = countMax
		if r.sum != nil {
			r.sum.touch(wideChunks-1, wideChunks)
			r.sum.chunk[wideChunks-1] = chunkMask
		}
		if r.sketch != nil {
			r.sketch.bins[0].n = countMax
		}
	}
	stored, _ := p.AppendBinary(nil)
	if err := v.NewPartial().UnmarshalBinary(stored); err != nil {
		t.Fatal(err)
	}
	usePartial(t, v, stored, make([]float64, v.Width()), make([]Status, v.Width()))
}

// TestCorruptBytes damages stored states a few bytes at a time, which gets further than
// random bytes do.
func TestCorruptBytes(t *testing.T) {
	v := everything(t)
	a, r := v.NewAggregator(), rand.New(rand.NewPCG(4, 4))
	into, status := make([]float64, v.Width()), make([]Status, v.Width())
	s, taken := new(State), 0
	for i := range 20_000 {
		if i%500 == 0 {
			*s = State{}
		}
		if e := randomEvent(r, i); i%5 == 0 {
			e.Arrival = 3600 * second
			if _, err := a.Update(s, &e); err != nil {
				t.Fatal(err)
			}
		}
		stored, _ := s.AppendBinary(nil)
		for range 1 + r.IntN(3) {
			stored[1+r.IntN(len(stored)-1)] = byte(r.Uint32() >> r.IntN(8))
		}
		var damaged State
		switch err := v.Decode(&damaged, stored[:len(stored)-r.IntN(2)]); {
		case err == nil:
			taken++
			now, _ := damaged.Now()
			use(t, a, &damaged, max(now, -1<<58), into, status)
		case !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrView):
			t.Fatal(err)
		}
	}
	if taken < 1000 {
		t.Errorf("only %d of 20000 damaged states still made sense", taken)
	}
}

// use does everything that can be done with a state.
func use(t *testing.T, a *Aggregator, s *State, now int64, into []float64, status []Status) {
	for _, at := range []int64{now, now - 1800*second, now + 60*second, 0} {
		if at < -timeMax || at > timeMax {
			continue
		}
		if _, err := a.Read(s, at, into, status); err != nil {
			t.Fatal(err)
		}
		e := Event{Time: at, Arrival: now, ID: 5, Values: []float64{1, math.NaN()}, Keys: []uint64{9}}
		if _, err := a.Update(s, &e); err != nil {
			t.Fatal(err)
		}
		if _, err := a.Amend(s, at, 5, "label", 1, at); err != nil {
			t.Fatal(err)
		}
	}
	a.foldWith(s, func(int64, int64, *piece) bool { return true })
	if s.Len() > 1 {
		t.Fatalf("%d entries after all were merged", s.Len())
	}
}

func usePartial(t *testing.T, v *View, b []byte, into []float64, status []Status) {
	p := v.NewPartial()
	if err := p.UnmarshalBinary(b); err != nil {
		if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrView) {
			t.Fatal(err)
		}
		return
	}
	if err := p.Merge(p); err != nil {
		t.Fatal(err)
	}
	if err := p.Values(timeMax, into, status); err != nil {
		t.Fatal(err)
	}
	stored, _ := p.AppendBinary(nil)
	if err := v.NewPartial().UnmarshalBinary(stored); err != nil {
		t.Fatal(err)
	}
}
