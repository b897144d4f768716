// SPDX-License-Identifier: Apache-2.0

package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace-ml/millrace/labeling/groundtruth"
)

// feedbackMetrics shows feedback to Prometheus. Everything is read when it is collected.
type feedbackMetrics struct{ feedback *upFeedback }

var (
	feedbackDesc        = prometheus.NewDesc("millrace_feedback_total", "Feedback by what became of it: accepted, duplicate, refused, of which conflict, failed to be stored.", []string{"outcome"}, nil)
	feedbackSeenDesc    = prometheus.NewDesc("millrace_feedback_ids", "Feedback ids that are remembered to tell repeats.", nil, nil)
	feedbackJoinedDesc  = prometheus.NewDesc("millrace_feedback_joined_total", "Feedback by whether it found its prediction: joined, out_of_window (of the joined: too early or too late to count), unmatched (no such prediction came in time).", []string{"label", "outcome"}, nil)
	feedbackWaitingDesc = prometheus.NewDesc("millrace_feedback_waiting", "Feedback that waits for its prediction.", []string{"label"}, nil)
	labelRowsDesc       = prometheus.NewDesc("millrace_label_predictions", "Predictions whose label may still come or change.", []string{"label"}, nil)
	labelMaturedDesc    = prometheus.NewDesc("millrace_label_matured_total", "Predictions whose window ended.", []string{"label"}, nil)
	labelDisputedDesc   = prometheus.NewDesc("millrace_label_contradicted_total", "Labels told with feedback that was not of one mind.", []string{"label"}, nil)
)

var _ prometheus.Collector = (*feedbackMetrics)(nil)

// Describe implements prometheus.Collector.
func (m *feedbackMetrics) Describe(to chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{feedbackDesc, feedbackSeenDesc, feedbackJoinedDesc, feedbackWaitingDesc, labelRowsDesc, labelMaturedDesc, labelDisputedDesc} {
		to <- d
	}
}

// Collect implements prometheus.Collector.
func (m *feedbackMetrics) Collect(to chan<- prometheus.Metric) {
	count := func(d *prometheus.Desc, n int64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(n), labels...)
	}
	gauge := func(d *prometheus.Desc, n int, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, float64(n), labels...)
	}
	s := m.feedback.collector.Stats()
	count(feedbackDesc, s.Accepted, "accepted")
	count(feedbackDesc, s.Duplicates, "duplicate")
	count(feedbackDesc, s.Refused, "refused")
	count(feedbackDesc, s.Conflicts, "conflict")
	count(feedbackDesc, s.Failed, "failed")
	gauge(feedbackSeenDesc, s.Seen)
	for _, j := range m.feedback.joins {
		name, l := j.label.Name, j.stats.Load()
		if l == nil {
			l = &groundtruth.LiveStats{} // it has not looked yet
		}
		count(feedbackJoinedDesc, l.Joined, name, "joined")
		count(feedbackJoinedDesc, l.OutOfWindow, name, "out_of_window")
		count(feedbackJoinedDesc, l.Unmatched, name, "unmatched")
		gauge(feedbackWaitingDesc, l.Orphans, name)
		gauge(labelRowsDesc, l.Predictions, name)
		count(labelMaturedDesc, l.Matured, name)
		count(labelDisputedDesc, l.Contradicted, name)
	}
}
