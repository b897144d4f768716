// SPDX-License-Identifier: Apache-2.0

// Package vectortest makes feature stores with logged vectors, for tests.
//
// Concurrency: Open is called by one test at a time for each folder.
package vectortest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/featurestore"
	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/plan"
)

// Stream is where vectors are logged.
const Stream = "decisions"

// Definitions have a service of three features: amount, which may be missing, channel, a
// text, and a constant.
const Definitions = `
entities: {customer: {key: customer_id, type: int64}}
sources:
  payments: {push: true, id: payment_id, timestamp: at, fields: {payment_id: int64, at: timestamp, customer_id: int64, amount: float64}}
views:
  customer: {entity: customer, source: payments, windows: [1d], features: {payments: {function: count}}, description: "how <b>often</b>"}
services:
  fraud:
    model: fraud
    request: {amount: float64, channel: string}
    features: [amount, channel, customer.payments_1d]
`

// Now is the clock of the store.
var Now = time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)

// Row is what a vector is made of; NaN is no amount.
type Row struct {
	Customer int64
	Amount   float64
	Channel  string
	Score    float64
}

// Open makes a store that is closed with the test, with a row for each moment that row is
// asked for: every step from eight days ago on.
func Open(t *testing.T, step time.Duration, row func(at time.Time, i int) Row) *featurestore.Store {
	t.Helper()
	ctx := context.Background()
	catalog, err := definition.Parse("features.yaml", []byte(Definitions))
	if err != nil {
		t.Fatal(err)
	}
	s, err := featurestore.Open(ctx, featurestore.Options{Dir: t.TempDir(), Catalog: catalog, Now: func() time.Time { return Now }, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil && !errors.Is(err, featurestore.ErrClosed) {
			t.Error(err)
		}
	})
	stream, err := s.Log().Declare(offline.Schema{Stream: Stream, Columns: append([]offline.Column{{Name: "score", Type: offline.TypeFloat64}}, plan.VectorColumns()...)})
	if err != nil {
		t.Fatal(err)
	}
	a, err := s.Service("fraud")
	if err != nil {
		t.Fatal(err)
	}
	w := writer{store: s, assembler: a, vectors: a.NewVectorLog()}
	for i := 0; ; i++ {
		at := Now.Add(-8*24*time.Hour + time.Duration(i)*step)
		if !at.Before(Now) {
			break
		}
		if err := w.write(ctx, stream, at, i, row(at, i)); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.Log().Sync(ctx); err != nil {
		t.Fatal(err)
	}
	return s
}

// writer writes rows as a decision logs them.
type writer struct {
	store     *featurestore.Store
	assembler *plan.Assembler
	vectors   *plan.VectorLog
}

func (w *writer) write(ctx context.Context, stream *offline.Stream, at time.Time, i int, r Row) error {
	key, amount, channel := column.Column{Name: "customer_id", Type: column.Int64}, column.Column{Name: "amount", Type: column.Float64}, column.Column{Name: "channel", Type: column.String}
	key.AppendInt(r.Customer)
	if math.IsNaN(r.Amount) {
		amount.AppendNull()
	} else {
		amount.AppendNumber(r.Amount)
	}
	channel.AppendText(r.Channel)
	in := plan.Inputs{Rows: 1, Keys: []column.Column{key}, Request: []column.Column{amount, channel}, At: at.UnixMicro(), Now: at.UnixMicro()}
	out := plan.Vectors{WantSequences: true}
	if err := w.store.Read(ctx, w.assembler, &in, &out); err != nil {
		return err
	}
	values := append([]offline.Value{offline.Float64(r.Score)}, w.vectors.Values(&in, &out, 0)...)
	return stream.Append(ctx, &offline.Record{ID: fmt.Sprint("p", i), EventTime: at.UnixMicro(), ArrivalTime: at.UnixMicro(), Values: values})
}
