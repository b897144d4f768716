// SPDX-License-Identifier: Apache-2.0

package main

import (
	"slices"

	"github.com/prometheus/client_golang/prometheus"
)

// labelingMetrics are the tasks and annotations of each project. What it shows is read when
// it is asked for; there is a series for each project of the files, and none for people.
type labelingMetrics struct {
	desk                             *labelDesk
	tasks, leases, annotations, lead *prometheus.Desc
}

func newLabelingMetrics(d *labelDesk) *labelingMetrics {
	describe := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc("millrace_labeling_"+name, help, labels, nil)
	}
	return &labelingMetrics{desk: d,
		tasks:       describe("tasks", "Tasks of a labelling project, by status: open, review, done or gold.", "project", "status"),
		leases:      describe("leases", "Tasks that somebody has now.", "project"),
		annotations: describe("annotations", "Annotations that count.", "project"),
		lead:        describe("lead_seconds_median", "Median of the annotators' median times for an annotation.", "project"),
	}
}

// Describe implements prometheus.Collector.
func (m *labelingMetrics) Describe(out chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{m.tasks, m.leases, m.annotations, m.lead} {
		out <- d
	}
}

// Collect implements prometheus.Collector.
func (m *labelingMetrics) Collect(out chan<- prometheus.Metric) {
	for _, p := range m.desk.projects {
		c, err := m.desk.store.Counts(p.Name)
		if err != nil {
			continue // it is defined when the desk is opened, so there is none
		}
		gauge := func(d *prometheus.Desc, v float64, labels ...string) {
			out <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, append([]string{p.Name}, labels...)...)
		}
		for status, n := range map[string]int{"open": c.Open, "review": c.Review, "done": c.Done, "gold": c.Gold} {
			gauge(m.tasks, float64(n), status)
		}
		gauge(m.leases, float64(c.Leased))
		annotations := 0
		var leads []float64
		for _, who := range c.People {
			if annotations += who.Annotations; who.Lead > 0 {
				leads = append(leads, who.Lead.Seconds())
			}
		}
		gauge(m.annotations, float64(annotations))
		if slices.Sort(leads); len(leads) > 0 {
			gauge(m.lead, leads[len(leads)/2])
		}
	}
}
