// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/millrace-ml/millrace/orchestrator"
	"github.com/millrace-ml/millrace/orchestrator/pipeline"
)

// pipelineOptions are shared by the commands below `pipeline`.
type pipelineOptions struct {
	file    string
	state   string
	asJSON  bool
	workers int
	token   tokenOptions
}

const pipelineLong = `Run the pipelines of a project: extract, features, split, train, evaluate, promote, and
any program. What has not changed is not run again; a run that was interrupted, even by kill -9,
goes on where it was.

Pipelines are in the files that millrace.yaml names (pipelines: [pipeline.yaml]), or in --file.
docs/reference/pipelines.md describes them.`

func newPipelineCommand() *cobra.Command {
	o := &pipelineOptions{}
	cmd := &cobra.Command{
		Use:   "pipeline",
		Short: "Run pipelines: extract, features, train, evaluate, promote",
		Long:  pipelineLong,
		Example: `  millrace pipeline run fraud
  millrace pipeline run fraud --param days=14 --from train
  millrace pipeline ci fraud --junit report.xml --markdown report.md
  millrace pipeline status
  millrace pipeline logs RUN train                # RUN as pipeline status prints it
  millrace pipeline backfill fraud --from 2026-01-01 --to 2026-02-01
  millrace pipeline graph fraud --format mermaid
  millrace pipeline export fraud --to airflow > dags/fraud.py`,
		Args: cobra.NoArgs,
		RunE: showHelp,
	}
	flags := cmd.PersistentFlags()
	flags.StringVarP(&o.file, "file", "f", "", "`file` with pipelines (default: those of the project in this folder)")
	flags.StringVar(&o.state, "state", "", "state `folder` of the pipelines (default: pipelines in the project's state folder)")
	flags.BoolVar(&o.asJSON, "json", false, "print JSON")
	flags.IntVar(&o.workers, "workers", 0, "`number` of goroutines of a task; 0 is one for each core")
	o.token.addFlags(flags)
	cmd.AddCommand(o.runCommand(), o.ciCommand(), o.serveCommand(), o.validateCommand(), o.statusCommand(), o.logsCommand(), o.cancelCommand(),
		o.backfillCommand(), o.graphCommand(), o.exportCommand(), o.promotionsCommand())
	return cmd
}

// newTaskCommand is how an exported pipeline runs its tasks.
func newTaskCommand() *cobra.Command {
	o := &pipelineOptions{}
	cmd := &cobra.Command{
		Use: "task", Short: "Run one task of a pipeline, for other orchestrators", Args: cobra.NoArgs, RunE: showHelp,
		Example: "  millrace task run train --pipeline fraud --run manual-1",
	}
	flags := cmd.PersistentFlags()
	flags.StringVarP(&o.file, "file", "f", "", "`file` with pipelines (default: those of the project in this folder)")
	flags.StringVar(&o.state, "state", "", "state `folder` that all tasks of the run share")
	flags.BoolVar(&o.asJSON, "json", false, "print JSON")
	flags.IntVar(&o.workers, "workers", 0, "`number` of goroutines; 0 is one for each core")
	o.token.addFlags(flags)
	cmd.AddCommand(o.taskRunCommand())
	return cmd
}

// open reads the project and its pipelines.
func (o *pipelineOptions) open() (*taskHost, *pipeline.File, error) {
	p, err := o.project()
	if err != nil {
		return nil, nil, err
	}
	files := p.Pipelines
	if o.file != "" {
		files = []string{o.file}
	}
	if len(files) == 0 {
		return nil, nil, fmt.Errorf("the project has no pipelines: name their files in %s, such as pipelines: [pipeline.yaml]", projectFile)
	}
	all, err := loadPipelines(p.Dir, files)
	if err != nil {
		return nil, nil, err
	}
	token, err := o.token.read()
	if err != nil {
		return nil, nil, err
	}
	host := &taskHost{project: p, by: decidedBy(), workers: o.workers, token: token}
	if at, err := p.replayedTo(); err != nil {
		return nil, nil, err
	} else if !at.IsZero() {
		host.now = func() time.Time { return at }
	}
	return host, all, nil
}

