// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"slices"

	"github.com/goccy/go-yaml"

	"github.com/millrace-ml/millrace/evaluation/metric"
	"github.com/millrace-ml/millrace/training"
	"github.com/millrace-ml/millrace/training/learn"
)

// Training knows no metrics of its own: the evaluator's are handed to it here, so that
// a candidate is chosen by the number that it will be judged by.

// reportedMetrics are what is shown of each candidate, besides what it is chosen by.
var reportedMetrics = map[learn.Task][]string{
	learn.Binary:     {"roc_auc", "average_precision", "log_loss", "brier"},
	learn.Multiclass: {"accuracy", "log_loss", "f1_macro"},
	learn.Regression: {"rmse", "mae", "r2"},
}

var metricTasks = map[learn.Task]metric.Task{learn.Binary: metric.Binary, learn.Multiclass: metric.Multiclass, learn.Regression: metric.Regression}

// trainingMetrics are those that a specification asks for and the usual ones.
func trainingMetrics(s *training.Spec) ([]training.Metric, error) {
	task, err := learn.ParseTask(s.Task)
	if err != nil {
		return nil, err
	}
	var all []metric.Metric
	add := func(m metric.Metric) {
		if !slices.ContainsFunc(all, func(other metric.Metric) bool { return other.Name() == m.Name() }) {
			all = append(all, m)
		}
	}
	for i, item := range s.Metrics {
		m, err := metricOf(item)
		if err != nil {
			return nil, fmt.Errorf("trainings.%s.metrics[%d]: %w", s.Name, i, err)
		}
		add(m)
	}
	for _, name := range append([]string{s.Metric}, reportedMetrics[task]...) {
		if slices.ContainsFunc(all, func(m metric.Metric) bool { return m.Name() == name }) {
			continue
		}
		m, err := metric.Parse(name)
		if err != nil {
			return nil, fmt.Errorf("trainings.%s.metric: %w", s.Name, err)
		}
		add(m)
	}
	metrics := make([]training.Metric, len(all))
	for i, m := range all {
		metrics[i] = training.Metric{Name: m.Name(), Higher: m.Better() > 0, Compute: func(t *learn.Table, predictions []float32) (float64, error) {
			return computeMetric(m, task, t, predictions)
		}}
	}
	return metrics, nil
}

// metricOf reads a name or a definition.
func metricOf(item any) (metric.Metric, error) {
	if name, ok := item.(string); ok {
		return metric.Parse(name)
	}
	data, err := yaml.Marshal(item)
	if err != nil {
		return nil, err
	}
	var d metric.Definition
	if err := yaml.UnmarshalWithOptions(data, &d, yaml.Strict()); err != nil {
		return nil, err
	}
	return metric.New(d)
}

// computeMetric hands rows and predictions over to the evaluator.
func computeMetric(m metric.Metric, task learn.Task, t *learn.Table, predictions []float32) (float64, error) {
	s := &metric.Sample{
		Task: metricTasks[task], Labels: widen(t.Labels), Scores: widen(predictions), Outputs: t.Outputs(),
		Classes: t.Classes, Columns: t.Carried,
	}
	if err := s.Validate(); err != nil {
		return 0, err
	}
	statistic, err := m.Prepare(s)
	if err != nil {
		return 0, err
	}
	return statistic.Value(nil), nil
}

func widen(values []float32) []float64 {
	wide := make([]float64, len(values))
	for i, v := range values {
		wide[i] = float64(v)
	}
	return wide
}
