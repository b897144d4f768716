// SPDX-License-Identifier: Apache-2.0

package loadgen

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Latencies are kept from a microsecond to five minutes, to three digits; what is
// longer counts as five minutes.
const (
	latencyMin    = time.Microsecond
	latencyMax    = 5 * time.Minute
	latencyDigits = 3
)

// Sample is one answered request.
type Sample struct {
	// Due is when the request was due, since the start of the measured time.
	Due time.Duration
	// Latency counts from Due to the answer.
	Latency time.Duration
}

// Done is when the answer came, since the start of the measured time.
func (s Sample) Done() time.Duration { return s.Due + s.Latency }

// recorder collects what a few senders measure. It leaves out requests that were
// not due in the measured time.
type recorder struct {
	from, to   time.Duration
	samplesMax int

	mu struct {
		sync.Mutex
		latency   *hdrhistogram.Histogram
		sendDelay *hdrhistogram.Histogram
		errors    map[string]*Failure
		failed    int64
		checked   int64
		samples   []Sample
	}
}

// failureKindsMax bounds how many kinds of errors are told apart.
const failureKindsMax = 32

// Failure counts errors of one kind.
type Failure struct {
	Count int64 `json:"count"`
	// Example is the text of the first.
	Example string `json:"example"`
}

func newRecorder(from, to time.Duration, samplesMax int) *recorder {
	r := &recorder{from: from, to: to, samplesMax: samplesMax}
	r.mu.latency = newHistogram()
	r.mu.sendDelay = newHistogram()
	r.mu.errors = map[string]*Failure{}
	return r
}

func newHistogram() *hdrhistogram.Histogram {
	return hdrhistogram.New(int64(latencyMin), int64(latencyMax), latencyDigits)
}

func (r *recorder) measures(a arrival) bool { return a.due >= r.from && a.due < r.to }

// success records an answer that came at done.
func (r *recorder) success(s sending, done time.Duration, checked bool) {
	if !r.measures(s.arrival) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	record(r.mu.latency, done-s.due)
	if s.sent > s.due {
		record(r.mu.sendDelay, s.sent-s.due)
	}
	if checked {
		r.mu.checked++
	}
	if len(r.mu.samples) < r.samplesMax {
		r.mu.samples = append(r.mu.samples, Sample{Due: s.due - r.from, Latency: done - s.due})
	}
}

// record clamps, so that the histogram never refuses a value.
func record(h *hdrhistogram.Histogram, d time.Duration) {
	_ = h.RecordValue(int64(min(max(d, latencyMin), latencyMax)))
}

// failure records a request that got no right answer.
func (r *recorder) failure(a arrival, kind string, err error) {
	if !r.measures(a) {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.mu.failed++
	addFailures(r.mu.errors, kind, Failure{Count: 1, Example: err.Error()})
}

// addFailures counts failures of a kind, under "other" when there are too many kinds.
func addFailures(failures map[string]*Failure, kind string, f Failure) {
	known := failures[kind]
	if known == nil && len(failures) >= failureKindsMax {
		kind = "other"
		known = failures[kind]
	}
	if known == nil {
		failures[kind] = &f
		return
	}
	known.Count += f.Count
}

// counts returns how many requests were answered and how many failed so far.
func (r *recorder) counts() (answered, failed int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.mu.latency.TotalCount(), r.mu.failed
}
