// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/online"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// pushSome pushes n payments, a second apart.
func pushSome(t *testing.T, s *Store, log *memoryLog, l *ledger, n int) {
	t.Helper()
	pushApart(t, s, log, l, n, time.Second)
}

func pushApart(t *testing.T, s *Store, log *memoryLog, l *ledger, n int, apart time.Duration) {
	t.Helper()
	for range n {
		i := len(l.payments) + 1
		at := begin + int64(i)*apart.Microseconds()
		p := payment{id: uint64(i), time: at, arrival: at, customer: int64(i % 7), terminal: int64(i % 3), amount: float64(i)}
		if _, err := push(context.Background(), s, log, &p); err != nil {
			t.Fatal(err)
		}
		l.add(p)
	}
}

// TestRestart ends the process between the log and Redis, and with answers lost.
func TestRestart(t *testing.T) {
	ctx, m, log, l := context.Background(), small(t), &memoryLog{}, &ledger{}
	o := log.use(options(t, m.Addr()), "a")
	o.CheckpointEvery = time.Hour // the test says when
	s := open(t, o)
	if s.Rebuild() != nil {
		t.Error("an empty log is to be rebuilt from")
	}
	pushSome(t, s, log, l, 50)
	if err := s.Checkpoint(ctx); err != nil {
		t.Fatal(err)
	}
	pushSome(t, s, log, l, 50)
	p := payment{id: 1000, time: begin + 1e9, customer: 1, terminal: 1, amount: 5}
	if _, err := log.record(p.updates())(); err != nil {
		t.Fatal(err)
	}
	l.add(p)
	s.crash()

	s = open(t, o)
	if tables := s.Rebuild(); len(tables) > 0 {
		t.Errorf("tables %v are to be rebuilt", tables)
	}
	if from := s.ReplayFrom(); from != 50 {
		t.Errorf("a replay begins after %d, want 50", from)
	}
	if err := log.replay(ctx, s); err != nil {
		t.Fatal(err)
	}
	l.check(t, s, begin+5e10)
	if st := s.Stats(); st.Replayed != 2 || st.Skipped != 100 {
		t.Errorf("%d updates replayed, %d skipped; want 2 and 100", st.Replayed, st.Skipped)
	}
	_, seen, err := read(ctx, s, customers, 1, begin+5e10)
	if want := (plan.Seen{EventTime: begin + 1e9, Sequence: 101}); err != nil || seen != want {
		t.Errorf("seen %+v, %v; want %+v", seen, err, want)
	}
	if err := s.Replay(ctx, p.updates(), 101); err == nil || errors.Is(err, online.ErrUnavailable) {
		t.Errorf("a replay after the first read: %v", err)
	}
	pushSome(t, s, log, l, 1)
}

// TestFenced: the store that was opened last writes.
func TestFenced(t *testing.T) {
	ctx, m, log, l := context.Background(), small(t), &memoryLog{}, &ledger{}
	o := log.use(options(t, m.Addr()), "a")
	first := open(t, o)
	pushSome(t, first, log, l, 5)
	second := open(t, o)
	pushSome(t, first, log, l, 5) // the second has not begun to write
	if err := log.recover(ctx, second); err != nil {
		t.Fatal(err)
	}
	pushSome(t, second, log, l, 5)
	p := payment{id: 1, time: begin, customer: 1, terminal: 1}
	for range 2 {
		if _, err := push(ctx, first, log, &p); !errors.Is(err, ErrFenced) || !strings.Contains(err.Error(), `"a"`) {
			t.Errorf("the first store: %v", err)
		}
		if err := first.Checkpoint(ctx); !errors.Is(err, ErrFenced) {
			t.Errorf("a checkpoint of the first store: %v", err)
		}
	}
	l.check(t, first, begin+5e10) // it still reads
	l.check(t, second, begin+5e10)
}

// TestAhead: a log that ends before what Redis knows of it is another log.
func TestAhead(t *testing.T) {
	m, log, l := small(t), &memoryLog{}, &ledger{}
	o := log.use(options(t, m.Addr()), "a")
	s := open(t, o)
	pushSome(t, s, log, l, 5)
	if err := s.Checkpoint(context.Background()); err != nil {
		t.Fatal(err)
	}
	_ = s.Close()
	log.records = log.records[:3]
	if _, err := Open(context.Background(), o); !errors.Is(err, online.ErrAhead) || !strings.Contains(err.Error(), "record 5") {
		t.Errorf("error %v", err)
	}
}

