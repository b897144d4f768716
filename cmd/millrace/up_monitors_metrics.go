// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace-ml/millrace/console"
	"github.com/millrace-ml/millrace/evaluation/monitor"
	"github.com/millrace-ml/millrace/evaluation/monitor/estimate"
	"github.com/millrace-ml/millrace/featurestore/dataset"
)

// watchStatus is what others may know of a watcher.
type watchStatus struct {
	mu struct {
		sync.Mutex
		spec    *monitorSpec
		why     string // why it does not watch; empty if it does
		version int64
		counts  monitor.Counts
		// rejected counts events that were not sound.
		rejected int64
		// settled is when the monitor was up to date last, behind how many records it was not.
		settled time.Time
		behind  uint64
		// closed and matured are the last reports of each length of windows.
		closed, matured map[monitor.Duration]*monitor.Report
	}
}

func (s *watchStatus) init(spec *monitorSpec) {
	s.mu.spec, s.mu.settled, s.mu.why = spec, time.Now(), watchStarts
	s.mu.closed, s.mu.matured = map[monitor.Duration]*monitor.Report{}, map[monitor.Duration]*monitor.Report{}
}

// watchStarts is why a monitor does not watch yet.
const watchStarts = "the server starts"

// isBehind says that the monitor is about to see that a version is served. One that cannot
// watch it, for want of a reference or because of an error, is not.
func (s *watchStatus) isBehind(served int64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.version != served && (s.mu.why == "" || s.mu.why == watchStarts)
}

// problem says why the monitor does not watch.
func (s *watchStatus) problem() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mu.why
}

func (s *watchStatus) wait(why string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.why = why
}

func (s *watchStatus) fail(err error) {
	s.wait(err.Error())
}

// begin says that a version is watched.
func (s *watchStatus) begin(w *watcher) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.version != w.version {
		clear(s.mu.closed)
		clear(s.mu.matured)
	}
	s.mu.why, s.mu.version, s.mu.counts = "", w.version, w.monitor.Counts()
}

func (s *watchStatus) reject() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.rejected++
}

func (s *watchStatus) report(r *monitor.Report) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Matured {
		s.mu.matured[r.Window] = r
	} else {
		s.mu.closed[r.Window] = r
	}
}

func (s *watchStatus) settled() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.settled = time.Now()
}

func (s *watchStatus) follow(w *watcher, durable uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mu.counts, s.mu.behind = w.monitor.Counts(), durable-min(durable, w.tail.After())
}

// watchParity is what verifications of served features found since it was looked at.
type watchParity struct {
	mu struct {
		sync.Mutex
		found foundParity
		fresh bool
	}
}

type foundParity struct {
	mismatched int64
	reason     string
}

// take adds what a verification found of a service. One that compared nothing says nothing.
func (s *watchParity) take(p *dataset.Parity, service string) {
	if p == nil {
		return
	}
	var compared int64
	var f foundParity
	var worst *dataset.FeatureParity
	for i := range p.Features {
		one := &p.Features[i]
		if one.Service != service {
			continue
		}
		compared += one.Compared
		f.mismatched += one.Mismatched
		if one.Mismatched > 0 && (worst == nil || one.Mismatched > worst.Mismatched) {
			worst = one
		}
	}
	if compared == 0 {
		return
	}
	if worst != nil {
		f.reason = fmt.Sprintf("%d of %d values that were served are others than the event log gives, most of the feature %s: %d of %d",
			f.mismatched, compared, worst.Feature, worst.Mismatched, worst.Compared)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mu.fresh && s.mu.found.mismatched > 0 {
		return // an earlier one was not looked at yet, and is worse news than any
	}
	s.mu.found, s.mu.fresh = f, true
}

func (s *watchParity) next() (f foundParity, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ok = s.mu.fresh
	s.mu.fresh = false
	return s.mu.found, ok
}

// Bounds of the metrics of one monitor.
const (
	metricColumns = 100 // of each length of windows, those likeliest to matter
	metricAlarms  = 1000
)

func monitorGauge(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("millrace_monitor_"+name, help, append([]string{"monitor"}, labels...), nil)
}

var (
	monitorAlarms    = monitorGauge("alarms", "Alarms that are raised.", "severity")
	monitorAlarm     = monitorGauge("alarm", "1 while the alarm is raised.", "subject", "severity")
	monitorDrift     = monitorGauge("drift_effect", "How far a column moved in the last window that closed: standard deviations, or the share of rows.", "window", "column")
	monitorQuality   = monitorGauge("quality", "Metrics of the last window that matured.", "window", "metric")
	monitorEstimated = monitorGauge("estimated", "Metrics of the last window that closed, estimated without labels.", "window", "metric")
	monitorRows      = monitorGauge("rows", "Predictions of the last window that closed.", "window")
	monitorCoverage  = monitorGauge("label_coverage", "Share of the predictions of the last window that matured which have a label of their own.", "window")
	monitorLag       = monitorGauge("lag_seconds", "Time since the monitor was up to date with the event log.")
	monitorBehind    = monitorGauge("lag_records", "Records of the event log that the monitor has not read.")
	monitorWatching  = monitorGauge("watching", "1 if the monitor watches, 0 if it waits for a reference or stands still.")
	monitorEvents    = monitorGauge("events_total", "Events since the monitor began.", "kind")
	monitorTold      = monitorGauge("webhook_total", "Changes of alarms for the webhook.", "outcome")
)

// lag is for how long a monitor has not been up to date with the log; those that wait for a
// reference do not count. A nil one has none.
func (m *upMonitors) lag() (most time.Duration) {
	if m == nil {
		return 0
	}
	for _, w := range m.watchers {
		w.status.mu.Lock()
		if w.status.mu.why == "" {
			most = max(most, time.Since(w.status.mu.settled))
		}
		w.status.mu.Unlock()
	}
	return most
}

// Describe implements prometheus.Collector.
func (m *upMonitors) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{monitorAlarms, monitorAlarm, monitorDrift, monitorQuality, monitorEstimated, monitorRows,
		monitorCoverage, monitorLag, monitorBehind, monitorWatching, monitorEvents, monitorTold} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (m *upMonitors) Collect(to chan<- prometheus.Metric) {
	for _, w := range m.watchers {
		gauge := func(d *prometheus.Desc, value float64, labels ...string) {
			if !math.IsNaN(value) && !math.IsInf(value, 0) {
				to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, append([]string{w.name}, labels...)...)
			}
		}
		m.collectAlarms(w.name, gauge)
		w.status.collect(gauge)
		count := func(d *prometheus.Desc, n int64, kind string) {
			to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), w.name, kind)
		}
		w.status.collectCounts(count)
		if h := w.hook; h != nil {
			count(monitorTold, h.counts.sent.Load(), "sent")
			count(monitorTold, h.counts.failed.Load(), "failed")
			count(monitorTold, h.counts.dropped.Load(), "dropped")
		}
	}
}

