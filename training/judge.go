// SPDX-License-Identifier: Apache-2.0

package training

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/training/calibration"
	"github.com/millrace-ml/millrace/training/learn"
	"github.com/millrace-ml/millrace/training/tuning"
)

// curvePointsMax bounds a learning curve; a longer one is thinned.
const curvePointsMax = 1000

// judge finds a candidate's parameters and how good it is on the folds. What is wrong
// with the candidate is in its score; errors are those that end the build.
func (b *builder) judge(ctx context.Context, c Candidate) (CandidateScore, error) {
	began := time.Now()
	score := CandidateScore{Name: c.Name, Method: c.Method, Metrics: Scores{}}
	method, err := methodFor(c.Method, b.task)
	if err == nil {
		score.Parameters, err = method.Complete(c.Parameters)
	}
	if err == nil && c.Search != nil {
		score.Parameters, score.Trials, err = b.search(ctx, c, method, score.Parameters)
	}
	if err == nil {
		err = b.scoreFolds(ctx, method, &score)
	}
	score.Seconds = time.Since(began).Seconds()
	if ctx.Err() != nil {
		return score, context.Cause(ctx)
	}
	if err != nil {
		score.Error = err.Error()
		b.Logger.Warn("candidate is out", "candidate", c.Name, "error", err)
	}
	return score, b.recordCandidate(ctx, &score)
}

// scoreFolds fits and judges on every fold, with what the report shows.
func (b *builder) scoreFolds(ctx context.Context, method *learn.Method, score *CandidateScore) error {
	for i := range b.folds {
		f := &b.folds[i]
		p := b.partsOf(f)
		var curves []curve
		progress := func(step, total int, metrics map[string]float64) error {
			b.Progress(fmt.Sprintf("%s, fold %s", score.Name, f.name), step, total)
			curves = recordCurves(curves, step, metrics)
			return ctx.Err()
		}
		s, err := b.fit(ctx, method, score.Parameters, p.train, p.valid, p.calibrate, progress)
		if err != nil {
			return fmt.Errorf("fold %s: %w", f.name, err)
		}
		predictions := s.follow(p.test)
		metrics, err := b.measure(p.test, predictions)
		if err != nil {
			return fmt.Errorf("fold %s: %w", f.name, err)
		}
		score.Folds = append(score.Folds, metrics)
		score.describe, score.curves = s.model.Describe(), curves
		if b.Predictions != "" {
			score.predictions = append(score.predictions, predictions)
		}
	}
	score.Metrics = meanOf(score.Folds)
	return nil
}

// measure computes all metrics. Predictions that are no numbers are an error.
func (b *builder) measure(t *learn.Table, predictions []float32) (Scores, error) {
	if i := slices.IndexFunc(predictions, func(p float32) bool { return p != p || math.IsInf(float64(p), 0) }); i >= 0 {
		return nil, fmt.Errorf("the model predicts %v for row %d of those it is judged by", predictions[i], i/t.Outputs()+1)
	}
	metrics := make(Scores, len(b.Metrics))
	for _, m := range b.Metrics {
		v, err := m.Compute(t, predictions)
		if err != nil {
			return nil, fmt.Errorf("metric %s: %w", m.Name, err)
		}
		metrics[m.Name] = v
	}
	return metrics, nil
}

// fit trains on one table, stops early by the second, calibrates on the third; the last
// two may be nil.
func (b *builder) fit(ctx context.Context, method *learn.Method, parameters learn.Values, train, valid, calibrate *learn.Table, progress learn.Progress) (_ *scorer, err error) {
	defer func() { // a method's panic on odd data is the end of a candidate, not of a server
		if fault := recover(); fault != nil {
			err = fmt.Errorf("method %s: internal error: %v", method.Name, fault)
		}
	}()
	if err := checkClasses(train); err != nil {
		return nil, err
	}
	trainer, err := method.New(parameters)
	if err != nil {
		return nil, err
	}
	model, err := trainer.Fit(ctx, train, valid, learn.FitOptions{Seed: b.Spec.Seed, Workers: b.Workers, Progress: progress})
	if err != nil {
		return nil, err
	}
	c, err := b.calibrate(model, calibrate)
	if err != nil {
		return nil, fmt.Errorf("calibration: %w", err)
	}
	return &scorer{model: model, calibrator: c}, nil
}

// calibrate fits what makes probabilities, on rows of its own if there are any.
func (b *builder) calibrate(model learn.Model, rows *learn.Table) (*calibration.Calibrator, error) {
	if b.task == learn.Regression {
		return nil, nil
	}
	if rows == nil && b.Spec.Calibrate.Method != "" {
		return nil, fmt.Errorf("%w: no rows are left for it", learn.ErrData)
	}
	if rows == nil {
		return calibration.Fit(calibration.None, model.Outputs(), nil, nil, nil)
	}
	if err := checkClasses(rows); err != nil {
		return nil, err
	}
	raw := make([]float32, rows.Rows()*model.Outputs())
	model.Predict(rows.Values, raw)
	return calibration.Fit(b.Spec.Calibrate.Method, model.Outputs(), raw, rows.Labels, b.rowWeights(rows))
}

