// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"container/heap"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/evaluation/monitor"
	"github.com/millrace-ml/millrace/evaluation/monitor/profile"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/labeling/groundtruth"
	"github.com/millrace-ml/millrace/serving/frontend"
)

// backtestRow is a prediction and what became of it.
type backtestRow struct {
	prediction monitor.Prediction
	// label is NaN if none came; time is when it became true, known when it was known.
	label       float64
	time, known int64
}

// backtestRows are predictions by time. A row is good until the next one; nil is the end.
type backtestRows interface {
	next() (*backtestRow, error)
}

// outcomesMax bounds the outcomes that wait for the moment at which they were known.
const outcomesMax = 1 << 24

// arrivals hands rows on as events, in the order in which they came to be known.
type arrivals struct {
	rows    backtestRows
	waiting outcomes
	row     *backtestRow // read and not handed on yet
	ended   bool
}

// outcomes is a heap: what was known first is on top.
type outcomes []monitor.Outcome

func (o outcomes) Len() int           { return len(o) }
func (o outcomes) Less(i, j int) bool { return o[i].Arrival < o[j].Arrival }
func (o outcomes) Swap(i, j int)      { o[i], o[j] = o[j], o[i] }
func (o *outcomes) Push(v any)        { *o = append(*o, v.(monitor.Outcome)) }
func (o *outcomes) Pop() any {
	last := len(*o) - 1
	v := (*o)[last]
	*o = (*o)[:last]
	return v
}

func (a *arrivals) next() (monitor.Logged, bool, error) {
	if a.row == nil && !a.ended {
		var err error
		if a.row, err = a.rows.next(); err != nil {
			return monitor.Logged{}, false, err
		}
		a.ended = a.row == nil
	}
	if len(a.waiting) > 0 && (a.row == nil || a.waiting[0].Arrival <= arrivalOf(&a.row.prediction)) {
		o := heap.Pop(&a.waiting).(monitor.Outcome)
		return monitor.Logged{Outcome: &o}, true, nil
	}
	if a.row == nil {
		return monitor.Logged{}, false, nil
	}
	r := a.row
	a.row = nil
	if !math.IsNaN(r.label) {
		if len(a.waiting) == outcomesMax {
			return monitor.Logged{}, false, fmt.Errorf("more than %d outcomes wait for the moment at which they are known: take a shorter delay of labels", outcomesMax)
		}
		// The row is good until the next one, and so is its id.
		heap.Push(&a.waiting, monitor.Outcome{ID: strings.Clone(r.prediction.ID), Label: r.label, Time: r.time, Arrival: r.known})
	}
	return monitor.Logged{Prediction: &r.prediction}, true, nil
}

func arrivalOf(p *monitor.Prediction) int64 {
	if p.Arrival != 0 {
		return p.Arrival
	}
	return p.Time
}

// firstRowsMax bounds the rows of the first days that are held as reference.
const firstRowsMax = profile.SampleMax

// firstDays reads the rows of the first days. The row after them is next, and the others are
// left where they are. Of more than most rows a random part is taken, which is of all the time:
// the first hours of days are not like the days.
func firstDays(ctx context.Context, rows backtestRows, days, most int) (predictions []monitor.Prediction, labels []float64, next *backtestRow, err error) {
	end, keep, first := int64(math.MaxInt64), uint64(math.MaxUint64), true
	for {
		if err := ctx.Err(); err != nil {
			return nil, nil, nil, err
		}
		r, err := rows.next()
		if err != nil {
			return nil, nil, nil, err
		}
		if r == nil {
			return nil, nil, nil, usageError{fmt.Errorf("all rows are of the first %d days, which are the reference: give --reference FILE, or fewer --reference-days", days)}
		}
		if first {
			first = false
			end = r.prediction.Time + int64(days)*24*time.Hour.Microseconds()
		}
		if r.prediction.Time >= end {
			return predictions, labels, r, nil
		}
		if profile.Hash(r.prediction.ID) <= keep && !math.IsNaN(r.prediction.Score) {
			predictions, labels = append(predictions, kept(r.prediction)), append(labels, r.label)
		}
		for len(predictions) > most {
			keep /= 2
			predictions, labels = thinned(predictions, labels, keep)
		}
	}
}

// kept is a prediction that may be held when its row has gone: nothing of it is in the row's
// memory, its texts neither.
func kept(p monitor.Prediction) monitor.Prediction {
	p.ID, p.Entity, p.Arm, p.Decision, p.Version = strings.Clone(p.ID), strings.Clone(p.Entity), strings.Clone(p.Arm), strings.Clone(p.Decision), strings.Clone(p.Version)
	p.Numbers, p.Texts, p.Slices = slices.Clone(p.Numbers), slices.Clone(p.Texts), slices.Clone(p.Slices)
	for _, texts := range [][]string{p.Texts, p.Slices} {
		for i := range texts {
			texts[i] = strings.Clone(texts[i])
		}
	}
	return p
}

// thinned are the rows whose ids' hashes are not above keep.
func thinned(predictions []monitor.Prediction, labels []float64, keep uint64) ([]monitor.Prediction, []float64) {
	n := 0
	for i := range predictions {
		if profile.Hash(predictions[i].ID) <= keep {
			predictions[n], labels[n] = predictions[i], labels[i]
			n++
		}
	}
	return predictions[:n], labels[:n]
}