func (m *upMonitors) collectAlarms(name string, gauge func(d *prometheus.Desc, value float64, labels ...string)) {
	raised := map[string]int{string(monitor.Warning): 0, string(monitor.Critical): 0}
	all := m.book.seenOf(name, metricAlarms)
	for _, e := range all {
		is := e.Change == string(monitor.Raised)
		gauge(monitorAlarm, truthNumber(is), e.Subject, e.Severity)
		if is {
			raised[e.Severity]++
		}
	}
	for severity, n := range raised {
		gauge(monitorAlarms, float64(n), severity)
	}
}

func (s *watchStatus) collect(gauge func(d *prometheus.Desc, value float64, labels ...string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	gauge(monitorLag, time.Since(s.mu.settled).Seconds())
	gauge(monitorBehind, float64(s.mu.behind))
	gauge(monitorWatching, truthNumber(s.mu.why == ""))
	for window, r := range s.mu.closed {
		gauge(monitorRows, float64(r.Rows), window.String())
		for _, c := range r.Columns[:min(len(r.Columns), metricColumns)] {
			gauge(monitorDrift, c.Effect, window.String(), c.Name)
		}
		if r.Score != nil {
			gauge(monitorDrift, r.Score.Effect, window.String(), "(score)")
		}
		if r.Estimated != nil {
			for i, metric := range estimate.Metrics {
				gauge(monitorEstimated, r.Estimated.Values[i], window.String(), string(metric))
			}
		}
	}
	for window, r := range s.mu.matured {
		if r.Quality == nil {
			continue
		}
		gauge(monitorCoverage, r.Quality.Coverage, window.String())
		for i, metric := range estimate.Metrics {
			gauge(monitorQuality, r.Quality.Values[i], window.String(), string(metric))
		}
	}
}

func (s *watchStatus) collectCounts(count func(d *prometheus.Desc, n int64, kind string)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.mu.counts
	for kind, n := range map[string]int64{"prediction": c.Predictions, "outcome": c.Outcomes, "duplicate": c.Duplicates, "late": c.Late,
		"correction": c.Corrections, "unmatched": c.Unmatched, "rejected": s.mu.rejected} {
		count(monitorEvents, n, kind)
	}
}

// seenOf are the last changes of a monitor's subjects, at most limit, those raised first.
func (b *alarmBook) seenOf(monitorName string, limit int) (all []console.AlarmChange) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for key, e := range b.mu.last {
		if key.monitor == monitorName {
			all = append(all, e)
		}
	}
	slices.SortFunc(all, func(x, y console.AlarmChange) int {
		if raised := truthNumber(y.Change == string(monitor.Raised)) - truthNumber(x.Change == string(monitor.Raised)); raised != 0 {
			return int(raised)
		}
		return y.Time.Compare(x.Time)
	})
	return all[:min(limit, len(all))]
}
