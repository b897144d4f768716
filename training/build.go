// SPDX-License-Identifier: Apache-2.0

package training

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"path/filepath"
	"runtime"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/training/learn"
	"github.com/millrace-ml/millrace/training/runs"
	"github.com/millrace-ml/millrace/training/split"
)

// Metric judges predictions. The caller brings them, since judging is a part of its own.
type Metric struct {
	Name string
	// Higher says that more is better.
	Higher bool
	// Compute measures predictions (probabilities of class 1, of all classes row by row, or
	// values) of a table. NaN means that it is not defined.
	Compute func(t *learn.Table, predictions []float32) (float64, error)
}

// Options are what Build needs.
type Options struct {
	Spec *Spec
	// Data is the file of the training set.
	Data string
	// DataName is what manifest and card call it, where the path is one for the moment; empty
	// is the path.
	DataName string
	// Output is the folder of the model in a repository; the artefact becomes its next
	// version. Empty writes none.
	Output string
	// Predictions, if not empty, is a Parquet file for the predictions of all candidates for
	// the rows they were judged by; see WritePredictions.
	Predictions string
	// Metrics are all that is reported; Spec.Metric is one of them.
	Metrics []Metric
	// Backend runs the artefact to check it.
	Backend engine.Backend
	// Runs, if not nil, is the log of experiments.
	Runs runs.Store
	// Version is that of the program, for manifests.
	Version string
	// Workers bounds goroutines; 0 is one for each core.
	Workers int
	// Progress is told what is done; may be nil. It is called from one goroutine at a time
	// unless trials are parallel.
	Progress func(phase string, done, total int)
	Logger   *slog.Logger
	// fixed skips judging: the candidate of a manifest is fitted again.
	fixed *Manifest
}

// Result is what was built.
type Result struct {
	Name string `json:"name"`
	// Chosen is the name of the best candidate.
	Chosen     string           `json:"chosen"`
	Parameters learn.Values     `json:"parameters"`
	Candidates []CandidateScore `json:"candidates"`
	// Metric is what was chosen by, and Value its mean over the folds.
	Metric   string   `json:"metric"`
	Value    float64  `json:"value"`
	Warnings []string `json:"warnings,omitempty"`
	// Path is the version's folder, empty if none was written; SHA256 that of model.onnx.
	Path   string `json:"path,omitempty"`
	SHA256 string `json:"sha256,omitempty"`
	Bytes  int    `json:"bytes,omitempty"`
	Run    string `json:"run,omitempty"`
	// Rows were read; Seconds passed.
	Rows    int     `json:"rows"`
	Seconds float64 `json:"seconds"`
}

// CandidateScore is how a candidate did.
type CandidateScore struct {
	Name       string       `json:"name"`
	Method     string       `json:"method"`
	Baseline   bool         `json:"baseline,omitempty"`
	Parameters learn.Values `json:"parameters"`
	// Metrics are means over the folds; Folds has them fold by fold.
	Metrics Scores   `json:"metrics"`
	Folds   []Scores `json:"folds"`
	// Trials counts those of a search; Error is why the candidate is out.
	Trials  int     `json:"trials,omitempty"`
	Error   string  `json:"error,omitempty"`
	Seconds float64 `json:"seconds"`
	// describe is what the model says of itself; predictions are those of the folds.
	describe    string
	predictions [][]float32
	curves      []curve
}

// Scores are metrics by name; NaN, which JSON has as null, is one that is not defined.
type Scores map[string]float64

// MarshalJSON writes what JSON has no number for as null.
func (s Scores) MarshalJSON() ([]byte, error) {
	values := make(map[string]*float64, len(s))
	for name, v := range s {
		values[name] = nil
		if !math.IsNaN(v) && !math.IsInf(v, 0) {
			values[name] = &v
		}
	}
	return json.Marshal(values)
}

