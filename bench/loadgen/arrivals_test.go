// SPDX-License-Identifier: Apache-2.0

package loadgen

import (
	"math"
	"testing"
	"time"
)

// gaps returns the first n gaps of a schedule, in seconds.
func gaps(s *schedule, n int) []float64 {
	out := make([]float64, n)
	before := time.Duration(0)
	for i := range out {
		a := s.next()
		out[i] = (a.due - before).Seconds()
		before = a.due
	}
	return out
}

func meanAndDeviation(values []float64) (mean, deviation float64) {
	for _, v := range values {
		mean += v / float64(len(values))
	}
	for _, v := range values {
		deviation += (v - mean) * (v - mean) / float64(len(values)-1)
	}
	return mean, math.Sqrt(deviation)
}

// The gaps of a Poisson process are exponential: their standard deviation is their
// mean, and a share of 1/e is longer than it.
func TestPoissonGapsAreExponential(t *testing.T) {
	const rate, n = 1000.0, 200_000
	values := gaps(newSchedule(rate, Poisson, 7), n)
	mean, deviation := meanAndDeviation(values)
	if math.Abs(mean*rate-1) > 0.01 {
		t.Errorf("the mean gap is %g s, want %g s", mean, 1/rate)
	}
	if math.Abs(deviation*rate-1) > 0.02 {
		t.Errorf("the deviation of the gaps is %g s, want %g s", deviation, 1/rate)
	}
	long := 0
	for _, v := range values {
		if v > 1/rate {
			long++
		}
	}
	if share := float64(long) / n; math.Abs(share-1/math.E) > 0.01 {
		t.Errorf("a share of %g of the gaps is longer than the mean, want %g", share, 1/math.E)
	}
}

func TestConstantGapsAreEqual(t *testing.T) {
	s := newSchedule(8, Constant, 0)
	for i := range 100 {
		a := s.next()
		if want := time.Duration(i+1) * time.Second / 8; a.due != want || a.seq != i {
			t.Fatalf("arrival %d is due at %v with number %d, want %v", i, a.due, a.seq, want)
		}
	}
}

func TestSeedDecidesSchedule(t *testing.T) {
	same, other := 0, 0
	a, b, c := newSchedule(100, Poisson, 1), newSchedule(100, Poisson, 1), newSchedule(100, Poisson, 2)
	for range 50 {
		x, y, z := a.next(), b.next(), c.next()
		if x == y {
			same++
		}
		if x == z {
			other++
		}
	}
	if same != 50 || other != 0 {
		t.Errorf("of 50 arrivals %d are equal with equal seeds and %d with others, want 50 and 0", same, other)
	}
}

func TestClosedSourcesGoThroughAllRequests(t *testing.T) {
	const senders = 3
	seen := map[int]int{}
	for i := range senders {
		s := &closedSource{clock: clock{time.Now()}, end: time.Hour, seq: i, step: senders}
		for range 4 {
			a, ok := s.next()
			if !ok {
				t.Fatal("the source ended before its time")
			}
			seen[a.seq]++
		}
	}
	for seq := range 4 * senders {
		if seen[seq] != 1 {
			t.Errorf("request %d was given out %d times", seq, seen[seq])
		}
	}
	ended := &closedSource{clock: clock{time.Now().Add(-time.Second)}, end: time.Second, step: 1}
	if _, ok := ended.next(); ok {
		t.Error("the source goes on after its end")
	}
}
