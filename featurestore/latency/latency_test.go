// SPDX-License-Identifier: Apache-2.0

package latency

import (
	"testing"
	"time"
)

// TestBuckets: a duration is in the first bucket whose bound it does not exceed.
func TestBuckets(t *testing.T) {
	for i := range Buckets {
		for _, d := range []time.Duration{Bound(i) - 1, Bound(i), Bound(i) + 1} {
			var h Histogram
			h.Observe(d)
			want := 0
			for want < Buckets && d > Bound(want) {
				want++
			}
			if s := h.Snapshot(); s.Counts[want] != 1 || s.Count != 1 || s.Sum != d {
				t.Errorf("%v: %+v, want bucket %d", d, s, want)
			}
		}
	}
	var h Histogram
	h.Observe(-time.Second)
	h.Observe(time.Hour)
	if s := h.Snapshot(); s.Counts[0] != 1 || s.Counts[Buckets] != 1 || s.Sum != time.Hour {
		t.Errorf("%+v", s)
	}
}

func TestNoAllocation(t *testing.T) {
	var h Histogram
	if n := testing.AllocsPerRun(100, func() { h.Observe(time.Millisecond) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
