// SPDX-License-Identifier: Apache-2.0

package learn

import (
	"context"
	"encoding/csv"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"

	"github.com/millrace-ml/millrace/evaluation/interval"
	"github.com/millrace-ml/millrace/evaluation/metric"
	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/training"
	"github.com/millrace-ml/millrace/training/learn"
	"github.com/millrace-ml/millrace/training/split"
)

// halfHours is how many rows a day has.
const halfHours = 48

// The stream's model is fitted anew each day to the twelve weeks before. Method, parameters
// and the length of the window were chosen among seven on the first year, which is not
// reported: of 50 or 100 trees, depth 4, 6 or 8, and two weeks to half a year.
const (
	streamPlan   = "{method: prequential, train: 4032 rows, test: 48 rows, window: rolling}"
	streamMethod = "trees"
	yearRows     = 365 * halfHours
)

var streamParameters = learn.Values{"trees": 50, "max_depth": 4}

// Electricity predicts each half-hour of the electricity market from the second year on,
// with a model that is fitted anew each day, and compares its accuracy with that of the
// last label. It returns the difference and the low end of its 95 % interval; days are
// what is drawn, since half-hours of a day are alike.
//
// No feature compares a row's price with the prices before it: the label says whether it is
// above their mean, so that such a feature would be the label.
func Electricity(ctx context.Context, l *Lab) ([]float64, any, error) {
	path, err := l.published("electricity", "elec.csv")
	if err != nil {
		return nil, nil, err
	}
	table, err := readElectricity(path)
	if err != nil {
		return nil, nil, err
	}
	predicted, tested, err := l.prequential(ctx, table)
	if err != nil {
		return nil, nil, err
	}
	draws, err := compareAccuracy(ctx, table, tested, predicted)
	if err != nil {
		return nil, nil, err
	}
	difference, ours, last := draws.Difference(0, 1), draws.Interval(0), draws.Interval(1)
	details := map[string]any{
		"accuracy": ours, "last label": last, "difference": difference, "rows judged": len(tested), "days": draws.Units,
		"plan": streamPlan, "method": streamMethod, "parameters": streamParameters, "features": names(table),
	}
	return []float64{difference.Value, difference.Low}, details, nil
}

func names(t *learn.Table) (list []string) {
	for _, f := range t.Features {
		list = append(list, f.Name)
	}
	return list
}

// lags are how many half-hours back labels are looked at: the hour before, and the same
// time of the day and of the week before.
var lags = []int{1, 2, 3, halfHours, 7 * halfHours}

// readElectricity reads the stream. Beside the columns given, features are labels of
// earlier rows, which are known at a row's time, and the share of rises in the day before.
func readElectricity(path string) (*learn.Table, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := csv.NewReader(f)
	header, err := r.Read()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	t := &learn.Table{Task: learn.Binary, Classes: []string{"0", "1"}}
	for _, name := range header[:len(header)-1] {
		t.Features = append(t.Features, learn.Feature{Name: name, Type: column.Float64})
	}
	t.Values = make([][]float32, len(t.Features))
	for line := 2; ; line++ {
		row, err := r.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		for i, cell := range row {
			x, err := strconv.ParseFloat(cell, 32)
			if err != nil {
				return nil, fmt.Errorf("%s: line %d: %w", path, line, err)
			}
			if i == len(t.Values) {
				t.Labels = append(t.Labels, float32(x))
			} else {
				t.Values[i] = append(t.Values[i], float32(x))
			}
		}
		t.Times = append(t.Times, int64(line))
	}
	addLags(t)
	return t, nil
}

func addLags(t *learn.Table) {
	add := func(name string, values []float32) {
		t.Features = append(t.Features, learn.Feature{Name: name, Type: column.Float64})
		t.Values = append(t.Values, values)
	}
	for _, lag := range lags {
		values := make([]float32, t.Rows())
		for row := lag; row < t.Rows(); row++ {
			values[row] = t.Labels[row-lag]
		}
		add("class_"+strconv.Itoa(lag)+"_before", values)
	}
	share, sum := make([]float32, t.Rows()), float32(0)
	for row := range share {
		share[row] = sum / halfHours
		sum += t.Labels[row]
		if row >= halfHours {
			sum -= t.Labels[row-halfHours]
		}
	}
	add("rises_of_the_day_before", share)
}

// prequential predicts each test window by a model of what came before it.
func (l *Lab) prequential(ctx context.Context, t *learn.Table) (scores []float32, tested []int32, err error) {
	plan, err := split.Parse([]byte(streamPlan))
	if err != nil {
		return nil, nil, err
	}
	folds, err := plan.Split(split.Rows{Times: t.Times, Labels: t.Labels, Classes: 2})
	if err != nil {
		return nil, nil, err
	}
	folds = slices.DeleteFunc(folds, func(f split.Fold) bool { return f.Test[0] < yearRows })
	if l.Quick {
		folds = folds[:min(3, len(folds))]
	}
	methods := training.Methods()
	method := methods[slices.IndexFunc(methods, func(m *learn.Method) bool { return m.Name == streamMethod })]
	values, err := method.Complete(streamParameters)
	if err != nil {
		return nil, nil, err
	}
	trainer, err := method.New(values)
	if err != nil {
		return nil, nil, err
	}
	for i, f := range folds {
		if i%100 == 0 {
			l.progress("electricity, day %d of %d", i+1, len(folds))
		}
		model, err := trainer.Fit(ctx, t.Select(f.Train), nil, learn.FitOptions{Seed: 1})
		if err != nil {
			return nil, nil, fmt.Errorf("day %d: %w", i+1, err)
		}
		test := t.Select(f.Test)
		to := make([]float32, test.Rows())
		model.Predict(test.Values, to)
		scores, tested = append(scores, to...), append(tested, f.Test...)
	}
	return scores, tested, nil
}

// compareAccuracy draws days and computes the accuracy of the scores and of the last label.
func compareAccuracy(ctx context.Context, t *learn.Table, rows []int32, scores []float32) (*interval.Draws, error) {
	ours, last, days := &hits{}, &hits{}, make([]int32, len(rows))
	for i, row := range rows {
		truth := t.Labels[row] == 1
		ours.right = append(ours.right, (scores[i] > 0) == truth)
		last.right = append(last.right, (t.Labels[row-1] == 1) == truth)
		days[i] = row / halfHours
	}
	return interval.Bootstrap(ctx, []metric.Statistic{ours, last}, interval.Design{Rows: len(rows), Clusters: days}, interval.Options{Draws: 2000, Seed: 1})
}

// hits is accuracy as a statistic.
type hits struct{ right []bool }

var _ metric.Statistic = (*hits)(nil)

// Value implements metric.Statistic.
func (h *hits) Value(counts []uint8) float64 {
	right, all := 0, 0
	for i, yes := range h.right {
		n := 1
		if counts != nil {
			n = int(counts[i])
		}
		all += n
		if yes {
			right += n
		}
	}
	return float64(right) / float64(all)
}

// Clone implements metric.Statistic.
func (h *hits) Clone() metric.Statistic { return h }
