// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"math"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/source"
	"github.com/millrace-ml/millrace/labeling/groundtruth"
	"github.com/millrace-ml/millrace/training"
)

// historySource is who gave the labels of history, in the table and in counts.
const historySource = "history"

// addHistory writes the rows of another training set before those of decisions: what was known
// before there were any. Rows outside of the time that is asked for are left out, and so are
// those that are not before the days that judge.
func (s *setRows) addHistory(ctx context.Context, j *joiner) (err error) {
	if s.history == "" {
		return nil
	}
	in, err := source.OpenFile(ctx, definition.Parquet, s.history, nil, source.Options{Parallel: 2})
	if err != nil {
		return err
	}
	defer closing(&err, in.Close)
	columns := append(append([]offline.Column(nil), j.vectors.columns...), s.columns[:2]...)
	columns = append(columns, s.columns[3:]...) // a part it has none
	to := j.flags.options.To
	if to == 0 || s.asked.Test > 0 {
		to = s.first - int64(s.asked.Gap)/1000
	}
	var batch column.Batch
	for {
		more, err := in.Next(&batch)
		if err != nil || !more {
			return err
		}
		from := make([]*column.Column, len(columns))
		for i, c := range columns {
			if from[i] = batch.Column(c.Name); from[i] == nil {
				return fmt.Errorf("history: the training set has no column %s", c.Name)
			}
		}
		for row := range batch.Rows {
			if err := s.addPast(j, columns, from, row, to); err != nil {
				return fmt.Errorf("history: row %d: %w", row+1, err)
			}
		}
	}
}

// addPast writes a row of history.
func (s *setRows) addPast(j *joiner, columns []offline.Column, from []*column.Column, row int, to int64) error {
	features := len(j.vectors.columns)
	label, at := from[features], from[features+1]
	if label.Null(row) || at.Null(row) || at.Ints[row] < j.flags.options.From || at.Ints[row] >= to {
		return nil
	}
	r := &groundtruth.Row{Time: at.Ints[row], Arrival: at.Ints[row], Decision: s.label.Decision, Score: math.NaN(), Propensity: math.NaN()}
	r.Label = groundtruth.Label{Status: groundtruth.Observed, Mature: true, Source: historySource, Weight: 1}
	for i, c := range columns {
		v, err := valueOf(from[i], row, c.Type)
		if err != nil {
			return err
		}
		if i == features {
			r.Label.Value = outcomeOf(v)
		}
		if r.Extra = append(r.Extra, v); i == features+1 {
			r.Extra = append(r.Extra, offline.String(training.PartTrain))
		}
	}
	s.parts[training.PartTrain]++
	s.sources[historySource]++
	j.result.Rows++
	return j.out.WriteRow(r)
}

// valueOf is a value of a column that is to be of a type.
func valueOf(c *column.Column, row int, t offline.Type) (v offline.Value, err error) {
	if c.Null(row) {
		return v, nil
	}
	texts, whole := c.Type == column.String, c.Type == column.Int64 || c.Type == column.Timestamp
	switch {
	case t == offline.TypeString && texts:
		return offline.String(c.Texts[row]), nil
	case t == offline.TypeInt64 && whole:
		return offline.Int64(c.Ints[row]), nil
	case t == offline.TypeTimestamp && whole:
		return offline.Timestamp(c.Ints[row]), nil
	case t == offline.TypeBool && c.Type == column.Bool:
		return offline.Bool(c.Number(row) != 0), nil
	case t == offline.TypeFloat64 && !texts:
		return offline.Float64(c.Number(row)), nil
	}
	return v, fmt.Errorf("column %s is %v, and decisions have %v", c.Name, c.Type, t)
}

// outcomeOf is the value of a label.
func outcomeOf(v offline.Value) groundtruth.Value {
	switch v.Type() {
	case offline.TypeBool:
		return groundtruth.Bool(v.Bool())
	case offline.TypeFloat64:
		return groundtruth.Number(v.Float64())
	}
	return groundtruth.Class(v.Text())
}
