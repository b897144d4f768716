// SPDX-License-Identifier: Apache-2.0

// Package metrics shows a feature store and its front-end to Prometheus.
//
// Everything is read when the metrics are: requests count on atomic counters of their
// own packages, without a label or a lock. docs/reference/metrics.md lists the names.
//
// A Collector may be used from many goroutines.
package metrics

import (
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace-ml/millrace/featurestore"
	"github.com/millrace-ml/millrace/featurestore/latency"
	"github.com/millrace-ml/millrace/serving/frontend"
)

// Collector collects the metrics of a store and a front-end.
type Collector struct {
	store    *featurestore.Store
	frontend atomic.Pointer[frontend.Frontend]
	parity   parity
}

var _ prometheus.Collector = (*Collector)(nil)

// New returns the collector of a store, which stays the caller's.
func New(store *featurestore.Store) *Collector {
	return &Collector{store: store}
}

// SetFrontend adds the metrics of a front-end, which may be made after the collector
// was registered.
func (c *Collector) SetFrontend(f *frontend.Frontend) { c.frontend.Store(f) }

// metric is a description and how it counts.
type metric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
}

func counter(name, help string, labels ...string) metric {
	return metric{prometheus.NewDesc(name, help, labels, nil), prometheus.CounterValue}
}

func gauge(name, help string, labels ...string) metric {
	return metric{prometheus.NewDesc(name, help, labels, nil), prometheus.GaugeValue}
}

var (
	pushed     = counter("millrace_feature_events_total", "Events pushed, by what became of them: accepted, of which duplicate; refused, of which unknown amended no known event.", "outcome")
	reads      = counter("millrace_feature_reads_total", "Reads of feature vectors.")
	rows       = counter("millrace_feature_rows_total", "Vectors read.")
	readTime   = prometheus.NewDesc("millrace_feature_read_seconds", "Time of a read of feature vectors.", nil, nil)
	entities   = gauge("millrace_feature_entities", "Entities known.", "table")
	memory     = gauge("millrace_feature_memory_bytes", "Memory of all entities.")
	stateLag   = gauge("millrace_feature_checkpoint_lag_events", "Events since the last checkpoint: what a start after a crash replays.")
	checkpoint = counter("millrace_feature_checkpoints_total", "Checkpoints finished.")
	saveTime   = gauge("millrace_feature_checkpoint_seconds", "Time of the last checkpoint.")
	stateFault = counter("millrace_feature_store_failures_total", "Errors of the store of states.")

	logQueue      = gauge("millrace_log_queue_records", "Records that wait to be durable.")
	logQueueBytes = gauge("millrace_log_queue_bytes", "Size of the records that wait to be durable.")
	logAppended   = counter("millrace_log_records_total", "Records, by what became of them: appended, stored durably, dropped because the queue was full, lost at a close.", "outcome")
	logSync       = counter("millrace_log_sync_seconds_total", "Time of all fsyncs.")
	logFaults     = counter("millrace_log_failures_total", "Failed attempts to store.")
	logSegments   = gauge("millrace_log_segments", "Segments that are not in partitions.")
	logLag        = gauge("millrace_log_lag_records", "Records that are not in partitions.")
	logLagAge     = gauge("millrace_log_lag_seconds", "Age of the oldest segment that is not in partitions.")
	logPartitions = gauge("millrace_log_partitions", "Parquet partitions.")
	logSize       = gauge("millrace_log_bytes", "Size of the log.", "part")

	answers      = counter("millrace_decisions_total", "Answers that were not repeated.", "decision", "answer")
	degraded     = counter("millrace_decisions_degraded_total", "Answers that did not take the whole way.", "decision")
	unattributed = counter("millrace_decisions_unattributed_total", "Answers without attributions, for want of time or because the explainer was being made.", "decision")
	repeated     = counter("millrace_decisions_repeated_total", "Answers remembered by idempotency key.", "decision")
	refused      = counter("millrace_decisions_refused_total", "Requests that were invalid.", "decision")
	failed       = counter("millrace_decisions_failed_total", "Requests that nothing could answer.", "decision")
	decisionTime = prometheus.NewDesc("millrace_decision_seconds", "Time of an answer that was not repeated.", []string{"decision"}, nil)
	unlogged     = counter("millrace_decisions_unlogged_total", "Answers that a full log refused.")
	shadows      = counter("millrace_shadow_lost_total", "Runs of shadow models that failed, or were dropped for a full queue.", "reason")
	canaryCount  = counter("millrace_canary_decisions_total", "Decisions of a rollout since its canary began, for which the model was asked: of the canary, and of the rest that it is compared with.", "decision", "side")
	canaryBad    = counter("millrace_canary_degraded_total", "Those of them that did not take the whole way.", "decision", "side")
	canaryFailed = counter("millrace_canary_failed_total", "Those of them whose version did not answer.", "decision", "side")
	canaryShare  = gauge("millrace_canary_share", "Share of the units that have the canary.", "decision", "version")
	keys         = gauge("millrace_idempotency_keys", "Idempotency keys remembered.")
	forgotten    = counter("millrace_idempotency_keys_forgotten_total", "Idempotency keys forgotten before their time.")
)

