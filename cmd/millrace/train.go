// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/auto"
	"github.com/millrace-ml/millrace/engine/native"
	"github.com/millrace-ml/millrace/engine/onnxrt"
	"github.com/millrace-ml/millrace/orchestrator/artifact"
	"github.com/millrace-ml/millrace/training"
	"github.com/millrace-ml/millrace/training/learn"
	"github.com/millrace-ml/millrace/training/runs"
)

// trainOptions are those of `millrace train`.
type trainOptions struct {
	files        []string
	data         string
	output       string
	predictions  string
	store        string
	noLog        bool
	workers      int
	asJSON       bool
	methods      []string
	settings     []string
	classWeights string
	calibrate    string
	spec         training.Spec
}

func newTrainCommand() *cobra.Command {
	o := &trainOptions{}
	cmd := &cobra.Command{
		Use:   "train [NAME] --data FILE",
		Short: "Train models, choose the best, and write it as ONNX",
		Long: `Train models on a training set, judge them on the same folds, choose the best by a
metric, and write it as one ONNX file with its preprocessing inside, beside a model card and a
manifest from which it can be made again byte for byte. Baselines are always trained too.

NAME is a training of the project's files (trainings in millrace.yaml, or --file). Without a
NAME the flags say everything. Training sets are CSV, Parquet or JSON lines, best those that
millrace features dataset writes: their manifest says which columns are features.

The result is the next version in the model's folder (--output models/fraud), which a server
can load; millrace models swap puts it into service.

Exit status: 0 for success, 1 when training fails, 2 for a mistake in flags or files of
definitions.`,
		Example: `  millrace train fraud --data train.parquet --output models/fraud
  millrace train --data train.parquet --label is_fraud --time event_timestamp --group customer_id
  millrace train --data houses.csv --label price --task regression --method linear,trees --set trees.trees=300
  millrace train reproduce models/fraud/3/manifest.json
  millrace train methods trees
  millrace runs list`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	flags := cmd.Flags()
	flags.StringArrayVarP(&o.files, "file", "f", nil, "`file` with trainings (default: those of the project in this folder)")
	flags.StringVar(&o.data, "data", "", "training set, a Parquet, CSV or JSON lines `file`")
	flags.StringVarP(&o.output, "output", "o", "", "`folder` of the model, such as models/fraud; empty writes nothing")
	flags.StringVar(&o.predictions, "predictions", "", "write what each candidate predicted for the rows it was judged by to this Parquet `file`")
	flags.StringVar(&o.spec.Label, "label", "", "`column` that is learnt")
	flags.StringVar(&o.spec.Task, "task", "", "`task`: binary, multiclass or regression (default binary)")
	flags.StringVar(&o.spec.Positive, "positive", "", "`value` of the label that counts as 1")
	flags.StringSliceVar(&o.spec.Features, "feature", nil, "`columns` to learn from, in the model's order (default: all others)")
	flags.StringSliceVar(&o.spec.Exclude, "exclude", nil, "`columns` not to learn from")
	flags.StringSliceVar(&o.spec.Categorical, "categorical", nil, "`columns` of numbers whose order means nothing")
	flags.StringVar(&o.spec.Weight, "weight", "", "`column` with the weights of rows")
	flags.StringVar(&o.spec.Time, "time", "", "`column` with times: the last fifth is what candidates are judged by")
	flags.StringVar(&o.spec.Group, "group", "", "`column` of what rows belong to, such as a customer: without --time it is never on both sides")
	flags.StringSliceVar(&o.methods, "method", nil, "`methods` to try (default: linear ones and trees); millrace train methods lists them")
	flags.StringArrayVar(&o.settings, "set", nil, "parameter of a method as `METHOD.NAME=VALUE`; repeat as needed")
	flags.StringVar(&o.spec.Metric, "metric", "", "`metric` to choose by (default: average_precision, log_loss or rmse)")
	flags.StringVar(&o.spec.Rule, "rule", "", "`expression` over features as a further baseline, such as 'amount > 220'")
	flags.StringVar(&o.calibrate, "calibrate", "", "calibrate probabilities by `method`: platt, isotonic or temperature")
	flags.StringVar(&o.classWeights, "class-weights", "", "`balanced` gives each class the same weight")
	flags.StringSliceVar(&o.spec.Trust, "trust", nil, "`columns` that may tell the label though it looks like a leak")
	flags.Uint64Var(&o.spec.Seed, "seed", 0, "`number` that makes all chance")
	flags.IntVar(&o.workers, "workers", 0, "`number` of goroutines; 0 is one for each core")
	flags.BoolVar(&o.noLog, "no-log", false, "do not write to the log of experiments")
	flags.StringVar(&o.store, "store", "", "log of experiments, a `file` or a postgres:// URL (default: in the project's state folder)")
	flags.BoolVar(&o.asJSON, "json", false, "print the result as JSON")
	cmd.AddCommand(o.reproduceCommand(), newMethodsCommand())
	return cmd
}

func (o *trainOptions) run(cmd *cobra.Command, args []string) (err error) {
	spec, err := o.specification(args)
	if err != nil {
		return usageError{err}
	}
	if o.data == "" {
		return usageError{errors.New("--data FILE is missing: the training set")}
	}
	options, err := o.options(cmd, spec)
	if err != nil {
		return err
	}
	p := newProgress(cmd.ErrOrStderr())
	options.Progress = func(phase string, done, total int) { p.set(phase, int64(done), int64(total)) }
	if !o.noLog {
		if options.Runs, err = openRunsStore(cmd.Context(), o.store); err != nil {
			return err
		}
		defer closing(&err, options.Runs.Close)
	}
	r, err := training.Build(cmd.Context(), options)
	p.clear()
	if errors.Is(err, training.ErrSpec) {
		return usageError{err}
	} else if err != nil {
		return err
	}
	return o.print(cmd.OutOrStdout(), r)
}

// options are what the library needs, but for progress and the log.
func (o *trainOptions) options(cmd *cobra.Command, spec *training.Spec) (training.Options, error) {
	metrics, err := trainingMetrics(spec)
	if err != nil {
		return training.Options{}, usageError{err}
	}
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), &slog.HandlerOptions{Level: slog.LevelError}))
	return training.Options{
		Spec: spec, Data: o.data, Output: o.output, Predictions: o.predictions, Metrics: metrics,
		Backend: modelBackend(log), Version: version, Workers: o.workers, Logger: log,
	}, nil
}

