// SPDX-License-Identifier: Apache-2.0

package online

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

const (
	day    = 24 * time.Hour
	second = int64(1_000_000)
	// start is the moment at which the events of tests begin.
	start = int64(1_700_000_000) * second
)

// quietLogger says nothing.
var quietLogger = slog.New(slog.NewTextHandler(io.Discard, nil))

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func viewTable(name string, d window.Definition) plan.Table {
	w, err := window.NewView(d)
	if err != nil {
		panic(err) // there may be no test: see killChild
	}
	e := &definition.Entity{Name: name, Key: name, Type: column.String}
	return plan.Table{Name: name, View: &definition.View{Name: name, Entities: []*definition.Entity{e}, Window: w}}
}

func lookupTable(name string) plan.Table {
	e := &definition.Entity{Name: name, Key: name, Type: column.Int64}
	return plan.Table{Name: name, Lookup: &definition.Lookup{Name: name, Entities: []*definition.Entity{e}}}
}

// aggregations are features of some functions over some windows.
func aggregations(functions []window.Func, windows ...time.Duration) (f []window.Feature) {
	for _, w := range windows {
		for _, fn := range functions {
			f = append(f, window.Feature{Name: fmt.Sprintf("%v_%v", fn, w), Func: fn, Column: "amount", Window: w, Hop: time.Second})
		}
	}
	return f
}

// smallTables are two views and a lookup, with windows short enough for events to
// leave them within a test.
func smallTables(t testing.TB) []plan.Table {
	first := window.Definition{Columns: []string{"amount"}, LatenessMax: time.Hour,
		Features: aggregations([]window.Func{window.Count, window.Sum, window.Max}, time.Minute, 10*time.Minute)}
	second := window.Definition{Columns: []string{"fraud", "amount"}, Features: []window.Feature{
		{Name: "risk", Func: window.Mean, Column: "fraud", Window: 10 * time.Minute, Delay: 5 * time.Minute, Hop: time.Second},
		{Name: "last", Func: window.Last, Column: "amount", Window: 20 * time.Minute, Hop: time.Second},
	}}
	return []plan.Table{viewTable("customers", first), lookupTable("profiles"), viewTable("terminals", second)}
}

// fingerprintOf stands in for the one of definitions that were read from a file.
func fingerprintOf(tables []plan.Table) func(int) [16]byte {
	return func(i int) (f [16]byte) {
		text := tables[i].Name
		if v := tables[i].View; v != nil {
			text += fmt.Sprintf("%+v", v.Window.Definition())
		} else {
			text += fmt.Sprint(tables[i].Lookup.Fields)
		}
		sum := sha256.Sum256([]byte(text))
		copy(f[:], sum[:])
		return f
	}
}

// quiet leaves checkpoints and sweeps to the test.
func quiet(o Options) Options {
	o.CheckpointEvery, o.SweepEvery = -1, -1
	o.Logger, o.retryEvery = quietLogger, 2*time.Millisecond
	if o.Fingerprint == nil {
		o.Fingerprint = fingerprintOf(o.Tables)
	}
	if o.Shards == 0 {
		o.Shards = 16
	}
	return o
}

func openLocal(t testing.TB, o Options) *Local {
	t.Helper()
	if o.Dir == "" {
		o.Dir, o.fs = "store", vfs.NewMem()
	}
	l, err := OpenLocal(context.Background(), o)
	must(t, err)
	t.Cleanup(func() { _ = l.Close() }) // a test that closed it itself has looked
	return l
}

// event is a payment-like update of a view.
func event(table int, key string, time int64, id uint64, values ...float64) plan.Update {
	return plan.Update{Table: table, Key: []byte(key), Event: window.Event{Time: time, ID: id, Values: values}}
}

// apply applies one event that is not logged.
func apply(t testing.TB, l *Local, updates ...plan.Update) []window.Outcome {
	t.Helper()
	outcomes := make([]window.Outcome, len(updates))
	must(t, l.Apply(context.Background(), updates, 0, nil, outcomes))
	return outcomes
}

// values reads one entity of a view.
func values(t testing.TB, r plan.Reader, width, table int, key string, at int64) ([]float64, []window.Status, plan.Seen) {
	t.Helper()
	must(t, r.Fetch(context.Background(), []plan.Ref{{Table: table, Key: []byte(key)}}))
	defer r.Release()
	into, status := make([]float64, width), make([]window.Status, width)
	seen, err := r.View(0, at, into, status)
	must(t, err)
	return into, status, seen
}

// updatesOf is an event for all of smallTables.
func updatesOf(key string, id uint64) []plan.Update {
	at := start + int64(id)
	return []plan.Update{
		event(0, key, at, id, float64(id)),
		{Table: 1, Key: []byte(key), Event: window.Event{Time: at, ID: id}, Row: []byte(key)},
		event(2, key, at, id, 1, float64(id)),
	}
}
