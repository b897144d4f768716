// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/millrace-ml/millrace/featurestore"
	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/source"
	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

const (
	// pushBatchMax bounds the events of one call.
	pushBatchMax = featurestore.EventsMax
	// pushAttempts bounds how often a batch is sent. Ids make a repeat count once.
	pushAttempts = 6
	// pushBackoff is the wait before the first repeat; it doubles.
	pushBackoff = 100 * time.Millisecond
	// refusedListMax bounds the events that are listed as refused.
	refusedListMax = 20
)

// pushFlags are those of `features push`.
type pushFlags struct {
	client     featuresClient
	format, id string
	columns    []string
	batch      int
	rate       float64
	badRowsMax int64
	noWait     bool
}

// pushed is what became of the events of a file.
type pushed struct {
	Source     string         `json:"source"`
	Rows       int64          `json:"rows"`
	Accepted   int64          `json:"accepted"`
	Duplicates int64          `json:"duplicates"`
	Refused    int64          `json:"refused"`
	Bad        int64          `json:"bad"`
	Seconds    float64        `json:"seconds"`
	First      []refusedEvent `json:"first_refused,omitempty"`
}

// refusedEvent is an event that was not taken; rows count from 1.
type refusedEvent struct {
	Row       string `json:"row"`
	Field     string `json:"field,omitempty"`
	Message   string `json:"message"`
	Retryable bool   `json:"retryable"`
}

func (o *featuresOptions) pushCommand() *cobra.Command {
	var f pushFlags
	cmd := &cobra.Command{
		Use:   "push SOURCE FILE",
		Short: "Send the events of a file to a server",
		Long: `Send the events of a CSV, Parquet or JSON lines file to a server, in batches. Columns of
the file that are no fields of the source are left out; fields that the file lacks are
null. A file with id, time, keys and a late field fills that field in.

A source without an id field takes the ids from --id, or makes them of the file's name and
the row: then a file can be pushed again, but no longer be changed. The status is 1 if
events were refused.`,
		Example: `  millrace features push payments payments.csv
  millrace features push payments labels.parquet --column is_fraud=TX_FRAUD
  millrace features push payments payments.jsonl --rate 500 --batch 50 --server features:8001`,
		Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			return o.push(cmd, args[0], args[1], &f)
		},
	}
	flags := cmd.Flags()
	f.client.addFlags(flags)
	flags.StringVar(&f.format, "format", "", "`format` of the file: csv, jsonl or parquet (default: by the name)")
	flags.StringArrayVar(&f.columns, "column", nil, "name of a column in the file as `FIELD=NAME`, where it differs; repeat as needed")
	flags.StringVar(&f.id, "id", "", "`column` with the ids of events, for a source without an id field")
	flags.IntVar(&f.batch, "batch", 2000, "`events` in a call, at most 100000")
	flags.Float64Var(&f.rate, "rate", 0, "`events` a second at most; 0 is as fast as the server takes them")
	flags.Int64Var(&f.badRowsMax, "bad-rows-max", 0, "`number` of bad rows to leave out before giving up; negative is any number")
	flags.BoolVar(&f.noWait, "no-wait", false, "do not wait for the server's disk: a crash of the server may take the last events")
	return cmd
}

func (f *pushFlags) validate() error {
	var problems []error
	if f.batch < 1 || f.batch > pushBatchMax {
		problems = append(problems, fmt.Errorf("--batch %d: give 1 to %d", f.batch, pushBatchMax))
	}
	if f.rate < 0 {
		problems = append(problems, fmt.Errorf("--rate %v: give 0 or more", f.rate))
	}
	if len(problems) > 0 {
		return usageError{errors.Join(problems...)}
	}
	return nil
}

func (o *featuresOptions) push(cmd *cobra.Command, name, path string, f *pushFlags) error {
	if err := f.validate(); err != nil {
		return err
	}
	format, err := fileFormat(f.format, path)
	if err != nil {
		return err
	}
	renamed, err := parsePairs("column", f.columns)
	if err != nil {
		return err
	}
	p := &pusher{flags: f, progress: newProgress(cmd.ErrOrStderr()), path: path, result: pushed{Source: name}}
	_, conn, done, err := f.client.connect(cmd.Context())
	if err != nil {
		return err
	}
	defer done()
	p.client = millracev1.NewFeaturesClient(conn)
	err = p.run(cmd.Context(), format, renamed)
	p.progress.clear()
	if err != nil && p.result.Rows == 0 {
		return err
	}
	if err == nil && p.result.Refused > 0 {
		err = fmt.Errorf("%s: %d of %d events were refused", path, p.result.Refused, p.result.Rows)
	}
	return errors.Join(o.show(cmd.OutOrStdout(), &p.result, p.result.table), err)
}

