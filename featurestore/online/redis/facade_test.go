// SPDX-License-Identifier: Apache-2.0

package redis_test

import (
	"context"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/millrace-ml/millrace/featurestore"
	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/online/redis"
	"github.com/millrace-ml/millrace/featurestore/plan"
)

const cards = `
entities:
  customer: {key: customer_id, type: int64}
sources:
  payments:
    push: true
    id: payment
    timestamp: at
    fields: {payment: int64, at: timestamp, customer_id: int64, amount: float64}
views:
  spent:
    entity: customer
    source: payments
    windows: [1d]
    features:
      payments: {function: count}
      amount: {function: sum, field: amount}
services:
  fraud:
    features: [spent.payments_1d, spent.amount_1d]
`

// world is a feature store whose states are in a Redis.
type world struct {
	t     *testing.T
	redis *miniredis.Miniredis
	dir   string
	store *featurestore.Store
	now   time.Time
	// payments and amount are what customer 1 has to have.
	payments, amount float64
}

func (w *world) open() {
	w.t.Helper()
	c, err := definition.Parse("features.yaml", []byte(cards))
	if err != nil {
		w.t.Fatal(err)
	}
	w.store, err = featurestore.Open(context.Background(), featurestore.Options{
		Dir: w.dir, Catalog: c, Now: func() time.Time { return w.now }, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		Redis: &redis.Options{URL: "redis://" + w.redis.Addr(), Deadline: 30 * time.Second, WriteDeadline: 30 * time.Second},
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

// push pushes events with the numbers from first on, until all are taken.
func (w *world) push(first, n int) {
	w.t.Helper()
	events := &featurestore.Events{Batch: column.Batch{Rows: n, Columns: []column.Column{{Type: column.Int64}, {Type: column.Timestamp}, {Type: column.Int64}, {Type: column.Float64}}}}
	for i := range n {
		b := events.Batch.Columns
		b[0].Ints = append(b[0].Ints, int64(first+i))
		b[1].Ints = append(b[1].Ints, w.now.Add(time.Duration(first+i-10_000)*time.Second).UnixMicro())
		b[2].Ints = append(b[2].Ints, 1)
		b[3].Numbers = append(b[3].Numbers, float64(first+i))
	}
	for end := time.Now().Add(time.Minute); ; {
		var r featurestore.PushResult
		err := w.store.Push(context.Background(), "payments", events, &r)
		if err == nil && len(r.Errors) == 0 {
			return
		}
		if time.Now().After(end) {
			w.t.Fatalf("events are not taken within a minute: %v %+v", err, r)
		}
	}
}

// expect reads until there is an answer, and compares it.
func (w *world) expect() {
	w.t.Helper()
	service, err := w.store.Service("fraud")
	if err != nil {
		w.t.Fatal(err)
	}
	in := &plan.Inputs{Rows: 1, Keys: []column.Column{{Type: column.Int64, Ints: []int64{1}}}}
	out := new(plan.Vectors)
	for end := time.Now().Add(time.Minute); ; {
		err := w.store.Read(context.Background(), service, in, out)
		if err == nil {
			break
		}
		if time.Now().After(end) {
			w.t.Fatalf("no answer within a minute: %v", err)
		}
	}
	if got := out.Row(0); got[0] != w.payments || got[1] != w.amount {
		w.t.Errorf("values %v, want %v and %v", got, w.payments, w.amount)
	}
}

// TestFeatureStore runs a feature store on Redis over restarts and a loss of everything.
func TestFeatureStore(t *testing.T) {
	w := &world{t: t, redis: miniredis.RunT(t), dir: t.TempDir(), now: time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)}
	w.open()
	defer func() { _ = w.store.Close() }()
	next := 1
	more := func(n int) {
		w.push(next, n)
		w.push(next+n/2, n-n/2) // again
		for range n {
			w.payments++
			w.amount += float64(next)
			next++
		}
		w.expect()
	}
	more(20)
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	w.open()
	w.expect()
	more(20)
	w.redis.FlushAll()
	w.expect()
	more(20)
	if err := w.store.Close(); err != nil {
		t.Fatal(err)
	}
	w.redis.FlushAll()
	w.open()
	more(20)
}
