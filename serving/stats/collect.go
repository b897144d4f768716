// SPDX-License-Identifier: Apache-2.0

package stats

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

var _ prometheus.Collector = (*Registry)(nil)

// Describe sends nothing: which models and labels there are changes with each load
// and unload.
func (r *Registry) Describe(chan<- *prometheus.Desc) {}

// Collect sends the metrics of all open versions and of the machine.
func (r *Registry) Collect(ch chan<- prometheus.Metric) {
	for _, m := range r.visible() {
		c := collection{ch: ch, model: m, totals: m.totals()}
		c.requests()
		c.histograms()
		c.batching()
	}
	r.host.collect(ch)
}

// collection is one Model being collected.
type collection struct {
	ch     chan<- prometheus.Metric
	model  *Model
	totals *totals
}

func (c *collection) requests() {
	t := c.totals
	c.counter(metricSuccess, t.request.count())
	for reason, n := range t.failures {
		c.counter(metricFailure, n, FailureReason(reason).String())
	}
	c.counter(metricRows, t.rows)
	c.counter(metricRuns, t.runs())
	c.counter(metricRequestMicros, t.request.nanos/1000)
	c.counter(metricQueueMicros, t.queue.nanos/1000)
	c.counter(metricInputMicros, t.input.nanos/1000)
	c.counter(metricInferMicros, t.infer.nanos/1000)
	c.counter(metricOutputMicros, t.output.nanos/1000)
	c.gauge(metricLoadSeconds, time.Duration(c.model.loadNanos.Load()).Seconds())
}

func (c *collection) histograms() {
	if buckets, first := c.model.responses.firstResponses(); first.Count > 0 {
		c.histogram(metricFirstResponseHistogram, first.Count, float64(first.Nanos)/1e6, buckets)
	}
	if !c.model.histograms {
		return
	}
	t := c.totals
	c.latency(metricRequestHistogram, &t.request)
	c.latency(metricQueueHistogram, &t.queue)
	c.latency(metricInputHistogram, &t.input)
	c.latency(metricInferHistogram, &t.infer)
	c.latency(metricOutputHistogram, &t.output)
}

func (c *collection) batching() {
	now := c.model.batchingNow()
	c.gauge(metricPending, float64(now.Pending))
	for _, d := range now.Dispatches {
		c.counter(metricDispatches, d.Batches, d.Reason)
		c.counter(metricDispatchedRows, d.Rows, d.Reason)
	}
	for _, r := range now.Rejections {
		c.counter(metricRejections, r.Requests, r.Cause)
	}
	c.batchRows()
}

// batchRowsBoundMax is the last bound of the histogram of batch sizes, whose
// bounds are the powers of two. Runs of sizes not told apart are in no bound.
const batchRowsBoundMax = 4096

func (c *collection) batchRows() {
	buckets := map[float64]uint64{}
	for bound := 1; bound <= batchRowsBoundMax; bound *= 2 {
		n := uint64(0)
		for _, b := range c.totals.batches {
			if b.Size <= bound && b.Size != otherSizes {
				n += b.Runs
			}
		}
		buckets[float64(bound)] = n
	}
	c.histogram(metricBatchRows, c.totals.runs(), float64(c.totals.rows), buckets)
}

func (c *collection) latency(k metric, l *latencyTotals) {
	buckets := make(map[float64]uint64, bucketBounds)
	cumulative := uint64(0)
	for i := range bucketBounds {
		cumulative += l.buckets[i]
		buckets[float64(bucketBoundMicros(i))] = cumulative
	}
	c.histogram(k, l.count(), float64(l.nanos)/1000, buckets)
}

func (c *collection) counter(k metric, value uint64, label ...string) {
	send(c.ch, c.model.descs[k], prometheus.CounterValue, float64(value), label...)
}

func (c *collection) gauge(k metric, value float64) {
	send(c.ch, c.model.descs[k], prometheus.GaugeValue, value)
}

func (c *collection) histogram(k metric, count uint64, sum float64, buckets map[float64]uint64) {
	desc := c.model.descs[k]
	h, err := prometheus.NewConstHistogram(desc, count, sum, buckets)
	if err != nil {
		h = prometheus.NewInvalidMetric(desc, err)
	}
	c.ch <- h
}

// send passes a value on, or what is wrong with it, which fails the scrape with
// that message.
func send(ch chan<- prometheus.Metric, desc *prometheus.Desc, kind prometheus.ValueType, value float64, label ...string) {
	v, err := prometheus.NewConstMetric(desc, kind, value, label...)
	if err != nil {
		v = prometheus.NewInvalidMetric(desc, err)
	}
	ch <- v
}
