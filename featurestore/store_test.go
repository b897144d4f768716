// SPDX-License-Identifier: Apache-2.0

package featurestore_test

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/featurestore"
	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

const cards = `
entities:
  customer: {key: customer_id, type: int64}
  terminal: {key: terminal_id, type: int64}
sources:
  payments:
    push: true
    id: transaction_id
    timestamp: at
    fields:
      transaction_id: int64
      at: timestamp
      customer_id: int64
      terminal_id: int64
      amount: {type: float64, min: 0, required: true}
      is_fraud: {type: bool, late: true, known_after: 7d}
    inputs:
      - {format: csv, path: payments.csv}
views:
  customer_payments:
    entity: customer
    source: payments
    hop: 1s
    windows: [1d, 7d]
    features:
      payments: {function: count}
      mean: {function: mean, field: amount}
  terminal_risk:
    entity: terminal
    source: payments
    hop: 1s
    delay: 7d
    windows: [7d]
    features:
      payments: {function: count}
      risk: {function: mean, field: is_fraud, default: 0}
services:
  fraud:
    request: {amount: float64, at: timestamp}
    time: at
    features: [amount, customer_payments.payments_1d, customer_payments.mean_7d, terminal_risk.payments_7d, terminal_risk.risk_7d]
`

const history = `transaction_id,at,customer_id,terminal_id,amount,is_fraud
1,2018-04-01T00:00:00Z,7,70,10,true
2,2018-04-02T00:00:00Z,7,70,20,false
3,2018-04-09T12:00:00Z,7,70,60,true
4,2018-06-01T00:00:00Z,7,70,1,false
`

// world is a store in a folder, with a clock that is set.
type world struct {
	t     *testing.T
	dir   string
	clock atomic.Int64 // the store's goroutines read it too
	store *featurestore.Store
}

func open(t *testing.T) *world {
	w := &world{t: t, dir: t.TempDir()}
	w.clock.Store(time.Date(2018, 4, 10, 0, 0, 0, 0, time.UTC).UnixMicro())
	write(t, filepath.Join(w.dir, "features.yaml"), cards)
	write(t, filepath.Join(w.dir, "payments.csv"), history)
	w.open()
	t.Cleanup(func() { w.store.Close() })
	return w
}

func (w *world) now() time.Time { return time.UnixMicro(w.clock.Load()).UTC() }

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func (w *world) open() {
	w.t.Helper()
	c, err := definition.Load(filepath.Join(w.dir, "features.yaml"))
	if err != nil {
		w.t.Fatal(err)
	}
	w.store, err = featurestore.Open(context.Background(), featurestore.Options{
		Dir: filepath.Join(w.dir, "state"), Catalog: c, Now: w.now,
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) reopen() {
	w.t.Helper()
	if err := w.store.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.open()
}

// push pushes a payment; a NaN amount or label is null.
func (w *world) push(id, customer, terminal int64, amount, fraud float64, at time.Time) featurestore.PushResult {
	w.t.Helper()
	events := &featurestore.Events{Batch: column.Batch{Rows: 1, Columns: []column.Column{
		{Type: column.Int64, Ints: []int64{id}}, {Type: column.Timestamp, Ints: []int64{at.UnixMicro()}},
		{Type: column.Int64, Ints: []int64{customer}}, {Type: column.Int64, Ints: []int64{terminal}},
		{Type: column.Float64, Numbers: []float64{amount}}, {Type: column.Bool, Numbers: []float64{fraud}},
	}}}
	var result featurestore.PushResult
	if err := w.store.Push(context.Background(), "payments", events, &result); err != nil {
		w.t.Fatal(err)
	}
	return result
}

func (w *world) read(customer, terminal int64, amount float64, at time.Time) *plan.Vectors {
	w.t.Helper()
	service, err := w.store.Service("fraud")
	if err != nil {
		w.t.Fatal(err)
	}
	in := &plan.Inputs{Rows: 1, Request: []column.Column{
		{Type: column.Float64, Numbers: []float64{amount}}, {Type: column.Timestamp, Ints: []int64{at.UnixMicro()}}}}
	for _, e := range service.Service().Entities {
		key := map[string]int64{"customer": customer, "terminal": terminal}[e.Name]
		in.Keys = append(in.Keys, column.Column{Type: column.Int64, Ints: []int64{key}})
	}
	out := new(plan.Vectors)
	if err := w.store.Read(context.Background(), service, in, out); err != nil {
		w.t.Fatal(err)
	}
	return out
}

func (w *world) expect(out *plan.Vectors, want ...float64) {
	w.t.Helper()
	for i, x := range out.Row(0) {
		if x != want[i] && !(math.IsNaN(x) && math.IsNaN(want[i])) {
			w.t.Errorf("values %v, want %v", out.Row(0), want)
			return
		}
	}
}

func TestHistoryThenPushes(t *testing.T) {
	w := open(t)
	for range 2 { // loading again changes nothing
		loaded, err := w.store.Materialize(context.Background(), featurestore.MaterializeOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if m := loaded[0]; m.Loaded+m.Known != 3 || m.Future != 1 {
			t.Errorf("loaded %+v", m)
		}
		w.expect(w.read(7, 70, 5, w.now()), 5, 1, 60, 2, 0.5)
		w.reopen()
	}
	// Two payments of a new customer at the terminal; the label of the first comes late.
	nan := math.NaN()
	first := w.now()
	if r := w.push(10, 8, 70, 100, nan, first); r.Accepted != 1 || len(r.Errors) != 0 {
		t.Fatalf("push: %+v", r)
	}
	w.expect(w.read(8, 70, 5, w.now()), 5, 1, 100, 2, 0.5)
	if r := w.push(10, 8, 70, 100, nan, first); r.Duplicates != 1 {
		t.Errorf("the same payment again: %+v", r)
	}
	w.clock.Store(first.Add(7 * 24 * time.Hour).UnixMicro())
	w.push(11, 8, 70, 50, nan, w.now())
	if r := w.push(10, 8, 70, nan, 1, first); r.Accepted != 1 || len(r.Errors) != 0 {
		t.Errorf("the label when it is known: %+v", r)
	}
	// The terminal's window is 04-03 to 04-10: payment 3, whose label nobody has sent, and 10.
	w.expect(w.read(8, 70, 5, w.now()), 5, 1, 50, 2, 1)
	w.reopen()
	w.expect(w.read(8, 70, 5, w.now()), 5, 1, 50, 2, 1)
}

func TestUnknownEntity(t *testing.T) {
	w := open(t)
	out := w.read(1, 2, 3, w.now())
	nan := math.NaN()
	w.expect(out, 3, 0, nan, 0, 0)
	for i, s := range out.StatusRow(0)[1:] {
		if s != window.NotFound {
			t.Errorf("status %d is %v", i+1, s)
		}
	}
}
