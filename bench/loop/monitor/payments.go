// SPDX-License-Identifier: Apache-2.0

package monitor

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/evaluation/monitor/estimate"
	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/dataset"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/source"
)

// ErrNoData means that the published card payments are not where they were looked for.
var ErrNoData = errors.New("no card payments")

// Window is a week of payments, or a day.
type Window struct {
	From            time.Time
	Days            int
	Rows, Positives int
	Estimated       float64
	Low, High       float64
	Realised        float64
	Unreliable      bool
	Reasons         []string
}

// Error is how far the estimate was off.
func (w *Window) Error() float64 { return math.Abs(w.Estimated - w.Realised) }

// day0 is the first day of the published split: seven days of training, seven of delay.
var day0 = time.Date(2018, 7, 25, 0, 0, 0, 0, time.UTC)

// Payments estimates AUC of card payments before labels. The model is a logistic regression
// of the published 15 features and their logarithms on a week. Estimated are the weeks, or
// days, from four weeks later on. The reference trails: payments of the two weeks before, as
// far as their labels are in after seven days and the model was not trained on them. The last
// window with labels checks the estimate.
// Transactions is the Parquet file, features the example's definitions; a file of features is
// made in dir.
func Payments(ctx context.Context, transactions, features, dir string, days int) ([]Window, error) {
	p, err := readPayments(ctx, transactions, features, dir)
	if err != nil {
		return nil, err
	}
	from, to := p.days(0, 7)
	model := fit(p.rows[from:to], p.labels[from:to])
	scores := make([]float64, len(p.rows))
	for i, r := range p.rows {
		scores[i] = model.score(r)
	}
	var windows []Window
	var checks []*estimate.Check
	for day := 28; day+days <= 67; day += days {
		from, to = p.days(day, day+days)
		if from == to {
			break
		}
		low, high := p.days(max(14, day-21), day-7)
		calibration, err := estimate.Calibrate(scores[low:high], p.labels[low:high])
		if err != nil {
			return nil, err
		}
		var check *estimate.Check
		if back := len(checks) - (7+days-1)/days - 1; back >= 0 {
			check = checks[back]
		}
		o := estimate.Options{Seed: uint64(day), Draws: 60}
		e, err := calibration.Window(scores[from:to], check, o)
		if err != nil {
			return nil, err
		}
		now, err := calibration.Check(scores[from:to], p.labels[from:to], o)
		if err != nil {
			return nil, err
		}
		checks = append(checks, now)
		windows = append(windows, Window{
			day0.AddDate(0, 0, day), days, to - from, int(now.Positives), e.Values.Of(estimate.AUC), e.Low[0], e.High[0],
			now.Realised.Of(estimate.AUC), e.Unreliable, e.Reasons,
		})
	}
	return windows, nil
}

type payments struct {
	rows   [][]float64
	labels []float64
	times  []int64
}

// days are the payments from one day to another, counted from day0.
func (p *payments) days(from, to int) (first, last int) {
	at := func(day int) int {
		bound := day0.AddDate(0, 0, day).UnixMicro()
		low, high := 0, len(p.times)
		for low < high {
			if mid := (low + high) / 2; p.times[mid] < bound {
				low = mid + 1
			} else {
				high = mid
			}
		}
		return low
	}
	return at(from), at(to)
}

func readPayments(ctx context.Context, transactions, features, dir string) (*payments, error) {
	if _, err := os.Stat(transactions); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoData, err)
	}
	path, err := filepath.Abs(transactions)
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(features)
	if err != nil {
		return nil, err
	}
	c, err := definition.Parse(features, []byte(strings.Replace(string(text), ".millrace/payments.parquet", path, 1)))
	if err != nil {
		return nil, err
	}
	output := filepath.Join(dir, "payments.parquet")
	_, err = dataset.Build(ctx, dataset.Options{
		Catalog: c, Service: "fraud", Labels: dataset.Labels{Source: "payments", Names: []string{"is_fraud"}}, Hindsight: true,
		From: day0, Output: output,
	})
	if err != nil {
		return nil, err
	}
	r, err := source.OpenFile(ctx, definition.Parquet, output, nil, source.Options{})
	if err != nil {
		return nil, err
	}
	defer r.Close()
	p, b := &payments{}, column.Batch{}
	for {
		ok, err := r.Next(&b)
		if err != nil || !ok {
			return p, err
		}
		p.add(&b)
	}
}

// add takes a batch's features, those that are neither keys nor the label.
func (p *payments) add(b *column.Batch) {
	times, labels := b.Column("event_timestamp"), b.Column("is_fraud")
	for i := range b.Rows {
		var row []float64
		for k := range b.Columns {
			c := &b.Columns[k]
			switch c.Name {
			case "event_timestamp", "is_fraud", "transaction_id", "customer_id", "terminal_id":
				continue
			}
			v := c.Number(i)
			row = append(row, v, math.Log1p(math.Max(v, 0)))
		}
		p.rows, p.labels, p.times = append(p.rows, row), append(p.labels, labels.Number(i)), append(p.times, times.Ints[i])
	}
}
