// SPDX-License-Identifier: Apache-2.0

// Package latency counts how long calls took, for metrics, at the cost of two atomic
// additions and no lock.
//
// Bucket i counts what took at most Bounds()[i] and more than the bound before; one
// more bucket counts the rest. Bounds double from 1 microsecond.
//
// A Histogram may be used from many goroutines. A Snapshot taken meanwhile may lack the
// newest observations in one of its parts and have them in another.
package latency

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Buckets is the number of bounds: 1 microsecond to 33.6 seconds.
const Buckets = 26

// Histogram counts durations. The zero value is ready.
type Histogram struct {
	counts [Buckets + 1]atomic.Int64
	nanos  atomic.Int64
}

// Observe counts a duration; a negative one counts as zero.
func (h *Histogram) Observe(d time.Duration) {
	d = max(d, 0)
	h.counts[bucket(d)].Add(1)
	h.nanos.Add(int64(d))
}

// bucket is the first whose bound is not below d.
func bucket(d time.Duration) int {
	micros := uint64(d+time.Microsecond-1) / uint64(time.Microsecond)
	if micros <= 1 {
		return 0
	}
	return min(bits.Len64(micros-1), Buckets)
}

// Bound is the upper bound of bucket i, included.
func Bound(i int) time.Duration { return time.Microsecond << i }

// Snapshot is a histogram at a moment.
type Snapshot struct {
	// Counts has a count for each bucket, and last that of what took longer than all
	// bounds.
	Counts [Buckets + 1]int64
	// Count and Sum are of all.
	Count int64
	Sum   time.Duration
}

// Snapshot reads the histogram.
func (h *Histogram) Snapshot() (s Snapshot) {
	for i := range h.counts {
		s.Counts[i] = h.counts[i].Load()
		s.Count += s.Counts[i]
	}
	s.Sum = time.Duration(h.nanos.Load())
	return s
}