// rowWeights are the weights of rows without those of their classes, which make a model
// look at rare classes but are no part of how often these come about.
func (b *builder) rowWeights(t *learn.Table) []float32 {
	if b.data.ClassFactors == nil {
		return t.Weights
	}
	weights := make([]float32, t.Rows())
	for row, label := range t.Labels {
		weights[row] = t.Weights[row] / b.data.ClassFactors[int(label)]
	}
	return weights
}

// checkClasses refuses rows that lack a class.
func checkClasses(t *learn.Table) error {
	if t.Task == learn.Regression {
		return nil
	}
	seen := make([]bool, len(t.Classes))
	for _, label := range t.Labels {
		seen[int(label)] = true
	}
	if i := slices.Index(seen, false); i >= 0 {
		return fmt.Errorf("%w: none of %d rows has the class %q", learn.ErrData, t.Rows(), t.Classes[i])
	}
	return nil
}

// search tries parameters; those that are given explicitly stay.
func (b *builder) search(ctx context.Context, c Candidate, method *learn.Method, start learn.Values) (learn.Values, int, error) {
	metric, err := b.metric()
	if err != nil {
		return nil, 0, err
	}
	space, err := tuning.NewSpace(method, c.Search.Space)
	if err != nil {
		return nil, 0, err
	}
	direction := tuning.Minimize
	if metric.Higher {
		direction = tuning.Maximize
	}
	o := tuning.Options{
		Trials: c.Search.Trials, Time: c.Search.Time, Sampler: c.Search.Sampler, Pruner: c.Search.Pruner,
		Parallel: c.Search.Parallel, Seed: b.Spec.Seed, Direction: direction,
	}
	if o.Resume, err = b.finishedTrials(ctx, c, method); err != nil {
		return nil, 0, err
	}
	done := len(o.Resume)
	o.OnTrial = func(t tuning.Trial) error {
		done++
		b.Progress("search "+c.Name, done, c.Search.Trials)
		return b.recordTrial(ctx, c, t)
	}
	found, err := tuning.Search(ctx, space, o, func(ctx context.Context, t *tuning.Trial) (float64, error) {
		return b.trial(ctx, method, metric.Name, start, t)
	})
	if err != nil {
		return nil, done, err
	}
	best := maps.Clone(start)
	maps.Copy(best, found.Best.Parameters)
	return best, done, nil
}

// trial is the mean of the metric over the folds, told after each fold so that a poor
// trial can be given up.
func (b *builder) trial(ctx context.Context, method *learn.Method, metric string, start learn.Values, t *tuning.Trial) (float64, error) {
	parameters := maps.Clone(start)
	maps.Copy(parameters, t.Parameters)
	parameters, err := method.Complete(parameters)
	if err != nil {
		return 0, err
	}
	sum, defined := 0.0, 0
	for i := range b.folds {
		f := &b.folds[i]
		p := b.partsOf(f)
		s, err := b.fit(ctx, method, parameters, p.train, p.valid, p.calibrate, nil)
		if err != nil {
			return 0, fmt.Errorf("fold %s: %w", f.name, err)
		}
		metrics, err := b.measure(p.test, s.predict(p.test))
		if err != nil {
			return 0, fmt.Errorf("fold %s: %w", f.name, err)
		}
		if v := metrics[metric]; !math.IsNaN(v) {
			sum, defined = sum+v, defined+1
		}
		if defined > 0 && i+1 < len(b.folds) {
			if err := t.Report(i, sum/float64(defined)); err != nil {
				return 0, err
			}
		}
	}
	if defined == 0 {
		return 0, errors.New("the metric is not defined on any fold")
	}
	return sum / float64(defined), nil
}

// recordCurves appends a step to the curves of its metrics.
func recordCurves(curves []curve, step int, metrics map[string]float64) []curve {
	for _, name := range slices.Sorted(maps.Keys(metrics)) {
		i := slices.IndexFunc(curves, func(c curve) bool { return c.name == name })
		if i < 0 {
			i, curves = len(curves), append(curves, curve{name: name})
		}
		c := &curves[i]
		if len(c.steps) == curvePointsMax { // every second point is enough
			for j := range curvePointsMax / 2 {
				c.steps[j], c.values[j] = c.steps[2*j+1], c.values[2*j+1]
			}
			c.steps, c.values = c.steps[:curvePointsMax/2], c.values[:curvePointsMax/2]
		}
		c.steps, c.values = append(c.steps, step), append(c.values, metrics[name])
	}
	return curves
}
