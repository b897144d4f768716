// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/millrace-ml/millrace/evaluation/monitor"
	monitordoc "github.com/millrace-ml/millrace/evaluation/monitor/document"
	"github.com/millrace-ml/millrace/evaluation/monitor/record"
)

// backtestFlags are those of `monitor backtest`.
type backtestFlags struct {
	monitor, log string
	file         backtestFile
	from, to     momentFlag

	reference      string
	referenceDays  int
	output, record string
	json           bool
}

const backtestLong = `Replay predictions and what became of them through a monitor, in the order in which they came
to be known, and say when each detector would have fired. Nothing is served, changed or told
to anybody: this is how to choose windows and levels before a monitor goes live.

Predictions are those of the project's event log (of --log, or the project's own), with the
configuration of the monitor --monitor; or the rows of a file (--data) with the names of its
columns. A file needs no project: without --monitor all other columns are watched, in windows
of a day and of a week. A server may run: its event log is read as it is at the beginning.

Windows are compared with --reference, a Parquet file; or with what the monitor's configuration
says; or with the first --reference-days days, which are then not watched themselves.`

func newMonitorBacktestCommand() *cobra.Command {
	var f backtestFlags
	cmd := &cobra.Command{
		Use:   "backtest [FOLDER]",
		Short: "Replay a log or a file: when would each detector have fired?",
		Long:  backtestLong,
		Example: `  millrace monitor backtest --monitor fraud --from 90d
  millrace monitor backtest --monitor fraud --log /srv/fraud/.millrace/state --output backtest.html
  millrace monitor backtest --data scored.parquet --time at --score score --label is_fraud \
      --label-delay 7d --window 1d --window 7d --reference-days 28
  millrace monitor backtest --data scored.csv --step 30m --score score --label class --json`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return f.run(cmd, args) },
	}
	f.add(cmd.Flags())
	f.file.add(cmd.Flags())
	return cmd
}

func (f *backtestFlags) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.monitor, "monitor", "", "`name` of the monitor whose configuration is used (default: the only one)")
	flags.StringVar(&f.log, "log", "", "state `folder` with the event log (default: the project's)")
	flags.Var(&f.from, "from", "first moment of predictions, such as 2026-01-02 or 90d ago (default: all)")
	flags.Var(&f.to, "to", "moment of predictions to end before (default: all)")
	flags.StringVar(&f.reference, "reference", "", "Parquet `file` to compare with: the watched columns, the score and the label")
	flags.IntVar(&f.referenceDays, "reference-days", 0, "`number` of the first days to compare with, without --reference (default: as the monitor says, or 14)")
	flags.StringVarP(&f.output, "output", "o", "", "`file` for the report: .html, .md, .txt or .json")
	flags.StringVar(&f.record, "record", "", "`folder` to keep the reports in, as the state folder keeps those of a monitor")
	flags.BoolVar(&f.json, "json", false, "print JSON")
}

// backtest is one that is made ready.
type backtest struct {
	name      string
	config    monitor.Config
	reference monitor.Reference
	rows      backtestRows
	first     *backtestRow // of rows, read already
	source    string
	close     []func() error
}

func (f *backtestFlags) run(cmd *cobra.Command, args []string) (err error) {
	if f.output != "" {
		if _, err := documentFormat("", f.output); err != nil {
			return err
		}
	}
	b, err := f.prepare(cmd.Context(), args)
	if err != nil {
		return err
	}
	defer closing(&err, b.end)
	p := newProgress(cmd.ErrOrStderr())
	defer p.clear()
	if err := b.compare(cmd.Context(), f); err != nil {
		return err
	}
	return f.replay(cmd, b, p)
}

func (f *backtestFlags) replay(cmd *cobra.Command, b *backtest, p *progress) (err error) {
	var store *record.Store
	if f.record != "" {
		if store, err = record.Open(f.record); err != nil {
			return err
		}
		defer closing(&err, store.Close)
	}
	var reports []monitor.Report
	var kept error
	events, done := &arrivals{rows: b.rows, row: b.first}, int64(0)
	tested, err := monitor.Backtest(cmd.Context(), b.config, b.reference, func() (monitor.Logged, bool, error) {
		if done++; done%1000 == 0 {
			p.set("events", done, 0)
		}
		e, ok, err := events.next()
		return e, ok, errors.Join(err, kept)
	}, func(r *monitor.Report) {
		reports = append(reports, *r)
		if len(reports) > 2*record.ReportsMax {
			reports = slices.Delete(reports, 0, len(reports)-record.ReportsMax)
		}
		if store != nil && kept == nil {
			kept = store.Append([]monitor.Report{*r})
		}
	})
	p.clear()
	if err = errors.Join(err, kept); err != nil {
		return err
	}
	if f.output != "" {
		format, err := documentFormat("", f.output)
		if err != nil {
			return err
		}
		d := monitordoc.New(reports, monitordoc.Options{Monitor: b.name, Made: time.Now(), Source: "a backtest of " + b.source})
		if err := writeDocument(io.Discard, f.output, format, d); err != nil {
			return err
		}
	}
	if f.json {
		return printTestedJSON(cmd.OutOrStdout(), tested)
	}
	return printTested(cmd.OutOrStdout(), tested, monitordoc.Spans(reports))
}

