// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/featurestore/online"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// pushers push from goroutines until stop, every event until it is taken.
func pushers(t *testing.T, stores []*Store, logs []*memoryLog, l *ledger) (stop func()) {
	var all sync.WaitGroup
	var ended atomic.Bool
	var next atomic.Int64
	for w := range 2 * len(stores) {
		all.Go(func() {
			r := rand.New(rand.NewPCG(uint64(w), 5))
			for !ended.Load() {
				i := next.Add(1)
				p := payment{id: uint64(i), time: begin + i*1e6, arrival: begin + i*1e6, customer: r.Int64N(20), terminal: r.Int64N(4), amount: float64(r.IntN(100))}
				l.add(p)
				pushUntil(t, stores[w%len(stores)], logs[w%len(logs)], &p)
			}
		})
	}
	return func() {
		ended.Store(true)
		all.Wait()
	}
}

// recovering makes options of a store that recovers from a log by itself.
func recoveringFrom(o Options, name string, l *memoryLog, s **Store) Options {
	o = l.use(o, name)
	o.Recover = func(ctx context.Context) error { return l.recover(ctx, *s) }
	return o
}

// moreThan waits until a store has taken so many more events.
func moreThan(t *testing.T, s *Store, n int64) {
	t.Helper()
	before := s.Counters().Events
	until(t, "events are taken", func() bool { return s.Counters().Events > before+n })
}

// TestReplicas has two stores push to the same entities.
func TestReplicas(t *testing.T) {
	address := serve(t).address
	l := &ledger{}
	stores, logs := make([]*Store, 2), make([]*memoryLog, 2)
	for i := range stores {
		logs[i] = &memoryLog{}
		stores[i] = open(t, logs[i].use(options(t, address), fmt.Sprint("replica-", i)))
	}
	stop := pushers(t, stores, logs, l)
	for i := range stores {
		moreThan(t, stores[i], 500)
	}
	stop()
	for _, s := range stores {
		l.check(t, s, begin+5e10)
	}
	if a, b := stores[0].Counters(), stores[1].Counters(); a.Conflicts+b.Conflicts == 0 {
		t.Errorf("no conflict was met: the test tested nothing\n%+v\n%+v", a, b)
	}
}

// TestImpatient gives up at the first conflict: what is not written then is written later.
func TestImpatient(t *testing.T) {
	address := small(t).Addr()
	l := &ledger{}
	stores, logs := make([]*Store, 2), make([]*memoryLog, 2)
	for i := range stores {
		logs[i] = &memoryLog{}
		stores[i] = open(t, logs[i].use(options(t, address), fmt.Sprint("replica-", i)))
		if err := stores[i].between(context.Background(), func() { stores[i].writer.attempts = 0 }); err != nil {
			t.Fatal(err)
		}
	}
	conflicts := 0
	for i := range 200 {
		p := payment{id: uint64(i + 1), time: begin + int64(i)*1e6, customer: int64(i % 3), terminal: 1, amount: 1}
		l.add(p)
		_, err := push(context.Background(), stores[i%2], logs[i%2], &p)
		if errors.Is(err, ErrConflict) {
			conflicts++
		} else if err != nil {
			t.Fatal(err)
		}
	}
	for _, s := range stores {
		if err := s.between(context.Background(), func() { s.writer.attempts = conflictsMax }); err != nil {
			t.Fatal(err)
		}
		if err := s.Checkpoint(context.Background()); err != nil {
			t.Fatal(err)
		}
		if n := s.Counters().Pending; n != 0 {
			t.Errorf("%d updates are pending after a checkpoint", n)
		}
	}
	if conflicts == 0 {
		t.Error("no conflict was met: the test tested nothing")
	}
	l.check(t, stores[0], begin+5e10)
}

// TestKilled kills a Redis that keeps a log of its own, during pushes and more than once.
func TestKilled(t *testing.T) {
	r := serve(t, "--appendonly", "yes")
	l, log := &ledger{}, &memoryLog{}
	var s *Store
	s = open(t, recoveringFrom(options(t, r.address), "a", log, &s))
	stop := pushers(t, []*Store{s}, []*memoryLog{log}, l)
	for range 3 {
		moreThan(t, s, 100)
		r.kill()
		until(t, "redis counts as away", func() bool { return s.Counters().Away != nil })
		if _, _, err := read(context.Background(), s, customers, 1, begin); !errors.Is(err, online.ErrUnavailable) || !strings.Contains(err.Error(), r.address) {
			t.Errorf("a read without Redis: %v", err)
		}
		r.start()
		moreThan(t, s, 100)
	}
	stop()
	l.check(t, s, begin+5e10)
	// While it stores its log, Redis answers before it has written, so a kill may take
	// something; then it is a loss like any other. A recovery counts a moment after reads
	// go on.
	until(t, "all is as it was", func() bool {
		c := s.Counters()
		return c.Away == nil && c.Losses == c.Recoveries
	})
	if c := s.Counters(); c.Opened < 3 {
		t.Errorf("%+v", c)
	}
}