// UnmarshalJSON reads null as NaN.
func (s *Scores) UnmarshalJSON(data []byte) error {
	var values map[string]*float64
	if err := json.Unmarshal(data, &values); err != nil {
		return err
	}
	*s = make(Scores, len(values))
	for name, v := range values {
		(*s)[name] = math.NaN()
		if v != nil {
			(*s)[name] = *v
		}
	}
	return nil
}

// curve is a learning curve.
type curve struct {
	name   string
	steps  []int
	values []float64
}

// builder is one call of Build.
type builder struct {
	Options
	data     *Data
	task     learn.Task
	folds    []fold
	warnings []string
	// windows say in words what the folds are; leftOut are rows in no fold, by reason.
	windows []string
	leftOut map[string]int
	// calibrated counts the rows that the final model's probabilities were calibrated on.
	calibrated int
	// runID is that of the build in the log, empty for none.
	runID string
}

// Build builds a model. A candidate that fails is out, with its error in the result; if
// all fail, Build does. Errors wrap ErrSpec, learn.ErrData or those of the files.
func Build(ctx context.Context, o Options) (*Result, error) {
	began := time.Now()
	b := &builder{Options: o}
	if err := b.prepare(ctx); err != nil {
		return nil, err
	}
	run, err := b.startRun(ctx)
	if err != nil {
		return nil, err
	}
	result, err := b.build(ctx)
	if result != nil {
		result.Rows, result.Seconds = b.data.Table.Rows(), time.Since(began).Seconds()
	}
	if err = errors.Join(err, b.endRun(ctx, run, result, err)); err != nil {
		return nil, fmt.Errorf("training %s: %w", b.Spec.Name, err)
	}
	return result, nil
}

// prepare reads the data and makes the folds.
func (b *builder) prepare(ctx context.Context) (err error) {
	b.Logger = cmp.Or(b.Logger, slog.New(slog.DiscardHandler))
	b.Workers = cmp.Or(b.Workers, runtime.GOMAXPROCS(0))
	if b.Progress == nil {
		b.Progress = func(string, int, int) {}
	}
	if b.task, err = learn.ParseTask(b.Spec.Task); err != nil {
		return err
	}
	if _, err := b.metric(); err != nil {
		return err
	}
	b.DataName = cmp.Or(b.DataName, b.Data)
	b.Progress("read "+filepath.Base(b.Data), 0, 0)
	if b.data, err = Read(ctx, b.Spec, b.Data); err != nil {
		return err
	}
	if err := checkLeaks(b.Spec, b.data.Table); err != nil {
		return err
	}
	b.warnings = append(b.warnings, b.data.Warnings...)
	if b.fixed != nil {
		return b.fixed.checkData(b.data)
	}
	if plan := b.Spec.Split; plan != nil && !plan.Valid.IsZero() && b.Spec.Final.Valid == 0 {
		b.warnings = append(b.warnings, "candidates were stopped early by the split's valid rows, but the final fit has none: give final.valid, such as 0.1")
	}
	if err := b.makeFolds(); err != nil {
		return err
	}
	b.hold()
	return nil
}

func (b *builder) metric() (Metric, error) {
	var names []string
	for _, m := range b.Metrics {
		if m.Name == b.Spec.Metric {
			return m, nil
		}
		names = append(names, m.Name)
	}
	return Metric{}, fmt.Errorf("%w: trainings.%s.metric: %q is none of the metrics computed, %v", ErrSpec, b.Spec.Name, b.Spec.Metric, names)
}

func (b *builder) build(ctx context.Context) (*Result, error) {
	if b.fixed != nil {
		return b.finish(ctx, &Result{Name: b.Spec.Name, Chosen: b.fixed.Candidate, Parameters: b.fixed.Parameters}, b.fixed.Method)
	}
	var scores []CandidateScore
	for _, c := range b.baselines() {
		score, err := b.judge(ctx, c)
		if err != nil {
			return nil, err
		}
		score.Baseline = true
		scores = append(scores, score)
	}
	for _, c := range b.Spec.Candidates {
		score, err := b.judge(ctx, c)
		if err != nil {
			return nil, err
		}
		scores = append(scores, score)
	}
	chosen, err := b.choose(scores)
	if err != nil {
		return nil, err
	}
	if b.Predictions != "" {
		if err := b.writePredictions(scores); err != nil {
			return nil, err
		}
	}
	result := &Result{
		Name: b.Spec.Name, Chosen: chosen.Name, Parameters: chosen.Parameters, Candidates: scores,
		Metric: b.Spec.Metric, Value: chosen.Metrics[b.Spec.Metric], Warnings: b.warnings,
	}
	return b.finish(ctx, result, chosen.Method)
}

