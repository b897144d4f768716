// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/millrace-ml/millrace/evaluation/monitor"
	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/source"
)

// backtestFile are the flags of a file of predictions, by time.
type backtestFile struct {
	path, format                 string
	time, score, label, id       string
	entity, decision, labelKnown string
	columns, slices              []string
	start                        momentFlag
	step, labelDelay             spanFlag
	windows                      []string
	threshold                    float64
	kind                         string
}

func (f *backtestFile) add(flags *pflag.FlagSet) {
	flags.StringVar(&f.path, "data", "", "`file` of predictions by time, in place of an event log: CSV, Parquet or JSON lines")
	flags.StringVar(&f.format, "format", "", "`format` of the file: csv, jsonl or parquet (default: by the name)")
	flags.StringVar(&f.time, "time", "", "`column` with the time of a prediction")
	flags.Var(&f.step, "step", "without --time: how far rows are apart")
	flags.Var(&f.start, "start", "without --time: the moment of the first row (default 2000-01-01)")
	flags.StringVar(&f.score, "score", monitor.ScoreColumn, "`column` with the score")
	flags.StringVar(&f.label, "label", "", "`column` with the label: 0 and 1, false and true, or amounts; nulls have none")
	flags.StringVar(&f.kind, "kind", "", "`kind`: binary or regression (default: as the monitor says; else regression if the label's first values have a number other than 0 and 1)")
	flags.StringVar(&f.labelKnown, "label-time", "", "`column` with when the label was known (default: --label-delay after the prediction)")
	flags.Var(&f.labelDelay, "label-delay", "how long after a prediction its label may come: windows mature then (default: at once)")
	flags.StringVar(&f.id, "id", "", "`column` with the id (default: the number of the row)")
	flags.StringVar(&f.entity, "entity", "", "`column` with what a prediction is about, such as a customer")
	flags.StringVar(&f.decision, "decision", "", "`column` with what was decided")
	flags.StringSliceVar(&f.columns, "columns", nil, "`columns` to watch, with commas (default: as the monitor says, or all others)")
	flags.StringSliceVar(&f.slices, "slice", nil, "`columns` to part quality by, with commas")
	flags.StringSliceVar(&f.windows, "window", nil, "`lengths` of windows, with commas (default: as the monitor says, or 1d,7d)")
	flags.Float64Var(&f.threshold, "threshold", 0, "`score` from which on a prediction is positive (default: as the monitor says, or 0.5)")
}

// open opens the file. Spec is the monitor whose configuration is used, nil for none.
func (f *backtestFile) open(ctx context.Context, all *backtestFlags, spec *monitorSpec) (*backtest, error) {
	if (f.time == "") == (f.step == 0) {
		return nil, usageError{errors.New("--data needs --time COLUMN, or --step with how far rows are apart")}
	}
	format, err := fileFormat(f.format, f.path)
	if err != nil {
		return nil, err
	}
	fields, err := source.Infer(ctx, format, f.path)
	if err != nil {
		return nil, err
	}
	types := map[string]column.Type{}
	var names []string
	for i := range fields {
		types[fields[i].Name] = fields[i].Type
		names = append(names, fields[i].Name)
	}
	b := &backtest{name: strings.TrimSuffix(filepath.Base(f.path), filepath.Ext(f.path)), source: f.path}
	if spec != nil {
		b.name, b.config = spec.Name, spec.Config
		b.config.Columns = slices.Clone(spec.Config.Columns)
	}
	if err := f.configure(&b.config, b.name, names, types); err != nil {
		return nil, usageError{err}
	}
	if b.config.Kind == "" && f.label != "" {
		if b.config.Kind, err = f.kindOf(ctx, format, fields); err != nil {
			return nil, err
		}
	}
	reader, err := source.OpenFile(ctx, format, f.path, fields, source.Options{})
	if err != nil {
		return nil, err
	}
	rows := &fileRows{flags: f, config: &b.config, reader: reader, from: all.from.micros(), to: all.to.micros(), start: f.start.micros()}
	if rows.start == 0 {
		rows.start = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()
	}
	b.rows, b.close = rows, append(b.close, reader.Close)
	return b, nil
}

