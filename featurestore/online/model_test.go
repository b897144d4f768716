// SPDX-License-Identifier: Apache-2.0

package online

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// model is what a store should hold: states in a map.
type model struct {
	tables      []plan.Table
	aggregators []*window.Aggregator
	states      []map[string]*modelEntity
}

type modelEntity struct {
	state   window.State
	row     row
	applied uint64
}

func newModel(tables []plan.Table) *model {
	m := &model{tables: tables}
	for _, t := range tables {
		var a *window.Aggregator
		if t.View != nil {
			a = t.View.Window.NewAggregator()
		}
		m.aggregators = append(m.aggregators, a)
		m.states = append(m.states, map[string]*modelEntity{})
	}
	return m
}

func (m *model) entity(table int, key string) *modelEntity {
	if e := m.states[table][key]; e != nil {
		return e
	}
	return &modelEntity{}
}

// apply is the slow and obvious way of Apply.
func (m *model) apply(t testing.TB, u *plan.Update, sequence uint64) (o window.Outcome) {
	t.Helper()
	e := m.entity(u.Table, string(u.Key))
	if m.tables[u.Table].Lookup != nil {
		arrival := u.Event.Arrival
		if arrival == 0 {
			arrival = u.Event.Time
		}
		there, here := fmt.Sprintf("%020d %020d %020d", e.row.time, e.row.arrival, e.row.id), fmt.Sprintf("%020d %020d %020d", u.Event.Time, arrival, u.Event.ID)
		switch {
		case e.row.value == nil || here > there:
			e.row = row{value: append([]byte{}, u.Row...), time: u.Event.Time, arrival: arrival, id: u.Event.ID}
			o = window.Applied
		case here == there:
			o = window.Duplicate
		default:
			o = window.TooLate
		}
		e.applied = max(e.applied, sequence)
		m.states[u.Table][string(u.Key)] = e
		return o
	}
	a := m.aggregators[u.Table]
	var err error
	amend := func(list []plan.Amendment) {
		for _, c := range list {
			o, err = a.Amend(&e.state, u.Event.Time, u.Event.ID, c.Column, c.Value, u.Event.Arrival)
			must(t, err)
		}
	}
	if len(u.Amend) > 0 {
		amend(u.Amend)
	} else if o, err = a.Update(&e.state, &u.Event); o == window.Duplicate && len(u.Late) > 0 {
		amend(u.Late)
	}
	must(t, err)
	if _, known := e.state.Now(); known {
		e.applied = max(e.applied, sequence)
		m.states[u.Table][string(u.Key)] = e
	}
	return o
}

// compare reads every entity, and some that nobody knows, and holds them to the model.
func (m *model) compare(t testing.TB, r plan.Reader, keys []string, at int64) {
	t.Helper()
	var refs []plan.Ref
	for table := range m.tables {
		for _, k := range append(keys, "nobody") {
			refs = append(refs, plan.Ref{Table: table, Key: []byte(k)})
		}
	}
	must(t, r.Fetch(context.Background(), refs))
	defer r.Release()
	for i, ref := range refs {
		if err := m.compareOne(r, i, ref, at); err != nil {
			t.Fatalf("%s of %s at %d: %v", m.tables[ref.Table].Name, ref.Key, at, err)
		}
	}
}

