// SPDX-License-Identifier: Apache-2.0

package console

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// How often the traffic is looked at, and how much of it is kept.
const (
	sampleEvery = 2 * time.Second
	samplesMax  = 450 // a quarter of an hour
	modelsMax   = 100
)

// traffic is what models were asked for lately, from the server's metrics.
type traffic struct {
	metrics prometheus.Gatherer
	now     func() time.Time
	mu      struct {
		sync.Mutex
		last   map[string]counters
		lastAt time.Time
		events map[string]float64 // of eventCounters
		points []point
	}
}

// counters are a model's, since the start of the server.
type counters struct {
	success, failure, rows, runs float64
	// buckets are those of the duration of requests, by their upper ends in microseconds.
	buckets []bucket
	pending float64
}

type bucket struct{ upper, count float64 }

// rates are a model's over one interval.
type rates struct {
	Requests float64 `json:"requests"` // a second
	Failures float64 `json:"failures"`
	Rows     float64 `json:"rows"`
	// BatchRows is the mean of a run; P50 and P99 are of requests, in microseconds, 0 if
	// unknown; Pending wait now.
	BatchRows float64 `json:"batch_rows"`
	P50       float64 `json:"p50_micros"`
	P99       float64 `json:"p99_micros"`
	Pending   float64 `json:"pending"`
}

// point is the traffic of all models over one interval.
type point struct {
	Time   time.Time
	Models map[string]rates
	// Decisions are answers that were not repeated, Feedback outcomes that were taken.
	Decisions, Feedback events
}

// events are of one kind: so many since the start of the server, and a second. Without
// counted nothing counts them.
type events struct {
	total, rate float64
	counted     bool
}

// The counters of events, and which of their values count.
const (
	decisionsCounter = "millrace_decisions_total"
	feedbackCounter  = "millrace_feedback_total"
)

var eventCounters = map[string]func(*dto.Metric) bool{
	decisionsCounter: func(*dto.Metric) bool { return true },
	feedbackCounter:  func(m *dto.Metric) bool { return labelOf(m, "outcome") == "accepted" },
}

func newTraffic(g prometheus.Gatherer, now func() time.Time) *traffic {
	return &traffic{metrics: g, now: now}
}

