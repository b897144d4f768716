// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/dataset"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/source"
	"github.com/millrace-ml/millrace/orchestrator"
	"github.com/millrace-ml/millrace/training"
	"github.com/millrace-ml/millrace/training/split"
)

// extract writes the events of a source within some time as Parquet.
func (h *taskHost) extract(ctx context.Context, c *orchestrator.Call, w *extractWith) (err error) {
	from, to, err := w.parse()
	if err != nil {
		return fmt.Errorf("%w: %w", orchestrator.ErrPermanent, err)
	}
	catalog, err := h.catalog()
	if err != nil {
		return err
	}
	s := catalog.Source(w.Source)
	if s == nil {
		return fmt.Errorf("%w: with.source: there is no source %q", orchestrator.ErrPermanent, w.Source)
	}
	columns := make([]source.ParquetColumn, len(s.Fields))
	for i, f := range s.Fields {
		columns[i] = source.ParquetColumn{Name: f.Name, Type: f.Type}
	}
	out, err := source.NewParquetWriter(c.Outputs["rows"], columns, source.WriterOptions{Workers: h.workers})
	if err != nil {
		return err
	}
	e := &extraction{source: s, out: out, from: math.MinInt64, to: math.MaxInt64}
	if !from.time.IsZero() {
		e.from = from.time.UnixMicro()
	}
	if !to.time.IsZero() {
		e.to = to.time.UnixMicro()
	}
	if w.Log {
		err = h.extractLog(ctx, e)
	} else {
		err = e.inputs(ctx, c, w.BadRowsMax)
	}
	if err != nil {
		return errors.Join(err, out.Abort())
	}
	rows := out.Rows()
	fmt.Fprintf(c.Log, "%d events of %s\n", rows, s.Name)
	if err := out.Close(); err != nil {
		return err
	}
	if rows == 0 {
		return fmt.Errorf("source %s has no events from %q to %q", s.Name, w.From, w.To)
	}
	return c.Set("rows", rows)
}

// extraction copies events of a source that happened within some time.
type extraction struct {
	source   *definition.Source
	out      *source.ParquetWriter
	from, to int64 // microseconds, to not included
}

func (e *extraction) inputs(ctx context.Context, c *orchestrator.Call, badRowsMax int64) (err error) {
	r, err := source.Open(ctx, e.source, source.Options{BadRowsMax: badRowsMax, Parallel: 2})
	if err != nil {
		return err
	}
	defer closing(&err, r.Close)
	var batch column.Batch
	for {
		more, err := r.Next(&batch)
		if err != nil {
			return explainRows(err)
		}
		if !more {
			break
		}
		if err := e.write(&batch); err != nil {
			return err
		}
		c.Progress(r.Rows(), max(r.RowsTotal(), 0), "read "+e.source.Name)
	}
	for _, bad := range r.Bad() {
		fmt.Fprintf(c.Log, "left out: %v\n", &bad)
	}
	return nil
}

// write copies the rows that happened in time.
func (e *extraction) write(b *column.Batch) error {
	if e.source.Timestamp < 0 {
		return e.out.Write(b)
	}
	times := &b.Columns[e.source.Timestamp]
	rows := make([]int32, 0, b.Rows)
	for row := range b.Rows {
		if !times.Null(row) && times.Ints[row] >= e.from && times.Ints[row] < e.to {
			rows = append(rows, int32(row))
		}
	}
	switch len(rows) {
	case 0:
		return nil
	case b.Rows:
		return e.out.Write(b)
	}
	return e.out.Write(b.Select(rows))
}

// extractLog reads the events from the event log, as they were pushed; what became known
// later of an event is filled in.
func (h *taskHost) extractLog(ctx context.Context, e *extraction) (err error) {
	log, done, err := h.openLog(ctx)
	if err != nil {
		return err
	}
	defer closing(&err, done)
	q := offline.Query{Stream: plan.Schema(e.source).Stream, From: max(e.from, 0), Versions: offline.AllVersions}
	if e.to < math.MaxInt64 {
		q.To = e.to
	}
	scan, err := log.Scan(ctx, q)
	if errors.Is(err, offline.ErrUnknownStream) {
		return nil // nothing was pushed yet
	} else if err != nil {
		return err
	}
	defer closing(&err, scan.Close)
	events, columns := newLoggedEvents(e.source), scan.Columns()
	for scan.Next() {
		if err := events.add(columns, scan.Record()); err != nil {
			return err
		}
	}
	if err := scan.Err(); err != nil {
		return err
	}
	return events.write(e.out)
}

// loggedRowsMax bounds the events that are put together in memory.
const loggedRowsMax = 50_000_000

// loggedEvents puts events together with their amendments, in the order of the log. An
// event is known by its id and time.
type loggedEvents struct {
	source *definition.Source
	rows   map[string]int
	batch  column.Batch
}

func newLoggedEvents(s *definition.Source) *loggedEvents {
	l := &loggedEvents{source: s, rows: map[string]int{}}
	for _, f := range s.Fields {
		l.batch.Columns = append(l.batch.Columns, column.Column{Name: f.Name, Type: f.Type})
	}
	return l
}

func (l *loggedEvents) add(columns []offline.Column, r *offline.Record) error {
	key := fmt.Sprintf("%d/%s", r.EventTime, r.ID)
	row, known := l.rows[key]
	if !known {
		if row = l.batch.Rows; row >= loggedRowsMax {
			return fmt.Errorf("the log has more than %d events of %s within the time: bound it by from and to", loggedRowsMax, l.source.Name)
		}
		l.rows[strings.Clone(key)] = row
		l.batch.Rows++
		for i := range l.batch.Columns {
			l.batch.Columns[i].AppendNull()
		}
		if at := l.source.Arrival; at >= 0 { // which every record has, and no column
			l.batch.Columns[at].Ints[row], l.batch.Columns[at].Nulls[row] = r.ArrivalTime, false
		}
	}
	for i, c := range columns {
		at := slices.IndexFunc(l.batch.Columns, func(own column.Column) bool { return own.Name == c.Name })
		if at < 0 || i >= len(r.Values) || r.Values[i].IsNull() {
			continue
		}
		if to := &l.batch.Columns[at]; to.Null(row) {
			setValue(to, row, r.Values[i])
		}
	}
	return nil
}