func (m *model) compareOne(r plan.Reader, i int, ref plan.Ref, at int64) error {
	e := m.entity(ref.Table, string(ref.Key))
	if m.tables[ref.Table].Lookup != nil {
		value, seen, err := r.Lookup(i, at)
		if err != nil {
			return err
		}
		want := plan.Seen{EventTime: e.row.time, Sequence: e.applied}
		if string(value) != string(e.row.value) || seen != want {
			return fmt.Errorf("row %x, seen %+v; want %x, %+v", value, seen, e.row.value, want)
		}
		return nil
	}
	width := m.tables[ref.Table].View.Window.Width()
	got, want := make([]float64, width), make([]float64, width)
	gotStatus, wantStatus := make([]window.Status, width), make([]window.Status, width)
	seen, err := r.View(i, at, got, gotStatus)
	if err != nil {
		return err
	}
	missed, err := m.aggregators[ref.Table].Read(&e.state, at, want, wantStatus)
	if err != nil {
		return err
	}
	newest, _ := e.state.Newest(at)
	if wantSeen := (plan.Seen{EventTime: newest, Sequence: e.applied, Missed: missed}); seen != wantSeen {
		return fmt.Errorf("seen %+v, want %+v", seen, wantSeen)
	}
	for k := range got {
		if math.Float64bits(got[k]) != math.Float64bits(want[k]) || gotStatus[k] != wantStatus[k] {
			return fmt.Errorf("value %d is %v, %v; want %v, %v", k, got[k], gotStatus[k], want[k], wantStatus[k])
		}
	}
	return nil
}

// world drives a store and a model with the same events.
type world struct {
	t       *testing.T
	random  *rand.Rand
	log     *fakeLog
	fs      *vfs.MemFS
	options Options
	store   *Local
	reader  plan.Reader
	model   *model
	keys    []string
	now     int64
	pushed  []plan.Update // to be repeated
	swept   bool
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, random: rand.New(rand.NewPCG(seed, 9)), log: &fakeLog{}, fs: vfs.NewCrashableMem(), now: start}
	for i := range 12 {
		w.keys = append(w.keys, fmt.Sprintf("k%d", i)+"-a long key that is kept apart"[:2*i])
	}
	tables := smallTables(t)
	w.model = newModel(tables)
	w.options = quiet(w.log.options(Options{Dir: "store", Tables: tables}))
	w.vary()
	w.open()
	return w
}

// vary picks options that must not matter.
func (w *world) vary() {
	w.options.Shards = []int{1, 16, 1024}[w.random.IntN(3)]
	w.options.shardBytes = []int64{0, 0, 1 << 10, 8 << 10}[w.random.IntN(4)]
	w.options.fs = w.fs
}

func (w *world) open() {
	l, err := OpenLocal(context.Background(), w.options)
	must(w.t, err)
	if len(l.Rebuild()) != 0 {
		w.t.Fatalf("tables %v are to be rebuilt", l.Rebuild())
	}
	w.store, w.reader = l, l.NewReader()
	must(w.t, w.log.replay(l))
}

// update is one that a table may get.
func (w *world) update(table int) plan.Update {
	u := plan.Update{Table: table, Key: []byte(w.keys[w.random.IntN(len(w.keys))])}
	u.Event.Time = w.now - int64(w.random.ExpFloat64()*float64(120*second))
	u.Event.ID = uint64(w.random.IntN(1 << 20))
	if w.options.Tables[table].Lookup != nil {
		u.Row = binary.AppendUvarint(nil, w.random.Uint64())[:w.random.IntN(3)]
		return u
	}
	for _, name := range w.options.Tables[table].View.Window.Definition().Columns {
		x := float64(w.random.IntN(1000)) / 100
		if name == "fraud" && w.random.IntN(2) == 0 {
			x = math.NaN() // it becomes known later
		}
		u.Event.Values = append(u.Event.Values, x)
	}
	return u
}

// event is what one event means: to some tables, in any order.
func (w *world) event() (updates []plan.Update) {
	for _, table := range w.random.Perm(len(w.options.Tables))[:1+w.random.IntN(3)] {
		u := w.update(table)
		if len(w.pushed) > 0 && w.random.IntN(6) == 0 {
			u = w.again()
		}
		updates = append(updates, u)
	}
	return updates
}