// pusher sends the events of one file.
type pusher struct {
	flags    *pushFlags
	client   millracev1.FeaturesClient
	progress *progress
	path     string
	// withIDs says that the source has no id field: ids are those of the column at place
	// ids, or, if that is -1, made of the rows.
	ids     int
	withIDs bool
	result  pushed
}

func (p *pusher) run(ctx context.Context, format definition.Format, renamed map[string]string) error {
	described, err := p.describe(ctx)
	if err != nil {
		return err
	}
	fields, err := p.fields(ctx, described, format, renamed)
	if err != nil {
		return err
	}
	r, err := source.OpenFile(ctx, format, p.path, fields, source.Options{
		BatchRows: p.flags.batch, BadRowsMax: p.flags.badRowsMax, Columns: renamed, RowNumbers: true, Parallel: 1,
	})
	if err != nil {
		return err
	}
	defer r.Close()
	start := time.Now()
	defer func() { p.result.Bad, p.result.Seconds = r.BadCount(), time.Since(start).Seconds() }()
	var b column.Batch
	for {
		if more, err := r.Next(&b); err != nil || !more {
			return explainRows(err)
		}
		if err := p.pace(ctx, start); err != nil {
			return err
		}
		if err := p.send(ctx, &b); err != nil {
			return err
		}
		p.progress.set("pushing "+p.result.Source, p.result.Rows, max(r.RowsTotal(), 0))
	}
}

func (p *pusher) describe(ctx context.Context) (*millracev1.FeatureSource, error) {
	ctx, cancel := context.WithTimeout(ctx, p.flags.client.timeout)
	defer cancel()
	described, err := p.client.ListFeatures(ctx, &millracev1.ListFeaturesRequest{})
	if err != nil {
		return nil, p.flags.client.explain(err)
	}
	s := describedSource(described, p.result.Source)
	if s == nil || !s.Push {
		return nil, usageError{fmt.Errorf("source %q: the server has %s", p.result.Source, pushedNames(described))}
	}
	return s, nil
}

// fields are those of the source that the file has.
func (p *pusher) fields(ctx context.Context, s *millracev1.FeatureSource, format definition.Format, renamed map[string]string) ([]definition.Field, error) {
	there, err := source.Infer(ctx, format, p.path)
	if err != nil {
		return nil, err
	}
	has := func(name string) bool {
		return slices.ContainsFunc(there, func(f definition.Field) bool { return f.Name == name })
	}
	for name := range renamed {
		if !slices.ContainsFunc(s.Fields, func(d *millracev1.FieldDescription) bool { return d.Name == name }) {
			return nil, usageError{fmt.Errorf("--column %s: source %s has no such field", name, s.Name)}
		}
	}
	var fields []definition.Field
	for _, d := range s.Fields {
		if _, is := renamed[d.Name]; is || has(d.Name) {
			fields = append(fields, definition.Field{Name: d.Name, Type: typeOf(d), Min: math.NaN(), Max: math.NaN()})
		}
	}
	if len(fields) == 0 {
		return nil, fmt.Errorf("%s: has none of the fields of source %s; name columns with --column FIELD=NAME", p.path, s.Name)
	}
	p.ids, p.withIDs = -1, s.IdField == ""
	if p.flags.id == "" {
		return fields, nil
	}
	if !p.withIDs {
		return nil, usageError{fmt.Errorf("--id: the id of source %s is its field %s; say with --column %s=NAME which column that is", s.Name, s.IdField, s.IdField)}
	}
	for _, f := range there {
		if f.Name == p.flags.id {
			p.ids = len(fields)
			return append(fields, f), nil
		}
	}
	return nil, usageError{fmt.Errorf("--id %s: %s has no such column", p.flags.id, p.path)}
}

// pace waits until the rate allows the next batch.
func (p *pusher) pace(ctx context.Context, start time.Time) error {
	if p.flags.rate == 0 {
		return ctx.Err()
	}
	due := start.Add(time.Duration(float64(p.result.Rows) / p.flags.rate * float64(time.Second)))
	return waitFor(ctx, time.Until(due))
}

