// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/millrace-ml/millrace/engine/auto"
	"github.com/millrace-ml/millrace/engine/native"
	"github.com/millrace-ml/millrace/engine/onnxrt"
	"github.com/millrace-ml/millrace/evaluation"
	"github.com/millrace-ml/millrace/evaluation/report"
)

// evaluateFlags are those of `evaluate`.
type evaluateFlags struct {
	file, name string
	spec       evaluation.Spec
	threshold  float64
	class      int
	draws      int
	seed       uint64
	level      float64
	metrics    []string
	slices     []string
	baselines  []string
	features   []string
	classes    []string
	gates      []string

	options               evaluation.Options
	library               string
	json, list            bool
	html, markdown, junit string
	output                string
}

const evaluateLong = `Evaluate a model on rows whose truth is known: metrics with intervals, slices, a
comparison with the champion on the same rows, leaks, and gates that the model has to pass.

The model is a folder of a model repository (models/fraud, models/fraud/3, models/fraud@3,
or models/fraud@champion with --state-file) or an .onnx file; or --score names a column
that has predictions. What is evaluated can be written down in a file (--file), whose
settings the flags given override; docs/reference/evaluation.md describes it.

Exit status: 0 if all gates hold or there are none, 1 if the model fails a gate, 2 if it
could not be evaluated: a mistake in the command line, the file, the data or the model.`

const evaluateExample = `  millrace evaluate models/fraud --data test.parquet --label is_fraud
  millrace evaluate models/fraud --data test.parquet --label is_fraud --cluster customer_id \
      --slice channel --against models/fraud@1 --output report
  millrace evaluate --score score --data scored.csv --label is_fraud --metric roc_auc --gate 'roc_auc >= 0.85'
  millrace evaluate --file evaluation.yaml --name fraud --json`

func newEvaluateCommand() *cobra.Command {
	var f evaluateFlags
	cmd := &cobra.Command{
		Use:     "evaluate [MODEL] --data FILE --label COLUMN",
		Short:   "Judge a model on rows whose truth is known",
		Long:    evaluateLong,
		Example: evaluateExample,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.list {
				return listMetrics(cmd.OutOrStdout())
			}
			return f.run(cmd, args)
		},
	}
	f.addSpecFlags(cmd.Flags())
	f.addHowFlags(cmd.Flags())
	return cmd
}

func (f *evaluateFlags) addSpecFlags(flags *pflag.FlagSet) {
	flags.StringVarP(&f.file, "file", "f", "", "YAML `file` of evaluations")
	flags.StringVar(&f.name, "name", "", "`name` of the evaluation in the file (default: the only one)")
	flags.StringVar(&f.spec.Data, "data", "", "`file` or pattern with the rows: CSV, Parquet or JSON lines")
	flags.StringVar(&f.spec.Format, "format", "", "`format` of the data: csv, jsonl or parquet (default: by the name)")
	flags.StringVar(&f.spec.Task, "task", "", "`task`: binary, multiclass, regression or ranking (default: by the label)")
	flags.StringVar(&f.spec.Label, "label", "", "`column` with the truth")
	flags.StringVar(&f.spec.Positive, "positive", "", "`value` of a binary label that counts as 1")
	flags.StringSliceVar(&f.classes, "classes", nil, "`values` of a multi-class label in the order of the model's outputs, with commas")
	flags.StringVar(&f.spec.Score, "score", "", "`column` with predictions, in place of a model")
	flags.StringVar(&f.spec.Against, "against", "", "champion to compare with, a `model` as the first")
	flags.StringVar(&f.spec.AgainstScore, "against-score", "", "`column` with the champion's predictions")
	flags.StringVar(&f.spec.Output, "model-output", "", "`name` of the model's output with predictions (default: probabilities, or the first of numbers)")
	flags.IntVar(&f.class, "class", 1, "`number` of the output's column that is the score of a binary task")
	flags.StringSliceVar(&f.features, "features", nil, "`columns` of the model's input in order, with commas (default: as the model or the data's manifest says)")
	flags.BoolVar(&f.spec.Uncalibrated, "uncalibrated", false, "scores are no probabilities")
	flags.StringVar(&f.spec.Where, "where", "", "`expression` that rows have to meet")
	flags.StringVar(&f.spec.Time, "time", "", "`column` with the time of a row")
	flags.StringVar(&f.spec.Cluster, "cluster", "", "`column` by which rows belong together, such as a customer: intervals draw its values")
	flags.StringVar(&f.spec.Query, "query", "", "`column` with the query that a row of a ranking belongs to")
	flags.StringVar(&f.spec.Weight, "weight", "", "`column` with weights")
	flags.Float64Var(&f.threshold, "threshold", 0.5, "`score` from which a row counts as positive")
	flags.StringArrayVar(&f.metrics, "metric", nil, "`metric`, such as roc_auc or precision@100; repeat for several (default: a set for the task)")
	flags.StringArrayVar(&f.slices, "slice", nil, "`column` or expression to part the rows by; repeat for several")
	flags.IntVar(&f.spec.SliceRowsMin, "slice-rows-min", 100, "least `number` of rows of a slice")
	flags.StringArrayVar(&f.baselines, "baseline", nil, "constant or `column` to compare with; repeat for several")
	flags.StringArrayVar(&f.gates, "gate", nil, "`condition` such as 'roc_auc >= 0.85' or 'model_bytes <= 5000000'; repeat for several")
	flags.Float64Var(&f.spec.Margin, "margin", 0, "`difference` by which the model may be worse than the champion and still count as not worse")
	flags.StringVar(&f.spec.Leakage.Train, "train", "", "`file` that the model learnt from, to look for leaks")
	flags.StringSliceVar(&f.spec.Leakage.Entities, "entity", nil, "`columns` that must not have a value both in the data and in the training rows, with commas")
}