// TestOlderReplica restarts Redis with what it had some time ago, as a failover to a
// replica that lags behind would.
func TestOlderReplica(t *testing.T) {
	r := serve(t)
	l, log := &ledger{}, &memoryLog{}
	var s *Store
	s = open(t, recoveringFrom(options(t, r.address), "a", log, &s))
	stop := pushers(t, []*Store{s}, []*memoryLog{log}, l)
	moreThan(t, s, 200)
	if err := s.Checkpoint(context.Background()); err != nil {
		t.Fatal(err)
	}
	moreThan(t, s, 200)
	if err := r.do("SAVE").Error(); err != nil {
		t.Fatal(err)
	}
	moreThan(t, s, 500)
	r.kill()
	r.start()
	until(t, "the loss is found and made good", func() bool { return s.Counters().Recoveries > 0 })
	moreThan(t, s, 100)
	stop()
	l.check(t, s, begin+5e10)
	if st := s.Stats(); st.Replayed == 0 || st.Skipped == 0 {
		t.Errorf("%+v: the replay did not begin in between", st)
	}
}

// TestStalled stops the process of Redis: nobody waits for long, and afterwards nothing is
// lost or counted twice.
func TestStalled(t *testing.T) {
	r := serve(t)
	l, log := &ledger{}, &memoryLog{}
	o := options(t, r.address)
	o.Deadline, o.WriteDeadline = 20*time.Millisecond, 100*time.Millisecond
	var s *Store
	until(t, "the store opens", func() bool { // within deadlines this short
		var err error
		s, err = Open(context.Background(), recoveringFrom(o, "a", log, &s))
		return err == nil
	})
	t.Cleanup(func() { _ = s.Close() })
	stop := pushers(t, []*Store{s}, []*memoryLog{log}, l)
	for range 2 {
		moreThan(t, s, 100)
		r.signal(syscall.SIGSTOP)
		until(t, "redis counts as away", func() bool {
			_, _, err := read(context.Background(), s, customers, 1, begin)
			if err != nil && !errors.Is(err, online.ErrUnavailable) {
				t.Fatalf("a read without an answer: %v", err)
			}
			return s.Counters().Away != nil
		})
		calls := s.Counters().Calls
		for range 1000 {
			if _, _, err := read(context.Background(), s, customers, 1, begin); !errors.Is(err, online.ErrUnavailable) {
				t.Fatalf("a read without an answer: %v", err)
			}
		}
		if more := s.Counters().Calls - calls; more > 100 {
			t.Errorf("%d of 1000 reads went to Redis while it was away", more)
		}
		r.signal(syscall.SIGCONT)
		moreThan(t, s, 100)
	}
	stop()
	// Deadlines this short are missed on a loaded machine without anything being wrong.
	until(t, "the last states are read", func() bool {
		return s.between(context.Background(), func() {}) == nil && s.Counters().Pending == 0 && s.Counters().Away == nil
	})
	patient := open(t, options(t, r.address))
	l.check(t, patient, begin+5e10)
	if c := s.Counters(); c.Timeouts == 0 || c.Losses != 0 {
		t.Errorf("%+v", c)
	}
}

// TestFlushed has everything deleted during pushes of two replicas.
func TestFlushed(t *testing.T) {
	r := serve(t)
	l := &ledger{}
	stores, logs := make([]*Store, 2), make([]*memoryLog, 2)
	for i := range stores {
		logs[i] = &memoryLog{}
		stores[i] = open(t, recoveringFrom(options(t, r.address), fmt.Sprint("replica-", i), logs[i], &stores[i]))
	}
	stop := pushers(t, stores, logs, l)
	for range 2 {
		moreThan(t, stores[0], 200)
		moreThan(t, stores[1], 200)
		before := []int64{stores[0].Counters().Recoveries, stores[1].Counters().Recoveries}
		if err := r.do("FLUSHALL").Error(); err != nil {
			t.Fatal(err)
		}
		for i := range stores {
			until(t, "the loss is made good", func() bool { return stores[i].Counters().Recoveries > before[i] })
		}
	}
	stop()
	// One that recovered first may have been told by the other that more was lost.
	for _, s := range stores {
		until(t, "reads work again", func() bool {
			_, _, err := read(context.Background(), s, customers, 1, begin)
			return err == nil
		})
	}
	for _, s := range stores {
		l.check(t, s, begin+5e10)
		if c := s.Counters(); c.Incomplete != nil || c.Losses < 2 {
			t.Errorf("%+v", c)
		}
	}
}

