// SPDX-License-Identifier: Apache-2.0

package evaluation

import (
	"context"
	"errors"

	"github.com/millrace-ml/millrace/evaluation/metric"
	"github.com/millrace-ml/millrace/featurestore/column"
)

// Predictions are rows with what a model says of them.
type Predictions struct {
	// Rows have the columns that the model takes and the features that the manifest beside the
	// data lists, each once, in the order of the file.
	Rows *column.Batch
	// Task is binary, or regression.
	Task metric.Task
	// Scores are those of the positive class, Labels 0 or 1, row by row; of a regression both
	// are amounts.
	Scores, Labels []float64
}

// Predict lets the spec's model predict the rows of its data that have a label, which has to
// be of two classes, or a number. Errors are those of Evaluate.
func Predict(ctx context.Context, o Options) (p *Predictions, err error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	e := &run{Options: o, spec: &o.Spec}
	defer func() { err = errors.Join(err, e.close()) }()
	if err := e.open(ctx); err != nil {
		return nil, err
	}
	names, err := manifestFeatures(o.Spec.Data)
	if err != nil {
		return nil, err
	}
	names = append(names, e.model.all()...)
	e.table.want("reference", names...)
	for _, step := range []func(context.Context) error{e.read, e.predict} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	p = &Predictions{Rows: &column.Batch{Rows: e.rows.Rows}, Task: e.task, Scores: e.scores, Labels: e.labels}
	for i := range e.rows.Columns {
		for _, name := range names {
			if e.rows.Columns[i].Name == name {
				p.Rows.Columns = append(p.Rows.Columns, e.rows.Columns[i])
				break
			}
		}
	}
	if e.outputs != 1 {
		return nil, errors.Join(ErrModel, errors.New("the model predicts several classes: a reference takes one score"))
	}
	return p, nil
}
