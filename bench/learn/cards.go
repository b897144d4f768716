// SPDX-License-Identifier: Apache-2.0

package learn

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/millrace-ml/millrace/evaluation/metric"
	"github.com/millrace-ml/millrace/featurestore/dataset"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/training"
	"github.com/millrace-ml/millrace/training/learn"
	"github.com/millrace-ml/millrace/training/split"
)

// The splits of the published protocol, by the first day of training. The four last ones
// are reported, the first of which is the single split; the four before are what
// parameters are chosen on.
var (
	validationStarts = []string{"2018-06-20", "2018-06-27", "2018-07-04", "2018-07-11"}
	singleStart      = []string{"2018-07-25"}
	testStarts       = []string{"2018-07-25", "2018-08-01", "2018-08-08", "2018-08-15"}
)

// metricNames are those of the published tables, in their order.
var metricNames = []string{"roc_auc", "average_precision", "card_precision@100"}

// cards is the training set of the payments.
type cards struct {
	table   *learn.Table
	metrics []metric.Metric
	folds   map[string]*fold // by start
}

// fold is a split of the protocol.
type fold struct {
	name        string
	train, test *learn.Table
}

// openCards makes the training set, with the features of the example, and reads it.
func (l *Lab) openCards(ctx context.Context) (*cards, error) {
	if l.cards != nil {
		return l.cards, nil
	}
	payments, err := l.published("card-transactions", "transactions.parquet")
	if err != nil {
		return nil, err
	}
	l.progress("training set of the payments")
	text, err := l.definitions(payments)
	if err != nil {
		return nil, err
	}
	catalog, err := definition.Parse("features.yaml", text)
	if err != nil {
		return nil, err
	}
	path := filepath.Join(l.Folder, "cards.parquet")
	_, err = dataset.Build(ctx, dataset.Options{
		Catalog: catalog, Service: "fraud", Output: path, Workers: 2,
		Labels: dataset.Labels{Source: "payments", Names: []string{"is_fraud"}},
	})
	if err != nil {
		return nil, err
	}
	spec := &training.Spec{Name: "cards", Label: "is_fraud", Time: "event_timestamp", Group: "customer_id"}
	spec.EnsureDefaults()
	data, err := training.Read(ctx, spec, path)
	if err != nil {
		return nil, err
	}
	c := &cards{table: data.Table, folds: map[string]*fold{}}
	if c.metrics, err = cardMetrics(); err != nil {
		return nil, err
	}
	l.cards = c
	return c, nil
}

// definitions are the features of the example, of the payments at a path.
func (l *Lab) definitions(payments string) ([]byte, error) {
	text, err := os.ReadFile(filepath.Join(l.Source, "examples", "card-fraud", "features.yaml"))
	if err != nil {
		return nil, err
	}
	const input = "path: .millrace/payments.parquet"
	if !strings.Contains(string(text), input) {
		return nil, fmt.Errorf("examples/card-fraud/features.yaml has no input %q to replace", input)
	}
	return []byte(strings.Replace(string(text), input, fmt.Sprintf("path: %q", payments), 1)), nil
}

func cardMetrics() ([]metric.Metric, error) {
	auc, err := metric.Parse(metricNames[0])
	if err != nil {
		return nil, err
	}
	precision, err := metric.Parse(metricNames[1])
	if err != nil {
		return nil, err
	}
	card, err := metric.New(metric.Definition{
		Name: metricNames[2], Expression: "precision_at(100)", By: "day(event_timestamp)", Unit: "customer_id", Once: true, Better: "higher",
	})
	return []metric.Metric{auc, precision, card}, err
}

// fold is the split that begins on a day.
func (c *cards) fold(start string) (*fold, error) {
	if f := c.folds[start]; f != nil {
		return f, nil
	}
	plan, err := split.Parse([]byte("{method: time, start: " + start + ", train: 7d, gap: 7d, test: 7d, exclude_known: {group: customer_id, delay: 7d}}"))
	if err != nil {
		return nil, err
	}
	folds, err := plan.Split(split.Rows{
		Times: c.table.Times, Groups: c.table.Groups, Labels: c.table.Labels, Classes: len(c.table.Classes), Column: c.texts,
	})
	if err != nil {
		return nil, err
	}
	f := &fold{name: start, train: c.table.Select(folds[0].Train), test: c.table.Select(folds[0].Test)}
	f.test.Carried = c.table.Carried.Select(folds[0].Test)
	c.folds[start] = f
	return f, nil
}

func (c *cards) texts(name string) ([]string, error) {
	column := c.table.Carried.Column(name)
	if column == nil {
		return nil, fmt.Errorf("the training set has no column %q", name)
	}
	texts := make([]string, len(column.Ints))
	for row, value := range column.Ints {
		texts[row] = strconv.FormatInt(value, 10)
	}
	return texts, nil
}

// measure fits a trainer on splits and returns the means of the metrics, and each split's.
func (c *cards) measure(ctx context.Context, trainer learn.Trainer, starts []string) (means []float64, each [][]float64, err error) {
	means = make([]float64, len(c.metrics))
	for _, start := range starts {
		f, err := c.fold(start)
		if err != nil {
			return nil, nil, err
		}
		model, err := trainer.Fit(ctx, f.train, nil, learn.FitOptions{Seed: seed})
		if err != nil {
			return nil, nil, fmt.Errorf("split %s: %w", start, err)
		}
		values, err := c.judge(model, f.test)
		if err != nil {
			return nil, nil, fmt.Errorf("split %s: %w", start, err)
		}
		for i, v := range values {
			means[i] += v / float64(len(starts))
		}
		each = append(each, values)
	}
	return means, each, nil
}

// judge computes the metrics of a model by the evaluator.
func (c *cards) judge(model learn.Model, test *learn.Table) ([]float64, error) {
	scores := make([]float32, test.Rows())
	model.Predict(test.Values, scores)
	return c.judgeScores(scores, test)
}

func (c *cards) judgeScores(scores []float32, test *learn.Table) ([]float64, error) {
	sample := &metric.Sample{
		Task: metric.Binary, Labels: widen(test.Labels), Scores: widen(scores), Outputs: 1, Uncalibrated: true,
		Classes: test.Classes, Columns: test.Carried,
	}
	if err := sample.Validate(); err != nil {
		return nil, err
	}
	values := make([]float64, len(c.metrics))
	for i, m := range c.metrics {
		statistic, err := m.Prepare(sample)
		if err != nil {
			return nil, err
		}
		values[i] = statistic.Value(nil)
	}
	return values, nil
}

func widen(values []float32) []float64 {
	wide := make([]float64, len(values))
	for i, v := range values {
		wide[i] = float64(v)
	}
	return wide
}