// Describe implements prometheus.Collector. What is collected depends on what is
// defined, so the collector is unchecked.
func (c *Collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(to chan<- prometheus.Metric) {
	e := emitter{to}
	s := c.store.Stats()
	e.features(&s)
	e.log(&s)
	if f := c.frontend.Load(); f != nil {
		e.decisions(f.Stats())
		e.rollouts(f.Rollouts())
	}
	c.parity.collect(to)
}

type emitter struct{ to chan<- prometheus.Metric }

func (e emitter) one(m metric, value float64, labels ...string) {
	e.to <- prometheus.MustNewConstMetric(m.desc, m.kind, value, labels...)
}

// histogram emits every second bucket: factors of four tell enough, at half the series.
func (e emitter) histogram(desc *prometheus.Desc, s *latency.Snapshot, labels ...string) {
	buckets, below := make(map[float64]uint64, latency.Buckets/2), uint64(0)
	for i := range latency.Buckets {
		below += uint64(s.Counts[i])
		if i%2 == 0 {
			buckets[latency.Bound(i).Seconds()] = below
		}
	}
	e.to <- prometheus.MustNewConstHistogram(desc, uint64(s.Count), s.Sum.Seconds(), buckets, labels...)
}

func (e emitter) features(s *featurestore.Stats) {
	e.one(pushed, float64(s.Pushed), "accepted")
	e.one(pushed, float64(s.Duplicates), "duplicate")
	e.one(pushed, float64(s.Refused), "refused")
	e.one(pushed, float64(s.Unknown), "unknown")
	e.one(reads, float64(s.Reads))
	e.one(rows, float64(s.Rows))
	e.histogram(readTime, &s.ReadTimes)
	o := &s.Online
	for i := range o.Tables {
		e.one(entities, float64(o.Tables[i].Entities), o.Tables[i].Name)
	}
	e.one(memory, float64(o.MemoryBytes))
	e.one(stateLag, float64(o.LagRecords))
	e.one(checkpoint, float64(o.Checkpoints))
	e.one(saveTime, o.CheckpointTime.Seconds())
	e.one(stateFault, float64(o.Failures))
}

func (e emitter) log(s *featurestore.Stats) {
	l := &s.Log
	e.one(logQueue, float64(l.QueueRecords))
	e.one(logQueueBytes, float64(l.QueueBytes))
	e.one(logAppended, float64(l.Appended), "appended")
	e.one(logAppended, float64(l.Stored), "stored")
	e.one(logAppended, float64(l.Dropped), "dropped")
	e.one(logAppended, float64(l.Lost), "lost")
	e.one(logSync, l.SyncTime.Seconds())
	e.one(logFaults, float64(l.StoreErrors))
	e.one(logSegments, float64(l.Segments))
	e.one(logLag, float64(l.LagRecords))
	e.one(logLagAge, l.CompactLag.Seconds())
	e.one(logPartitions, float64(l.Partitions))
	e.one(logSize, float64(l.SegmentBytes), "segments")
	e.one(logSize, float64(l.PartitionBytes), "partitions")
}

func (e emitter) rollouts(all []frontend.RolloutState) {
	for i := range all {
		r := &all[i]
		if r.CanaryVersion == 0 {
			continue
		}
		e.one(canaryShare, r.Share, r.Decision, strconv.FormatInt(r.CanaryVersion, 10))
		for side, s := range map[string]*frontend.RolloutSide{"canary": &r.Canary, "rest": &r.Rest} {
			e.one(canaryCount, float64(s.Decisions), r.Decision, side)
			e.one(canaryBad, float64(s.Degraded), r.Decision, side)
			e.one(canaryFailed, float64(s.Failed), r.Decision, side)
		}
	}
}

func (e emitter) decisions(s frontend.Stats) {
	for i := range s.Decisions {
		d := &s.Decisions[i]
		for k, n := range d.Answers {
			e.one(answers, float64(n), d.Decision, d.Names[k])
		}
		e.one(degraded, float64(d.Degraded), d.Decision)
		e.one(unattributed, float64(d.Unattributed), d.Decision)
		e.one(repeated, float64(d.Repeated), d.Decision)
		e.one(refused, float64(d.Refused), d.Decision)
		e.one(failed, float64(d.Failed), d.Decision)
		e.histogram(decisionTime, &d.Times, d.Decision)
	}
	e.one(unlogged, float64(s.Unlogged))
	e.one(shadows, float64(s.ShadowDropped), "dropped")
	e.one(shadows, float64(s.ShadowFailed), "failed")
	e.one(keys, float64(s.Keys))
	e.one(forgotten, float64(s.KeysForgotten))
}
