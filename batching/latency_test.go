// SPDX-License-Identifier: Apache-2.0

package batching

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

func TestLatenciesUnlearnedLimitNothing(t *testing.T) {
	l := newLatencies([]Observation{{Rows: 0, Elapsed: time.Hour}, {Rows: RowsMax + 1, Elapsed: time.Hour}, {Rows: 1, Elapsed: -1}})
	if l.slow(RowsMax, 0) {
		t.Error("a batch is slow though nothing was learned")
	}
	l.observe(1, 1000)
	if l.believes(64) {
		t.Error("a size never seen is kept from running")
	}
}

// TestLatenciesLearnALine feeds durations a + b*rows with noise; sizes that were
// never seen lie between the bounds that noise allows.
func TestLatenciesLearnALine(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var l latencies
	line := func(rows int) float64 { return 100_000 + 10_000*float64(rows) }
	for range 500 {
		rows := 1 << r.IntN(7)
		l.observe(rows, int64(line(rows)*(0.97+0.06*r.Float64())))
	}
	for _, rows := range []int{1, 2, 3, 7, 24, 33, 63, 64} {
		if ratio := float64(l.planned(rows)) / line(rows); ratio < 1 || ratio > 1.15 {
			t.Errorf("%d rows are planned with %v times their duration", rows, ratio)
		}
	}
	if got, most := float64(l.planned(128)), 2.0*float64(l.planned(64)); math.Abs(got-most) > 2 {
		t.Errorf("128 rows are planned with %v, want twice 64, %v", got, most)
	}
}

func TestLatenciesAreMonotone(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 100 {
		var l latencies
		for range 50 {
			l.observe(1+r.IntN(300), r.Int64N(1_000_000))
		}
		for rows := 2; rows <= 600; rows++ {
			if a, b := l.planned(rows-1), l.planned(rows); a > b {
				t.Fatalf("%d rows are planned with %d, %d rows with only %d", rows-1, a, rows, b)
			}
		}
	}
}

func TestLatenciesSurviveOutliers(t *testing.T) {
	var l latencies
	for range 100 {
		l.observe(8, 1_000_000)
	}
	before := l.planned(8)
	l.observe(8, int64(time.Minute))
	if after := l.planned(8); after < before || after > 5*before {
		t.Errorf("one outlier moved the plan from %d to %d", before, after)
	}
	for range 30 {
		l.observe(8, 1_000_000)
	}
	if after := l.planned(8); after > 2*before {
		t.Errorf("the plan has not recovered: %d before, %d after", before, after)
	}
}

func TestLatenciesFollowAChange(t *testing.T) {
	var l latencies
	for range 100 {
		l.observe(1, 1_000_000)
	}
	for range 40 {
		l.observe(1, 10_000_000)
	}
	if got := l.planned(1); got < 10_000_000 {
		t.Errorf("40 runs of 10 ms are planned with %v", time.Duration(got))
	}
}

func TestLatenciesStats(t *testing.T) {
	l := newLatencies([]Observation{{Rows: 1, Elapsed: 4 * time.Millisecond}, {Rows: 5, Elapsed: 8 * time.Millisecond}})
	got := l.stats()
	if len(got) != 2 || got[0].RowsMax != 1 || got[1].RowsMax != 8 || got[1].Runs != 1 || got[1].Mean != 8*time.Millisecond {
		t.Errorf("stats are %+v", got)
	}
	if got[0].Planned != 7*time.Millisecond {
		t.Errorf("one run of 4 ms is planned with %v, want 7ms", got[0].Planned)
	}
}
