// SPDX-License-Identifier: Apache-2.0

package turns

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"
)

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   Spread
	}{
		{nil, Spread{}}, {[]float64{3}, Spread{3, 3, 3}}, {[]float64{9, 1, 2}, Spread{2, 1, 9}}, {[]float64{4, 1, 3, 100}, Spread{3.5, 1, 100}},
	} {
		if got := spreadOf(c.values); got != c.want {
			t.Errorf("the spread of %v is %v, want %v", c.values, got, c.want)
		}
	}
}

func TestRatiosAndDifferencesAreTakenRoundByRound(t *testing.T) {
	r := &Result{names: []string{"a", "b"}, nanos: [][]float64{{2, 30, 8}, {1, 10, 1}}}
	if got, want := r.Ratio("a", "b"), (Spread{3, 2, 8}); got != want {
		t.Errorf("the ratio is %v, want %v", got, want)
	}
	if got, want := r.Difference("a", "b"), (Spread{7, 1, 20}); got != want {
		t.Errorf("the difference is %v, want %v", got, want)
	}
	if got, want := r.Rate("a"), (Spread{0.125, 1. / 30, 0.5}); got != want {
		t.Errorf("the rate is %v, want %v", got, want)
	}
	if got := r.Nanos("a"); got != 8 {
		t.Errorf("the median is %g, want 8", got)
	}
	if r.Nanos("c") != 0 || r.Rate("c") != (Spread{}) || r.Ratio("a", "c") != (Spread{}) || r.Difference("c", "a") != (Spread{}) {
		t.Error("a contender that was not there has values")
	}
}

// TestSlowerContender times a function against four calls of itself.
func TestSlowerContender(t *testing.T) {
	var sum float64
	work := func(n int) func() error {
		return func() error {
			for i := range 2000 * n {
				sum += float64(i)
			}
			return nil
		}
	}
	r, err := Measure(t.Context(), Pace{Rounds: 5, Turn: time.Millisecond},
		Contender{Name: "one", Run: work(1)}, Contender{Name: "four", Run: work(4)}, Contender{Name: "each", Run: work(4), Work: 4})
	if err != nil {
		t.Fatal(err)
	}
	if ratio := r.Ratio("four", "one").Median; ratio < 2 || ratio > 8 {
		t.Errorf("four times the work takes %g times as long", ratio)
	}
	if ratio := r.Ratio("each", "one").Median; ratio < 0.5 || ratio > 2 {
		t.Errorf("a unit of work takes %g times as long as itself", ratio)
	}
	if medians := r.Medians(); len(medians) != 3 || medians["one"] <= 0 || sum == 0 {
		t.Errorf("medians are %v", medians)
	}
}

// TestTimeOfOtherThreads sees the work of a goroutine that the contender waits for.
func TestTimeOfOtherThreads(t *testing.T) {
	var sum float64
	work := func() error {
		for i := range 20000 {
			sum += float64(i)
		}
		return nil
	}
	elsewhere := func() error {
		done := make(chan error)
		go func() { done <- work() }()
		return <-done
	}
	r, err := Measure(t.Context(), Pace{Rounds: 5, Turn: time.Millisecond, AllThreads: true},
		Contender{Name: "here", Run: work}, Contender{Name: "elsewhere", Run: elsewhere})
	if err != nil {
		t.Fatal(err)
	}
	if ratio := r.Ratio("elsewhere", "here").Median; ratio < 0.5 {
		t.Errorf("work elsewhere takes %g times as long as here", ratio)
	}
}

func TestAroundEnclosesEachTurn(t *testing.T) {
	var inside bool
	var seen []bool
	c := Contender{Name: "c", Run: func() error {
		seen = append(seen, inside)
		return nil
	}, Around: func() func() {
		inside = true
		return func() { inside = false }
	}}
	if _, err := Measure(t.Context(), Pace{Rounds: 2, Turn: time.Microsecond}, c); err != nil {
		t.Fatal(err)
	}
	if inside || slices.Contains(seen, false) {
		t.Errorf("inside is %v after the turns, and was %v in them", inside, seen)
	}
}

func TestMeasureEnds(t *testing.T) {
	broken := errors.New("broken")
	fails := Contender{Name: "bad", Run: func() error { return broken }}
	if _, err := Measure(t.Context(), Pace{Rounds: 1}, fails); !errors.Is(err, broken) {
		t.Errorf("the error is %v", err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(broken)
	if _, err := Measure(ctx, Pace{Rounds: 1}, Contender{Name: "c", Run: func() error { return nil }}); !errors.Is(err, broken) {
		t.Errorf("after the context ended the error is %v", err)
	}
	if _, err := Measure(t.Context(), Pace{}); err == nil {
		t.Error("nothing was measured without an error")
	}
}
