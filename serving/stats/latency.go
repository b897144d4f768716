// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"math/bits"
	"sync/atomic"
)

// Latencies are counted in buckets of half an octave: the upper bounds, in
// microseconds and inclusive, are 4, 6, 8, 12, 16, 24 and so on to about 3.1
// seconds; the last bucket has no bound. A quantile interpolated within a bucket
// is thus off by less than 20 % of its value, mostly much less.
const (
	bucketBounds = 40
	bucketCount  = bucketBounds + 1
	// firstBoundBits is the bit length of the first bound less one.
	firstBoundBits = 2
)

// bucketOf is the index of the first bucket whose bound is not below nanos.
func bucketOf(nanos int64) int {
	// Bounds are whole microseconds, so that nanos <= bound just when below < bound.
	below := uint64(max(nanos, 1)-1) / 1000
	length := bits.Len64(below)
	if length <= firstBoundBits {
		return 0
	}
	upperHalf := int(below >> (length - 2) & 1)
	return min(2*(length-firstBoundBits)-1+upperHalf, bucketBounds)
}

// bucketBoundMicros is the upper bound of a bucket that has one.
func bucketBoundMicros(bucket int) uint64 {
	bound := uint64(1) << (firstBoundBits + bucket/2)
	return bound + bound/2*uint64(bucket%2)
}

// latency counts durations. How many there were is the sum of the buckets; where
// histograms are off, they are all in the first.
type latency struct {
	nanos   atomic.Uint64
	buckets [bucketCount]atomic.Uint64
}

// add counts a duration weight times. A negative one, from a clock that was
// changed, counts as zero.
func (l *latency) add(nanos int64, weight uint64, histograms bool) {
	bucket := 0
	if histograms {
		bucket = bucketOf(nanos)
	}
	l.buckets[bucket].Add(weight)
	l.nanos.Add(uint64(max(nanos, 0)) * weight)
}

// latencyTotals is the sum of several latency counters.
type latencyTotals struct {
	nanos   uint64
	buckets [bucketCount]uint64
}

func (t *latencyTotals) addAll(l *latency) {
	t.nanos += l.nanos.Load()
	for i := range l.buckets {
		t.buckets[i] += l.buckets[i].Load()
	}
}

func (t *latencyTotals) count() uint64 {
	n := uint64(0)
	for _, c := range t.buckets {
		n += c
	}
	return n
}

func (t *latencyTotals) duration() Duration { return Duration{t.count(), t.nanos} }