// TestNewDefinition adds a table and changes one: these are computed, the other is not.
func TestNewDefinition(t *testing.T) {
	ctx, m, log, l := context.Background(), small(t), &memoryLog{}, &ledger{}
	o := log.use(options(t, m.Addr()), "a")
	o.Tables = o.Tables[:2]
	s := open(t, o)
	const events = 900 // so many, and so far apart, that most of them fall into tiles
	pushApart(t, s, log, l, events, 5*time.Minute)
	_ = s.Close()

	d := o.Tables[terminals].View.Window.Definition()
	d.Features = slices.Clone(d.Features)
	d.Features[0].Hop = time.Minute
	w, err := window.NewView(d)
	if err != nil {
		t.Fatal(err)
	}
	v := *o.Tables[terminals].View
	v.Window = w
	o.Tables = []plan.Table{o.Tables[customers], {Name: "terminals", View: &v}, {Name: "profiles", Lookup: testLookup("profiles", 0)}}
	for attempt := range 3 { // the first two end before it is done
		s = open(t, o)
		tables := s.Rebuild()
		if !slices.Equal(tables, []int{terminals, profiles}) {
			t.Fatalf("attempt %d: tables %v are to be rebuilt", attempt, tables)
		}
		if err := log.rebuild(ctx, s, tables); err != nil {
			t.Fatal(err)
		}
		if attempt < 2 {
			if err := s.loader.flush(ctx); err != nil {
				t.Fatal(err)
			}
			s.crash()
		}
	}
	if err := log.replay(ctx, s); err != nil {
		t.Fatal(err)
	}
	l.check(t, s, begin+(events+1)*(5*time.Minute).Microseconds())
	if st := s.Stats(); st.Replayed != events {
		t.Errorf("%d updates replayed, want those of one table", st.Replayed)
	}
}