// modelBackend runs any model that this machine can run.
func modelBackend(log *slog.Logger) engine.Backend {
	return &auto.Backend{Native: native.Backend{}, Other: onnxrt.NewBackend(onnxrt.Options{Logger: log}), Logger: slog.New(slog.DiscardHandler)}
}

// specification finds the training of a name, or makes one of the flags.
func (o *trainOptions) specification(args []string) (*training.Spec, error) {
	if len(args) == 0 {
		return o.fromFlags()
	}
	specs, err := loadTrainings(o.files)
	if err != nil {
		return nil, err
	}
	s := specs[args[0]]
	if s == nil {
		return nil, fmt.Errorf("there is no training %q%s", args[0], didYouMean(args[0], slices.Sorted(maps.Keys(specs))))
	}
	return s, nil
}

// loadTrainings reads the trainings of files, or of the project in this folder.
func loadTrainings(files []string) (map[string]*training.Spec, error) {
	if len(files) == 0 {
		p, err := projectHere()
		if err != nil {
			return nil, err
		}
		if p == nil || len(p.Trainings) == 0 {
			return nil, errors.New("there is no project with trainings in this folder: name a file by --file, or leave the name out and give flags")
		}
		files = p.Trainings
	}
	return training.Load(files...)
}

func (o *trainOptions) fromFlags() (*training.Spec, error) {
	s := o.spec
	s.Name = "model"
	if o.output != "" {
		s.Name = filepath.Base(filepath.Clean(o.output))
	}
	switch o.classWeights {
	case "":
	case "balanced":
		s.ClassWeights.Balanced = true
	default:
		return nil, fmt.Errorf("--class-weights %q: only balanced can be said by the flag; a file of trainings takes a weight for each class", o.classWeights)
	}
	s.Calibrate.Method = o.calibrate
	for _, name := range o.methods {
		s.Candidates = append(s.Candidates, training.Candidate{Method: name})
	}
	s.EnsureDefaults()
	if err := o.set(&s); err != nil {
		return nil, err
	}
	return &s, s.Validate()
}

