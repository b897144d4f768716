// SPDX-License-Identifier: Apache-2.0

package evaluation

import (
	"context"
	"fmt"
	"math"

	"github.com/millrace-ml/millrace/evaluation/gate"
	"github.com/millrace-ml/millrace/evaluation/interval"
	"github.com/millrace-ml/millrace/evaluation/metric"
	"github.com/millrace-ml/millrace/evaluation/report"
	"github.com/millrace-ml/millrace/featurestore/column"
)

// Bounds of the draws.
const (
	drawsMin = 20
	drawsMax = interval.DrawsMax
)

// contest is what is measured on the same rows: the model, and maybe the champion.
type contest struct {
	metrics []named
	rows    int
	model   []metric.Statistic
	against []metric.Statistic // nil without a champion
	draws   *interval.Draws    // nil without a bootstrap
}

// sample is the rows with some scores; rows are those of a slice, nil for all.
func (e *run) sample(scores []float64, rows []int32) *metric.Sample {
	s := &metric.Sample{
		Task: e.task, Labels: e.labels, Scores: scores, Outputs: e.outputs, Uncalibrated: e.spec.Uncalibrated,
		Classes: e.classes, Weights: e.weights, Queries: e.queries, Columns: e.columns,
	}
	if rows == nil {
		return s
	}
	s.Labels, s.Weights, s.Queries = pickRows(e.labels, rows, 1), pickRows(e.weights, rows, 1), pickRows(e.queries, rows, 1)
	s.Scores = pickRows(scores, rows, e.outputs)
	s.Columns = pickColumns(e.columns, rows)
	return s
}

func pickRows[T any](values []T, rows []int32, each int) []T {
	if values == nil {
		return nil
	}
	picked := make([]T, 0, len(rows)*each)
	for _, r := range rows {
		picked = append(picked, values[int(r)*each:(int(r)+1)*each]...)
	}
	return picked
}

func pickColumns(b *column.Batch, rows []int32) *column.Batch {
	if b == nil {
		return nil
	}
	picked := &column.Batch{Rows: len(rows)}
	for _, c := range b.Columns {
		picked.Columns = append(picked.Columns, column.Column{
			Name: c.Name, Type: c.Type, Numbers: pickRows(c.Numbers, rows, 1), Ints: pickRows(c.Ints, rows, 1),
			Texts: pickRows(c.Texts, rows, 1), Nulls: pickNulls(c.Nulls, rows),
		})
	}
	return picked
}

// pickNulls knows that marks may end before the column does.
func pickNulls(nulls []bool, rows []int32) []bool {
	if nulls == nil {
		return nil
	}
	picked := make([]bool, len(rows))
	for i, r := range rows {
		picked[i] = int(r) < len(nulls) && nulls[r]
	}
	return picked
}

// prepare chooses the metrics and gives definitions the columns that were read.
func (e *run) prepare(context.Context) error {
	if err := e.choose(); err != nil {
		return err
	}
	for i := range e.spec.Metrics {
		if e.spec.Metrics[i].Text == "" {
			e.columns = e.rows
		}
	}
	if err := e.sample(e.scores, nil).Validate(); err != nil {
		return fmt.Errorf("%w: %w", ErrData, err)
	}
	return nil
}

// contest measures metrics on some rows.
func (e *run) contest(ctx context.Context, metrics []named, rows []int32) (*contest, error) {
	c := &contest{metrics: metrics, rows: len(e.labels)}
	design := interval.Design{Rows: len(e.labels), Clusters: e.clusters}
	if rows != nil {
		c.rows, design.Rows, design.Clusters = len(rows), len(rows), pickRows(e.clusters, rows, 1)
	}
	var err error
	if c.model, err = prepareAll(e.sample(e.scores, rows), metrics); err != nil {
		return nil, err
	}
	if e.againstScores != nil {
		if c.against, err = prepareAll(e.sample(e.againstScores, rows), metrics); err != nil {
			return nil, err
		}
	}
	if b := e.spec.Bootstrap; *b.Draws > 0 {
		all := append(append([]metric.Statistic{}, c.model...), c.against...)
		c.draws, err = interval.Bootstrap(ctx, all, design, interval.Options{Draws: *b.Draws, Level: b.Level, Seed: b.Seed, Workers: e.Workers})
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrSpec, err)
		}
	}
	return c, nil
}

