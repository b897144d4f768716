// SPDX-License-Identifier: Apache-2.0

package training

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/dataset"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/source"
	"github.com/millrace-ml/millrace/training/split"
)

// The parts of a fold, by which Divide names its files.
const (
	PartTrain     = "train"
	PartValid     = "valid"
	PartCalibrate = "calibrate"
	PartTest      = "test"
)

// DivideOptions say how a training set is divided into files.
type DivideOptions struct {
	Data string
	Plan *split.Plan
	// Label, Time and Group are columns that the plan goes by; Positive as in Spec. Time and
	// group may be empty.
	Label, Positive, Time, Group string
	// Fold is the name of the fold; empty is the last one.
	Fold string
	// Outputs are Parquet files by part; parts that are not named are not written.
	Outputs map[string]string
}

// Divided says how many rows each part has.
type Divided struct {
	Fold     string
	Windows  string
	Rows     map[string]int
	Excluded map[string]int
}

// Divide writes the parts of a fold as files of their own, with all columns and, where
// the training set has a manifest, manifests. Rows keep their order.
func Divide(ctx context.Context, o DivideOptions) (*Divided, error) {
	s := &Spec{Name: "split", Label: o.Label, Positive: o.Positive, Time: o.Time, Group: o.Group, Split: o.Plan}
	if err := o.Plan.Validate(); err != nil {
		return nil, err
	}
	fold, rows, err := o.fold(ctx, s)
	if err != nil {
		return nil, err
	}
	parts := map[string][]int32{PartTrain: fold.Train, PartValid: fold.Valid, PartCalibrate: fold.Calibrate, PartTest: fold.Test}
	d := &Divided{Fold: fold.Name, Windows: fold.Windows, Rows: map[string]int{}, Excluded: fold.Excluded}
	names := make([]string, rows) // which part a row is in
	for part, members := range parts {
		d.Rows[part] = len(members)
		for _, row := range members {
			names[row] = part
		}
	}
	for part := range o.Outputs {
		if len(parts[part]) == 0 {
			return nil, fmt.Errorf("%w: the fold %s has no rows for %s; the plan has to ask for them", split.ErrEmpty, fold.Name, part)
		}
	}
	return d, o.write(ctx, names, d)
}

// fold finds the division; only the columns that it goes by are read.
func (o *DivideOptions) fold(ctx context.Context, s *Spec) (*split.Fold, int, error) {
	format, err := FormatOf(o.Data)
	if err != nil {
		return nil, 0, err
	}
	fields, err := source.Infer(ctx, format, o.Data)
	if err != nil {
		return nil, 0, err
	}
	s.carryForSplit()
	needed := slices.DeleteFunc(append([]string{o.Label, o.Time, o.Group}, s.Carry...), func(name string) bool { return name == "" })
	var chosen []definition.Field
	for _, name := range needed {
		i := slices.IndexFunc(fields, func(f definition.Field) bool { return f.Name == name })
		if i < 0 {
			return nil, 0, fmt.Errorf("%s: %w: there is no column %q; there are %s", o.Data, ErrSpec, name, fieldNames(fields))
		}
		if !slices.ContainsFunc(chosen, func(f definition.Field) bool { return f.Name == name }) {
			chosen = append(chosen, fields[i])
		}
	}
	batch, err := readColumns(ctx, format, o.Data, chosen)
	if err != nil {
		return nil, 0, err
	}
	rows, err := rowsOf(s, batch)
	if err != nil {
		return nil, 0, fmt.Errorf("%s: %w", o.Data, err)
	}
	folds, err := o.Plan.Split(rows)
	if err != nil {
		return nil, 0, err
	}
	i := len(folds) - 1
	if o.Fold != "" {
		i = slices.IndexFunc(folds, func(f split.Fold) bool { return f.Name == o.Fold })
	}
	if i < 0 {
		return nil, 0, fmt.Errorf("%w: the plan makes no fold %q; the first is %q", split.ErrPlan, o.Fold, folds[0].Name)
	}
	return &folds[i], batch.Rows, nil
}

