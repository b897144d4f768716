// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/dataset"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/source"
)

// historyRowsMax bounds the moments of a history.
const historyRowsMax = 10_000

// historyFlags are those of `features history`.
type historyFlags struct {
	asked    askedFlags
	from, to momentFlag
	step     spanFlag
	log      string
	options  dataset.Options
}

// moment is what the features were at a time.
type moment struct {
	At     string      `json:"at"`
	Values []readValue `json:"values"`
}

func (o *featuresOptions) historyCommand() *cobra.Command {
	var f historyFlags
	cmd := &cobra.Command{
		Use:   "history SERVICE | VIEW | LOOKUP --entity KEY=VALUE",
		Short: "Print how features of an entity changed over time",
		Long: `Print how the features of a service, a view or a lookup changed over time for an entity:
at each of its events, or every --step. Values are computed as for a training set, from
the inputs of sources and, with --log, the event log: each is what was known at that
moment. A server may have that open. At most 10,000 moments are printed.`,
		Example: `  millrace features history customer_payments --entity customer_id=42 --from 2018-07-01 --to 2018-08-01
  millrace features history fraud --entity customer_id=42 --entity terminal_id=7 --fact amount=10 --step 1d --from 30d
  millrace features history profile --entity customer_id=42 --log .millrace/state --no-inputs --json`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return o.history(cmd, args[0], &f) },
	}
	flags := cmd.Flags()
	o.addDefinitions(flags)
	flags.StringArrayVar(&f.asked.entities, "entity", nil, "key of an entity as `KEY=VALUE`; repeat for each")
	flags.StringArrayVar(&f.asked.facts, "fact", nil, "field of the request as `NAME=VALUE`, the same at all times; repeat as needed")
	flags.Var(&f.from, "from", "first moment (default: the first event)")
	flags.Var(&f.to, "to", "moment to end before (default: now)")
	flags.Var(&f.step, "step", "time between two moments (default: at each event)")
	flags.StringVar(&f.log, "log", "", "state `folder` with an event log whose events are used besides the inputs of sources")
	flags.BoolVar(&f.options.NoInputs, "no-inputs", false, "leave the inputs of sources out: the event log alone has the events")
	flags.BoolVar(&f.options.Hindsight, "hindsight", false, "let events count from when they happened though they arrived later")
	flags.Int64Var(&f.options.BadRowsMax, "bad-rows-max", 0, "`number` of bad rows of inputs to leave out before giving up; negative is any number")
	return cmd
}

func (o *featuresOptions) history(cmd *cobra.Command, name string, f *historyFlags) (err error) {
	c, err := o.catalog()
	if err != nil {
		return err
	}
	h := &history{flags: f}
	if err := h.ask(c, name); err != nil {
		return err
	}
	if f.log != "" {
		if f.options.Log, err = openLogOf(cmd.Context(), f.log); err != nil {
			return err
		}
		defer closing(&err, f.options.Log.Close)
	}
	if h.dir, err = os.MkdirTemp("", "millrace-history-"); err != nil {
		return err
	}
	defer closing(&err, func() error { return os.RemoveAll(h.dir) })
	p := newProgress(cmd.ErrOrStderr())
	f.options.Progress = func(done, total int64, phase string) { p.set(phase, done, total) }
	moments, err := h.run(cmd.Context())
	p.clear()
	if errors.Is(err, dataset.ErrOptions) {
		return usageError{err}
	} else if err != nil {
		return explainRows(err)
	}
	return o.show(cmd.OutOrStdout(), moments, func(w io.Writer) error { return printHistory(w, moments) })
}

// history makes a training set of one entity without labels, and reads it.
type history struct {
	flags   *historyFlags
	service *definition.Service
	// time is the column with the moments; keys and facts have one row.
	time        string
	keys, facts []column.Column
	// dir is for the rows asked and their answer.
	dir string
}

// ask checks what is asked for.
func (h *history) ask(c *definition.Catalog, name string) error {
	f := h.flags
	if h.service = c.Service(name); h.service == nil {
		own := *c
		if h.service = serviceOfTable(c, name); h.service == nil {
			return usageError{fmt.Errorf("%q: no feature service, view or lookup is called that", name)}
		}
		own.Services = append(slices.Clip(c.Services), h.service)
		c = &own
	}
	f.options.Catalog, f.options.Service = c, h.service.Name
	request := requestOf(h.service)
	h.time = "event_timestamp"
	if at := h.service.Time; at >= 0 {
		h.time = request[at].name
		request = slices.Delete(request, at, at+1)
	}
	var err, err2, err3 error
	h.keys, err = columnsOf("entity", f.asked.entities, keysOf(h.service))
	h.facts, err2 = columnsOf("fact", f.asked.facts, request)
	if !f.from.time.IsZero() && !f.to.time.IsZero() && !f.from.time.Before(f.to.time) {
		err3 = errors.New("--from is not before --to")
	}
	if f.step > 0 && f.from.time.IsZero() {
		err3 = errors.New("--step needs --from")
	}
	if err := errors.Join(err, err2, err3); err != nil {
		return usageError{err}
	}
	if f.to.time.IsZero() {
		f.to.time = time.Now()
	}
	return nil
}

