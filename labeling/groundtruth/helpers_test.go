// SPDX-License-Identifier: Apache-2.0

package groundtruth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/featurestore/offline"
)

const second = int64(1_000_000)

// begin is the time at which the histories of tests begin.
const begin = int64(1_700_000_000) * second

// clock is a time that a test moves.
type clock struct{ at int64 }

func (c *clock) now() time.Time { return time.UnixMicro(c.at) }

// predictionSchema is what the front-end logs, as far as joins read it, and a vector.
func predictionSchema() offline.Schema {
	return offline.Schema{Stream: PredictionStream, Columns: append(append([]offline.Column{}, predictionColumns[:]...),
		offline.Column{Name: "features_vector", Type: offline.TypeBytes}, offline.Column{Name: "embedding", Type: offline.TypeFloat32List})}
}

// prediction is what a test logs.
type prediction struct {
	id, decision, model, customer string
	time, arrival                 int64
}

func (p *prediction) record() offline.Record {
	v := make([]offline.Value, preColumns+2)
	v[preDecision], v[preAnswer], v[preModel] = offline.String(p.decision), offline.String("approve"), offline.String(p.model)
	v[preScore], v[preModelVersion], v[prePropensity] = offline.Float64(0.25), offline.Int64(3), offline.Float64(0.5)
	v[preArm] = offline.String("b")
	if p.customer != "" {
		facts, err := json.Marshal(map[string]any{"customer_id": p.customer, "amount": 12.5})
		if err != nil {
			panic(err)
		}
		v[preFacts] = offline.String(string(facts))
	}
	v[preColumns] = offline.Bytes([]byte(p.id + "vector"))
	v[preColumns+1] = offline.Float32List([]float32{1, 2})
	return offline.Record{ID: p.id, EventTime: p.time, ArrivalTime: p.arrival, Values: v}
}

// world is a log, a collector and a clock.
type world struct {
	t         testing.TB
	dir       string
	clock     clock
	log       *offline.Log
	stream    *offline.Stream
	collector *Collector
	labels    []*Definition
}

func newWorld(t testing.TB, labels ...*Definition) *world {
	w := &world{t: t, dir: t.TempDir(), clock: clock{begin}, labels: labels}
	w.open()
	t.Cleanup(func() { w.close() })
	return w
}

func (w *world) open() {
	w.t.Helper()
	var err error
	w.log, err = offline.Open(w.t.Context(), offline.Options{Dir: w.dir, Now: w.clock.now, CompactEvery: -1, GroupWait: time.Microsecond, WaitWhenFull: -1})
	w.check(err)
	w.stream, err = w.log.Declare(predictionSchema())
	w.check(err)
	w.collector, err = OpenCollector(w.t.Context(), Options{Log: w.log, Labels: w.labels, Now: w.clock.now})
	w.check(err)
}

func (w *world) close() {
	w.t.Helper()
	w.check(w.log.Close())
}

func (w *world) check(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// predict logs predictions, durably.
func (w *world) predict(all ...prediction) {
	w.t.Helper()
	for i := range all {
		r := all[i].record()
		w.check(w.stream.Append(context.Background(), &r))
	}
	w.check(w.log.Sync(context.Background()))
}

func (w *world) submit(items ...Feedback) []Result {
	w.t.Helper()
	results, err := w.collector.Submit(w.t.Context(), items)
	w.check(err)
	return results
}

// accept submits feedback that must be taken.
func (w *world) accept(items ...Feedback) {
	w.t.Helper()
	for i, r := range w.submit(items...) {
		if r.Status != StatusAccepted {
			w.t.Fatalf("item %d: %+v", i, r)
		}
	}
}

// join is the whole table, by prediction id.
func (w *world) join(o JoinOptions) map[string]Row {
	w.t.Helper()
	o.Log, o.Now = w.log, w.clock.now
	rows, err := Join(w.t.Context(), o)
	w.check(err)
	all := map[string]Row{}
	last := ""
	for rows.Next() {
		r := rows.Row().Clone()
		if _, ok := all[r.PredictionID]; ok {
			w.t.Fatalf("%s is there twice", r.PredictionID)
		}
		all[r.PredictionID] = r
		if at := fmt.Sprintf("%020d %s", r.Time, r.PredictionID); at < last {
			w.t.Fatalf("%s after %s", at, last)
		} else {
			last = at
		}
	}
	w.check(rows.Err())
	w.check(rows.Close())
	return all
}

// follower is a live join and what it handed out last.
type follower struct {
	w        *world
	options  LiveOptions
	live     *Live
	rows     map[string]Row
	position Position
	met      [5]int64 // joined, moved, out of the window, contradicted, matured
}

// count adds up what the join has met, which a join opened again does not know.
func (f *follower) count() {
	s := f.live.Stats()
	for i, n := range []int64{s.Joined, s.Moved, s.OutOfWindow, s.Contradicted, s.Matured} {
		f.met[i] += n
	}
}

func (w *world) follow(o LiveOptions) *follower {
	w.t.Helper()
	o.Log, o.Now = w.log, w.clock.now
	if o.Dir == "" {
		o.Dir = w.t.TempDir()
	}
	f := &follower{w: w, options: o, rows: map[string]Row{}}
	f.reopen()
	w.t.Cleanup(func() { w.check(f.live.Close()) })
	return f
}

// reopen begins again at the last position, as after a crash.
func (f *follower) reopen() {
	f.w.t.Helper()
	f.options.Log, f.options.Resume = f.w.log, f.position
	var err error
	if f.live != nil {
		f.count()
		f.w.check(f.live.Close())
	}
	f.live, err = OpenLive(f.w.t.Context(), f.options)
	f.w.check(err)
}

// feed reads the log beside the join, which gets what was read.
func (f *follower) feed() {
	f.w.t.Helper()
	to := f.w.log.Durable()
	err := f.w.log.Tail(f.position.Sequence).Only(FeedColumns()).Read(f.w.t.Context(), to, func(stream string, columns []offline.Column, r *offline.Record) error {
		return f.live.Feed(stream, columns, r, func(r *Row) error {
			f.rows[r.PredictionID] = r.Clone()
			return nil
		})
	})
	if !errors.Is(err, offline.ErrTooOld) { // else the join finds out by itself
		f.w.check(err)
		f.live.Fed(to)
	}
	f.poll()
}

func (f *follower) poll() (n int) {
	f.w.t.Helper()
	f.w.check(f.live.Poll(f.w.t.Context(), func(r *Row) error {
		f.rows[r.PredictionID] = r.Clone()
		n++
		return nil
	}))
	f.position = f.live.Position()
	return n
}

func fraud() *Definition {
	return &Definition{Name: "fraud", Decision: "payment", Kind: KindOutcome, Outcome: "is_fraud", Type: TypeBool, Window: 100 * time.Second,
		Silence: SilenceNegative, Negative: Bool(false), Entity: []string{"customer_id"}, Within: 30 * time.Second,
		Sources: []Source{{"chargeback", 10}, {"analyst", 5}, {"customer", 5}, {AnySource, 1}}}
}

func pick[T any](r *rand.Rand, all ...T) T { return all[r.IntN(len(all))] }
