// SPDX-License-Identifier: Apache-2.0

package suite

import (
	"testing"
	"time"

	"github.com/millrace-ml/millrace/bench/loadgen"
)

// Swaps lie at 100 to 110 ms and at 200 to 210 ms.
func TestRequestsAreAssignedToSwaps(t *testing.T) {
	start := time.Now()
	at := func(millis int) time.Time { return start.Add(time.Duration(millis) * time.Millisecond) }
	swaps := []swap{{began: at(100), ended: at(110)}, {began: at(200), ended: at(210)}}
	sample := func(due, latency int) loadgen.Sample {
		return loadgen.Sample{Due: time.Duration(due) * time.Millisecond, Latency: time.Duration(latency) * time.Millisecond}
	}
	got := summarizeSwaps(&loadgen.Result{Started: start, Samples: []loadgen.Sample{
		sample(10, 1), sample(50, 2), // before
		sample(95, 7), sample(105, 1), sample(109, 9), sample(90, 40), sample(205, 1), // during
		sample(111, 1), sample(150, 20), sample(211, 50), // between and after
	}}, swaps)
	if got.BeforeCount != 2 || got.DuringCount != 5 || got.Swaps != 2 {
		t.Errorf("%d requests before and %d during %d swaps, want 2, 5 and 2", got.BeforeCount, got.DuringCount, got.Swaps)
	}
	if got.Before.MaxMicros < 1990 || got.Before.MaxMicros > 2010 || got.During.MaxMicros < 39900 || got.During.MaxMicros > 40100 {
		t.Errorf("the longest before took %g us and during %g us, want 2000 and 40000", got.Before.MaxMicros, got.During.MaxMicros)
	}
	if none := summarizeSwaps(&loadgen.Result{Started: start, Samples: []loadgen.Sample{sample(1, 1)}}, nil); none.BeforeCount != 0 {
		t.Errorf("without a swap %d requests were before it", none.BeforeCount)
	}
}