func prepareAll(s *metric.Sample, metrics []named) ([]metric.Statistic, error) {
	list := make([]metric.Metric, len(metrics))
	for i, m := range metrics {
		list[i] = m.Metric
	}
	stats, err := metric.PrepareAll(s, list)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrSpec, err)
	}
	return stats, nil
}

// report is what was measured.
func (c *contest) report() []report.Metric {
	list := make([]report.Metric, len(c.metrics))
	for i, m := range c.metrics {
		list[i] = report.Metric{Name: m.name, Better: better(m), Value: c.estimate(i, c.model[i]), Rows: c.rows}
		if c.against != nil {
			against := c.estimate(c.champion(i), c.against[i])
			list[i].Against = &against
			list[i].Difference = c.difference(i)
		}
		list[i].Note = c.note(i)
	}
	return list
}

// champion is the place of the champion's metric i among the draws.
func (c *contest) champion(i int) int { return len(c.model) + i }

func (c *contest) estimate(place int, s metric.Statistic) report.Estimate {
	if c.draws != nil {
		return estimateOf(c.draws.Interval(place))
	}
	return report.Estimate{Value: finite(s.Value(nil))}
}

func (c *contest) difference(i int) *report.Estimate {
	if c.draws == nil {
		return &report.Estimate{Value: finite(c.model[i].Value(nil) - c.against[i].Value(nil))}
	}
	e := estimateOf(c.draws.Difference(i, c.champion(i)))
	return &e
}

func estimateOf(v interval.Interval) report.Estimate {
	e := report.Estimate{Value: finite(v.Value)}
	if v.Defined() {
		e.Low, e.High, e.Level = finite(v.Low), finite(v.High), v.Level
	}
	return e
}

func (c *contest) note(i int) string {
	if c.draws == nil {
		if math.IsNaN(c.model[i].Value(nil)) {
			return undefinedNote
		}
		return ""
	}
	v := c.draws.Interval(i)
	switch {
	case math.IsNaN(v.Value):
		return undefinedNote
	case !v.Defined() && v.Undefined > 0:
		return fmt.Sprintf("no interval: it is not defined on %.0f %% of the draws", 100*v.Undefined)
	case v.SE > 0 && math.Abs(v.Bias) > v.SE/2:
		return "the draws are biased by more than half their deviation: read the interval with care"
	}
	return ""
}

const undefinedNote = "it is not defined for these rows"