// Names of baselines, which candidates cannot have.
const (
	baselineConstant = "baseline_constant"
	baselineTree     = "baseline_tree"
	baselineRule     = "baseline_rule"
	baselineLast     = "baseline_last_label"
)

// methodLast is the method of baselineLast.
const methodLast = "last_label"

func isBaseline(name string) bool {
	return slices.Contains([]string{baselineConstant, baselineTree, baselineRule, baselineLast}, name)
}

// baselines are trained whatever the specification says: a model that does not beat them
// is not worth serving.
func (b *builder) baselines() []Candidate {
	list := []Candidate{
		{Name: baselineConstant, Method: "constant"},
		{Name: baselineTree, Method: "trees", Parameters: learn.Values{"trees": 1, "max_depth": 2, "learning_rate": 1.0}},
	}
	if b.Spec.Split != nil && b.Spec.Split.Method == split.MethodPrequential {
		list = append(list, Candidate{Name: baselineLast, Method: methodLast})
	}
	if b.Spec.Rule != "" {
		list = append(list, Candidate{Name: baselineRule, Method: "rule", Parameters: learn.Values{"expression": b.Spec.Rule}})
	}
	return list
}

// choose finds the best candidate by the mean of the metric.
func (b *builder) choose(scores []CandidateScore) (*CandidateScore, error) {
	metric, err := b.metric()
	if err != nil {
		return nil, err
	}
	better := func(x, y float64) bool {
		return !math.IsNaN(x) && (math.IsNaN(y) || metric.Higher == (x > y) && x != y)
	}
	var best *CandidateScore
	var problems []error
	for i := range scores {
		s := &scores[i]
		switch {
		case s.Error != "":
			if !s.Baseline {
				problems = append(problems, fmt.Errorf("%s: %s", s.Name, s.Error))
			}
			b.warnings = append(b.warnings, fmt.Sprintf("%s is out: %s", s.Name, s.Error))
		case !s.Baseline && (best == nil || better(s.Metrics[metric.Name], best.Metrics[metric.Name])):
			best = s
		}
	}
	if best == nil {
		return nil, fmt.Errorf("no candidate could be trained: %w", errors.Join(problems...))
	}
	if math.IsNaN(best.Metrics[metric.Name]) {
		return nil, fmt.Errorf("%w: the metric %s is not defined on any fold; is there but one class in its rows?", learn.ErrData, metric.Name)
	}
	for _, s := range scores {
		if s.Baseline && s.Error == "" && !better(best.Metrics[metric.Name], s.Metrics[metric.Name]) {
			b.warnings = append(b.warnings, fmt.Sprintf("%s (%s %.4g) does not beat %s (%.4g)", best.Name, metric.Name, best.Metrics[metric.Name], s.Name, s.Metrics[metric.Name]))
		}
	}
	return best, nil
}

// meanOf averages metrics over folds, leaving out where they are not defined.
func meanOf(folds []Scores) Scores {
	sums, counts := make(Scores), make(Scores)
	for _, fold := range folds {
		for _, name := range slices.Sorted(maps.Keys(fold)) {
			if v := fold[name]; !math.IsNaN(v) {
				sums[name] += v
				counts[name]++
			} else if _, seen := sums[name]; !seen {
				sums[name] = 0
			}
		}
	}
	means := make(Scores, len(sums))
	for name, sum := range sums {
		means[name] = sum / counts[name] // NaN if never defined
	}
	return means
}