// serviceOfTable is a service of all features of a view or a lookup, nil if there is none
// of that name.
func serviceOfTable(c *definition.Catalog, name string) *definition.Service {
	s := &definition.Service{Name: name, Index: len(c.Services), Time: -1}
	if v := c.View(name); v != nil {
		s.Entities = v.Entities
		for i := range v.Features {
			f := &v.Features[i]
			for k := range f.Width {
				one := definition.Feature{Name: f.Name, Type: f.Type, Kind: definition.FromView, View: v.Index, Offset: f.Offset + k}
				if f.Width > 1 {
					one.Name = fmt.Sprintf("%s_%d", f.Name, k)
				}
				if one.Type != column.Int64 {
					one.Type = column.Float64
				}
				s.Features = append(s.Features, one)
			}
		}
		return s
	}
	l := c.Lookup(name)
	if l == nil {
		return nil
	}
	s.Entities = l.Entities
	for i, place := range l.Fields {
		f := &l.Source.Fields[place]
		one := definition.Feature{Name: f.Name, Type: f.Type, Kind: definition.FromLookup, Lookup: l.Index, Offset: i}
		if one.Type == column.Timestamp {
			one.Type = column.Float64 // microseconds since 1970
		}
		s.Features = append(s.Features, one)
	}
	return s
}

func (h *history) run(ctx context.Context) ([]moment, error) {
	times, err := h.times(ctx)
	if err != nil || len(times) == 0 {
		return []moment{}, err
	}
	f := h.flags
	f.options.Labels = dataset.Labels{Path: filepath.Join(h.dir, "asked.parquet"), Format: definition.Parquet, Time: h.time, Carry: []string{h.time}}
	f.options.Output, f.options.TempDir = filepath.Join(h.dir, "answer.parquet"), h.dir
	f.options.Status, f.options.Version = true, version
	if err := h.write(f.options.Labels.Path, times); err != nil {
		return nil, err
	}
	if _, err := dataset.Build(ctx, f.options); err != nil {
		return nil, err
	}
	return h.read(ctx, f.options.Output)
}

// write writes the rows asked for.
func (h *history) write(path string, times []int64) (err error) {
	rows := column.Batch{Rows: len(times), Columns: []column.Column{{Name: h.time, Type: column.Timestamp, Ints: times}}}
	for _, c := range slices.Concat(h.keys, h.facts) {
		if c.Null(0) {
			continue
		}
		rows.Columns = append(rows.Columns, repeat(&c, len(times)))
	}
	var columns []source.ParquetColumn
	for _, c := range rows.Columns {
		columns = append(columns, source.ParquetColumn{Name: c.Name, Type: c.Type})
	}
	w, err := source.NewParquetWriter(path, columns, source.WriterOptions{Workers: 1})
	if err != nil {
		return err
	}
	if err := w.Write(&rows); err != nil {
		return errors.Join(err, w.Abort())
	}
	return w.Close()
}

// repeat is a column of n times the first value of c.
func repeat(c *column.Column, n int) column.Column {
	return column.Column{Name: c.Name, Type: c.Type, Numbers: slices.Repeat(c.Numbers, n), Ints: slices.Repeat(c.Ints, n), Texts: slices.Repeat(c.Texts, n)}
}

// read reads the answer.
func (h *history) read(ctx context.Context, path string) ([]moment, error) {
	r, err := source.OpenFile(ctx, definition.Parquet, path, nil, source.Options{})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	moments := []moment{}
	var b column.Batch
	for {
		if more, err := r.Next(&b); err != nil || !more {
			return moments, err
		}
		for row := range b.Rows {
			m := moment{At: formatMicros(b.Column(h.time).Ints[row])}
			for i := range h.service.Features {
				f := &h.service.Features[i]
				v := readValue{Name: f.Name, Status: "present", Value: columnValue(b.Column(f.Name), row)}
				if status := b.Column(f.Name + "__status"); status != nil {
					v.Status = status.Texts[row]
				}
				m.Values = append(m.Values, v)
			}
			moments = append(moments, m)
		}
	}
}

// columnValue is a value of a column, nil for a null.
func columnValue(c *column.Column, row int) any {
	switch {
	case c == nil || c.Null(row):
		return nil
	case c.Type == column.String:
		return c.Texts[row]
	case c.Type == column.Int64:
		return c.Ints[row]
	}
	return numberValue(c.Type, c.Number(row))
}

func printHistory(w io.Writer, moments []moment) error {
	if len(moments) == 0 {
		_, err := fmt.Fprintln(w, "no events of the entity in this time")
		return err
	}
	header := []string{"AT"}
	for _, v := range moments[0].Values {
		header = append(header, v.Name)
	}
	table := newTable(w, strings.Join(header, "\t"))
	for _, m := range moments {
		fmt.Fprint(table, m.At)
		for _, v := range m.Values {
			fmt.Fprint(table, "\t", valueText(v.Value))
			if v.Status != "present" && v.Value != nil {
				fmt.Fprintf(table, " (%s)", v.Status)
			}
		}
		fmt.Fprintln(table)
	}
	return table.Flush()
}
