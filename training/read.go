// SPDX-License-Identifier: Apache-2.0

package training

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/dataset"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/source"
	"github.com/millrace-ml/millrace/training/learn"
)

// rowsMax bounds a training set: rows are numbered by 32 bits.
const rowsMax = 1 << 30

// Data is a training set that was read.
type Data struct {
	Path   string
	SHA256 string
	Bytes  int64
	// Manifest is that of dataset.Build, nil if the file was made elsewhere.
	Manifest *dataset.Manifest
	Table    *learn.Table
	// ClassFactors are what the weights of rows were multiplied by, by class; nil for none.
	ClassFactors []float32
	// Warnings say what a model will not see as it was meant.
	Warnings []string
}

// FormatOf tells a file's format by its name.
func FormatOf(path string) (definition.Format, error) {
	switch strings.ToLower(filepath.Ext(path)) {
	case ".parquet":
		return definition.Parquet, nil
	case ".csv":
		return definition.CSV, nil
	case ".jsonl", ".ndjson":
		return definition.JSONLines, nil
	}
	return 0, fmt.Errorf("%s: the name has to end in .parquet, .csv or .jsonl", path)
}

// Read reads the training set of a specification. It completes the specification's
// service and features from the manifest beside the file. Errors wrap ErrSpec where a
// column is missing, and learn.ErrData where values cannot be learnt from.
func Read(ctx context.Context, s *Spec, path string) (*Data, error) {
	d := &Data{Path: path}
	if err := d.readManifest(); err != nil {
		return nil, err
	}
	format, err := FormatOf(path)
	if err != nil {
		return nil, err
	}
	fields, err := source.Infer(ctx, format, path)
	if err != nil {
		return nil, err
	}
	roles, err := assignRoles(s, d.Manifest, fields)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	sum, size, err := source.HashFile(ctx, path)
	if err != nil {
		return nil, err
	}
	d.SHA256, d.Bytes = hex.EncodeToString(sum[:]), size
	batch, err := readColumns(ctx, format, path, roles.fields)
	if err != nil {
		return nil, err
	}
	if d.Table, d.ClassFactors, err = makeWeighted(s, roles, batch); err == nil {
		err = checkNames(d.Table)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	for i, f := range d.Table.Features {
		if warning := inexact(f, &batch.Columns[roles.features[i]]); warning != "" {
			d.Warnings = append(d.Warnings, warning)
		}
	}
	return d, nil
}

func (d *Data) readManifest() error {
	m, err := dataset.ReadManifest(d.Path + dataset.ManifestSuffix)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	d.Manifest = m
	return err
}

// roles say what the columns of a training set are for: places in fields, -1 for none.
type roles struct {
	fields                     []definition.Field
	features                   []int
	label, weight, time, group int
	carried                    []int
}

// assignRoles finds the columns that a specification names, and drops the others.
func assignRoles(s *Spec, m *dataset.Manifest, fields []definition.Field) (*roles, error) {
	r := &roles{}
	places := make(map[string]int)
	var problems []error
	use := func(role, name string) int {
		if name == "" {
			return -1
		}
		if place, ok := places[name]; ok {
			return place
		}
		i := slices.IndexFunc(fields, func(f definition.Field) bool { return f.Name == name })
		if i < 0 {
			problems = append(problems, fmt.Errorf("%w: there is no column %q, the %s; there are %s", ErrSpec, name, role, fieldNames(fields)))
			return -1
		}
		places[name] = len(r.fields)
		r.fields = append(r.fields, fields[i])
		return places[name]
	}
	s.completeFrom(m)
	s.carryForSplit()
	r.label, r.weight = use("label", s.Label), use("weight", s.Weight)
	r.time, r.group = use("time", s.Time), use("group", s.Group)
	for _, name := range s.Carry {
		r.carried = append(r.carried, use("carried column", name))
	}
	names := s.Features
	if len(names) == 0 {
		for _, f := range fields {
			if _, taken := places[f.Name]; !taken && !slices.Contains(s.Exclude, f.Name) {
				names = append(names, f.Name)
			}
		}
	}
	for _, name := range names {
		if name == s.Label {
			problems = append(problems, fmt.Errorf("%w: the label %q is listed as a feature", ErrSpec, name))
		}
		r.features = append(r.features, use("feature", name))
	}
	for _, name := range slices.Concat(s.Categorical, s.Exclude) {
		if !slices.ContainsFunc(fields, func(f definition.Field) bool { return f.Name == name }) {
			problems = append(problems, fmt.Errorf("%w: there is no column %q", ErrSpec, name))
		}
	}
	if len(r.features) == 0 && len(problems) == 0 {
		problems = append(problems, fmt.Errorf("%w: no column is left to be a feature", ErrSpec))
	}
	return r, errors.Join(problems...)
}

// completeFrom takes what is not said from the manifest.
func (s *Spec) completeFrom(m *dataset.Manifest) {
	if m == nil {
		return
	}
	if s.Service == "" {
		s.Service = m.Service
	}
	takeFeatures := len(s.Features) == 0
	for _, c := range m.Columns {
		switch c.Role {
		case "feature":
			if takeFeatures && !slices.Contains(s.Exclude, c.Name) {
				s.Features = append(s.Features, c.Name)
			}
		case "weight":
			if s.Weight == "" {
				s.Weight = c.Name
			}
		case "carried":
			if !slices.Contains(s.Carry, c.Name) {
				s.Carry = append(s.Carry, c.Name)
			}
		}
	}
}

// carryForSplit carries the columns that the split goes by.
func (s *Spec) carryForSplit() {
	if s.Split == nil {
		return
	}
	names := []string{s.Split.Column}
	if s.Split.ExcludeKnown != nil {
		names = append(names, s.Split.ExcludeKnown.Group)
	}
	for _, name := range names {
		if name != "" && !slices.Contains(s.Carry, name) {
			s.Carry = append(s.Carry, name)
		}
	}
}

func fieldNames(fields []definition.Field) string {
	const listMax = 40
	var names []string
	for _, f := range fields[:min(len(fields), listMax)] {
		names = append(names, f.Name)
	}
	if len(fields) > listMax {
		names = append(names, "...")
	}
	return strings.Join(names, ", ")
}

// readColumns reads all rows of some columns.
func readColumns(ctx context.Context, format definition.Format, path string, fields []definition.Field) (*column.Batch, error) {
	r, err := source.OpenFile(ctx, format, path, fields, source.Options{Parallel: 2})
	if err != nil {
		return nil, err
	}
	all := &column.Batch{Columns: make([]column.Column, len(fields))}
	for i, f := range fields {
		all.Columns[i] = column.Column{Name: f.Name, Type: f.Type}
	}
	var batch column.Batch
	for {
		more, err := r.Next(&batch)
		if err != nil {
			return nil, errors.Join(err, r.Close())
		}
		if !more {
			break
		}
		if all.Rows+batch.Rows > rowsMax {
			return nil, errors.Join(fmt.Errorf("%s: more than %d rows", path, rowsMax), r.Close())
		}
		appendBatch(all, &batch)
	}
	return all, r.Close()
}

// appendBatch copies the rows of a batch with the same columns.
func appendBatch(to, from *column.Batch) {
	for i := range to.Columns {
		a, b := &to.Columns[i], &from.Columns[i]
		rows := a.Len()
		if b.Nulls != nil || a.Nulls != nil {
			if a.Nulls == nil {
				a.Nulls = make([]bool, rows)
			}
			if b.Nulls != nil {
				a.Nulls = append(a.Nulls, b.Nulls...)
			} else {
				a.Nulls = append(a.Nulls, make([]bool, b.Len())...)
			}
		}
		a.Numbers = append(a.Numbers, b.Numbers...)
		a.Ints = append(a.Ints, b.Ints...)
		for _, text := range b.Texts { // the batch's memory is used again
			a.Texts = append(a.Texts, strings.Clone(text))
		}
	}
	to.Rows += from.Rows
}