// openLog reads predictions and labels of an event log.
func (f *backtestFlags) openLog(ctx context.Context, p *project, spec *monitorSpec) (_ *backtest, err error) {
	dir := f.log
	if dir == "" {
		dir = p.State
	}
	b := &backtest{name: spec.Name, config: spec.Config, source: dir}
	if _, err := os.Stat(dir); f.log == "" && errors.Is(err, fs.ErrNotExist) {
		return nil, errNothingServed(dir)
	}
	log, err := openLogOf(ctx, dir)
	if err != nil {
		return nil, err
	}
	b.close = append(b.close, log.Close)
	if path := spec.referencePath(p); f.reference == "" && f.referenceDays == 0 && path != "" {
		b.reference, err = referenceOf(ctx, spec, path, cmp.Or(spec.Reference.Score, monitor.ScoreColumn), cmp.Or(spec.Reference.Label, monitor.LabelColumn))
	} else if f.referenceDays == 0 {
		f.referenceDays = spec.Reference.Log.Days
	}
	if err == nil {
		err = b.openRows(ctx, f, log, spec)
	}
	if errors.Is(err, offline.ErrUnknownStream) {
		err = errNothingServed(dir)
	}
	if err != nil {
		return nil, fmt.Errorf("%w%s", err, endText(b.end()))
	}
	return b, nil
}

func errNothingServed(dir string) error {
	return fmt.Errorf("%s: no decision is in the event log: serve the project first (millrace up)", dir)
}

// referencePath is the file that a monitor compares with: its own, or that of the newest
// version of the model that has one; empty if there is none.
func (m *monitorSpec) referencePath(p *project) string {
	if m.Reference.File != "" || !m.Reference.Version {
		return m.Reference.File
	}
	folder := filepath.Join(p.Models, m.model().Name)
	entries, err := os.ReadDir(folder)
	if err != nil {
		return "" // there is no version yet
	}
	newest, path := int64(0), ""
	for _, e := range entries {
		n, err := strconv.ParseInt(e.Name(), 10, 64)
		file := filepath.Join(folder, e.Name(), monitor.ReferenceFileName)
		if _, missing := os.Stat(file); err == nil && missing == nil && n > newest {
			newest, path = n, file
		}
	}
	return path
}

func endText(err error) string {
	if err == nil {
		return ""
	}
	return "; " + err.Error()
}

func (b *backtest) openRows(ctx context.Context, f *backtestFlags, log *offline.Log, spec *monitorSpec) error {
	if spec.label == nil {
		return b.openScan(ctx, f, log, spec)
	}
	rows, err := groundtruth.Join(ctx, groundtruth.JoinOptions{Log: log, Label: spec.label, From: f.from.micros(), To: f.to.micros(), Columns: rowColumns()})
	if err != nil {
		return err
	}
	b.rows, b.close = &joinedRows{rows: rows, reader: spec.reader(), spec: spec}, append(b.close, rows.Close)
	return nil
}

// openScan reads predictions without labels. Of the columns only those that the log has can
// be asked for.
func (b *backtest) openScan(ctx context.Context, f *backtestFlags, log *offline.Log, spec *monitorSpec) error {
	q := offline.Query{Stream: frontend.DecisionStream, From: f.from.micros(), To: f.to.micros(), Columns: []string{}}
	for _, s := range log.Streams() {
		for _, name := range predictionColumns() {
			if s.Stream == q.Stream && slices.ContainsFunc(s.Columns, func(c offline.Column) bool { return c.Name == name }) {
				q.Columns = append(q.Columns, name)
			}
		}
	}
	if len(q.Columns) == 0 {
		return usageError{errors.New("the event log has no decisions")}
	}
	s, err := log.Scan(ctx, q)
	if err != nil {
		return err
	}
	b.rows, b.close = &scannedRows{scanner: s, columns: s.Columns(), reader: spec.reader()}, append(b.close, s.Close)
	return nil
}

// scannedRows are predictions without labels.
type scannedRows struct {
	scanner *offline.Scanner
	columns []offline.Column
	reader  *predictionReader
	row     backtestRow
}

func (r *scannedRows) next() (*backtestRow, error) {
	for r.scanner.Next() {
		if p := r.reader.read(r.columns, r.scanner.Record()); p != nil {
			r.row = backtestRow{prediction: p.Prediction, label: math.NaN()}
			return &r.row, nil
		}
	}
	return nil, r.scanner.Err()
}

// joinedRows are predictions with what feedback said of them. A label that was corrected
// has its last value, from the moment at which that was known.
type joinedRows struct {
	rows   *groundtruth.Rows
	reader *predictionReader
	spec   *monitorSpec
	row    backtestRow
}

func (r *joinedRows) next() (*backtestRow, error) {
	for r.rows.Next() {
		row := r.rows.Row()
		p := r.reader.row(row)
		if p == nil {
			continue
		}
		r.row = backtestRow{prediction: p.Prediction, label: math.NaN()}
		// What silence says the monitor finds itself.
		if l := &row.Label; l.Status == groundtruth.Observed {
			if label, ok := r.spec.outcome(l.Value); ok {
				r.row.label, r.row.time, r.row.known = label, l.Time, l.Known
			}
		}
		return &r.row, nil
	}
	return nil, r.rows.Err()
}