// project is that of the folder that --file is in, or the current one. Pipelines outside
// of a project may use what needs none.
func (o *pipelineOptions) project() (*project, error) {
	dir := "."
	if o.file != "" {
		dir = filepath.Dir(o.file)
	}
	if _, err := os.Stat(filepath.Join(dir, projectFile)); err == nil {
		return loadProject(dir)
	}
	if o.file == "" {
		return nil, errors.New("there is no project in this folder: change to one (millrace init makes one), or name pipelines by --file")
	}
	return &project{Dir: dir, State: filepath.Join(dir, defaultState), Models: filepath.Join(dir, "models")}, nil
}

// loadPipelines reads files into one. Files that triggers look for are in the folder of
// the project, wherever the process was started.
func loadPipelines(dir string, files []string) (*pipeline.File, error) {
	all := &pipeline.File{Name: strings.Join(files, ", ")}
	var problems []error
	for _, file := range files {
		f, err := pipeline.Load(file)
		if err != nil {
			problems = append(problems, err)
			continue
		}
		for _, p := range f.Pipelines {
			if _, err := all.Find(p.Name); err == nil {
				problems = append(problems, fmt.Errorf("%s: the pipeline %s is in another file too", file, p.Name))
			}
			for i := range p.Triggers {
				if t := &p.Triggers[i]; t.Path != "" && !filepath.IsAbs(t.Path) {
					t.Path = filepath.Join(absolute(dir), t.Path)
				}
			}
		}
		all.Pipelines = append(all.Pipelines, f.Pipelines...)
	}
	return all, errors.Join(problems...)
}

// decidedBy says who runs a pipeline, for the records of its decisions.
func decidedBy() string {
	if name := os.Getenv("MILLRACE_ACTOR"); name != "" {
		return name
	}
	if u, err := user.Current(); err == nil {
		return "user " + u.Username
	}
	return "unknown"
}

// runnerOptions are those of the runner of a host's pipelines.
func (o *pipelineOptions) runnerOptions(h *taskHost, f *pipeline.File) orchestrator.Options {
	return orchestrator.Options{Dir: cmp.Or(o.state, filepath.Join(h.project.State, "pipelines")), Pipelines: f, Kinds: h.kinds()}
}

// openRunner takes the state folder.
func openRunner(ctx context.Context, options orchestrator.Options) (*orchestrator.Runner, error) {
	runner, err := orchestrator.Open(ctx, options)
	return runner, explainLocked(pipelineMistake(err), options.Dir)
}

// runFlags say how a pipeline is run.
type runFlags struct {
	params      []string
	partition   string
	ignoreCache bool
	from, only  []string
	run         string
	time        momentFlag
}

func (r *runFlags) add(flags *pflag.FlagSet) {
	flags.StringArrayVar(&r.params, "param", nil, "parameter as `NAME=VALUE`; repeat as needed")
	flags.StringVar(&r.partition, "partition", "", "`key` of the partition of time to work on, such as 2026-01-31")
	flags.BoolVar(&r.ignoreCache, "ignore-cache", false, "run all tasks, also what has not changed")
	flags.StringSliceVar(&r.from, "from", nil, "`tasks` to run whether they changed or not, with all behind them")
	flags.StringSliceVar(&r.only, "only", nil, "run these `tasks` and what they wait for, and no others")
	flags.StringVar(&r.run, "run", "", "`id` of the run; one that was interrupted goes on")
	flags.Var(&optionalMoment{&r.time}, "time", "moment that the run is for (default: now)")
}

// optionalMoment may be empty, for none: other orchestrators give it as a template, and have no
// time for a run that was started by hand.
type optionalMoment struct{ *momentFlag }

func (t *optionalMoment) Set(text string) error {
	if text == "" {
		*t.momentFlag = momentFlag{}
		return nil
	}
	return t.momentFlag.Set(text)
}

func (r *runFlags) options() (orchestrator.RunOptions, error) {
	o := orchestrator.RunOptions{Run: r.run, Partition: r.partition, IgnoreCache: r.ignoreCache, From: r.from, Only: r.only, Time: r.time.time}
	if len(r.params) > 0 {
		o.Params = map[string]any{}
	}
	for _, text := range r.params {
		name, value, ok := strings.Cut(text, "=")
		if !ok {
			return o, usageError{fmt.Errorf("--param %q: give NAME=VALUE", text)}
		}
		o.Params[name] = value
	}
	return o, nil
}