// configure completes a configuration by the flags, and checks that the file has the columns.
func (f *backtestFile) configure(c *monitor.Config, name string, names []string, types map[string]column.Type) error {
	var wrong []error
	special := []struct{ flag, column string }{
		{"time", f.time}, {"score", f.score}, {"label", f.label}, {"label-time", f.labelKnown}, {"id", f.id}, {"entity", f.entity}, {"decision", f.decision},
	}
	taken := map[string]bool{}
	for _, s := range special {
		if _, ok := types[s.column]; s.column != "" && !ok {
			wrong = append(wrong, fmt.Errorf("--%s: the file has no column %q%s", s.flag, s.column, didYouMean(s.column, names)))
		}
		taken[s.column] = true
	}
	for _, s := range special[:4] {
		if types[s.column] == column.String {
			wrong = append(wrong, fmt.Errorf("--%s: the column %s has texts", s.flag, s.column))
		}
	}
	for _, at := range []string{f.time, f.labelKnown} {
		if t, ok := types[at]; ok && t != column.Timestamp {
			wrong = append(wrong, fmt.Errorf("the column %s has no times but values of type %s", at, t))
		}
	}
	if len(f.slices) > 0 {
		c.Slices = f.slices
	}
	for _, s := range c.Slices {
		if _, ok := types[s]; !ok {
			wrong = append(wrong, fmt.Errorf("slice: the file has no column %q%s", s, didYouMean(s, names)))
		}
	}
	wrong = append(wrong, f.watch(c, names, types, taken)...)
	if c.Name == "" {
		c.Name = name
	}
	if f.labelDelay != 0 {
		c.LabelDelay = monitor.Duration(f.labelDelay)
	}
	if f.threshold != 0 {
		c.Threshold = f.threshold
	}
	switch kind := monitor.Kind(f.kind); kind {
	case monitor.Binary, monitor.Regression:
		c.Kind = kind
	case "":
	default:
		wrong = append(wrong, fmt.Errorf("--kind %q: it is %s or %s", f.kind, monitor.Binary, monitor.Regression))
	}
	if len(f.windows) > 0 || len(c.Windows) == 0 {
		c.Windows = nil
		for _, text := range f.windows {
			var d monitor.Duration
			if err := d.UnmarshalText([]byte(text)); err != nil {
				wrong = append(wrong, fmt.Errorf("--window: %w", err))
			}
			c.Windows = append(c.Windows, d)
		}
		if len(c.Windows) == 0 {
			c.Windows = []monitor.Duration{monitor.Duration(24 * time.Hour), monitor.Duration(7 * 24 * time.Hour)}
		}
	}
	return errors.Join(wrong...)
}

// kindRowsMax bounds the rows whose labels say what they are.
const kindRowsMax = 1 << 20

// kindOf says what labels are, by the first ones of the file.
func (f *backtestFile) kindOf(ctx context.Context, format definition.Format, fields []definition.Field) (kind monitor.Kind, err error) {
	at := slices.IndexFunc(fields, func(d definition.Field) bool { return d.Name == f.label })
	reader, err := source.OpenFile(ctx, format, f.path, fields, source.Options{Fields: []int{at}})
	if err != nil {
		return "", err
	}
	defer closing(&err, reader.Close)
	var batch column.Batch
	for read := 0; read < kindRowsMax; read += batch.Rows {
		ok, err := reader.Next(&batch)
		if err != nil {
			return "", err
		}
		if !ok {
			break
		}
		for i := range batch.Rows {
			if l := batch.Column(f.label).Number(i); l != 0 && l != 1 && !math.IsNaN(l) {
				return monitor.Regression, nil
			}
		}
	}
	return monitor.Binary, nil
}