// TestTwoLogs: values are whole when the events of all logs are there.
func TestTwoLogs(t *testing.T) {
	ctx, m := context.Background(), small(t)
	l, a, b := &ledger{}, &memoryLog{}, &memoryLog{}
	first := open(t, a.use(options(t, m.Addr()), "a"))
	pushSome(t, first, a, l, 20)
	// A log with events joins.
	for i := range 10 {
		p := payment{id: uint64(500 + i), time: begin + int64(i), customer: 3, terminal: 1, amount: 1}
		if _, err := b.record(p.updates())(); err != nil {
			t.Fatal(err)
		}
		l.add(p)
	}
	second := open(t, b.use(options(t, m.Addr()), "b"))
	if _, _, err := read(ctx, first, customers, 3, begin+5e10); !errors.Is(err, ErrIncomplete) || !strings.Contains(err.Error(), `"b"`) {
		t.Errorf("a read while b is not replayed: %v", err)
	}
	p := payment{id: 999, time: begin, customer: 3, terminal: 1, amount: 1}
	if _, err := push(ctx, first, a, &p); err != nil {
		t.Errorf("a push while b is not replayed: %v", err)
	}
	l.add(p)
	if err := b.recover(ctx, second); err != nil {
		t.Fatal(err)
	}
	l.check(t, second, begin+5e10)
	l.check(t, first, begin+5e10)

	// After a loss both have to be there again.
	first.crash()
	second.crash()
	m.FlushAll()
	o := a.use(options(t, m.Addr()), "a")
	o.Members = []string{"b"}
	first = open(t, o)
	if err := a.recover(ctx, first); err != nil {
		t.Fatal(err)
	}
	if _, _, err := read(ctx, first, customers, 3, begin+5e10); !errors.Is(err, ErrIncomplete) {
		t.Errorf("a read before b has joined: %v", err)
	}
	if err := first.Forget(ctx, "a"); err == nil {
		t.Error("a store forgot its own log")
	}
	if err := first.Forget(ctx, "b"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := read(ctx, first, customers, 3, begin+5e10); err != nil {
		t.Errorf("a read after b is forgotten: %v", err)
	}
	second = open(t, b.use(options(t, m.Addr()), "b"))
	if err := b.recover(ctx, second); err != nil {
		t.Fatal(err)
	}
	l.check(t, second, begin+5e10)
	l.check(t, first, begin+5e10)
}

// TestDurableFirst: Redis has nothing that the log may still lose.
func TestDurableFirst(t *testing.T) {
	ctx, m, log := context.Background(), small(t), &memoryLog{}
	o := log.use(options(t, m.Addr()), "a")
	var (
		mu     sync.Mutex // the store asks of itself too, to write what is pending
		stored = errors.New("no")
		asked  []uint64
	)
	o.Durable = func(_ context.Context, sequence uint64) error {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, sequence)
		return stored
	}
	s := open(t, o)
	p := payment{id: 1, time: begin, customer: 1, terminal: 1, amount: 2}
	refused := stored
	if _, err := push(ctx, s, log, &p); !errors.Is(err, refused) {
		t.Fatalf("a push that is not durable: %v", err)
	}
	if n := s.Counters(); n.Writes != 0 || n.Pending != 2 {
		t.Errorf("%+v", n)
	}
	if got, _, err := read(ctx, s, customers, 1, begin); err != nil || got.Numbers[0] != 0 {
		t.Errorf("it is read: %v, %v", got, err)
	}
	mu.Lock()
	stored = nil
	mu.Unlock()
	outcomes, err := push(ctx, s, log, &p)
	if err != nil || outcomes[0] != window.Duplicate {
		t.Errorf("pushed again: %v, %v", outcomes, err)
	}
	if got, _, err := read(ctx, s, customers, 1, begin); err != nil || got.Numbers[0] != 1 {
		t.Errorf("it counts %v, %v", got, err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(asked) < 2 || asked[0] != 1 || asked[1] != 1 && asked[1] != 2 {
		t.Errorf("the log was asked for %v", asked)
	}
}

// TestPushEndsRebuild: a rebuild of all tables need not be followed by a replay.
func TestPushEndsRebuild(t *testing.T) {
	for _, batch := range []bool{false, true} {
		ctx, m, log, l := context.Background(), small(t), &memoryLog{}, &ledger{}
		s := open(t, log.use(options(t, m.Addr()), "a"))
		pushSome(t, s, log, l, 30)
		s.crash()
		m.FlushAll()
		s = open(t, log.use(options(t, m.Addr()), "a"))
		if err := log.rebuild(ctx, s, s.Rebuild()); err != nil {
			t.Fatal(err)
		}
		if batch {
			p := payment{id: 31, time: begin, customer: 1, terminal: 1, amount: 1}
			l.add(p)
			u := p.updates()
			events := []Event{{Updates: u, Record: log.record(u), Outcomes: make([]window.Outcome, 2)}}
			if s.ApplyBatch(ctx, events); events[0].Err != nil {
				t.Fatal(events[0].Err)
			}
		} else {
			pushSome(t, s, log, l, 1)
		}
		if s.at() != ready || log.position() != 31 {
			t.Errorf("phase %d, %d records", s.at(), log.position())
		}
		l.check(t, s, begin+5e10)
	}
}

// TestTooOld: what the log cannot replay any more is computed from all of it.
func TestTooOld(t *testing.T) {
	ctx, m, log, l := context.Background(), small(t), &memoryLog{}, &ledger{}
	var s *Store
	tooOld := fmt.Errorf("the log: %w", offline.ErrTooOld)
	o := log.use(options(t, m.Addr()), "a")
	o.Recover = func(ctx context.Context) error {
		if s.ReplayFrom() < 20 {
			return tooOld
		}
		return log.recover(ctx, s)
	}
	s = open(t, o)
	pushSome(t, s, log, l, 20)
	_ = s.lose(errors.New("as a test says"))
	until(t, "everything is computed again", func() bool { return s.Counters().Recoveries == 1 })
	l.check(t, s, begin+5e10)

	s.crash()
	s = open(t, o)
	if err := s.Discard(ctx); err != nil {
		t.Fatal(err)
	}
	if tables := s.Rebuild(); len(tables) != 3 {
		t.Errorf("tables %v are to be rebuilt", tables)
	}
	if err := log.recover(ctx, s); err != nil {
		t.Fatal(err)
	}
	l.check(t, s, begin+5e10)
	if err := s.Discard(ctx); err == nil {
		t.Error("states that are served were discarded")
	}
}
