// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/labeling/groundtruth"
	"github.com/millrace-ml/millrace/labeling/groundtruth/table"
)

// joinFlags are those of `feedback join`.
type joinFlags struct {
	label, output  string
	from, to, asOf momentFlag
	vectors        bool
	options        groundtruth.JoinOptions
}

// joined is what `feedback join` answers.
type joined struct {
	Output string `json:"output"`
	Label  string `json:"label"`
	AsOf   string `json:"as_of"`
	Rows   int64  `json:"rows"`
	// Statuses counts rows by what is known of them: observed, silent, pending, unknown.
	Statuses     map[string]int64 `json:"statuses"`
	Contradicted int64            `json:"contradicted"`
	// OtherVectors are rows whose vector was made by other definitions than those of the
	// project now: their features are null.
	OtherVectors int64 `json:"other_vectors,omitempty"`
}

func (o *feedbackOptions) joinCommand() *cobra.Command {
	var f joinFlags
	cmd := &cobra.Command{
		Use:   "join [PROJECT] --label NAME --output FILE",
		Short: "Write decisions with what became of them, as of any instant",
		Long: `Write the decisions of a label with what became of them: a row for each prediction, with
the decision, the score, the arm and its propensity, the label, where it came from and
when it was known. Nothing that arrived after --as-of shows.

FILE is .parquet, .jsonl or .csv; it appears when it is whole. --vectors adds the features
that the model saw. PROJECT is a folder, or the current one. It may be served at the same
time: the event log is read as it is when the command begins.`,
		Example: `  millrace feedback join . --label fraud --output labelled.parquet --mature-only
  millrace feedback join examples/card-fraud --label fraud --as-of 2026-03-01 --output march.csv
  millrace feedback join . --label fraud --vectors --labelled-only --model fraud --output train.parquet`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			folder := "."
			if len(args) == 1 {
				folder = args[0]
			}
			return o.join(cmd, folder, &f)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.label, "label", "", "`name` of the label in the project's feedback files (default: the only one)")
	flags.StringVarP(&f.output, "output", "o", "", "`file` to write: .parquet, .jsonl or .csv")
	flags.Var(&f.asOf, "as-of", "what was known at this moment (default: now, or where the project's replay is)")
	flags.Var(&f.from, "from", "leave out decisions before this moment")
	flags.Var(&f.to, "to", "leave out decisions from this moment on")
	flags.StringVar(&f.options.Model, "model", "", "leave out decisions of other models than this `name`")
	flags.BoolVar(&f.options.MatureOnly, "mature-only", false, "leave out decisions whose window is not over: early labels are no fair sample")
	flags.BoolVar(&f.options.LabelledOnly, "labelled-only", false, "leave out decisions without a label")
	flags.BoolVar(&f.vectors, "vectors", false, "add a column for each feature that the model saw")
	return cmd
}

func (o *feedbackOptions) join(cmd *cobra.Command, folder string, f *joinFlags) (err error) {
	if f.output == "" {
		return usageError{errors.New("--output FILE is missing")}
	}
	if !slices.Contains([]string{".parquet", ".jsonl", ".csv"}, outputKind(f.output)) {
		return usageError{fmt.Errorf("--output %s: name it .parquet, .jsonl or .csv", f.output)}
	}
	p, policies, labels, err := labelsIn(folder)
	if err != nil {
		return err
	}
	if f.options.Label, err = chosenLabel(labels, f.label); err != nil {
		return usageError{err}
	}
	if err := f.moments(p); err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(p.State, "log")); errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: there is no event log: nothing was served yet", p.State)
	}
	if f.options.Log, err = openLog(cmd.Context(), p.State, p); err != nil {
		return err
	}
	defer closing(&err, f.options.Log.Close)
	j := &joiner{flags: f, progress: newProgress(cmd.ErrOrStderr())}
	if f.vectors {
		if j.vectors, err = newVectorColumns(policies, f.options.Label.Decision); err != nil {
			return err
		}
	}
	err = j.write(cmd.Context())
	j.progress.clear()
	if err != nil {
		return explainJoin(err)
	}
	return o.show(cmd.OutOrStdout(), &j.result, j.result.table)
}

func outputKind(path string) string { return strings.ToLower(filepath.Ext(path)) }

func chosenLabel(labels []*groundtruth.Definition, name string) (*groundtruth.Definition, error) {
	if len(labels) == 0 {
		return nil, errors.New("the project has no labels: millrace.yaml lists files of them under feedback")
	}
	if name == "" && len(labels) == 1 {
		return labels[0], nil
	}
	var names []string
	for _, d := range labels {
		if d.Name == name {
			return d, nil
		}
		names = append(names, d.Name)
	}
	return nil, fmt.Errorf("--label %q: the project has %s", name, strings.Join(names, ", "))
}