// watch chooses the columns to watch: those of the flag, of the monitor, or all others.
func (f *backtestFile) watch(c *monitor.Config, names []string, types map[string]column.Type, taken map[string]bool) (wrong []error) {
	chosen := f.columns
	if len(chosen) == 0 && len(c.Columns) == 0 {
		for _, name := range names {
			if !taken[name] && types[name] != column.Timestamp {
				chosen = append(chosen, name)
			}
		}
	}
	if len(chosen) > 0 {
		c.Columns = nil
		for _, name := range chosen {
			c.Columns = append(c.Columns, monitor.Column{Name: name})
		}
	}
	for i := range c.Columns {
		t, ok := types[c.Columns[i].Name]
		if !ok {
			wrong = append(wrong, fmt.Errorf("columns: the file has no column %q%s", c.Columns[i].Name, didYouMean(c.Columns[i].Name, names)))
		}
		c.Columns[i].Text = t == column.String
	}
	return wrong
}

// fileRows reads predictions of a file.
type fileRows struct {
	flags           *backtestFile
	config          *monitor.Config
	reader          *source.Reader
	batch           column.Batch
	at              int // the next row of the batch
	number          int64
	from, to, start int64
	row             backtestRow
}

func (r *fileRows) next() (*backtestRow, error) {
	for {
		for r.at >= r.batch.Rows {
			ok, err := r.reader.Next(&r.batch)
			if err != nil || !ok {
				return nil, err
			}
			r.at = 0
		}
		i := r.at
		r.at++
		r.number++
		if err := r.read(i); err != nil {
			return nil, fmt.Errorf("%s: row %d: %w", r.flags.path, r.number, err)
		}
		if t := r.row.prediction.Time; t >= r.from && (r.to == 0 || t < r.to) {
			return &r.row, nil
		}
	}
}

func (r *fileRows) read(i int) error {
	f, p := r.flags, &r.row.prediction
	*p = monitor.Prediction{ID: strconv.FormatInt(r.number, 10), Score: math.NaN(), Numbers: p.Numbers[:0], Texts: p.Texts[:0], Slices: p.Slices[:0]}
	if p.Time = r.start + (r.number-1)*time.Duration(f.step).Microseconds(); f.time != "" {
		c := r.batch.Column(f.time)
		if c.Null(i) {
			return fmt.Errorf("the column %s has no time", f.time)
		}
		p.Time = c.Ints[i]
	}
	if f.id != "" {
		p.ID = textOf(r.batch.Column(f.id), i)
	}
	if f.entity != "" {
		p.Entity = textOf(r.batch.Column(f.entity), i)
	}
	if f.decision != "" {
		p.Decision = textOf(r.batch.Column(f.decision), i)
	}
	p.Score = r.batch.Column(f.score).Number(i)
	for _, c := range r.config.Columns {
		from := r.batch.Column(c.Name)
		if c.Text {
			p.Texts = append(p.Texts, textOf(from, i))
		} else {
			p.Numbers = append(p.Numbers, from.Number(i))
		}
	}
	for _, name := range r.config.Slices {
		p.Slices = append(p.Slices, textOf(r.batch.Column(name), i))
	}
	return r.labelOf(i)
}

func (r *fileRows) labelOf(i int) error {
	f := r.flags
	r.row.label = math.NaN()
	if f.label == "" {
		return nil
	}
	r.row.label = r.batch.Column(f.label).Number(i)
	if l := r.row.label; r.config.Kind != monitor.Regression && l != 0 && l != 1 && !math.IsNaN(l) {
		return fmt.Errorf("the label is %v, labels are 0 and 1; for amounts give --kind %s", l, monitor.Regression)
	}
	r.row.known = r.row.prediction.Time + time.Duration(r.config.LabelDelay).Microseconds()
	if f.labelKnown != "" {
		if c := r.batch.Column(f.labelKnown); !c.Null(i) {
			r.row.known = c.Ints[i]
		}
	}
	r.row.time = r.row.known
	return nil
}

// textOf is a value as a text; empty for a null.
func textOf(c *column.Column, i int) string {
	switch {
	case c.Null(i):
		return ""
	case c.Type == column.String:
		return c.Texts[i]
	case c.Type == column.Int64 || c.Type == column.Timestamp:
		return strconv.FormatInt(c.Ints[i], 10)
	}
	return strconv.FormatFloat(c.Numbers[i], 'g', -1, 64)
}