// pipelineName is the argument, or the only pipeline there is.
func pipelineName(args []string, f *pipeline.File) (string, error) {
	var names []string
	for _, p := range f.Pipelines {
		names = append(names, p.Name)
	}
	switch {
	case len(args) == 0 && len(names) == 1:
		return names[0], nil
	case len(args) == 0:
		return "", usageError{fmt.Errorf("which pipeline? There are %s", strings.Join(names, ", "))}
	case !slices.Contains(names, args[0]):
		return "", usageError{fmt.Errorf("there is no pipeline %q%s", args[0], didYouMean(args[0], names))}
	}
	return args[0], nil
}

func (o *pipelineOptions) runCommand() *cobra.Command {
	var r runFlags
	cmd := &cobra.Command{
		Use: "run [PIPELINE]", Short: "Run a pipeline to its end", Args: cobra.MaximumNArgs(1),
		Long: `Run a pipeline to its end. Tasks whose inputs, settings and code have not changed come
from the cache. Ctrl-C interrupts the run; the same command with --run ID goes on with it.

Exit status: 0 if all tasks succeeded, 1 if one failed, 2 for a mistake in the command line or the
pipeline.`,
		Example: `  millrace pipeline run fraud
  millrace pipeline run fraud --param days=14 --from train
  millrace pipeline run fraud --partition 2026-01-31`,
		RunE: func(cmd *cobra.Command, args []string) error {
			status, err := o.run(cmd, args, &r, false, nil)
			if status == nil {
				return err
			}
			return errors.Join(o.showRun(cmd.OutOrStdout(), status), err)
		},
	}
	r.add(cmd.Flags())
	return cmd
}

// run runs a pipeline with a line of progress. Dry changes nothing outside of the state
// folder. Then, if not nil, looks at what came of it.
func (o *pipelineOptions) run(cmd *cobra.Command, args []string, r *runFlags, dry bool, then func(*orchestrator.Runner, *orchestrator.RunStatus) error) (_ *orchestrator.RunStatus, err error) {
	host, file, err := o.open()
	if err != nil {
		return nil, pipelineMistake(err)
	}
	host.dry = dry
	name, err := pipelineName(args, file)
	if err != nil {
		return nil, err
	}
	run, err := r.options()
	if err != nil {
		return nil, err
	}
	p := newProgress(cmd.ErrOrStderr())
	options := o.runnerOptions(host, file)
	if dry {
		options.Dir = cmp.Or(o.state, filepath.Join(host.project.State, "pipelines-ci"))
	}
	options.Observe = func(e orchestrator.Event) {
		if e.Task != "" && !e.Status.Ended() {
			p.set(strings.TrimSpace(e.Task+": "+cmp.Or(e.Phase, string(e.Status))), e.Done, e.Total)
		}
	}
	runner, err := openRunner(cmd.Context(), options)
	if err != nil {
		return nil, err
	}
	defer closing(&err, runner.Close)
	status, err := runner.Run(cmd.Context(), name, run)
	p.clear()
	if status == nil {
		err = pipelineMistake(err)
	}
	if status != nil && then != nil {
		err = errors.Join(err, then(runner, status))
	}
	return status, err
}

// pipelineMistake makes usage errors of mistakes in files, and of names that they do not have.
func pipelineMistake(err error) error {
	if errors.Is(err, pipeline.ErrInvalid) || errors.Is(err, pipeline.ErrNotFound) || errors.Is(err, orchestrator.ErrInvalid) {
		return usageError{err}
	}
	return err
}