// moments fills in the times. The clock of a project with a replay is where that came to.
func (f *joinFlags) moments(p *project) error {
	f.options.From, f.options.To, f.options.AsOf = f.from.micros(), f.to.micros(), f.asOf.micros()
	if f.options.From > 0 && f.options.To > 0 && f.options.From >= f.options.To {
		return usageError{errors.New("--from is not before --to")}
	}
	if f.options.AsOf != 0 {
		return nil
	}
	at, err := p.replayedTo()
	if err != nil {
		return fmt.Errorf("%w; give --as-of", err)
	}
	if at.IsZero() {
		at = time.Now()
	}
	f.options.AsOf = at.UnixMicro()
	return nil
}

// replayedTo is where a project's replay came to, zero for a project without one.
func (p *project) replayedTo() (time.Time, error) {
	data, err := os.ReadFile(filepath.Join(p.State, "replay.json"))
	if p.Replay == nil || errors.Is(err, fs.ErrNotExist) {
		return time.Time{}, nil
	} else if err != nil {
		return time.Time{}, err
	}
	var last replayed
	if err := json.Unmarshal(data, &last); err != nil {
		return time.Time{}, fmt.Errorf("%s: how far the replay came: %w", p.State, err)
	}
	return last.At, nil
}

func explainJoin(err error) error {
	if errors.Is(err, offline.ErrUnknownStream) {
		return errors.New("nothing was decided or said yet: the event log has no decisions or no feedback")
	}
	return err
}

// joiner writes one table.
type joiner struct {
	flags    *joinFlags
	progress *progress
	vectors  *vectorColumns // nil without
	set      *setRows       // nil but for a training set, which has vectors
	out      tableWriter
	result   joined
}

type tableWriter interface {
	groundtruth.RowWriter
	Close() error
}

// write writes beside the output and renames, so that the output is whole or not there.
func (j *joiner) write(ctx context.Context) (err error) {
	f := j.flags
	temp, err := os.CreateTemp(filepath.Dir(f.output), "."+filepath.Base(f.output)+".*")
	if err != nil {
		return fmt.Errorf("--output: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(temp.Name()))
		}
	}()
	err = j.rows(ctx, temp)
	if err = errors.Join(err, temp.Close()); err != nil {
		return err
	}
	if err := os.Chmod(temp.Name(), 0o644); err != nil {
		return err
	}
	return os.Rename(temp.Name(), f.output)
}

func (j *joiner) rows(ctx context.Context, w io.Writer) (err error) {
	f := j.flags
	var extra []offline.Column
	if j.vectors != nil {
		extra, f.options.Columns = j.vectors.columns, groundtruth.VectorColumns()
	}
	if j.set != nil {
		extra = slices.Concat(extra, j.set.columns)
	}
	switch outputKind(f.output) {
	case ".jsonl":
		j.out, err = table.NewJSONLines(w, extra)
	case ".csv":
		j.out, err = table.NewCSV(w, extra)
	default:
		j.out, err = table.NewWriter(w, extra)
	}
	if err != nil {
		return err
	}
	j.result = joined{Output: f.output, Label: f.options.Label.Name, AsOf: formatMicros(f.options.AsOf), Statuses: map[string]int64{}}
	if j.set != nil {
		err = j.set.addHistory(ctx, j)
	}
	if err == nil {
		_, err = groundtruth.Export(ctx, f.options, j)
	}
	return errors.Join(err, j.out.Close())
}

// WriteRow implements groundtruth.RowWriter.
func (j *joiner) WriteRow(r *groundtruth.Row) error {
	if j.vectors != nil {
		known, err := j.vectors.decode(r)
		if err != nil {
			return err
		}
		if !known {
			j.result.OtherVectors++
		}
		if j.set != nil {
			if keep, err := j.set.fill(r, known); err != nil || !keep {
				return err
			}
		}
	}
	if j.result.Rows++; j.result.Rows%1024 == 0 {
		j.progress.set("joining "+j.result.Label, j.result.Rows, 0)
	}
	j.result.Statuses[r.Label.Status.String()]++
	if r.Label.Contradicted {
		j.result.Contradicted++
	}
	return j.out.WriteRow(r)
}

func (r *joined) table(w io.Writer) error {
	fmt.Fprintf(w, "%s: %d decisions with label %s as of %s\n", r.Output, r.Rows, r.Label, r.AsOf)
	for _, s := range []struct{ status, means string }{
		{"observed", "have a label that somebody gave"}, {"silent", "have the negative label, since nothing came until their window was over"},
		{"pending", "may still get one"}, {"unknown", "have none: nothing came"},
	} {
		if n := r.Statuses[s.status]; n > 0 {
			fmt.Fprintf(w, "  %d %s\n", n, s.means)
		}
	}
	if r.Contradicted > 0 {
		fmt.Fprintf(w, "  %d were contradicted: the source of the highest priority counts\n", r.Contradicted)
	}
	if r.OtherVectors > 0 {
		fmt.Fprintf(w, "  %d have no features: their vectors were made by other definitions\n", r.OtherVectors)
	}
	return nil
}
