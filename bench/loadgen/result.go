// SPDX-License-Identifier: Apache-2.0

package loadgen

import (
	"maps"
	"slices"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Result is what a run measured.
type Result struct {
	// Started is when the measured time began, and Seconds how long it was.
	Started time.Time `json:"started"`
	Seconds float64   `json:"seconds"`
	// Requests counts right answers to requests due in the measured time.
	Requests int64 `json:"requests"`

	RequestsPerSecond float64 `json:"requests_per_second"`
	RowsPerSecond     float64 `json:"rows_per_second"`

	// Latency counts from when a request was due to its answer. In a closed loop a
	// request is due when it is sent.
	Latency Percentiles `json:"latency"`
	// SendDelay is the part of the latency that passed before an open loop's
	// request was sent; of a closed loop it is zero. It is large when the bound on outstanding requests was reached or
	// the generator itself had no processor.
	SendDelay Percentiles `json:"send_delay,omitzero"`

	// Errors counts requests without a right answer, by gRPC code or by what was
	// wrong with the answer.
	Errors map[string]*Failure `json:"errors,omitempty"`
	Failed int64               `json:"failed"`
	// Checked is how many answers were decoded and compared.
	Checked int64 `json:"checked"`

	// Overflow counts requests of an open loop that were held back because the bound
	// on outstanding requests was reached; Unsent those that were never sent. Both
	// include the warm-up. More than a few say that the rate is beyond the server.
	Overflow int64 `json:"overflow"`
	Unsent   int64 `json:"unsent"`

	// Samples are single measurements in no order, where they were asked for.
	Samples []Sample `json:"-"`
}

// ExampleFailure is the text of one failure of the most frequent kind.
func (r *Result) ExampleFailure() string {
	most := Failure{}
	for _, kind := range slices.Sorted(maps.Keys(r.Errors)) {
		if f := r.Errors[kind]; f.Count > most.Count {
			most = *f
		}
	}
	return most.Example
}

// Percentiles sums up durations, in microseconds.
type Percentiles struct {
	MeanMicros float64 `json:"mean_us"`
	P50Micros  float64 `json:"p50_us"`
	P90Micros  float64 `json:"p90_us"`
	P95Micros  float64 `json:"p95_us"`
	P99Micros  float64 `json:"p99_us"`
	P999Micros float64 `json:"p999_us"`
	MaxMicros  float64 `json:"max_us"`
}

// percentiles are all zero when nothing was recorded.
func percentiles(h *hdrhistogram.Histogram) Percentiles {
	if h.TotalCount() == 0 {
		return Percentiles{}
	}
	at := func(percentile float64) float64 { return float64(h.ValueAtPercentile(percentile)) / 1e3 }
	return Percentiles{
		MeanMicros: h.Mean() / 1e3,
		P50Micros:  at(50), P90Micros: at(90), P95Micros: at(95), P99Micros: at(99), P999Micros: at(99.9),
		MaxMicros: float64(h.Max()) / 1e3,
	}
}

// Summarize computes the percentiles of durations.
func Summarize(durations []time.Duration) Percentiles {
	h := newHistogram()
	for _, d := range durations {
		record(h, d)
	}
	return percentiles(h)
}

// merge sums up what the recorders of a run hold. Their senders have ended.
func merge(recorders []*recorder, rows int) *Result {
	latency, sendDelay := newHistogram(), newHistogram()
	result := &Result{Errors: map[string]*Failure{}}
	for _, r := range recorders {
		r.mu.Lock()
		latency.Merge(r.mu.latency)
		sendDelay.Merge(r.mu.sendDelay)
		for _, kind := range slices.Sorted(maps.Keys(r.mu.errors)) {
			addFailures(result.Errors, kind, *r.mu.errors[kind])
		}
		result.Failed += r.mu.failed
		result.Checked += r.mu.checked
		result.Samples = append(result.Samples, r.mu.samples...)
		result.Seconds = (r.to - r.from).Seconds()
		r.mu.Unlock()
	}
	result.Requests = latency.TotalCount()
	result.RequestsPerSecond = float64(result.Requests) / result.Seconds
	result.RowsPerSecond = result.RequestsPerSecond * float64(rows)
	result.Latency, result.SendDelay = percentiles(latency), percentiles(sendDelay)
	return result
}
