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
	"strings"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace/training/runs"
)

// runsOptions are those of all commands over the log of experiments.
type runsOptions struct {
	state stateFlags
	store string
	json  bool
}

func newRunsCommand() *cobra.Command {
	o := &runsOptions{}
	cmd := &cobra.Command{
		Use:   "runs",
		Short: "Look at the log of experiments: what was trained, how, and what came of it",
		Long: `Look at the log of experiments that millrace train writes: an SQLite file in the state
folder, or PostgreSQL. docs/reference/runs.md has the filters and what a run holds.`,
		Example: `  millrace runs list --experiment fraud --sort metrics.average_precision
  millrace runs compare 01JD8Z6V0R 01JD8Z7A3K`,
		Args: cobra.NoArgs,
		RunE: showHelp,
	}
	flags := cmd.PersistentFlags()
	o.state.addDir(flags)
	flags.StringVar(&o.store, "store", "", "log of experiments: a `file` or a postgres:// URL (default: "+runs.File+" in the state folder)")
	flags.BoolVar(&o.json, "json", false, "print JSON")
	cmd.AddCommand(o.listCommand(), o.showCommand(), o.compareCommand(), o.deleteCommand())
	return cmd
}

// place is the log that the flags name.
func (o *runsOptions) place() (string, error) {
	if o.store != "" {
		if o.state.dir != "" {
			return "", usageError{errors.New("give --store or --state, not both")}
		}
		return o.store, nil
	}
	dir, _, err := o.state.folder()
	return filepath.Join(dir, runs.File), err
}

// open opens a log that is there: reading makes none.
func (o *runsOptions) open(ctx context.Context) (runs.Store, error) {
	place, err := o.place()
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(place, "postgres://") && !strings.HasPrefix(place, "postgresql://") {
		if _, err := os.Stat(place); errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("%s: there is no log of experiments; millrace train begins one", place)
		}
	}
	return runs.Open(ctx, place)
}

// with runs a function over the log; mistakes in a query are those of the command line.
func (o *runsOptions) with(cmd *cobra.Command, f func(context.Context, runs.Store) error) (err error) {
	store, err := o.open(cmd.Context())
	if err != nil {
		return err
	}
	defer closing(&err, store.Close)
	if err = f(cmd.Context(), store); errors.Is(err, runs.ErrQuery) {
		err = usageError{err}
	}
	return err
}

func (o *runsOptions) print(w io.Writer, answer any, table func(io.Writer) error) error {
	if !o.json {
		return table(w)
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	encoder.SetEscapeHTML(false)
	return encoder.Encode(answer)
}

func (o *runsOptions) listCommand() *cobra.Command {
	var (
		q       runs.Query
		status  string
		columns []string
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List runs, the newest or the best first",
		Long: `List runs, the newest first, or by a metric or parameter the greatest first; with
--sort, runs that lack it are left out. --where filters by any metric, parameter, tag or
field. The next page begins --after the last id of the one before.`,
		Example: `  millrace runs list --experiment fraud --sort metrics.average_precision
  millrace runs list --where 'metrics.roc_auc > 0.85 and params.max_depth in (4, 6)' --json
  millrace runs list --status failed --limit 10
  millrace runs list --tag kind=build --columns metrics.roc_auc,params.max_depth`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q.Status = runs.Status(status)
			return o.with(cmd, func(ctx context.Context, store runs.Store) error {
				list, err := store.List(ctx, q)
				if err != nil {
					return err
				}
				return o.print(cmd.OutOrStdout(), list, func(w io.Writer) error { return printRuns(w, list, q.OrderBy, columns) })
			})
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&q.Experiment, "experiment", "", "`name` of the experiment")
	flags.StringVar(&status, "status", "", "`status`: running, finished, failed or killed")
	flags.StringVar(&q.Method, "method", "", "`name` of the method, such as trees")
	flags.StringVar(&q.Parent, "parent", "", "`id` of the run that they are a part of")
	flags.StringVar(&q.Tag, "tag", "", "`NAME` or NAME=VALUE of a tag")
	flags.StringVar(&q.Where, "where", "", "`condition`, such as 'metrics.roc_auc > 0.8 and params.max_depth = 6'")
	flags.StringVar(&q.OrderBy, "sort", "", "`metrics.NAME` or params.NAME to order by")
	flags.BoolVar(&q.Ascending, "ascending", false, "the least, or the oldest, first")
	flags.IntVar(&q.Limit, "limit", runs.LimitDefault, fmt.Sprintf("`number` of runs, at most %d", runs.LimitMax))
	flags.StringVar(&q.After, "after", "", "`id` of the last run of the page before")
	flags.StringSliceVar(&columns, "columns", nil, "`columns` to show, such as metrics.roc_auc,params.max_depth (default: the most frequent metrics)")
	return cmd
}

func (o *runsOptions) showCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "show ID",
		Short: "Show a run: parameters, metrics, learning curves and artefact",
		Long:  "Show a run. The id may be cut to where it is unique.",
		Example: `  millrace runs show 01JD8Z6V0R
  millrace runs show 01JD8Z6V0R --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.with(cmd, func(ctx context.Context, store runs.Store) error {
				r, err := store.Get(ctx, args[0])
				if err != nil {
					return err
				}
				return o.print(cmd.OutOrStdout(), r, func(w io.Writer) error { return printRun(w, r) })
			})
		},
	}
}

func (o *runsOptions) compareCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "compare ID ID...",
		Short: "Set runs side by side: what differs, and all metrics",
		Example: `  millrace runs compare 01JD8Z6V0R 01JD8Z7A3K
  millrace runs compare 01JD8Z6V0R 01JD8Z7A3K --json`,
		Args: cobra.RangeArgs(2, runs.CompareMax),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.with(cmd, func(ctx context.Context, store runs.Store) error {
				c, err := runs.Compare(ctx, store, args...)
				if err != nil {
					return err
				}
				return o.print(cmd.OutOrStdout(), c, func(w io.Writer) error { return printComparison(w, c) })
			})
		},
	}
}

func (o *runsOptions) deleteCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "delete ID...",
		Short: "Take runs out of the log; their artefacts stay",
		Long: `Take runs out of the log. What they made stays where it is. A run that is running is
not deleted. The ids may be cut to where they are unique.`,
		Example: `  millrace runs delete 01JD8Z6V0R`,
		Args:    cobra.MinimumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.with(cmd, func(ctx context.Context, store runs.Store) error {
				for _, id := range args {
					if err := store.Delete(ctx, id); err != nil {
						return err
					}
				}
				return o.print(cmd.OutOrStdout(), struct {
					Deleted int `json:"deleted"`
				}{len(args)}, func(w io.Writer) error {
					_, err := fmt.Fprintf(w, "deleted %s\n", counted(len(args), "run"))
					return err
				})
			})
		},
	}
}
