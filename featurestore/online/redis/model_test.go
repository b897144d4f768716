// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/alicebob/miniredis/v2"

	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// replica is a store of the model with its event log.
type replica struct {
	name  string
	log   memoryLog
	store *Store
	// recent are the last payments. They are pushed again to the same replica only: two logs
	// that have the same event are replayed apart from each other after a loss, and by the
	// time the second comes the state may have folded the event into a tile.
	recent []payment
}

// model drives replicas that share a Redis with random calls, and knows what was pushed.
type model struct {
	t        *testing.T
	r        *rand.Rand
	redis    *miniredis.Miniredis
	replicas []*replica
	ledger   ledger
	now      int64
}

// TestModel pushes duplicates, late events and events out of order to replicas which
// start anew, with and without a word, while Redis loses everything now and then. At the
// end each event counts once.
func TestModel(t *testing.T) {
	seeds := uint64(3)
	if testing.Short() {
		seeds = 2
	}
	for seed := range seeds {
		m := &model{t: t, r: rand.New(rand.NewPCG(seed, 9)), redis: small(t), now: begin}
		for _, name := range []string{"a", "b", "c"}[:1+seed%3] {
			p := &replica{name: name}
			m.replicas = append(m.replicas, p)
			m.open(p)
		}
		for step := range 350 {
			m.step(step)
			if t.Failed() {
				t.Fatalf("seed %d, step %d", seed, step)
			}
		}
		m.settle()
		for _, p := range m.replicas {
			m.ledger.check(t, p.store, m.now+1)
			if t.Failed() {
				t.Fatalf("seed %d: replica %s", seed, p.name)
			}
			if err := p.store.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// open opens the store of a replica as its process would.
func (m *model) open(p *replica) {
	m.t.Helper()
	o := p.log.use(options(m.t, m.redis.Addr()), p.name)
	o.Buckets = 4
	o.CacheBytes = cacheMin // so small that entities are evicted
	o.Recover = func(ctx context.Context) error { return p.log.recover(ctx, p.store) }
	p.store = open(m.t, o)
	p.store.writer.bytesMax = int64(m.r.IntN(100_000))
	if err := p.log.recover(context.Background(), p.store); err != nil {
		m.t.Fatal(err)
	}
	if m.r.IntN(2) == 0 {
		m.check(p.store.Checkpoint(context.Background()))
	}
}

func (m *model) check(err error) {
	m.t.Helper()
	if err != nil {
		m.t.Error(err)
	}
}

func (m *model) step(step int) {
	p := m.replicas[m.r.IntN(len(m.replicas))]
	n := m.r.IntN(100)
	switch {
	case n < 10:
		m.again(p)
	case n < 20:
		m.amend(p)
	case n < 30:
		m.batch(p)
	case n < 33:
		m.settle()
		m.check(p.store.Checkpoint(context.Background()))
	case n < 35: // the process ends, in order or not
		if m.r.IntN(2) == 0 {
			m.check(p.store.Close())
		} else {
			p.store.crash()
		}
		m.open(p)
	case n < 36 && step > 50:
		m.redis.FlushAll()
	case n < 38: // logged, but the process ended before Redis had it
		pay := m.payment(p)
		if _, err := p.log.record(pay.updates())(); err != nil {
			m.t.Error(err)
		}
		p.store.crash()
		m.open(p)
	case n < 50:
		m.read(p)
	default:
		pay := m.payment(p)
		pushUntil(m.t, p.store, &p.log, &pay)
	}
}

// payment makes a payment that has not been.
func (m *model) payment(p *replica) payment {
	m.now += m.r.Int64N(int64(10 * 60 * 1e6))
	pay := payment{
		id: uint64(len(m.ledger.payments) + 1), time: m.now, arrival: m.now,
		customer: m.r.Int64N(5), terminal: m.r.Int64N(3), amount: float64(m.r.IntN(1000)) / 4,
	}
	if m.r.IntN(4) == 0 {
		pay.time -= m.r.Int64N(int64(20 * 3600 * 1e6))
	}
	m.ledger.add(pay)
	if p.recent = append(p.recent, pay); len(p.recent) > 12 {
		p.recent = p.recent[1:]
	}
	return pay
}

// again pushes an event that was pushed lately.
func (m *model) again(p *replica) {
	if len(p.recent) == 0 {
		return
	}
	pay := p.recent[m.r.IntN(len(p.recent))]
	pushUntil(m.t, p.store, &p.log, &pay)
}

// amend sets the late column of an event.
func (m *model) amend(p *replica) {
	if len(p.recent) == 0 {
		return
	}
	pay := p.recent[m.r.IntN(len(p.recent))]
	updates := pay.updates()
	for i := range updates {
		updates[i].Event.Values, updates[i].Event.Arrival = nil, m.now
		updates[i].Amend = []plan.Amendment{{Column: "fraud", Value: 1}}
	}
	outcomes := make([]window.Outcome, 2)
	until(m.t, "an amendment succeeds", func() bool {
		return p.store.Apply(context.Background(), updates, 0, p.log.record(updates), outcomes) == nil
	})
}

// batch pushes new events together with some that were there.
func (m *model) batch(p *replica) {
	events := make([]Event, 1+m.r.IntN(20))
	for i := range events {
		var pay payment
		if len(p.recent) > 0 && m.r.IntN(4) == 0 {
			pay = p.recent[m.r.IntN(len(p.recent))]
		} else {
			pay = m.payment(p)
		}
		updates := pay.updates()
		events[i] = Event{Updates: updates, Record: p.log.record(updates), Outcomes: make([]window.Outcome, 2)}
	}
	// What does not succeed is pushed again one by one, in the order it came.
	p.store.ApplyBatch(context.Background(), events)
	for i := range events {
		if events[i].Err != nil {
			u := events[i].Updates
			until(m.t, "an event of a batch succeeds", func() bool {
				return p.store.Apply(context.Background(), u, 0, p.log.record(u), events[i].Outcomes) == nil
			})
		}
	}
}

// read reads an entity. It may fail after a loss, but it may not be wrong.
func (m *model) read(p *replica) {
	key := m.r.Int64N(5)
	got, _, err := read(context.Background(), p.store, customers, key, m.now+1)
	if err != nil {
		return
	}
	var events []window.Event
	for _, pay := range m.ledger.payments {
		if pay.customer == key {
			events = append(events, pay.updates()[0].Event)
		}
	}
	want := reference(m.t, p.store.tables[customers].view, events, m.now+1)
	// A column that is amended is not compared here; the ledger does not know of it.
	for i := range 4 {
		if got.Numbers[i] != want.Numbers[i] && !math.IsNaN(want.Numbers[i]) {
			m.t.Errorf("customer %d: %v, want %v", key, got, want)
			return
		}
	}
}

// settle waits until nothing is being recovered.
func (m *model) settle() {
	for _, p := range m.replicas {
		until(m.t, "all states are there", func() bool {
			_, _, err := read(context.Background(), p.store, customers, 1, m.now)
			return err == nil && p.store.at() == ready && p.store.counts.pending.Load() == 0
		})
	}
}