// set applies METHOD.NAME=VALUE.
func (o *trainOptions) set(s *training.Spec) error {
	for _, setting := range o.settings {
		path, text, ok := strings.Cut(setting, "=")
		method, name, dotted := strings.Cut(path, ".")
		if !ok || !dotted {
			return fmt.Errorf("--set %q: give METHOD.NAME=VALUE, such as trees.max_depth=6", setting)
		}
		i := slices.IndexFunc(s.Candidates, func(c training.Candidate) bool { return c.Method == method })
		if i < 0 {
			return fmt.Errorf("--set %q: the method %s is not tried; name it by --method", setting, method)
		}
		var value any
		if err := yaml.Unmarshal([]byte(text), &value); err != nil {
			value = text
		}
		c := &s.Candidates[i]
		if c.Parameters == nil {
			c.Parameters = learn.Values{}
		}
		c.Parameters[name] = value
	}
	return nil
}

func (o *trainOptions) print(w io.Writer, r *training.Result) error {
	if o.asJSON {
		encoder := json.NewEncoder(w)
		encoder.SetIndent("", "  ")
		return encoder.Encode(r)
	}
	names := slices.DeleteFunc(metricNames(r), func(name string) bool { return name == r.Metric })
	names = append([]string{r.Metric}, names...)
	table := newTable(w, "CANDIDATE\tMETHOD\t"+strings.ToUpper(strings.Join(names, "\t"))+"\tSECONDS\t")
	for _, c := range r.Candidates {
		mark := ""
		if c.Name == r.Chosen {
			mark = "chosen"
		}
		if c.Error != "" {
			fmt.Fprintf(table, "%s\t%s\tout: %.100s\n", c.Name, c.Method, c.Error)
			continue
		}
		fmt.Fprintf(table, "%s\t%s", c.Name, c.Method)
		for _, name := range names {
			fmt.Fprintf(table, "\t%.4g", c.Metrics[name])
		}
		fmt.Fprintf(table, "\t%.1f\t%s\n", c.Seconds, mark)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	for _, warning := range r.Warnings {
		fmt.Fprintf(w, "warning: %s\n", warning)
	}
	if r.Path != "" {
		fmt.Fprintf(w, "\n%s: %s\n", r.Path, formatBytes(int64(r.Bytes)))
	}
	_, err := fmt.Fprintf(w, "%d rows, %.1f s%s\n", r.Rows, r.Seconds, cmp.Or(runText(r.Run), ""))
	return err
}

func runText(id string) string {
	if id == "" {
		return ""
	}
	return ", run " + id
}

// metricNames are all metrics of a result, by name.
func metricNames(r *training.Result) []string {
	names := make(map[string]bool)
	for _, c := range r.Candidates {
		for name := range c.Metrics {
			names[name] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

func (o *trainOptions) reproduceCommand() *cobra.Command {
	r := &trainOptions{noLog: true}
	cmd := &cobra.Command{
		Use:   "reproduce MANIFEST",
		Short: "Make a model again from its manifest and compare it, byte for byte",
		Long: `Fit the chosen candidate of a manifest again, on the same training set with the same
seed, and compare the model with what it was. The status is 1 if its bytes differ; the message says
what else does: the data, versions of libraries, the CPU.`,
		Example: `  millrace train reproduce models/fraud/3/manifest.json
  millrace train reproduce models/fraud/3/manifest.json --data copy-of-train.parquet`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return r.reproduce(cmd, args[0]) },
	}
	cmd.Flags().StringVar(&r.data, "data", "", "where the training set is now (default: where it was)")
	cmd.Flags().StringVarP(&r.output, "output", "o", "", "`folder` to write the model to as a version; empty only compares")
	cmd.Flags().IntVar(&r.workers, "workers", 0, "`number` of goroutines; 0 is one for each core")
	cmd.Flags().BoolVar(&r.asJSON, "json", false, "print the result as JSON")
	return cmd
}

func (o *trainOptions) reproduce(cmd *cobra.Command, path string) error {
	m, err := training.ReadManifest(path)
	if err != nil {
		return err
	}
	if o.data == "" {
		if o.data, err = trainingSetOf(m); err != nil {
			return err
		}
	}
	options, err := o.options(cmd, m.Spec)
	if err != nil {
		return err
	}
	p := newProgress(cmd.ErrOrStderr())
	options.Progress = func(phase string, done, total int) { p.set(phase, int64(done), int64(total)) }
	r, err := training.Reproduce(cmd.Context(), m, options)
	p.clear()
	if err != nil {
		return err
	}
	if o.asJSON {
		return o.print(cmd.OutOrStdout(), r)
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: the same bytes, %.12s...\n", path, r.SHA256)
	return err
}

// trainingSetOf is where the training set of a manifest is. Pipelines name theirs by
// content, as tree:SHA256/FILE, which their state folder may still have.
func trainingSetOf(m *training.Manifest) (string, error) {
	path := m.Data.Path
	digest, file, _ := strings.Cut(path, "/")
	if artifact.Digest(digest).Valid() {
		path = filepath.Join(".millrace", "state")
		p, err := projectHere()
		if err != nil {
			return "", err
		}
		if p != nil {
			path = p.State
		}
		store, err := artifact.Open(filepath.Join(path, "pipelines"))
		if err != nil {
			return "", err
		}
		path = filepath.Join(store.Path(artifact.Digest(digest)), file)
	}
	if _, err := os.Stat(path); err != nil {
		return "", fmt.Errorf("the training set is not there any more: %w; name a copy by --data", err)
	}
	return path, nil
}

func newMethodsCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "methods [METHOD]",
		Short: "List the methods and their parameters",
		Example: `  millrace train methods
  millrace train methods trees`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return printMethods(cmd.OutOrStdout(), args) },
	}
}

func printMethods(w io.Writer, args []string) error {
	var names []string
	for _, m := range training.Methods() {
		names = append(names, m.Name)
		if len(args) == 1 && args[0] == m.Name {
			return printMethod(w, m)
		}
	}
	if len(args) == 1 {
		return usageError{fmt.Errorf("there is no method %q%s", args[0], didYouMean(args[0], names))}
	}
	table := newTable(w, "METHOD\tTASKS\tWHAT IT IS")
	for _, m := range training.Methods() {
		var tasks []string
		for _, t := range m.Tasks {
			tasks = append(tasks, t.String())
		}
		fmt.Fprintf(table, "%s\t%s\t%s\n", m.Name, strings.Join(tasks, ", "), m.Doc)
	}
	return table.Flush()
}

func printMethod(w io.Writer, m *learn.Method) error {
	fmt.Fprintf(w, "%s: %s\n\n", m.Name, m.Doc)
	table := newTable(w, "PARAMETER\tDEFAULT\tRANGE\tSEARCHED\tWHAT IT IS")
	for _, p := range m.Parameters {
		values, searched := strings.Join(p.Options, ", "), "-"
		if p.Kind == learn.Int || p.Kind == learn.Float {
			values = fmt.Sprintf("%g to %g", p.Min, p.Max)
		}
		if p.SearchMin != p.SearchMax {
			searched = fmt.Sprintf("%g to %g", p.SearchMin, p.SearchMax)
		}
		fmt.Fprintf(table, "%s\t%v\t%s\t%s\t%s\n", p.Name, p.Default, cmp.Or(values, "any"), searched, p.Doc)
	}
	return table.Flush()
}

// openRunsStore opens the log of experiments that a flag names, else that of the project.
func openRunsStore(ctx context.Context, url string) (runs.Store, error) {
	if url == "" {
		state := filepath.Join(".millrace", "state")
		p, err := projectHere()
		if err != nil {
			return nil, err
		}
		if p != nil {
			state = p.State
		}
		url = filepath.Join(state, runs.File)
	}
	return runs.Open(ctx, url)
}
