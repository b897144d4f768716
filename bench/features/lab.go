// SPDX-License-Identifier: Apache-2.0

// Package features holds what the benchmark suite "features" measures: worlds of
// events, readers, clients of the features and decisions services, training sets and
// the peer of the point-in-time join.
//
// Stores of a million entities are filled in this process through Store.Push, on a
// clock that runs as fast as the events; servers are processes of their own. What is
// compared takes turns.
package features

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace-ml/millrace/featurestore"
	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/online"
)

// Options say how to measure.
type Options struct {
	// Folder is where stores and files go.
	Folder string
	// Binary is the program under test.
	Binary string
	// Data is a Parquet file of card payments; empty generates one.
	Data string
	// Python has the package duckdb; empty leaves the join unmeasured.
	Python string
	Quick  bool
	// Progress is told what is being measured.
	Progress func(text string)
}

// Lab keeps what several measurements share.
type Lab struct {
	Options
	// filled is the folder of the store of the memory measurement, for that of recovery.
	filled string
}

// NewLab returns a lab.
func NewLab(o Options) *Lab { return &Lab{Options: o} }

// sizes are how much of everything there is.
type sizes struct {
	entities, eventsEach, reads int
	round                       time.Duration
	rounds                      int
}

func (l *Lab) sizes() sizes {
	if l.Quick {
		return sizes{entities: 2000, eventsEach: 5, reads: 2000, round: 200 * time.Millisecond, rounds: 2}
	}
	return sizes{entities: 1_000_000, eventsEach: 20, reads: 200_000, round: 2 * time.Second, rounds: 5}
}

func (l *Lab) progress(format string, args ...any) {
	if l.Progress != nil {
		l.Progress(fmt.Sprintf(format, args...))
	}
}

// clock is a simulated time that many may read.
type clock struct{ micros atomic.Int64 }

func (c *clock) now() time.Time { return time.UnixMicro(c.micros.Load()) }

// source is the source of all worlds: payments of a customer.
const paymentsSource = `
entities:
  customer: {key: customer_id, type: int64}
  terminal: {key: terminal_id, type: int64}
sources:
  payments:
    push: true
    id: transaction_id
    timestamp: event_timestamp
    future_max: 1h
    fields:
      transaction_id: int64
      event_timestamp: timestamp
      customer_id: int64
      terminal_id: int64
      amount: {type: float64, min: 0}
      is_fraud: {type: bool, late: true, known_after: 7d}
%s
`

// totals is the view whose memory is measured: windows of 1, 7 and 30 days, 4
// aggregations.
const totals = `views:
  totals:
    entity: customer
    source: payments
    windows: [1d, 7d, 30d]
    features:
      count: {function: count}
      sum: {function: sum, field: amount}
      mean: {function: mean, field: amount}
      max: {function: max, field: amount}
services:
  totals:
    features: [totals.count_1d, totals.sum_1d, totals.mean_7d, totals.max_30d]
`

// fifty are 50 features of a customer in two views.
func fifty() string {
	functions := []string{"count", "sum", "mean", "min", "max", "variance", "stddev", "first", "last", "distinct"}
	var views, service strings.Builder
	for v, windows := range [][]string{{"1h", "6h"}, {"1d", "7d", "30d"}} {
		fmt.Fprintf(&views, "  view%d:\n    entity: customer\n    source: payments\n    windows: [%s]\n    features:\n", v, strings.Join(windows, ", "))
		for _, f := range functions {
			field := ", field: amount"
			switch f {
			case "count":
				field = ""
			case "distinct":
				field = ", field: terminal_id"
			}
			fmt.Fprintf(&views, "      %s: {function: %s%s}\n", f, f, field)
			for _, w := range windows {
				fmt.Fprintf(&service, "      - view%d.%s_%s\n", v, f, w)
			}
		}
	}
	return "views:\n" + views.String() + "services:\n  fifty:\n    features:\n" + service.String()
}

// world is an open store.
type world struct {
	dir   string
	store *featurestore.Store
	clock *clock
	next  int64 // transaction ids given
}