func waitFor(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// send pushes a batch.
func (p *pusher) send(ctx context.Context, b *column.Batch) error {
	if b.Rows == 0 {
		return nil
	}
	n := len(b.Columns) - 1
	fields, numbers := b.Columns[:n], b.Columns[n].Ints
	q := &millracev1.PushRequest{Source: p.result.Source, NoWait: p.flags.noWait}
	if p.withIDs {
		q.Ids = p.idsOf(fields, numbers)
		if p.ids >= 0 {
			fields = fields[:p.ids]
		}
	}
	q.Columns = wireColumns(fields)
	answer, err := p.call(ctx, q)
	if err != nil {
		return fmt.Errorf("after %d events: %w", p.result.Rows, err)
	}
	p.result.Rows += int64(b.Rows)
	p.result.Accepted += int64(answer.Accepted)
	p.result.Duplicates += int64(answer.Duplicates)
	p.result.Refused += int64(len(answer.Errors))
	for _, e := range answer.Errors {
		if len(p.result.First) < refusedListMax && int(e.Row) < b.Rows {
			p.result.First = append(p.result.First, refusedEvent{Row: rowText(numbers[e.Row]), Field: fieldName(e.Field), Message: e.Message, Retryable: e.Retryable})
		}
	}
	return nil
}

// call pushes, again where the server was away or busy.
func (p *pusher) call(ctx context.Context, q *millracev1.PushRequest) (*millracev1.PushResponse, error) {
	wait := pushBackoff
	for attempt := 1; ; attempt++ {
		one, cancel := context.WithTimeout(ctx, p.flags.client.timeout)
		answer, err := p.client.Push(one, q)
		cancel()
		if err == nil {
			return answer, nil
		}
		code := status.Code(err)
		if attempt == pushAttempts || ctx.Err() != nil || code != codes.Unavailable && code != codes.ResourceExhausted {
			return nil, p.flags.client.explain(err)
		}
		if err := waitFor(ctx, wait); err != nil {
			return nil, err
		}
		wait *= 2
	}
}

// idsOf are the ids of rows: those of a column, or made of the file and the row.
func (p *pusher) idsOf(fields []column.Column, numbers []int64) []string {
	ids := make([]string, len(numbers))
	for i, n := range numbers {
		if p.ids < 0 {
			ids[i] = filepath.Base(p.path) + "#" + string(source.AppendRowID(nil, n))
			continue
		}
		switch c := &fields[p.ids]; {
		case c.Null(i): // the server refuses it
		case c.Type == column.String:
			ids[i] = c.Texts[i]
		case c.Type == column.Int64 || c.Type == column.Timestamp:
			ids[i] = strconv.FormatInt(c.Ints[i], 10)
		default:
			ids[i] = strconv.FormatFloat(c.Numbers[i], 'g', -1, 64)
		}
	}
	return ids
}

// rowText is the place of a row for people: its number, behind that of its file where a
// pattern names several.
func rowText(number int64) string {
	return strings.TrimPrefix(string(source.AppendRowID(nil, number)), "1:")
}

// fieldName is the field that a path of the server names, such as columns.amount[3]: the
// place of its row in a batch says nothing to those who have a file.
func fieldName(path string) string {
	name, _, _ := strings.Cut(strings.TrimPrefix(path, "columns."), "[")
	return name
}

func (r *pushed) table(w io.Writer) error {
	fmt.Fprintf(w, "%s: %d events, %d accepted (%d of them known already), %d refused, %d bad rows left out; %.0f events/s\n",
		r.Source, r.Rows, r.Accepted, r.Duplicates, r.Refused, r.Bad, float64(r.Rows)/max(r.Seconds, 1e-9))
	if len(r.First) == 0 {
		return nil
	}
	fmt.Fprintln(w)
	table := newTable(w, "ROW\tFIELD\tREFUSED BECAUSE\tTRY AGAIN")
	for _, e := range r.First {
		again := "no"
		if e.Retryable {
			again = "later"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", e.Row, e.Field, e.Message, again)
	}
	if more := r.Refused - int64(len(r.First)); more > 0 {
		fmt.Fprintf(table, "...\t\tand %d more\t\n", more)
	}
	return table.Flush()
}