// rowsOf is what a plan goes by.
func rowsOf(s *Spec, b *column.Batch) (split.Rows, error) {
	at := func(name string) int {
		return slices.IndexFunc(b.Columns, func(c column.Column) bool { return name != "" && c.Name == name })
	}
	r := &roles{label: at(s.Label), weight: -1, time: at(s.Time), group: at(s.Group)}
	for _, name := range s.Carry {
		r.carried = append(r.carried, at(name))
	}
	labels := &b.Columns[r.label]
	s.Task = "binary"
	if labels.Type == column.Float64 || countClasses(labels) > 2 {
		s.Task = "regression"
		if labels.Type == column.String {
			s.Task = "multiclass"
		}
	}
	t, err := makeTable(s, r, b)
	if err != nil {
		return split.Rows{}, err
	}
	return split.Rows{
		Times: t.Times, Groups: t.Groups, Labels: t.Labels, Classes: len(t.Classes),
		Column: func(name string) ([]string, error) { return textsOf(t.Carried, name) },
	}, nil
}

// countClasses is how many texts the labels have, as far as three.
func countClasses(c *column.Column) int {
	seen := make(map[string]bool)
	for row := 0; row < c.Len() && len(seen) < 3; row++ {
		if text, ok := textOf(c, row); ok {
			seen[text] = true
		}
	}
	return len(seen)
}

// write copies rows to the files of their parts.
func (o *DivideOptions) write(ctx context.Context, names []string, d *Divided) (err error) {
	format, err := FormatOf(o.Data)
	if err != nil {
		return err
	}
	r, err := source.OpenFile(ctx, format, o.Data, nil, source.Options{Parallel: 2})
	if err != nil {
		return err
	}
	var columns []source.ParquetColumn
	for _, f := range r.Fields() {
		columns = append(columns, source.ParquetColumn{Name: f.Name, Type: f.Type})
	}
	writers := make(map[string]*source.ParquetWriter)
	abort := func(err error) error {
		for _, w := range writers {
			err = errors.Join(err, w.Abort())
		}
		return errors.Join(err, r.Close())
	}
	for part, path := range o.Outputs {
		if writers[part], err = source.NewParquetWriter(path, columns, source.WriterOptions{}); err != nil {
			delete(writers, part)
			return abort(err)
		}
	}
	first := 0
	var batch column.Batch
	for {
		more, err := r.Next(&batch)
		if err != nil {
			return abort(err)
		}
		if !more {
			break
		}
		for part, w := range writers {
			if err := writeMembers(w, &batch, names[first:first+batch.Rows], part); err != nil {
				return abort(err)
			}
		}
		first += batch.Rows
	}
	for _, w := range writers {
		err = errors.Join(err, w.Close())
	}
	if err = errors.Join(err, r.Close()); err != nil {
		return err
	}
	return o.writeManifests(ctx, d)
}

func writeMembers(w *source.ParquetWriter, b *column.Batch, names []string, part string) error {
	var rows []int32
	for i, name := range names {
		if name == part {
			rows = append(rows, int32(i))
		}
	}
	if len(rows) == 0 {
		return nil
	}
	return w.Write(b.Select(rows))
}

func (o *DivideOptions) writeManifests(ctx context.Context, d *Divided) error {
	whole := &Data{Path: o.Data}
	if err := whole.readManifest(); err != nil || whole.Manifest == nil {
		return err
	}
	for part, path := range o.Outputs {
		name := cmp.Or(d.Fold, filepath.Base(o.Data)) + "/" + part
		if _, err := whole.Manifest.WritePart(ctx, path, name, int64(d.Rows[part])); err != nil {
			return err
		}
	}
	return nil
}

// DataFile is the name of a training set within a folder that holds it and its manifest.
const DataFile = "data.parquet"

// ManifestOf is the path of the manifest of a training set.
func ManifestOf(path string) string { return path + dataset.ManifestSuffix }