func (o *pipelineOptions) showRun(w io.Writer, s *orchestrator.RunStatus) error {
	if o.asJSON {
		return writeJSON(w, s)
	}
	table := newTable(w, "TASK\tSTATUS\tSECONDS\tRESULT")
	for _, t := range s.Tasks {
		seconds := "-"
		if !t.Started.IsZero() && !t.Ended.IsZero() {
			seconds = fmt.Sprintf("%.1f", t.Ended.Sub(t.Started).Seconds())
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", t.Name(), t.Status, seconds, taskResult(&t))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	elapsed := ""
	if !s.Ended.IsZero() {
		elapsed = fmt.Sprintf(", %.1f s", s.Ended.Sub(s.Started).Seconds())
	}
	_, err := fmt.Fprintf(w, "\nrun %s: %s%s\n", s.ID, s.Status, elapsed)
	return err
}

// taskResult is what a task says of itself, cut to a line.
func taskResult(t *orchestrator.TaskStatus) string {
	if text := cmp.Or(t.Error, t.Reason); text != "" {
		return firstLine(text, 160)
	}
	names := make([]string, 0, len(t.Values))
	for name := range t.Values {
		names = append(names, name)
	}
	slices.Sort(names)
	var parts []string
	for _, name := range names {
		value := fmt.Sprint(t.Values[name])
		if f, ok := t.Values[name].(float64); ok {
			value = fmt.Sprintf("%.6g", f)
		}
		if len(value) > 26 {
			value = value[:12] + "..."
		}
		parts = append(parts, name+"="+value)
	}
	return firstLine(strings.Join(parts, " "), 160)
}

func firstLine(text string, limit int) string {
	text, _, _ = strings.Cut(text, "\n")
	if len(text) > limit {
		text = text[:limit] + "..."
	}
	return text
}

func writeJSON(w io.Writer, v any) error {
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(v)
}

func (o *pipelineOptions) validateCommand() *cobra.Command {
	return &cobra.Command{
		Use: "validate", Short: "Check the files of pipelines", Args: cobra.NoArgs,
		Example: "  millrace pipeline validate\n  millrace pipeline validate --file pipeline.yaml",
		RunE: func(cmd *cobra.Command, _ []string) error {
			host, file, err := o.open()
			if err != nil {
				return pipelineMistake(err)
			}
			return o.validate(cmd, host, file)
		},
	}
}

// validate compares the pipelines with the kinds of tasks that there are.
func (o *pipelineOptions) validate(cmd *cobra.Command, h *taskHost, f *pipeline.File) (err error) {
	dir, err := os.MkdirTemp("", "millrace-pipelines-")
	if err != nil {
		return err
	}
	defer closing(&err, func() error { return os.RemoveAll(dir) })
	options := o.runnerOptions(h, f)
	options.Dir = dir // nothing is run, and a runner may have the project's
	runner, err := openRunner(cmd.Context(), options)
	if err != nil {
		return err
	}
	defer closing(&err, runner.Close)
	var problems []error
	for _, p := range f.Pipelines {
		problems = append(problems, runner.Check(p))
	}
	if err := errors.Join(problems...); err != nil {
		return pipelineMistake(err)
	}
	for _, p := range f.Pipelines {
		fmt.Fprintf(cmd.OutOrStdout(), "%s: %s\n", p.Name, counted(len(p.Tasks), "task"))
	}
	return nil
}

// view looks at the state folder, which another process may be running.
func (o *pipelineOptions) view() (*orchestrator.View, error) {
	dir := o.state
	if dir == "" {
		p, err := o.project()
		if err != nil {
			return nil, err
		}
		dir = filepath.Join(p.State, "pipelines")
	}
	return orchestrator.NewView(dir), nil
}

func (o *pipelineOptions) statusCommand() *cobra.Command {
	limit := 20
	cmd := &cobra.Command{
		Use: "status [RUN]", Short: "List the last runs, or the tasks of one", Args: cobra.MaximumNArgs(1),
		Example: "  millrace pipeline status\n  millrace pipeline status RUN --json",
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := o.view()
			if err != nil {
				return err
			}
			if len(args) == 1 {
				s, err := v.Status(args[0])
				if err != nil {
					return err
				}
				return o.showRun(cmd.OutOrStdout(), s)
			}
			all, err := v.Runs("")
			if err != nil {
				return err
			}
			slices.Reverse(all)
			return o.showRuns(cmd.OutOrStdout(), all[:min(limit, len(all))])
		},
	}
	cmd.Flags().IntVar(&limit, "limit", limit, "`number` of runs to list")
	return cmd
}

func (o *pipelineOptions) showRuns(w io.Writer, all []*orchestrator.RunStatus) error {
	if o.asJSON {
		return writeJSON(w, all)
	}
	table := newTable(w, "RUN\tPIPELINE\tSTATUS\tSTARTED\tSECONDS\tTASKS\tERROR")
	for _, s := range all {
		seconds := "-"
		if !s.Ended.IsZero() {
			seconds = fmt.Sprintf("%.1f", s.Ended.Sub(s.Started).Seconds())
		}
		good := s.Count(orchestrator.StatusSucceeded, orchestrator.StatusCached)
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%d of %d\t%s\n", s.ID, s.Pipeline, s.Status, s.Started.Local().Format(time.DateTime), seconds, good, len(s.Tasks), firstLine(s.Error, 80))
	}
	return table.Flush()
}

func (o *pipelineOptions) logsCommand() *cobra.Command {
	item := ""
	cmd := &cobra.Command{
		Use: "logs RUN TASK", Short: "Print the log of a task", Args: cobra.ExactArgs(2),
		Example: "  millrace pipeline logs RUN train\n  millrace pipeline logs RUN score --item web",
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := o.view()
			if err != nil {
				return err
			}
			return v.Logs(args[0], args[1], item, cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&item, "item", "", "`item` of a task with foreach")
	return cmd
}

func (o *pipelineOptions) cancelCommand() *cobra.Command {
	return &cobra.Command{
		Use: "cancel RUN", Short: "End a run that goes on, here or in another process", Args: cobra.ExactArgs(1),
		Example: "  millrace pipeline cancel RUN",
		RunE: func(cmd *cobra.Command, args []string) error {
			v, err := o.view()
			if err != nil {
				return err
			}
			if err := v.Cancel(args[0]); err != nil {
				return err
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "cancelling %s\n", args[0])
			return err
		},
	}
}

func (o *pipelineOptions) backfillCommand() *cobra.Command {
	var r runFlags
	var from, to momentFlag
	parallel := 1
	cmd := &cobra.Command{
		Use: "backfill [PIPELINE] --from DATE --to DATE", Short: "Run a pipeline for each partition of a range of time", Args: cobra.MaximumNArgs(1),
		Long: `Run a pipeline for each partition of time that begins from --from up to, and not
including, --to, the oldest first. With the same --run NAME a backfill that was interrupted goes on
and does not repeat what has ended.`,
		Example: "  millrace pipeline backfill fraud --from 2026-01-01 --to 2026-02-01 --parallel 2 --run january",
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.backfill(cmd, args, &r, from.time, to.time, parallel)
		},
	}
	flags := cmd.Flags()
	flags.StringArrayVar(&r.params, "param", nil, "parameter as `NAME=VALUE`; repeat as needed")
	flags.BoolVar(&r.ignoreCache, "ignore-cache", false, "run all tasks, also what has not changed")
	flags.StringVar(&r.run, "run", "", "`name` of the backfill; runs get the partition's key behind it")
	flags.Var(&from, "from", "begin of the range")
	flags.Var(&to, "to", "end of the range, not included")
	flags.IntVar(&parallel, "parallel", parallel, "`number` of partitions at once")
	return cmd
}

func (o *pipelineOptions) backfill(cmd *cobra.Command, args []string, r *runFlags, from, to time.Time, parallel int) (err error) {
	if from.IsZero() || to.IsZero() {
		return usageError{errors.New("--from and --to are needed: the range of time")}
	}
	host, file, err := o.open()
	if err != nil {
		return pipelineMistake(err)
	}
	name, err := pipelineName(args, file)
	if err != nil {
		return err
	}
	run, err := r.options()
	if err != nil {
		return err
	}
	runner, err := openRunner(cmd.Context(), o.runnerOptions(host, file))
	if err != nil {
		return err
	}
	defer closing(&err, runner.Close)
	all, err := runner.Backfill(cmd.Context(), name, from, to, parallel, run)
	return errors.Join(o.showRuns(cmd.OutOrStdout(), all), pipelineMistake(err))
}

func (o *pipelineOptions) graphCommand() *cobra.Command {
	format := string(pipeline.FormatText)
	cmd := &cobra.Command{
		Use: "graph [PIPELINE]", Short: "Draw the tasks of a pipeline", Args: cobra.MaximumNArgs(1),
		Example: "  millrace pipeline graph fraud\n  millrace pipeline graph fraud --format dot | dot -Tsvg > fraud.svg",
		RunE: func(cmd *cobra.Command, args []string) error {
			_, file, err := o.open()
			if err != nil {
				return pipelineMistake(err)
			}
			name, err := pipelineName(args, file)
			if err != nil {
				return err
			}
			p, err := file.Find(name)
			if err != nil {
				return err
			}
			text, err := p.Graph(pipeline.Format(format), nil)
			if err != nil {
				return usageError{err}
			}
			_, err = io.WriteString(cmd.OutOrStdout(), text)
			return err
		},
	}
	cmd.Flags().StringVar(&format, "format", format, "`form`: text, dot or mermaid")
	return cmd
}

func (o *pipelineOptions) taskRunCommand() *cobra.Command {
	var name string
	var r runFlags
	cmd := &cobra.Command{
		Use: "run TASK --pipeline NAME --run ID", Short: "Run one task of a run that another orchestrator drives", Args: cobra.ExactArgs(1),
		Long: `Run one task of a pipeline: what millrace pipeline export makes Airflow or Argo call. What
the task waits for has to have been run before, with the same --run and the same --state, a folder
that all of them share. A task that succeeded before is not run again.`,
		Example: "  millrace task run train --pipeline fraud --run 2026-01-31 --state /shared/pipelines",
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.runTask(cmd, args[0], name, &r)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&name, "pipeline", "", "`name` of the pipeline (default: the only one)")
	r.add(flags)
	return cmd
}

func (o *pipelineOptions) runTask(cmd *cobra.Command, task, name string, r *runFlags) error {
	if r.run == "" {
		return usageError{errors.New("--run ID is missing: the run that the task is part of")}
	}
	host, file, err := o.open()
	if err != nil {
		return pipelineMistake(err)
	}
	args := []string{name}
	if name == "" {
		args = nil
	}
	if name, err = pipelineName(args, file); err != nil {
		return err
	}
	run, err := r.options()
	if err != nil {
		return err
	}
	status, err := orchestrator.RunTask(cmd.Context(), o.runnerOptions(host, file), orchestrator.TaskOptions{Pipeline: name, Task: task, RunOptions: run})
	if status == nil {
		return pipelineMistake(err)
	}
	if o.asJSON {
		return errors.Join(writeJSON(cmd.OutOrStdout(), status), err)
	}
	_, print := fmt.Fprintf(cmd.OutOrStdout(), "%s: %s %s\n", status.Name(), status.Status, taskResult(status))
	return errors.Join(print, err)
}

func (o *pipelineOptions) promotionsCommand() *cobra.Command {
	return &cobra.Command{
		Use: "promotions", Short: "List the decisions to deploy, or not to", Args: cobra.NoArgs,
		Example: "  millrace pipeline promotions\n  millrace pipeline promotions --json",
		RunE: func(cmd *cobra.Command, _ []string) error {
			p, err := o.project()
			if err != nil {
				return err
			}
			all, err := readPromotions(p.State)
			if err != nil {
				return err
			}
			slices.Reverse(all)
			return o.showPromotions(cmd.OutOrStdout(), all)
		},
	}
}

func (o *pipelineOptions) showPromotions(w io.Writer, all []promotion) error {
	if o.asJSON {
		return writeJSON(w, all)
	}
	table := newTable(w, "TIME\tMODEL\tDECISION\tVERSION\tVERDICT\tBY\tRUN\tTO GO BACK, OR WHY NOT")
	for _, p := range all {
		number := "-"
		if p.Version > 0 {
			number = fmt.Sprint(p.Version)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", p.Time.Local().Format(time.DateTime), p.Model, p.Decision, number, p.Verdict, p.By, p.Run,
			firstLine(cmp.Or(strings.Join(p.Reasons, "; "), p.Rollback), 100))
	}
	return table.Flush()
}

// serveCommand runs schedules and triggers.
func (o *pipelineOptions) serveCommand() *cobra.Command {
	return &cobra.Command{
		Use: "serve", Short: "Run pipelines when they are due or triggered, until interrupted", Args: cobra.NoArgs,
		Long: `Run pipelines by their schedules (cron) and triggers until interrupted. Runs that an
earlier process left go on first. millrace up does the same beside serving.`,
		Example: "  millrace pipeline serve",
		RunE: func(cmd *cobra.Command, _ []string) (err error) {
			host, file, err := o.open()
			if err != nil {
				return pipelineMistake(err)
			}
			options := o.runnerOptions(host, file)
			options.Observe = func(e orchestrator.Event) { reportEvent(cmd.ErrOrStderr(), e) }
			runner, err := openRunner(cmd.Context(), options)
			if err != nil {
				return err
			}
			defer closing(&err, runner.Close)
			if err := runner.Serve(cmd.Context()); err != nil && !errors.Is(err, context.Canceled) {
				return err
			}
			return nil
		},
	}
}

// reportEvent prints what a log of a server should have: how runs and tasks end.
func reportEvent(w io.Writer, e orchestrator.Event) {
	if e.Phase != "" || e.Total != 0 {
		return
	}
	line := fmt.Sprintf("%s run %s", time.Now().Format(time.DateTime), e.Run)
	if e.Task != "" {
		line += " task " + e.Task
	}
	line += ": " + string(e.Status)
	if e.Error != "" {
		line += ": " + firstLine(e.Error, 300)
	}
	fmt.Fprintln(w, line)
}