// again repeats an event, or amends it.
func (w *world) again() plan.Update {
	u := cloneUpdates(w.pushed[w.random.IntN(len(w.pushed)):][:1])[0]
	if w.options.Tables[u.Table].Name != "terminals" {
		return u
	}
	late := []plan.Amendment{{Column: "fraud", Value: float64(w.random.IntN(2))}}
	if w.random.IntN(2) == 0 {
		u.Amend = late
	} else {
		u.Late = late
	}
	return u
}

func (w *world) push() {
	w.now += int64(w.random.ExpFloat64() * float64(5*second))
	updates := w.event()
	w.pushed = append(w.pushed, cloneUpdates(updates)...)
	outcomes := make([]window.Outcome, len(updates))
	var sequence uint64
	must(w.t, w.store.Apply(context.Background(), updates, w.now, func() (s uint64, err error) {
		sequence, err = w.log.append(updates)
		return sequence, err
	}, outcomes))
	for i := range updates {
		if want := w.model.apply(w.t, &updates[i], sequence); outcomes[i] != want && !w.swept {
			w.t.Fatalf("record %d, update %d: %v, want %v", sequence, i, outcomes[i], want)
		}
	}
	if w.random.IntN(3) == 0 {
		must(w.t, w.log.waitDurable(context.Background(), sequence))
	}
}

// crash loses what is not durable, in the log and on the disk, and opens again.
func (w *world) crash() {
	kept := int(w.log.durable) + w.random.IntN(len(w.log.records)-int(w.log.durable)+1)
	disk := w.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: w.random.IntN(101), RNG: rand.New(rand.NewPCG(w.random.Uint64(), 1))})
	must(w.t, w.store.Close())
	w.log.crash(kept)
	w.fs = disk
	w.model = newModel(w.options.Tables)
	w.pushed = nil
	for i := range w.log.records {
		for _, u := range cloneUpdates(w.log.records[i].updates) {
			w.model.apply(w.t, &u, uint64(i+1))
			w.pushed = append(w.pushed, u)
		}
	}
	w.vary()
	w.open()
}

// restart closes the store, with or without a checkpoint.
func (w *world) restart() {
	if w.random.IntN(2) == 0 {
		must(w.t, w.store.Checkpoint(context.Background()))
	}
	must(w.t, w.store.Close())
	w.vary()
	w.open()
}

// A store agrees with a map of states, whatever happens to it: every event exactly
// once, after crashes too, and the same values with any shards and any bound on memory.
func TestStoreAgreesWithModel(t *testing.T) {
	rounds, steps := 14, 400
	if testing.Short() {
		rounds = 8
	}
	base := uint64(time.Now().UnixNano())
	t.Logf("seeds %d and on", base)
	evicted, loads, crashes := int64(0), int64(0), 0
	for i := range rounds {
		w := newWorld(t, base+uint64(i))
		count := func() { // of this store, before it is closed
			evicted, loads = evicted+w.store.counts.evicted.Load(), loads+w.store.counts.loads.Load()
		}
		for range steps {
			switch n := w.random.IntN(200); {
			case n < 150:
				w.push()
			case n < 170:
				w.model.compare(t, w.reader, w.keys, w.now+w.random.Int64N(100*second))
			case n < 180:
				must(t, w.store.Checkpoint(context.Background()))
			case n < 195:
				w.swept = true
				w.store.sweep(100)
			case n < 198:
				count()
				w.crash()
				crashes++
			default:
				count()
				w.restart()
			}
		}
		count()
		w.model.compare(t, w.reader, w.keys, w.now)
		if w.log.hold != w.store.ReplayFrom() && w.log.hold > w.store.ReplayFrom() {
			t.Errorf("the log keeps what is behind %d, the store needs what is behind %d", w.log.hold, w.store.ReplayFrom())
		}
		must(t, w.store.Close())
		if t.Failed() {
			t.Fatalf("seed %d", base+uint64(i))
		}
	}
	t.Logf("%d evicted and %d loaded, %d crashes", evicted, loads, crashes)
	if evicted == 0 || loads == 0 || crashes == 0 {
		t.Error("something never happened")
	}
}