func (f *evaluateFlags) addHowFlags(flags *pflag.FlagSet) {
	flags.IntVar(&f.draws, "draws", 1000, "`number` of draws of the bootstrap; 0 is no intervals")
	flags.Float64Var(&f.level, "level", 0.95, "confidence `level` of intervals")
	flags.Uint64Var(&f.seed, "seed", 0, "`number` that chooses the draws")
	flags.IntVar(&f.options.Workers, "workers", 0, "`number` of goroutines; 0 is one for each core")
	flags.BoolVar(&f.options.NoLatency, "no-latency", false, "leave out measuring how fast the model is")
	flags.StringVar(&f.options.StateFile, "state-file", "", "state `file` of the server, with the aliases of models")
	flags.StringVar(&f.library, "onnxruntime-library", "", "`file` or folder of ONNX Runtime (default: $ONNXRUNTIME_LIB, then the usual places)")
	flags.BoolVar(&f.list, "list-metrics", false, "list the metrics there are, and evaluate nothing")
	flags.BoolVar(&f.json, "json", false, "print the report as JSON")
	flags.StringVar(&f.html, "html", "", "`file` for the report as a page")
	flags.StringVar(&f.markdown, "markdown", "", "`file` for the report as Markdown, for a pull request")
	flags.StringVar(&f.junit, "junit", "", "`file` for the gates as JUnit XML")
	flags.StringVarP(&f.output, "output", "o", "", "`folder` for report.json, report.html, report.md and report.xml")
}

func (f *evaluateFlags) run(cmd *cobra.Command, args []string) error {
	spec, err := f.complete(cmd.Flags(), args)
	if err != nil {
		return usageError{err}
	}
	quiet := slog.New(slog.DiscardHandler)
	p := newProgress(cmd.ErrOrStderr())
	f.options.Spec, f.options.Version, f.options.Progress = *spec, version, p.set
	f.options.Backend = &auto.Backend{Native: native.Backend{}, Other: onnxrt.NewBackend(onnxrt.Options{Library: f.library, Logger: quiet}), Logger: quiet}
	r, err := evaluation.Evaluate(cmd.Context(), f.options)
	p.clear()
	switch {
	case errors.Is(err, context.Canceled):
		return err
	case err != nil:
		return usageError{err} // the model was not judged, which is another thing than failing
	}
	if err := f.write(cmd.OutOrStdout(), r); err != nil {
		return usageError{err}
	}
	if r.Verdict == report.Fail {
		return errors.New(verdictOf(r))
	}
	return nil
}

// verdictOf names the gates that do not hold, with the reasons.
func verdictOf(r *report.Report) string {
	var failed []string
	for _, g := range r.Gates {
		if !g.Holds && !g.Warning {
			failed = append(failed, g.Reason)
		}
	}
	return fmt.Sprintf("%s fails %s of %d:\n  %s", r.Model.Name, counted(len(failed), "gate"), len(r.Gates), strings.Join(failed, "\n  "))
}