// prepare opens what predictions are read from.
func (f *backtestFlags) prepare(ctx context.Context, args []string) (*backtest, error) {
	if f.file.path != "" && f.log != "" {
		return nil, usageError{errors.New("--data and --log: predictions are either of a file or of an event log")}
	}
	if f.file.path != "" && f.monitor == "" {
		return f.file.open(ctx, f, nil)
	}
	dir := "."
	if len(args) > 0 {
		dir = args[0]
	}
	p, err := loadProject(dir)
	if err != nil {
		return nil, err
	}
	spec, err := specOf(p, f.monitor)
	if err != nil {
		return nil, err
	}
	if f.file.path != "" {
		return f.file.open(ctx, f, spec)
	}
	return f.openLog(ctx, p, spec)
}

// specOf is the project's monitor of a name, or its only one.
func specOf(p *project, name string) (*monitorSpec, error) {
	specs, err := loadMonitors(p)
	if err != nil {
		return nil, err
	}
	chosen, err := newMonitorsOfState(filepath.Join(p.State, "no monitors"), monitorInfos(specs)).choose(name)
	if err != nil {
		return nil, err
	}
	return specs[slices.IndexFunc(specs, func(s *monitorSpec) bool { return s.Name == chosen })], nil
}

// compare makes the reference: of a file, or of the first days, which are read off the rows.
func (b *backtest) compare(ctx context.Context, f *backtestFlags) (err error) {
	days := f.referenceDays
	if f.reference != "" {
		b.reference, err = monitor.ReferenceFile(ctx, b.config, f.reference, f.file.score, f.file.label)
		return err
	}
	if b.reference.Profile != nil && days == 0 {
		return nil
	}
	if days == 0 {
		days = monitor.DaysDefault
	}
	predictions, labels, next, err := firstDays(ctx, b.rows, days, firstRowsMax)
	if err != nil {
		return err
	}
	b.first = next
	if b.reference, err = monitor.ReferenceOf(b.config, predictions, labels); err != nil {
		return fmt.Errorf("the first %d days as reference: %w", days, err)
	}
	return nil
}

func (b *backtest) end() error {
	var all []error
	for _, end := range slices.Backward(b.close) {
		all = append(all, end())
	}
	return errors.Join(all...)
}

// testedJSON is what a backtest found, for other programs.
type testedJSON struct {
	Closed   int             `json:"closed"`
	Matured  int             `json:"matured"`
	Counts   monitor.Counts  `json:"counts"`
	Rejected int64           `json:"rejected"`
	Fired    []firedJSON     `json:"fired"`
	Timeline []monitor.Event `json:"timeline"`
}

type firedJSON struct {
	Subject  string           `json:"subject"`
	Severity monitor.Severity `json:"severity"`
	First    time.Time        `json:"first"`
	Raised   int              `json:"raised"`
	Windows  int              `json:"windows"`
	Reason   string           `json:"reason"`
}

func printTestedJSON(w io.Writer, t *monitor.Tested) error {
	out := testedJSON{Closed: t.Closed, Matured: t.Matured, Counts: t.Counts, Rejected: t.Rejected, Fired: []firedJSON{}, Timeline: t.Timeline}
	for _, f := range t.Fired {
		out.Fired = append(out.Fired, firedJSON{f.Subject, f.Severity, time.UnixMicro(f.First).UTC(), f.Raised, f.Windows, f.Reason})
	}
	encoder := json.NewEncoder(w)
	encoder.SetIndent("", "  ")
	return encoder.Encode(out)
}

func printTested(w io.Writer, t *monitor.Tested, spans []monitordoc.Span) error {
	if len(t.Fired) == 0 {
		fmt.Fprintln(w, "no detector fired")
	} else {
		table := newTable(w, "FIRST\tSEVERITY\tDETECTOR\tTIMES\tWINDOWS\tSTILL RAISED\tREASON OF THE FIRST TIME")
		for _, f := range t.Fired {
			still := "no"
			if slices.ContainsFunc(spans, func(s monitordoc.Span) bool { return s.Subject == f.Subject && s.Raised() }) {
				still = "yes"
			}
			fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%d\t%s\t%s\n", time.UnixMicro(f.First).UTC().Format(minuteForm), f.Severity,
				monitordoc.Subject(&monitor.Alarm{Subject: f.Subject}), f.Raised, f.Windows, still, clean(f.Reason))
		}
		if err := table.Flush(); err != nil {
			return err
		}
	}
	_, err := fmt.Fprintf(w, "\n%d predictions and %d outcomes in %d windows, %d of them matured; %d came too late for their window, %d outcomes had no prediction",
		t.Counts.Predictions, t.Counts.Outcomes, t.Closed, t.Matured, t.Counts.Late, t.Counts.Unmatched)
	if err == nil && t.Rejected > 0 {
		_, err = fmt.Fprintf(w, "; %d were not sound, the first: %v", t.Rejected, t.FirstRejected)
	}
	if err == nil {
		_, err = fmt.Fprintln(w)
	}
	return err
}
