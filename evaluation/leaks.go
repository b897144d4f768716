// SPDX-License-Identifier: Apache-2.0

package evaluation

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/millrace-ml/millrace/evaluation/gate"
	"github.com/millrace-ml/millrace/evaluation/leakage"
	"github.com/millrace-ml/millrace/evaluation/metric"
	"github.com/millrace-ml/millrace/featurestore/column"
)

func parseGap(text string) (time.Duration, error) {
	if text == "" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d < 0 {
		return 0, fmt.Errorf("is %q, it takes a duration such as 168h", text)
	}
	return d, nil
}

// featureNames are the columns that leaks are looked for in.
func (e *run) featureNames() []string {
	if e.model != nil {
		return e.model.all()
	}
	return e.spec.Features
}

// leaks looks for leaks, in the training rows too where they are given.
func (e *run) leaks(ctx context.Context) error {
	names := e.featureNames()
	test := e.side(e.rows, names)
	if e.task == metric.Binary {
		e.report.Leakage = leakage.Predictors(test.Features, e.labels)
	}
	if e.spec.Leakage.Train == "" {
		for i := range e.spec.Gates {
			if e.spec.Gates[i].Leakage != "" {
				e.warn("%s", gate.LeakageUnchecked)
				break
			}
		}
		return nil
	}
	t, err := openTable(ctx, e.spec.Leakage.Train, e.spec.Leakage.Format)
	if err != nil {
		return err
	}
	t.want("feature", names...)
	t.want("time", e.spec.Time)
	t.want("entity", e.spec.Leakage.Entities...)
	if err := errors.Join(t.wrong...); err != nil {
		return err
	}
	rows, _, err := t.read(ctx, e.RowsMax, e.Workers, nil, func(n int64) { e.Progress("read training rows", n, -1) })
	if err != nil {
		return err
	}
	train := e.side(rows, names)
	if err := sameTypes(train, test, t.path); err != nil {
		return err
	}
	gap, _ := parseGap(e.spec.Leakage.Gap) // it was validated
	e.report.Leakage = append(leakage.Compare(train, test, gap), e.report.Leakage...)
	return nil
}

func (e *run) side(rows *column.Batch, names []string) leakage.Rows {
	r := leakage.Rows{Count: rows.Rows}
	for _, name := range names {
		r.Features = append(r.Features, rows.Column(name))
	}
	for _, name := range e.spec.Leakage.Entities {
		r.Entities = append(r.Entities, rows.Column(name))
	}
	if e.spec.Time != "" {
		r.Times = rows.Column(e.spec.Time)
	}
	return r
}

// sameTypes refuses columns that cannot be compared.
func sameTypes(train, test leakage.Rows, path string) error {
	var wrong []error
	for i, c := range test.Entities {
		if o := train.Entities[i]; o.Type != c.Type {
			wrong = append(wrong, fmt.Errorf("%w: %s: the column %s is %s, in the data it is %s", ErrData, path, c.Name, o.Type, c.Type))
		}
	}
	if test.Times != nil && train.Times.Type != column.Timestamp {
		wrong = append(wrong, fmt.Errorf("%w: %s: the column %s is %s, not timestamp", ErrData, path, train.Times.Name, train.Times.Type))
	}
	return errors.Join(wrong...)
}