// openWorld opens a store of definitions in a folder. Compaction is off: it is not what
// is measured here, and would take a core.
func (l *Lab) openWorld(name, definitions string) (*world, error) {
	w := &world{dir: filepath.Join(l.Folder, name), clock: &clock{}}
	w.clock.micros.Store(time.Now().Add(-30 * 24 * time.Hour).UnixMicro())
	if err := os.MkdirAll(w.dir, 0o755); err != nil {
		return nil, err
	}
	path := filepath.Join(w.dir, "features.yaml")
	if err := os.WriteFile(path, []byte(definitions), 0o644); err != nil {
		return nil, err
	}
	c, err := definition.Load(path)
	if err != nil {
		return nil, err
	}
	w.store, err = featurestore.Open(context.Background(), featurestore.Options{
		Dir: filepath.Join(w.dir, "state"), Catalog: c, Now: w.clock.now,
		Log:    offline.Options{CompactEvery: -1, WaitWhenFull: time.Minute},
		Online: online.Options{CheckpointEvery: -1, CheckpointRecords: 1 << 40},
	})
	return w, err
}

// fill pushes eventsEach payments of each customer over 30 days up to now, customers in
// an order that is as good as random, from two goroutines.
func (w *world) fill(ctx context.Context, s sizes) error {
	total := int64(s.entities) * int64(s.eventsEach)
	begin, span := w.clock.micros.Load(), time.Since(w.clock.now()).Microseconds()
	var next atomic.Int64
	var group sync.WaitGroup
	errs := make([]error, 2)
	for worker := range errs {
		group.Go(func() {
			p := newBatch(1000)
			for ctx.Err() == nil && errs[worker] == nil {
				from := next.Add(1000) - 1000
				if from >= total {
					return
				}
				at := begin + int64(float64(span)*float64(from)/float64(total))
				w.advance(at)
				errs[worker] = p.push(ctx, w.store, from, min(1000, total-from), at, int64(s.entities))
			}
		})
	}
	group.Wait()
	w.next = total
	w.advance(begin + span)
	for _, err := range append(errs, ctx.Err()) {
		if err != nil {
			return err
		}
	}
	return w.store.Log().Sync(ctx)
}

// advance moves the clock on; it never goes back.
func (w *world) advance(to int64) {
	for {
		now := w.clock.micros.Load()
		if now >= to || w.clock.micros.CompareAndSwap(now, to) {
			return
		}
	}
}

// batch is memory for pushes.
type batch struct {
	events featurestore.Events
	result featurestore.PushResult
}

func newBatch(rows int) *batch {
	p := &batch{}
	p.events.NoWait = true
	for _, t := range []column.Type{column.Int64, column.Timestamp, column.Int64, column.Int64, column.Float64, column.Bool} {
		c := column.Column{Type: t}
		if t != column.Float64 && t != column.Bool {
			c.Ints = make([]int64, 0, rows)
		}
		p.events.Batch.Columns = append(p.events.Batch.Columns, c)
	}
	return p
}

// push pushes payments of the numbers from on. Number n is of customer scatter(n).
func (p *batch) push(ctx context.Context, store *featurestore.Store, from, rows, at, customers int64) error {
	b := &p.events.Batch
	b.Reset()
	b.Rows = int(rows)
	for n := from; n < from+rows; n++ {
		customer := scatter(n, customers)
		b.Columns[0].AppendInt(n)
		b.Columns[1].AppendInt(at)
		b.Columns[2].AppendInt(customer)
		b.Columns[3].AppendInt(scatter(n*31, 10_000))
		b.Columns[4].AppendNumber(float64(n%20_000) / 100)
	}
	if err := store.Push(ctx, "payments", &p.events, &p.result); err != nil {
		return err
	}
	if len(p.result.Errors) > 0 {
		return fmt.Errorf("%d events refused, the first: %+v", len(p.result.Errors), p.result.Errors[0])
	}
	return nil
}

// scatter maps numbers one to one onto each block of n, in an order without a pattern
// that memory could follow: a multiplication by a prime.
func scatter(i, n int64) int64 { return i % n * 999_983 % n }

// percentiles are those of durations, in microseconds.
type percentiles struct {
	P50  float64 `json:"p50_us"`
	P99  float64 `json:"p99_us"`
	P999 float64 `json:"p99_9_us"`
	N    int     `json:"n"`
}

func newPercentiles(d []time.Duration) percentiles {
	if len(d) == 0 {
		return percentiles{}
	}
	slices.Sort(d)
	at := func(q float64) float64 { return float64(d[min(len(d)-1, int(q*float64(len(d))))]) / 1e3 }
	return percentiles{P50: at(0.5), P99: at(0.99), P999: at(0.999), N: len(d)}
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	if len(sorted) == 0 {
		return 0
	}
	return (sorted[(len(sorted)-1)/2] + sorted[len(sorted)/2]) / 2
}