// complete is the spec of the file, with what flags say.
func (f *evaluateFlags) complete(flags *pflag.FlagSet, args []string) (*evaluation.Spec, error) {
	spec := &evaluation.Spec{}
	if f.file != "" {
		var err error
		if spec, err = evaluation.LoadSpec(f.file, f.name); err != nil {
			return nil, err
		}
	} else if f.name != "" {
		return nil, errors.New("--name goes with --file")
	}
	if len(args) > 0 {
		spec.Model, spec.Score = args[0], ""
	}
	if spec.Model != "" && flags.Changed("score") && len(args) == 0 {
		spec.Model = ""
	}
	given, own := f.texts(spec)
	for name, to := range given {
		if flags.Changed(name) {
			*to = *own[name]
		}
	}
	return spec, f.override(flags, spec)
}

// texts pairs the settings of a spec that are texts with the flags for them.
func (f *evaluateFlags) texts(spec *evaluation.Spec) (given, own map[string]*string) {
	list := func(s *evaluation.Spec) map[string]*string {
		return map[string]*string{
			"data": &s.Data, "format": &s.Format, "task": &s.Task, "label": &s.Label, "positive": &s.Positive,
			"score": &s.Score, "against": &s.Against, "against-score": &s.AgainstScore, "model-output": &s.Output,
			"where": &s.Where, "time": &s.Time, "cluster": &s.Cluster, "query": &s.Query, "weight": &s.Weight,
			"train": &s.Leakage.Train,
		}
	}
	return list(spec), list(&f.spec)
}

// override takes over what else the flags say.
func (f *evaluateFlags) override(flags *pflag.FlagSet, spec *evaluation.Spec) error {
	set := map[string]func(){
		"classes":        func() { spec.Classes = f.classes },
		"class":          func() { spec.Class = &f.class },
		"features":       func() { spec.Features = f.features },
		"uncalibrated":   func() { spec.Uncalibrated = f.spec.Uncalibrated },
		"threshold":      func() { spec.Threshold = &f.threshold },
		"slice-rows-min": func() { spec.SliceRowsMin = f.spec.SliceRowsMin },
		"margin":         func() { spec.Margin = f.spec.Margin },
		"entity":         func() { spec.Leakage.Entities = f.spec.Leakage.Entities },
		"draws":          func() { spec.Bootstrap.Draws = &f.draws },
		"level":          func() { spec.Bootstrap.Level = f.level },
		"seed":           func() { spec.Bootstrap.Seed = f.seed },
		"metric": func() {
			spec.Metrics = nil
			for _, text := range f.metrics {
				spec.Metrics = append(spec.Metrics, evaluation.Metric{Text: text})
			}
		},
		"slice": func() {
			spec.Slices = nil
			for _, text := range f.slices {
				spec.Slices = append(spec.Slices, evaluation.SliceOf(text))
			}
		},
		"baseline": func() {
			spec.Baselines = make([]evaluation.Baseline, len(f.baselines))
			for i, text := range f.baselines {
				spec.Baselines[i].SetText(text)
			}
		},
	}
	for name, take := range set {
		if flags.Changed(name) {
			take()
		}
	}
	var problems []error
	for _, text := range f.gates {
		g, err := parseGate(text)
		problems = append(problems, err)
		spec.Gates = append(spec.Gates, g)
	}
	return errors.Join(problems...)
}

// write prints the report and writes the files that were asked for.
func (f *evaluateFlags) write(out io.Writer, r *report.Report) error {
	type form func(io.Writer, *report.Report) error
	files := map[string]form{}
	add := func(path string, write form) {
		if path != "" {
			files[path] = write
		}
	}
	add(f.html, report.WriteHTML)
	add(f.markdown, report.WriteMarkdown)
	add(f.junit, report.WriteJUnit)
	if f.output != "" {
		if err := os.MkdirAll(f.output, 0o755); err != nil {
			return err
		}
		add(filepath.Join(f.output, "report.json"), report.WriteJSON)
		add(filepath.Join(f.output, "report.html"), report.WriteHTML)
		add(filepath.Join(f.output, "report.md"), report.WriteMarkdown)
		add(filepath.Join(f.output, "report.xml"), report.WriteJUnit)
	}
	for path, write := range files {
		if err := writeReport(path, r, write); err != nil {
			return err
		}
	}
	if f.json {
		return report.WriteJSON(out, r)
	}
	return report.WriteText(out, r)
}

// writeReport replaces a file in one step, so that nobody reads half a report.
func writeReport(path string, r *report.Report, write func(io.Writer, *report.Report) error) (err error) {
	file, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(file.Name()) // the error that led here matters more
		}
	}()
	if err := errors.Join(write(file, r), file.Chmod(0o644), file.Close()); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.Rename(file.Name(), path)
}
