// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace/featurestore"
	"github.com/millrace-ml/millrace/featurestore/source"
)

// materializeFlags are those of `features materialize`.
type materializeFlags struct {
	state   stateFlags
	until   momentFlag
	options featurestore.MaterializeOptions
}

// loadedSource is what became of one source.
type loadedSource struct {
	Source   string `json:"source"`
	Loaded   int64  `json:"loaded"`
	Known    int64  `json:"known"`
	Future   int64  `json:"future"`
	Unusable int64  `json:"unusable"`
	Withheld int64  `json:"withheld"`
	Bad      int64  `json:"bad"`
	FirstBad string `json:"first_bad,omitempty"`
}

func (o *featuresOptions) materializeCommand() *cobra.Command {
	var f materializeFlags
	cmd := &cobra.Command{
		Use:   "materialize",
		Short: "Load the history of sources into the event log and the states",
		Long: `Load the history of sources, from their inputs, into the event log and the online
states. What was loaded or pushed before is not loaded again, so it can be run any
number of times, also after an interruption and as the inputs grow.

KNOWN events had been loaded before, or are older than the newest of the last load
(--full looks at those too). FUTURE ones lie beyond --until. UNUSABLE ones lack a time
or what a feature needs. WITHHELD late values were not known yet: push them when they
are. BAD rows could not be read.`,
		Example: `  millrace features materialize
  millrace features materialize --source payments --state /var/lib/millrace/state
  millrace features materialize --until 2018-07-01 --bad-rows-max 100`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return o.materialize(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr(), &f)
		},
	}
	flags := cmd.Flags()
	o.addDefinitions(flags)
	f.state.addFlags(flags)
	flags.StringArrayVar(&f.options.Sources, "source", nil, "`name` of a source to load; repeat for several (default: all with inputs)")
	flags.Var(&f.until, "until", "leave out events from this moment on (default: now)")
	flags.BoolVar(&f.options.Full, "full", false, "look for events older than the last load too; holds the ids of all events in memory, 8 bytes each")
	flags.Int64Var(&f.options.BadRowsMax, "bad-rows-max", 0, "`number` of bad rows to leave out before giving up; negative is any number")
	return cmd
}

func (o *featuresOptions) materialize(ctx context.Context, stdout, stderr io.Writer, f *materializeFlags) (err error) {
	c, err := o.catalog()
	if err != nil {
		return err
	}
	for _, name := range f.options.Sources {
		s := c.Source(name)
		if s == nil {
			return usageError{fmt.Errorf("--source %q: no such source is defined", name)}
		}
		if len(s.Inputs) == 0 {
			return usageError{fmt.Errorf("--source %s: the source has no inputs; add some, or push its events", name)}
		}
	}
	dir, owner, err := f.state.folder()
	if err != nil {
		return err
	}
	p := newProgress(stderr)
	store, err := f.state.openStore(ctx, dir, owner, c, stderr, p, ", or send the server its events: millrace features push")
	if err != nil {
		return err
	}
	defer closing(&err, store.Close)
	f.options.Until = f.until.micros()
	f.options.Progress = func(source string, rows int64) { p.set("loading "+source, rows, 0) }
	done, err := store.Materialize(ctx, f.options)
	p.clear()
	return errors.Join(o.showMaterialized(stdout, done), explainRows(err))
}

// explainRows says how to go on when there were too many bad rows.
func explainRows(err error) error {
	if errors.Is(err, source.ErrBadRows) {
		return fmt.Errorf("%w; mend the input, or leave out some rows with --bad-rows-max", err)
	}
	return err
}

func (o *featuresOptions) showMaterialized(w io.Writer, done []featurestore.Materialized) error {
	answer := make([]loadedSource, len(done))
	for i, m := range done {
		answer[i] = loadedSource(m)
	}
	return o.show(w, answer, func(w io.Writer) error {
		if len(answer) == 0 {
			_, err := fmt.Fprintln(w, "no source has inputs: there is no history to load")
			return err
		}
		table := newTable(w, "SOURCE\tLOADED\tKNOWN\tFUTURE\tUNUSABLE\tWITHHELD\tBAD")
		for _, m := range answer {
			fmt.Fprintf(table, "%s\t%d\t%d\t%d\t%d\t%d\t%d\n", m.Source, m.Loaded, m.Known, m.Future, m.Unusable, m.Withheld, m.Bad)
		}
		if err := table.Flush(); err != nil {
			return err
		}
		for _, m := range answer {
			if m.FirstBad != "" {
				fmt.Fprintf(w, "%s: first bad row: %s\n", m.Source, m.FirstBad)
			}
		}
		return nil
	})
}
