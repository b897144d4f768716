// SPDX-License-Identifier: Apache-2.0

package evaluation

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace-ml/millrace/evaluation/metric"
)

// named is a metric and what the report calls it.
type named struct {
	metric.Metric
	name string
}

// parse makes the metric.
func (m *Metric) parse() (metric.Metric, error) {
	if m.Text != "" {
		return metric.Parse(m.Text)
	}
	return metric.New(m.Definition)
}

// metricSets are measured where the spec names none.
var metricSets = map[metric.Task][]string{
	metric.Binary:     {"roc_auc", "average_precision", "log_loss", "brier", "ece", "precision", "recall", "f1"},
	metric.Multiclass: {"accuracy", "balanced_accuracy", "log_loss", "f1_macro"},
	metric.Regression: {"mae", "rmse", "r2", "median_ae"},
	metric.Ranking:    {"ndcg@10", "map", "mrr"},
}

// uncalibratedSets are for scores that are no probabilities.
var uncalibratedSets = map[metric.Task][]string{
	metric.Binary:     {"roc_auc", "average_precision", "ks"},
	metric.Multiclass: {"accuracy", "balanced_accuracy", "f1_macro"},
}

// thresholded are the metrics of a binary task that take the spec's threshold where their
// name gives none.
var thresholded = []string{"accuracy", "balanced_accuracy", "precision", "recall", "specificity", "f1", "mcc", "kappa"}

// choose fills in the metrics for the task, and refuses those that do not suit it.
func (e *run) choose() error {
	texts := metricSets[e.task]
	if set, ok := uncalibratedSets[e.task]; ok && e.spec.Uncalibrated {
		texts = set
	}
	if e.metrics == nil {
		for _, text := range texts {
			m, err := metric.Parse(text)
			if err != nil {
				return fmt.Errorf("%w: %w", ErrSpec, err)
			}
			e.metrics = append(e.metrics, named{m, m.Name()})
		}
	}
	for i := range e.metrics {
		m := &e.metrics[i]
		if !m.Suits(e.task) {
			return fmt.Errorf("%w: the metric %s is not for a %s task", ErrSpec, m.name, taskNames[e.task])
		}
		if e.task == metric.Binary && slices.Contains(thresholded, m.name) && *e.spec.Threshold != thresholdDefault {
			at, err := metric.Parse(m.name + "@threshold=" + strconv.FormatFloat(*e.spec.Threshold, 'g', -1, 64))
			if err != nil {
				return fmt.Errorf("%w: %w", ErrSpec, err)
			}
			m.Metric = at
		}
	}
	return e.checkGates()
}

// checkGates checks the metrics that gates and slices name, now that all are known.
func (e *run) checkGates() error {
	var names []string
	for _, m := range e.metrics {
		names = append(names, m.name)
	}
	for i := range e.spec.Gates {
		if err := e.spec.Gates[i].Validate(names); err != nil {
			return fmt.Errorf("%w: gates[%d]: %w", ErrSpec, i, err)
		}
	}
	for _, name := range e.spec.SliceMetrics {
		if !slices.Contains(names, name) {
			return fmt.Errorf("%w: slice_metrics: %q is none of %s", ErrSpec, name, strings.Join(names, ", "))
		}
	}
	return nil
}

// sliceMetrics are those measured in slices: the ones asked for, or the first two and those
// of gates over slices.
func (e *run) sliceMetrics() []named {
	const first = 2
	var chosen []named
	for i, m := range e.metrics {
		wanted := i < first
		if e.spec.SliceMetrics != nil {
			wanted = slices.Contains(e.spec.SliceMetrics, m.name)
		}
		for _, g := range e.spec.Gates {
			sliced := g.EverySlice || g.Slice != ""
			wanted = wanted || sliced && (g.Metric == m.name || g.Metric == "" && i == 0)
		}
		if wanted {
			chosen = append(chosen, m)
		}
	}
	return chosen
}

func better(m metric.Metric) string {
	switch {
	case m.Better() > 0:
		return "higher"
	case m.Better() < 0:
		return "lower"
	}
	return ""
}
