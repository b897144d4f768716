// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/evaluation/monitor"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/source"
	"github.com/millrace-ml/millrace/labeling/groundtruth"
	"github.com/millrace-ml/millrace/serving/frontend"
)

// referenceRowsMax bounds the rows of a reference that is taken from the log: of more the
// first ones are.
const referenceRowsMax = 1 << 20

// errWarmingUp means that there is no reference yet; its text says what is waited for.
var errWarmingUp = errors.New("warming up")

// reference is what windows of a version are compared with. The error wraps errWarmingUp
// where there is none yet.
func (w *watcher) reference(ctx context.Context, version, now int64) (monitor.Reference, error) {
	spec := &w.spec.Reference
	if spec.File != "" {
		return referenceOf(ctx, w.spec, spec.File, spec.Score, spec.Label)
	}
	if spec.Version {
		path := filepath.Join(w.all.project.Models, w.spec.model().Name, strconv.FormatInt(version, 10), monitor.ReferenceFileName)
		if _, err := os.Stat(path); err == nil {
			return referenceOf(ctx, w.spec, path, monitor.ScoreColumn, monitor.LabelColumn)
		}
	}
	path := filepath.Join(w.dir, fmt.Sprintf("reference-%d.parquet", version))
	if _, err := os.Stat(path); err != nil {
		if err := w.record(ctx, path, version, now); err != nil {
			return monitor.Reference{}, err
		}
	}
	return referenceOf(ctx, w.spec, path, monitor.ScoreColumn, monitor.LabelColumn)
}

// referenceOf reads a reference. A label that the file lacks is none.
func referenceOf(ctx context.Context, m *monitorSpec, path, score, label string) (monitor.Reference, error) {
	fields, err := source.Infer(ctx, definition.Parquet, path)
	if err != nil {
		return monitor.Reference{}, fmt.Errorf("reference: %w", err)
	}
	if !slices.ContainsFunc(fields, func(f definition.Field) bool { return f.Name == label }) {
		label = ""
	}
	r, err := monitor.ReferenceFile(ctx, m.Config, path, score, label)
	if err != nil {
		return r, fmt.Errorf("reference: %w; it needs the columns that are watched: name those it has under columns", err)
	}
	return r, nil
}

// record makes a reference of the first days of a version in the log, once their labels are
// in. It stays as it is from then on.
func (w *watcher) record(ctx context.Context, path string, version, now int64) error {
	first, err := w.first(ctx, version)
	if err != nil {
		return err
	}
	days := w.spec.Reference.Log.Days
	if first == 0 {
		return fmt.Errorf("%w: there is no prediction of version %d yet, of which the first %d days are the reference", errWarmingUp, version, days)
	}
	to := first + int64(days)*(24*time.Hour).Microseconds()
	due := to + time.Duration(w.spec.Config.Lateness+w.spec.Config.LabelDelay).Microseconds()
	if now <= due {
		return fmt.Errorf("%w: the first %d days of version %d are the reference; they and their labels are there at %s", errWarmingUp, days, version, timeOf(due).Format(time.RFC3339))
	}
	out, err := newReferenceWriter(path, w.spec.Config.Columns)
	if err != nil {
		return err
	}
	return out.close(w.copyRows(ctx, out, version, first, to, now))
}

// first is the time of the oldest prediction of a version, 0 if there is none.
func (w *watcher) first(ctx context.Context, version int64) (first int64, err error) {
	errFound := errors.New("found")
	err = w.scan(ctx, offline.Query{}, func(_ uint64, p *loggedPrediction) error {
		if p.version != version {
			return nil
		}
		first = p.Time
		return errFound
	})
	if errors.Is(err, errFound) {
		err = nil
	}
	return first, err
}

// scan visits the predictions of the log, by time.
func (w *watcher) scan(ctx context.Context, q offline.Query, visit func(sequence uint64, p *loggedPrediction) error) (err error) {
	log := w.all.events
	q.Stream, q.Versions = frontend.DecisionStream, offline.AllVersions
	for _, s := range log.Streams() {
		if s.Stream != q.Stream {
			continue
		}
		for _, name := range predictionColumns() {
			if slices.ContainsFunc(s.Columns, func(c offline.Column) bool { return c.Name == name }) {
				q.Columns = append(q.Columns, name)
			}
		}
	}
	if q.Columns == nil {
		return nil // nothing was ever decided
	}
	scan, err := log.Scan(ctx, q)
	if err != nil {
		return err
	}
	defer closing(&err, scan.Close)
	columns, reader := scan.Columns(), w.spec.reader()
	for scan.Next() {
		r := scan.Record()
		if p := reader.read(columns, r); p != nil {
			if err := visit(r.Sequence, p); err != nil {
				return err
			}
		}
	}
	return scan.Err()
}

// copyRows writes the predictions of a version with their labels.
func (w *watcher) copyRows(ctx context.Context, out *referenceWriter, version, from, to, now int64) error {
	labels := map[string]float64{}
	if w.spec.label != nil {
		err := w.joined(ctx, groundtruth.JoinOptions{From: from, To: to, AsOf: now}, func(row *groundtruth.Row) error {
			if label, ok := w.spec.outcome(row.Label.Value); ok && row.Label.Status == groundtruth.Observed {
				labels[row.PredictionID] = label
			}
			if len(labels) > referenceRowsMax {
				return fmt.Errorf("%w: the reference has more than %d labels: take fewer days", monitor.ErrConfig, referenceRowsMax)
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	written := map[string]bool{} // versions of a record
	err := w.scan(ctx, offline.Query{From: from, To: to}, func(_ uint64, p *loggedPrediction) error {
		if p.version != version || math.IsNaN(p.Score) || out.rows == referenceRowsMax || written[p.ID] {
			return nil
		}
		written[strings.Clone(p.ID)] = true
		label, known := labels[p.ID]
		if !known && (w.spec.label == nil || !w.spec.Config.SilenceIsNegative) {
			label = math.NaN()
		}
		w.spec.fill(out, &p.Prediction)
		return out.end(p.Score, label)
	})
	if err == nil && out.rows < w.rowsMin() {
		return fmt.Errorf("%w: the first days of version %d have %d predictions, too few for a reference: give one, or more days", errWarmingUp, version, out.rows)
	}
	return err
}

func (w *watcher) rowsMin() int {
	c := w.spec.Config
	c.EnsureDefaults()
	return c.RowsMin
}

// joined visits the rows of the joined table that have a label.
func (w *watcher) joined(ctx context.Context, o groundtruth.JoinOptions, visit func(*groundtruth.Row) error) (err error) {
	o.Log, o.Label, o.LabelledOnly = w.all.events, w.spec.label, true
	rows, err := groundtruth.Join(ctx, o)
	if errors.Is(err, offline.ErrUnknownStream) {
		return nil
	}
	if err != nil {
		return err
	}
	defer closing(&err, rows.Close)
	for rows.Next() {
		row := *rows.Row()
		row.PredictionID = clonedText(row.PredictionID)
		if err := visit(&row); err != nil {
			return err
		}
	}
	return rows.Err()
}

func clonedText(text string) string { return string([]byte(text)) }

// fill sets the columns of a row.
func (m *monitorSpec) fill(out *referenceWriter, p *monitor.Prediction) {
	numbers, texts := 0, 0
	for i, c := range m.Config.Columns {
		if c.Text {
			out.text(i, p.Texts[texts])
			texts++
		} else {
			out.number(i, p.Numbers[numbers])
			numbers++
		}
	}
}