// finite is nil for what is no finite number.
func finite(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

// measure measures all rows.
func (e *run) measure(ctx context.Context) error {
	e.Progress("measure", 0, -1)
	c, err := e.contest(ctx, e.metrics, nil)
	if err != nil {
		return err
	}
	e.all = c
	e.report.Metrics = c.report()
	for _, b := range e.baselines {
		stats, err := prepareAll(e.sample(b.scores, nil), e.metrics)
		if err != nil {
			return err
		}
		for i := range stats {
			m := &e.report.Metrics[i]
			m.Baselines = append(m.Baselines, finite(stats[i].Value(nil)))
		}
		e.report.Baselines = append(e.report.Baselines, report.Model{Name: b.name})
	}
	return nil
}

// trivial makes the baselines: those of the spec, or what is best for the labels without
// looking at a feature. The labels are those evaluated, which flatters a baseline.
func (e *run) trivial() error {
	n := e.rows.Rows
	for i := range e.spec.Baselines {
		b := &e.spec.Baselines[i]
		if e.task == metric.Multiclass {
			return fmt.Errorf("%w: baselines[%d]: a multi-class task has the shares of the classes as its baseline", ErrSpec, i)
		}
		var scores []float64
		if b.Column != "" {
			var err error
			if scores, _, err = columnScores(e.rows.Column(b.Column), e.numbers); err != nil {
				return err
			}
			if err := e.checkScores("baseline "+b.Column, scores, 1); err != nil {
				return err
			}
		} else {
			scores = constant(n, *b.Constant)
			if err := e.checkScores("baseline", scores[:1], 1); err != nil {
				return err
			}
		}
		e.baselines = append(e.baselines, baseline{b.name(), scores})
	}
	if e.baselines == nil {
		e.baselines = append(e.baselines, e.best())
	}
	return nil
}

// best is the constant of the labels: the share of each class, or the mean.
func (e *run) best() baseline {
	n := len(e.labels)
	if e.task == metric.Multiclass {
		shares, total := make([]float64, e.outputs), 0.
		for i, label := range e.labels {
			shares[int(label)] += e.weight(i)
			total += e.weight(i)
		}
		for k := range shares {
			shares[k] /= total
		}
		scores := make([]float64, 0, n*e.outputs)
		for range n {
			scores = append(scores, shares...)
		}
		return baseline{"shares of the classes", scores}
	}
	sum, weight := 0., 0.
	for i, label := range e.labels {
		w := e.weight(i)
		sum, weight = sum+w*label, weight+w
	}
	name := "mean of the label"
	switch e.task {
	case metric.Binary:
		name = "share of positives"
	case metric.Ranking:
		name = "all equal"
	}
	return baseline{name, constant(n, sum/weight)}
}

func constant(n int, v float64) []float64 {
	scores := make([]float64, n)
	for i := range scores {
		scores[i] = v
	}
	return scores
}

// tests compares with the champion.
func (e *run) tests(context.Context) error {
	if e.againstScores == nil {
		return nil
	}
	for i, m := range e.metrics {
		e.report.Tests = append(e.report.Tests, e.all.tests(i, m, "", e.spec.Margin, i == 0)...)
	}
	e.delong()
	return e.mcnemar()
}

// tests are those of metric i by the bootstrap.
func (c *contest) tests(i int, m named, slice string, margin float64, withMargin bool) []report.Test {
	if c.draws == nil || m.Better() == 0 {
		return nil
	}
	tests := []report.Test{{
		Name: gate.PairedBootstrap, Metric: m.name, Slice: slice, Hypothesis: gate.NoDifference,
		P: finite(c.draws.PEqual(i, c.champion(i))),
	}}
	if withMargin && margin > 0 {
		a, b := i, c.champion(i)
		if m.Better() < 0 {
			a, b = b, a
		}
		tests = append(tests, report.Test{
			Name: gate.PairedBootstrap, Metric: m.name, Slice: slice, Hypothesis: fmt.Sprintf("worse by %v or more", margin),
			P: finite(c.draws.P(a, b, margin)),
		})
	}
	return tests
}

// delong compares the areas under the ROC curves.
func (e *run) delong() {
	if e.task != metric.Binary || e.weights != nil {
		return
	}
	for _, m := range e.metrics {
		if m.name != "roc_auc" {
			continue
		}
		c, err := interval.DeLong(e.labels, e.scores, e.againstScores, e.clusters)
		if err != nil {
			e.warn("DeLong's test was not made: %v", err)
			return
		}
		e.report.Tests = append(e.report.Tests, report.Test{Name: "delong", Metric: m.name, Hypothesis: gate.NoDifference, Statistic: finite(c.Z), P: finite(c.P)})
	}
}

// mcnemar compares which rows are classified right, at the threshold.
func (e *run) mcnemar() error {
	if e.task != metric.Binary && e.task != metric.Multiclass || e.task == metric.Binary && e.spec.Uncalibrated && *e.spec.Threshold == thresholdDefault {
		return nil
	}
	c, err := interval.McNemar(e.right(e.scores), e.right(e.againstScores), e.clusters)
	if err != nil {
		e.warn("McNemar's test was not made: %v", err)
		return nil
	}
	e.report.Tests = append(e.report.Tests, report.Test{
		Name: "mcnemar", Metric: "accuracy", Hypothesis: "both err equally often", Statistic: finite(c.Statistic), P: finite(c.P),
	})
	return nil
}

// right marks the rows that are classified right.
func (e *run) right(scores []float64) []bool {
	right := make([]bool, len(e.labels))
	for i, label := range e.labels {
		right[i] = e.predicted(scores, i) == int(label)
	}
	return right
}

// predicted is the class that scores give a row.
func (e *run) predicted(scores []float64, row int) int {
	if e.task == metric.Binary {
		if scores[row] >= *e.spec.Threshold {
			return 1
		}
		return 0
	}
	best := 0
	of := scores[row*e.outputs : (row+1)*e.outputs]
	for class, v := range of {
		if v > of[best] {
			best = class
		}
	}
	return best
}

func (e *run) warn(format string, args ...any) {
	e.report.Warnings = append(e.report.Warnings, fmt.Sprintf(format, args...))
}
