// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"math"
	"math/bits"
	"time"

	"github.com/millrace-ml/millrace/evaluation/monitor/drift"
	"github.com/millrace-ml/millrace/evaluation/monitor/estimate"
)

// Report is what was found of a window, once when it closed and once when it matured.
type Report struct {
	// Window is the window's length; it is from Start to End, in microseconds since 1970.
	Window     Duration
	Start, End int64
	// At is the moment from which on this could be known.
	At int64
	// Matured says which of the two it is.
	Matured bool
	// Rows are those of the window.
	Rows int64
	// Kind is that of the monitor; empty in reports of before there were several is Binary.
	Kind Kind
	// Judged says that there were enough rows for tests; Note says what there was not.
	Judged bool
	Note   string

	// Of a window that closed:
	Freshness time.Duration  // from the newest row to At
	Columns   []ColumnReport // those likeliest to matter first
	Score     *ColumnReport  // prediction drift, nil without scores
	Estimated *estimate.Estimate
	Latency   Latency
	Decisions map[string]int64

	// Of a window that matured, nil without labels:
	Quality *Quality
	Slices  []SliceQuality

	// Events are what happened to alarms.
	Events []Event
}

// ColumnReport is what was found of a column. Results are nil where a test was not made.
type ColumnReport struct {
	Name string
	Rows int64
	// MissingShare is that of all rows.
	MissingShare float64
	// Infinite counts infinite numbers, which are no values of a healthy column.
	Infinite int64
	Drift    *drift.Result
	// Adjusted is the p-value of Drift, corrected for the number of columns (Benjamini and
	// Hochberg), and Effect how far the column moved.
	Adjusted, Effect float64
	// ScoreShift is how much the mean score would change by this column alone.
	ScoreShift float64
	Missing    *drift.Result
	Unseen     *drift.Result
	Range      *drift.Result
	Mean, SD   float64
	Distinct   float64
}

// Quality is what a matured window's labels say.
type Quality struct {
	// Rows were predicted and Labelled have a label; Positives of those. Coverage is the
	// share with a label of their own: one that silence gave does not count.
	Rows, Labelled, Positives int
	Coverage                  float64
	// Sampled is the share of rows that were held, 1 if all were.
	Sampled float64
	Values  estimate.Values
	// Low and High are intervals at 95 % of AUC (DeLong), accuracy, precision and recall
	// (Wilson), and of the metrics of a regression (estimate.RealisedAmounts); NaN of the
	// others.
	Low, High estimate.Values
	// Cost is what wrong decisions cost on average, by Config.
	Cost float64
	// Check is how the estimate did, nil without a reference with labels.
	Check *estimate.Check
	// Tests are those for concept drift.
	Tests []ConceptTest
	// Bins are the bias by bins of the score, of a regression with a reference.
	Bins []estimate.ScoreBin
}

// ConceptTest asks whether what inputs mean has changed.
type ConceptTest struct {
	Name string
	// Before is the reference, Now the window.
	Before, Now float64
	// P is one-sided for a drop of quality, two-sided of a bias; Adjusted corrected by Holm.
	P, Adjusted float64
	// Change says that it is sure and large enough to matter.
	Change bool
}

// SliceQuality is the quality of a part of the rows.
type SliceQuality struct {
	Slice, Value string
	Quality      Quality
}

// Latency are quantiles of the time that answers took, in microseconds, each at most 5 %
// too much.
type Latency struct{ P50Micros, P95Micros, P99Micros int64 }

// latency counts latencies by their leading bits: sixteen buckets for each power of two.
type latency struct{ Buckets map[uint16]int64 }

func (l *latency) add(micros int64) {
	if micros <= 0 {
		return
	}
	if l.Buckets == nil {
		l.Buckets = map[uint16]int64{}
	}
	l.Buckets[bucketOf(micros)]++
}

// bucketOf is the bucket of a positive latency: below 32 microseconds each has its own.
func bucketOf(micros int64) uint16 {
	if micros < 32 {
		return uint16(micros)
	}
	exponent := bits.Len64(uint64(micros)) - 5
	return uint16(exponent*16) + uint16(micros>>exponent)
}

// topOf is the largest latency of a bucket.
func topOf(bucket uint16) int64 {
	if bucket < 32 {
		return int64(bucket)
	}
	exponent := (bucket - 16) / 16
	return (int64(bucket-exponent*16)+1)<<exponent - 1
}

func (l *latency) merge(o *latency) {
	for bucket, count := range o.Buckets {
		if l.Buckets == nil {
			l.Buckets = map[uint16]int64{}
		}
		l.Buckets[bucket] += count
	}
}

func (l *latency) report() Latency {
	total, top := int64(0), uint16(0)
	for bucket, count := range l.Buckets {
		total += count
		top = max(top, bucket)
	}
	at := func(q float64) int64 {
		need, sum := int64(math.Ceil(q*float64(total))), int64(0)
		for bucket := range top + 1 {
			if sum += l.Buckets[bucket]; sum >= need && sum > 0 {
				return topOf(bucket)
			}
		}
		return 0
	}
	return Latency{at(0.5), at(0.95), at(0.99)}
}

// moment is a time for people.
func moment(micros int64) string { return time.UnixMicro(micros).UTC().Format(time.RFC3339) }