// setValue fills in a value that was null.
func setValue(c *column.Column, row int, v offline.Value) {
	switch c.Type {
	case column.Bool:
		c.Numbers[row] = 0
		if v.Bool() {
			c.Numbers[row] = 1
		}
		return
	case column.Float64:
		c.Numbers[row] = v.Float64()
		return
	case column.String:
		c.Texts[row] = strings.Clone(v.Text())
	default:
		c.Ints[row] = v.Int64()
	}
	c.Nulls[row] = false
}

func (l *loggedEvents) write(out *source.ParquetWriter) error {
	if l.batch.Rows == 0 {
		return nil
	}
	return out.Write(&l.batch)
}

// features builds a training set.
func (h *taskHost) features(ctx context.Context, c *orchestrator.Call, w *featuresWith) (err error) {
	if err := os.Mkdir(c.Outputs["dataset"], 0o755); err != nil {
		return err
	}
	o, err := h.datasetOptions(c, w)
	if err != nil {
		return fmt.Errorf("%w: %w", orchestrator.ErrPermanent, err)
	}
	if rows := c.Inputs["rows"]; rows != "" {
		name := cmp.Or(w.Rows, strings.TrimPrefix(w.Labels, "source:"))
		s := o.Catalog.Source(name)
		if s == nil {
			return fmt.Errorf("%w: with.rows: there is no source %q", orchestrator.ErrPermanent, name)
		}
		s.Inputs = []definition.Input{{Format: definition.Parquet, Path: rows}}
		o.Names = map[string]string{rows: c.InputDigests["rows"]} // where it lies is for this attempt
	}
	if w.Log {
		log, done, err := h.openLog(ctx)
		if err != nil {
			return err
		}
		defer closing(&err, done)
		o.Log = log
	}
	o.Progress = progressOf(c)
	m, err := dataset.Build(ctx, o)
	if errors.Is(err, dataset.ErrOptions) {
		return fmt.Errorf("%w: %w", orchestrator.ErrPermanent, err)
	} else if err != nil {
		return explainRows(err)
	}
	if err := printManifest(c.Log, m, training.DataFile); err != nil {
		return err
	}
	if m.Rows.Out == 0 {
		return fmt.Errorf("the training set is empty: %v", m.Rows.Dropped)
	}
	return c.Set("rows", m.Rows.Out)
}

// splitWith is what a split task is told.
type splitWith struct {
	split.Plan
	Label    string `json:"label"`
	Positive string `json:"positive"`
	Time     string `json:"time"`
	Group    string `json:"by_group"`
	Fold     string `json:"fold"`
}

func (h *taskHost) splitKind() orchestrator.Kind {
	return orchestrator.Kind{
		Name: "split", Doc: "divides a training set into train, valid, calibrate and test", Version: taskVersion,
		Inputs: []orchestrator.Port{{Name: "data", Doc: "a training set"}},
		Outputs: []orchestrator.Port{
			{Name: training.PartTrain}, {Name: training.PartTest}, {Name: training.PartValid, Optional: true}, {Name: training.PartCalibrate, Optional: true},
		},
		Decode: func(with []byte) (orchestrator.Task, error) {
			var w splitWith
			if err := decodeWith(with, &w); err != nil {
				return nil, err
			}
			if w.Label == "" {
				return nil, errors.New("with.label is missing: the column with the label")
			}
			if err := w.Plan.Validate(); err != nil {
				return nil, err
			}
			return orchestrator.TaskFunc(func(ctx context.Context, c *orchestrator.Call) error { return divide(ctx, c, &w) }), nil
		},
	}
}

// asksFor says whether the plan makes a part; only that which judges and that which is
// learnt from are always there.
func (w *splitWith) asksFor(part string) bool {
	switch part {
	case training.PartValid:
		return !w.Valid.IsZero()
	case training.PartCalibrate:
		return !w.Calibrate.IsZero()
	}
	return true
}

func divide(ctx context.Context, c *orchestrator.Call, w *splitWith) error {
	data, err := dataPath(c.Inputs["data"])
	if err != nil {
		return err
	}
	o := training.DivideOptions{Data: data, Plan: &w.Plan, Label: w.Label, Positive: w.Positive, Time: w.Time, Group: w.Group, Fold: w.Fold, Outputs: map[string]string{}}
	for part, folder := range c.Outputs {
		if !w.asksFor(part) {
			continue
		}
		if err := os.Mkdir(folder, 0o755); err != nil {
			return err
		}
		o.Outputs[part] = filepath.Join(folder, training.DataFile)
	}
	d, err := training.Divide(ctx, o)
	if err != nil {
		return err
	}
	fmt.Fprintf(c.Log, "fold %s: %s\n", d.Fold, d.Windows)
	for _, part := range []string{training.PartTrain, training.PartValid, training.PartCalibrate, training.PartTest} {
		fmt.Fprintf(c.Log, "%s: %d rows\n", part, d.Rows[part])
		if err := c.Set(part+"_rows", d.Rows[part]); err != nil {
			return err
		}
	}
	for reason, rows := range d.Excluded {
		fmt.Fprintf(c.Log, "left out, %s: %d rows\n", reason, rows)
	}
	return nil
}
