// SPDX-License-Identifier: Apache-2.0

package batching

import (
	"math"
	"math/bits"
	"time"
)

// Learning. The shares are those of TCP's round-trip estimator, which follows a
// change within some ten runs and does not chase noise.
const (
	bucketCount    = 21 // batches of up to 1, 2, 4 … RowsMax rows
	meanShare      = 1.0 / 8
	deviationShare = 1.0 / 4
	// marginDeviations above the mean is where a run of such noise seldom ends.
	marginDeviations = 3
	// outlierFactor caps what one run can teach, in multiples of the plan.
	outlierFactor = 4
	// trustDecisions is how long a prediction is believed without a run to confirm
	// it, in runs and in refusals made because of it; less while it rests on few runs.
	trustDecisions       = 256
	trustDecisionsPerRun = 4
)

// latencies predicts how long a batch takes from the runs before it.
//
// Sizes are kept in power-of-two buckets. Each is a point, mean rows against mean
// duration and margin; a prediction lies on the line through the points, made
// monotone. What keeps a prediction from being tested, a refusal, would also keep it
// from being corrected, so one that nothing has confirmed for a while is put to
// the test instead of being believed.
type latencies struct {
	buckets   [bucketCount]bucket
	decisions uint64
	trust     uint64

	// curve is what buckets say, rebuilt when it is asked for after a change.
	curve  [bucketCount]point
	points int
	stale  bool
}

type bucket struct {
	rows, mean, deviation float64
	runs                  uint64
	confirmed             uint64 // the decision at which it was last seen or tested
	doubted               bool   // the next run replaces what it says
}

type point struct{ rows, nanos float64 }

func newLatencies(seed []Observation) latencies {
	l := latencies{trust: trustDecisions}
	for _, s := range seed {
		if s.Rows >= 1 && s.Rows <= RowsMax && s.Elapsed >= 0 {
			l.observe(s.Rows, int64(s.Elapsed))
		}
	}
	return l
}

func bucketOf(rows int) int { return bits.Len(uint(rows - 1)) }

func (b *bucket) planned() float64 { return b.mean + marginDeviations*b.deviation }

// observe learns from a run.
func (l *latencies) observe(rows int, nanos int64) {
	l.decisions++
	l.stale = true
	b := &l.buckets[bucketOf(rows)]
	b.runs++
	b.confirmed = l.decisions
	sample := float64(nanos)
	if b.runs == 1 || b.doubted {
		b.doubted = false
		b.rows, b.mean, b.deviation = float64(rows), sample, sample/4
		return
	}
	off := min(sample, outlierFactor*b.planned()) - b.mean
	b.rows += (float64(rows) - b.rows) * meanShare
	b.mean += off * meanShare
	b.deviation += (math.Abs(off) - b.deviation) * deviationShare
}

// planned is the duration to plan a batch with, 0 while nothing was learned.
// Fewer rows than were ever seen take at most as long as those did, more take
// longer in proportion.
func (l *latencies) planned(rows int) int64 {
	if l.stale {
		l.rebuild()
	}
	if l.points == 0 {
		return 0
	}
	want, above := float64(rows), 0
	for above < l.points && l.curve[above].rows < want {
		above++
	}
	if above == 0 {
		return int64(l.curve[0].nanos)
	}
	low := l.curve[above-1]
	if above == l.points {
		return int64(low.nanos * want / low.rows)
	}
	high := l.curve[above]
	return int64(low.nanos + (high.nanos-low.nanos)*(want-low.rows)/(high.rows-low.rows))
}

// rebuild draws the curve through the buckets.
func (l *latencies) rebuild() {
	l.stale, l.points = false, 0
	highest := 0.0
	for i := range l.buckets {
		b := &l.buckets[i]
		if b.runs == 0 {
			continue
		}
		highest = max(highest, b.planned())
		l.curve[l.points] = point{b.rows, highest}
		l.points++
	}
}

// slow reports whether a batch is predicted to take longer than slack.
func (l *latencies) slow(rows int, slack int64) bool { return l.planned(rows) > slack }

// believes decides whether a prediction about a size may keep it from running. It is
// to be asked once per such decision: for a size never seen, and now and then for
// others, the answer is no, and the caller then runs that size.
func (l *latencies) believes(rows int) bool {
	l.decisions++
	b := &l.buckets[bucketOf(rows)]
	if l.decisions-b.confirmed <= min(l.trust, trustDecisionsPerRun*b.runs) {
		return true
	}
	b.confirmed, b.doubted = l.decisions, true
	return false
}

// stats lists the sizes seen.
func (l *latencies) stats() []SizeStats {
	var sizes []SizeStats
	for i := range l.buckets {
		if b := &l.buckets[i]; b.runs > 0 {
			sizes = append(sizes, SizeStats{
				RowsMax: 1 << i,
				Runs:    b.runs,
				Mean:    time.Duration(b.mean),
				Planned: time.Duration(l.planned(1 << i)),
			})
		}
	}
	return sizes
}
