// SPDX-License-Identifier: Apache-2.0

package online

import (
	"errors"
	"math"
	"math/rand/v2"
	"testing"
)

func feed(t *testing.T, a *Adwin, r *rand.Rand, rate float64, rows int) (first int, last *Change) {
	t.Helper()
	first = -1
	for i := range rows {
		v := 0.0
		if r.Float64() < rate {
			v = 1
		}
		change, err := a.Add(v)
		if err != nil {
			t.Fatal(err)
		}
		if change != nil {
			if last = change; first < 0 {
				first = i
			}
		}
	}
	return first, last
}

func TestAdwin(t *testing.T) {
	false_, late := 0, 0
	for seed := range uint64(20) {
		r := rand.New(rand.NewPCG(1, seed))
		a, err := NewAdwin(0)
		if err != nil {
			t.Fatal(err)
		}
		if first, _ := feed(t, a, r, 0.2, 10_000); first >= 0 {
			false_++
		}
		mean, rows := a.Mean()
		if math.Abs(mean-0.2) > 0.05 || len(a.Buckets) > 6*20 {
			t.Errorf("mean %v of %v rows in %d buckets", mean, rows, len(a.Buckets))
		}
		first, change := feed(t, a, r, 0.4, 1000)
		if first < 0 || first > 400 {
			late++
			continue
		}
		if change.After < change.Before {
			t.Errorf("seed %d: a rise is taken for %+v", seed, change)
		}
		if mean, _ := a.Mean(); math.Abs(mean-0.4) > 0.1 {
			t.Errorf("seed %d: the mean after the change is %v", seed, mean)
		}
	}
	if false_ > 2 || late > 1 {
		t.Errorf("of 20 streams %d alarm without a change, and %d late or never", false_, late)
	}
}

func TestBad(t *testing.T) {
	if _, err := NewAdwin(2); !errors.Is(err, ErrValue) {
		t.Errorf("delta 2: %v", err)
	}
	a, _ := NewAdwin(0.01)
	if _, err := a.Add(math.NaN()); !errors.Is(err, ErrValue) {
		t.Errorf("NaN: %v", err)
	}
	if _, err := a.Add(1.5); !errors.Is(err, ErrValue) {
		t.Errorf("1.5: %v", err)
	}
}
