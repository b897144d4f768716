// SPDX-License-Identifier: Apache-2.0

// Package loadgen sends inference requests to a model server and measures the
// answers.
//
// In a closed loop a fixed number of requests is kept in flight: it finds the
// capacity. In an open loop requests are due at times that are fixed ahead of the
// run, whatever the server does: it finds the latency at a rate. There latency
// counts from the time a request was due, not from when it could be sent, so a
// server that stalls pays for every request that was due meanwhile.
//
// A run is a warm-up, a measured time and a drain. Requests due in the measured
// time are measured, however late their answers come; those unanswered when the
// drain ends are errors.
//
// Messages are encoded before the run and sent as bytes, so the generator costs
// little, and costs the same for every server that it measures. Of the answers
// every one is checked for an error and a sample is decoded and compared.
//
// One call of Run owns all goroutines it starts and returns when they have ended.
package loadgen

import (
	"errors"
	"fmt"
	"time"
)

// ErrInvalidOptions reports options that contradict each other or are out of range.
var ErrInvalidOptions = errors.New("invalid load options")

// Arrivals is how the due times of an open loop are spread.
type Arrivals string

// Poisson spaces requests at random, as independent clients do. Constant spaces
// them evenly.
const (
	Poisson  Arrivals = "poisson"
	Constant Arrivals = "constant"
)

// Options says how to load a server.
type Options struct {
	// Stream sends over bidirectional streams instead of unary calls.
	Stream bool `json:"stream"`
	// Concurrency is the number of unary calls in flight in a closed loop, and in
	// an open loop the most there may be. 0 means 32, in an open loop 1024.
	Concurrency int `json:"concurrency"`
	// Streams is the number of streams. 0 means 4.
	Streams int `json:"streams"`
	// Window is the most requests in flight on one stream. 0 means 64.
	Window int `json:"window"`
	// Rate makes the loop open: requests due per second. 0 is a closed loop.
	Rate float64 `json:"rate_per_second"`
	// Arrivals spreads the requests of an open loop. Empty means Poisson.
	Arrivals Arrivals `json:"arrivals,omitempty"`
	// Seed makes the random arrivals; the same seed gives the same times.
	Seed uint64 `json:"seed"`
	// Warmup is the time before the measured time. It may be 0.
	Warmup time.Duration `json:"warmup_ns"`
	// Duration is the measured time. It must be given.
	Duration time.Duration `json:"duration_ns"`
	// Drain is the longest wait for answers after the measured time. 0 means 5 s.
	Drain time.Duration `json:"drain_ns"`
	// CheckEvery is how many answers there are to one that is decoded and compared.
	// 0 means 256, 1 checks all, a negative number none.
	CheckEvery int `json:"check_every"`
	// SamplesMax keeps single measurements, up to this many, beside the
	// percentiles. 0 keeps none.
	SamplesMax int `json:"samples_max,omitempty"`
	// Progress, when set, is called a few times a second from one goroutine.
	Progress func(Progress) `json:"-"`
}

// Progress is how far a run is.
type Progress struct {
	Elapsed, Total time.Duration
	Warmup         bool
	// Requests and Errors count what was answered in the measured time so far.
	Requests, Errors int64
}

// Bounds of the options.
const (
	inFlightMax = 1 << 16
	rateMax     = 10e6
	durationMax = 24 * time.Hour
	samplesMax  = 1 << 26
)

// EnsureDefaults fills the options that were left out.
func (o *Options) EnsureDefaults() {
	setDefault(&o.Streams, 4)
	setDefault(&o.Window, 64)
	setDefault(&o.CheckEvery, 256)
	if o.Rate > 0 {
		setDefault(&o.Concurrency, 1024)
		setDefault(&o.Arrivals, Poisson)
	}
	setDefault(&o.Concurrency, 32)
	setDefault(&o.Drain, 5*time.Second)
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Validate reports everything that is wrong with options that have their defaults.
func (o *Options) Validate() error {
	var problems []error
	require := func(ok bool, format string, args ...any) {
		if !ok {
			problems = append(problems, fmt.Errorf("%w: %s", ErrInvalidOptions, fmt.Sprintf(format, args...)))
		}
	}
	require(o.Concurrency >= 1 && o.Concurrency <= inFlightMax, "concurrency %d is not between 1 and %d", o.Concurrency, inFlightMax)
	require(o.Streams >= 1 && o.Window >= 1 && o.Streams <= inFlightMax/max(o.Window, 1),
		"%d streams of %d requests are not between 1 and %d requests in flight", o.Streams, o.Window, inFlightMax)
	require(o.Rate >= 0 && o.Rate <= rateMax, "rate %g is not between 0 and %g requests/s", o.Rate, rateMax)
	require(o.Rate == 0 || o.Arrivals == Poisson || o.Arrivals == Constant,
		"arrivals %q are neither %q nor %q", o.Arrivals, Poisson, Constant)
	require(o.Rate > 0 || o.Arrivals == "", "arrivals %q need a rate", o.Arrivals)
	require(o.Duration > 0 && o.Duration <= durationMax, "duration %v is not between 0 and %v", o.Duration, durationMax)
	require(o.Warmup >= 0 && o.Warmup <= durationMax, "warm-up %v is not between 0 and %v", o.Warmup, durationMax)
	require(o.Drain > 0 && o.Drain <= durationMax, "drain %v is not between 0 and %v", o.Drain, durationMax)
	require(o.SamplesMax >= 0 && o.SamplesMax <= samplesMax, "%d samples are not between 0 and %d", o.SamplesMax, samplesMax)
	return errors.Join(problems...)
}

// Description says in a few words how the load is made.
func (o *Options) Description() string {
	how := fmt.Sprintf("unary, closed loop, %d in flight", o.Concurrency)
	switch {
	case o.Stream && o.Rate > 0:
		how = fmt.Sprintf("%d streams, open loop, %s, %g requests/s", o.Streams, o.Arrivals, o.Rate)
	case o.Stream:
		how = fmt.Sprintf("%d streams, closed loop, %d in flight on each", o.Streams, o.Window)
	case o.Rate > 0:
		how = fmt.Sprintf("unary, open loop, %s, %g requests/s", o.Arrivals, o.Rate)
	}
	return fmt.Sprintf("%s, %v after %v of warm-up", how, o.Duration, o.Warmup)
}
