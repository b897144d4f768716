// SPDX-License-Identifier: Apache-2.0

package loadgen

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// exactPercentile is the value that the given share does not exceed.
func exactPercentile(sorted []time.Duration, percentile float64) time.Duration {
	return sorted[int(math.Round(percentile/100*float64(len(sorted))))-1]
}

func TestPercentilesAreExactToThreeDigits(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	durations := make([]time.Duration, 20_000)
	for i := range durations {
		durations[i] = time.Duration(math.Exp(random.NormFloat64()+12)) + time.Microsecond
	}
	got := Summarize(durations)
	slices.Sort(durations)
	for _, c := range []struct {
		percentile, gotMicros float64
	}{{50, got.P50Micros}, {90, got.P90Micros}, {95, got.P95Micros}, {99, got.P99Micros}, {99.9, got.P999Micros}, {100, got.MaxMicros}} {
		want := float64(exactPercentile(durations, c.percentile)) / 1e3
		if math.Abs(c.gotMicros/want-1) > 2e-3 {
			t.Errorf("percentile %g is %g us, want %g us", c.percentile, c.gotMicros, want)
		}
	}
}

func TestRecorderLeavesOutWhatIsNotMeasured(t *testing.T) {
	r := newRecorder(time.Second, 2*time.Second, 10)
	for _, due := range []time.Duration{0, time.Second - 1, time.Second, 2*time.Second - 1, 2 * time.Second} {
		a := arrival{due: due}
		r.success(sending{arrival: a, sent: due}, due+5*time.Millisecond, true)
		r.failure(a, "Unavailable", errors.New("down"))
	}
	result := merge([]*recorder{r}, 4)
	if result.Requests != 2 || result.Failed != 2 || result.Checked != 2 {
		t.Errorf("%d answers, %d failures and %d checks were counted, want 2 of each", result.Requests, result.Failed, result.Checked)
	}
	if result.RequestsPerSecond != 2 || result.RowsPerSecond != 8 {
		t.Errorf("%g requests/s and %g rows/s, want 2 and 8", result.RequestsPerSecond, result.RowsPerSecond)
	}
	want := []Sample{{Due: 0, Latency: 5 * time.Millisecond}, {Due: time.Second - 1, Latency: 5 * time.Millisecond}}
	if !slices.Equal(result.Samples, want) {
		t.Errorf("samples are %v, want %v", result.Samples, want)
	}
}

func TestRecorderIsBounded(t *testing.T) {
	r := newRecorder(0, time.Second, 3)
	for i := range 100 {
		r.success(sending{}, time.Hour, false)
		r.failure(arrival{}, fmt.Sprint("kind ", i), errors.New("example"))
	}
	result := merge([]*recorder{r, newRecorder(0, time.Second, 3)}, 1)
	if len(result.Samples) != 3 {
		t.Errorf("%d samples were kept, want 3", len(result.Samples))
	}
	if len(result.Errors) > failureKindsMax+1 || result.Failed != 100 {
		t.Errorf("%d kinds of %d failures, want at most %d kinds of 100", len(result.Errors), result.Failed, failureKindsMax+1)
	}
	if got, limit := result.Latency.P50Micros, latencyMax.Seconds()*1e6; math.Abs(got/limit-1) > 2e-3 {
		t.Errorf("a latency beyond the limit counts as %g us, want %g us", got, limit)
	}
}