// run samples until ctx ends.
func (t *traffic) run(ctx context.Context) {
	if t.metrics == nil {
		return
	}
	tick := time.NewTicker(sampleEvery)
	defer tick.Stop()
	for {
		t.sample()
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// sample takes one look. Metrics that cannot be gathered leave a gap.
func (t *traffic) sample() {
	families, err := t.metrics.Gather()
	if err != nil && len(families) == 0 {
		return
	}
	now, current := t.now(), countersOf(families)
	counted := eventsOf(families)
	t.mu.Lock()
	defer t.mu.Unlock()
	if seconds := now.Sub(t.mu.lastAt).Seconds(); t.mu.last != nil && seconds > 0 {
		p := point{Time: now, Models: make(map[string]rates, len(current))}
		p.Decisions, p.Feedback = since(t.mu.events, counted, decisionsCounter, seconds), since(t.mu.events, counted, feedbackCounter, seconds)
		for model, c := range current {
			p.Models[model] = c.since(t.mu.last[model], seconds)
		}
		t.mu.points = append(t.mu.points, p)
		if extra := len(t.mu.points) - samplesMax; extra > 0 {
			t.mu.points = slices.Delete(t.mu.points, 0, extra)
		}
	}
	t.mu.last, t.mu.lastAt, t.mu.events = current, now, counted
}

// since are the rates between two looks. A version that was unloaded takes its counts
// along, so they may have fallen.
func (c counters) since(before counters, seconds float64) rates {
	r := rates{
		Requests: max(c.success-before.success, 0) / seconds, Failures: max(c.failure-before.failure, 0) / seconds,
		Rows: max(c.rows-before.rows, 0) / seconds, Pending: c.pending,
	}
	if runs := c.runs - before.runs; runs > 0 {
		r.BatchRows = max(c.rows-before.rows, 0) / runs
	}
	counts := make([]bucket, 0, len(c.buckets))
	for i, b := range c.buckets {
		if i < len(before.buckets) && before.buckets[i].upper == b.upper {
			b.count -= before.buckets[i].count
		}
		counts = append(counts, b)
	}
	r.P50, r.P99 = quantile(counts, 0.5), quantile(counts, 0.99)
	return r
}

// quantile is read off cumulative buckets, linear within one.
func quantile(cumulative []bucket, q float64) float64 {
	if len(cumulative) == 0 {
		return 0
	}
	total := cumulative[len(cumulative)-1].count
	if total <= 0 {
		return 0
	}
	below, from := 0.0, 0.0
	for _, b := range cumulative {
		if b.count >= q*total {
			if b.count == below || b.upper > 1e300 {
				return from
			}
			return from + (b.upper-from)*(q*total-below)/(b.count-below)
		}
		below, from = b.count, b.upper
	}
	return from
}

// eventsOf are the counts of events by counter; those that nothing counts are not in it.
func eventsOf(families []*dto.MetricFamily) map[string]float64 {
	sums := map[string]float64{}
	for _, f := range families {
		counts := eventCounters[f.GetName()]
		if counts == nil {
			continue
		}
		sum := 0.0
		for _, m := range f.Metric {
			if counts(m) {
				sum += m.GetCounter().GetValue()
			}
		}
		sums[f.GetName()] = sum
	}
	return sums
}

func since(before, now map[string]float64, counter string, seconds float64) events {
	total, counted := now[counter]
	if !counted {
		return events{}
	}
	return events{total: total, rate: max(total-before[counter], 0) / seconds, counted: true}
}

// countersOf sums the metrics of each model's versions.
func countersOf(families []*dto.MetricFamily) map[string]counters {
	all := make(map[string]counters)
	for _, f := range families {
		for _, m := range f.Metric {
			model := labelOf(m, "model")
			if model == "" || len(all) >= modelsMax && all[model].buckets == nil {
				continue
			}
			c := all[model]
			switch f.GetName() {
			case "nv_inference_request_success":
				c.success += m.GetCounter().GetValue()
			case "nv_inference_request_failure":
				c.failure += m.GetCounter().GetValue()
			case "nv_inference_count":
				c.rows += m.GetCounter().GetValue()
			case "nv_inference_exec_count":
				c.runs += m.GetCounter().GetValue()
			case "nv_inference_pending_request_count":
				c.pending += m.GetGauge().GetValue()
			case "nv_inference_request_duration_histogram_us":
				c.buckets = addBuckets(c.buckets, m.GetHistogram())
			default:
				continue
			}
			all[model] = c
		}
	}
	return all
}

func addBuckets(sum []bucket, h *dto.Histogram) []bucket {
	for i, b := range h.GetBucket() {
		if i == len(sum) {
			sum = append(sum, bucket{upper: b.GetUpperBound()})
		}
		sum[i].count += float64(b.GetCumulativeCount())
	}
	return sum
}

func labelOf(m *dto.Metric, name string) string {
	for _, l := range m.Label {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// latest is the newest interval; zero before there were two looks.
func (t *traffic) latest() point {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.mu.points) == 0 {
		return point{}
	}
	return t.mu.points[len(t.mu.points)-1]
}

// series is what the plots draw: times in seconds since 1970 and, by model, what there was
// at each, null where nothing was known.
type series struct {
	Times  []int64             `json:"times"`
	Models map[string][]*rates `json:"models"`
}

// history is all that is kept, of one model or of all.
func (t *traffic) history(model string) series {
	t.mu.Lock()
	defer t.mu.Unlock()
	s := series{Times: make([]int64, len(t.mu.points)), Models: map[string][]*rates{}}
	for i, p := range t.mu.points {
		s.Times[i] = p.Time.Unix()
		for name, r := range p.Models {
			if model != "" && name != model {
				continue
			}
			if s.Models[name] == nil {
				s.Models[name] = make([]*rates, len(t.mu.points))
			}
			s.Models[name][i] = &r
		}
	}
	return s
}

func (c *Console) trafficJSON(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Content-Type", "application/json")
	return json.NewEncoder(w).Encode(c.traffic.history(r.URL.Query().Get("model")))
}