// TestLossWithoutRecover shows what is lost rather than what is left.
func TestLossWithoutRecover(t *testing.T) {
	m := small(t)
	log := &memoryLog{}
	s := open(t, log.use(options(t, m.Addr()), "a"))
	p := payment{id: 1, time: begin, customer: 1, terminal: 1, amount: 3}
	if _, err := push(context.Background(), s, log, &p); err != nil {
		t.Fatal(err)
	}
	m.FlushAll()
	for range 3 {
		if _, _, err := read(context.Background(), s, customers, 1, begin); !errors.Is(err, ErrIncomplete) || !errors.Is(err, online.ErrUnavailable) {
			t.Fatalf("a read after a loss: %v", err)
		}
		if _, err := push(context.Background(), s, log, &p); !errors.Is(err, ErrIncomplete) {
			t.Fatalf("a push after a loss: %v", err)
		}
	}
	if log.position() != 1 {
		t.Errorf("%d records: an event that could not be applied was logged", log.position())
	}
	if st := s.Stats(); st.Failing == nil {
		t.Error("Stats do not tell")
	}
	_ = s.Close()
	s = open(t, log.use(options(t, m.Addr()), "a"))
	if err := log.recover(context.Background(), s); err != nil {
		t.Fatal(err)
	}
	got, _, err := read(context.Background(), s, customers, 1, begin)
	if err != nil || got.Numbers[1] != 3 {
		t.Errorf("after the store was opened again: %v, %v", got, err)
	}
}

// TestUnloggedLoss: events that no log has are gone, which is said until it is accepted.
func TestUnloggedLoss(t *testing.T) {
	m := small(t)
	s := open(t, options(t, m.Addr()))
	p := payment{id: 1, time: begin, customer: 1, terminal: 1, amount: 3}
	if _, err := push(context.Background(), s, nil, &p); err != nil {
		t.Fatal(err)
	}
	m.FlushAll()
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); {
		if got, _, err := read(context.Background(), s, customers, 1, begin); err == nil {
			t.Fatalf("a read after a loss: %v", got)
		}
	}
	until(t, "the loss can be accepted", func() bool { return s.Forget(context.Background(), "") == nil && s.at() == ready })
	until(t, "reads work again", func() bool {
		got, _, err := read(context.Background(), s, customers, 1, begin)
		return err == nil && got.Status[0] == window.NotFound
	})
	pushUntil(t, s, nil, &p)
	if got, _, err := read(context.Background(), s, customers, 1, begin); err != nil || got.Numbers[1] != 3 {
		t.Errorf("after a new push: %v, %v", got, err)
	}
}

// TestGarbage puts things where entities are.
func TestGarbage(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			address := start(t)
			o := options(t, address)
			s, ctx := open(t, o), context.Background()
			for i := range 2 {
				p := payment{id: uint64(i + 1), time: begin, customer: int64(i), terminal: 5, amount: 1}
				if _, err := push(ctx, s, nil, &p); err != nil {
					t.Fatal(err)
				}
			}
			b := &s.buckets[0]
			key := string(b.appendKey(nil, b.record.Load().tables[customers].part, plan.AppendIntKey(nil, 0)))
			stored, err := do(t, address, "GET", key).ToString()
			if err != nil {
				t.Fatal(err)
			}
			id := uint64(100)
			for _, c := range []struct {
				what, stored string
				// known: a store that knows the entity sees by the version that it has not
				// changed, and does not look further.
				known bool
			}{
				{"a list", "", false}, {"nothing", "", false}, {"short", "x", false}, {"long", strings.Repeat("x", 1000), false},
				{"cut", stored[:len(stored)-1], true}, {"appended", stored + "x", true},
			} {
				do(t, address, "DEL", key)
				if c.what == "a list" {
					do(t, address, "RPUSH", key, "x")
				} else {
					do(t, address, "SET", key, c.stored)
				}
				cold := open(t, o)
				stores := []*Store{cold, s}
				if c.known {
					stores = stores[:1]
				}
				for _, s := range stores {
					id++
					p := payment{id: id, time: begin, customer: 0, terminal: 6, amount: 1}
					if _, err := push(ctx, s, nil, &p); !errors.Is(err, online.ErrCorrupt) || !strings.Contains(err.Error(), "customers[0]") {
						t.Errorf("%s: push: %v", c.what, err)
					}
					if _, _, err := read(ctx, s, customers, 0, begin); !errors.Is(err, online.ErrCorrupt) || !strings.Contains(err.Error(), "customers[0]") {
						t.Errorf("%s: read: %v", c.what, err)
					}
					if got, _, err := read(ctx, s, customers, 1, begin); err != nil || got.Numbers[0] != 1 {
						t.Errorf("%s: another entity: %v, %v", c.what, got, err)
					}
				}
				_ = cold.Close()
			}
			do(t, address, "SET", key, stored)
			p := payment{id: 3, time: begin, customer: 0, terminal: 5, amount: 1}
			if _, err := push(ctx, s, nil, &p); err != nil {
				t.Errorf("after it was put right: %v", err)
			}
			do(t, address, "DEL", b.key)
			do(t, address, "SET", b.key, "x")
			if _, _, err := read(ctx, s, customers, 1, begin); !errors.Is(err, online.ErrUnavailable) {
				t.Errorf("with a record that is none: %v", err)
			}
			if _, err := Open(ctx, o); !errors.Is(err, online.ErrUnavailable) {
				t.Errorf("opened with a record that is none: %v", err)
			}
		})
	}
}
