// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/featurestore/online"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// servers are the ways to run a test: against a Redis in memory and a real one.
var servers = map[string]func(t testing.TB) string{
	"memory":  func(t testing.TB) string { return small(t).Addr() },
	"process": func(t testing.TB) string { return serve(t).address },
}

func TestPushAndRead(t *testing.T) {
	for name, start := range servers {
		t.Run(name, func(t *testing.T) {
			ctx, s, l := context.Background(), open(t, options(t, start(t))), &ledger{}
			for i := range 100 {
				p := payment{id: uint64(i + 1), time: begin + int64(i)*1e6, customer: int64(i % 7), terminal: int64(i % 3), amount: float64(i)}
				outcomes, err := push(ctx, s, nil, &p)
				if err != nil || outcomes[0] != window.Applied || outcomes[1] != window.Applied {
					t.Fatalf("payment %d: %v, %v", i, outcomes, err)
				}
				l.add(p)
			}
			for range 2 { // the second time with a cache
				l.check(t, s, begin+1e9)
				s.reads.Wait()
			}
			p := l.payments[99]
			if outcomes, err := push(ctx, s, nil, &p); err != nil || outcomes[0] != window.Duplicate {
				t.Errorf("again: %v, %v", outcomes, err)
			}
			l.check(t, s, begin+1e9)
			if c := s.Counters(); c.Cache.Hits == 0 || c.Losses != 0 || c.Failures != 0 {
				t.Errorf("%+v", c)
			}
			got, seen, err := read(ctx, s, customers, 77, begin)
			if err != nil || got.Status[0] != window.NotFound || seen != (plan.Seen{}) {
				t.Errorf("an unknown entity: %v, %+v, %v", got, seen, err)
			}
		})
	}
}

// TestManyRefs reads more entities than a call takes, some twice, some without a key, of
// several tables, in one round trip.
func TestManyRefs(t *testing.T) {
	for _, buckets := range []int{1, 8} {
		ctx, m := context.Background(), small(t)
		o := options(t, m.Addr())
		o.Buckets = buckets
		s := open(t, o)
		const n = 2*fetchEntities + 10
		events := make([]Event, n)
		for i := range events {
			p := payment{id: uint64(i + 1), time: begin, customer: int64(i), terminal: int64(-i), amount: float64(i)}
			events[i] = Event{Updates: p.updates(), Outcomes: make([]window.Outcome, 2), Arrival: begin + 5}
		}
		s.ApplyBatch(ctx, events)
		var refs []plan.Ref
		for i := range events {
			if events[i].Err != nil {
				t.Fatal(events[i].Err)
			}
			refs = append(refs, plan.Ref{Table: customers, Key: plan.AppendIntKey(nil, int64(i))}, plan.Ref{Table: terminals, Key: plan.AppendIntKey(nil, int64(-i))},
				plan.Ref{Table: customers}, plan.Ref{Table: profiles, Key: plan.AppendIntKey(nil, int64(i))})
		}
		r, width := s.NewReader(), s.tables[customers].view.Width()
		into, status := make([]float64, width), make([]window.Status, width)
		// The store makes calls of its own now and then, so that a slow read sees one of them.
		fewest := int64(math.MaxInt64)
		for attempt := 0; attempt < 4 || fewest > 1 && attempt < 400; attempt++ {
			before := s.Counters().Calls
			if err := r.Fetch(ctx, refs); err != nil {
				t.Fatal(err)
			}
			fewest = min(fewest, s.Counters().Calls-before)
			for i, ref := range refs {
				if ref.Table == profiles {
					if row, seen, err := r.Lookup(i, begin); row != nil || seen != (plan.Seen{}) || err != nil {
						t.Fatalf("ref %d: %q, %+v, %v", i, row, seen, err)
					}
					continue
				}
				_, err := r.View(i, begin, into, status)
				if want := float64(i / 4); err != nil || ref.Key != nil && (into[0] != 1 || into[1] != want) || ref.Key == nil && status[0] != window.NotFound {
					t.Fatalf("ref %d: %v %v, %v", i, into, status, err)
				}
			}
			r.Release()
			s.reads.Wait()
		}
		if fewest != 1 {
			t.Errorf("%d buckets: a read takes %d round trips", buckets, fewest)
		}
		if err := r.Fetch(ctx, nil); err != nil {
			t.Errorf("no refs: %v", err)
		}
	}
}

func TestLookups(t *testing.T) {
	ctx, s := context.Background(), open(t, options(t, small(t).Addr()))
	apply := func(time int64, row string) window.Outcome {
		u := []plan.Update{{Table: profiles, Key: plan.AppendIntKey(nil, 1), Row: []byte(row), Event: window.Event{Time: time, ID: 1}}}
		outcomes := make([]window.Outcome, 1)
		if err := s.Apply(ctx, u, time+1, nil, outcomes); err != nil {
			t.Fatal(err)
		}
		return outcomes[0]
	}
	if a, b, c := apply(begin, "first"), apply(begin+10, "second"), apply(begin+5, "between"); a != window.Applied || b != window.Applied || c != window.TooLate {
		t.Errorf("outcomes %v %v %v", a, b, c)
	}
	if o := apply(begin+10, "second"); o != window.Duplicate {
		t.Errorf("again: %v", o)
	}
	r := s.NewReader()
	if err := r.Fetch(ctx, []plan.Ref{{Table: profiles, Key: plan.AppendIntKey(nil, 1)}}); err != nil {
		t.Fatal(err)
	}
	row, seen, err := r.Lookup(0, begin+20)
	if string(row) != "second" || seen.EventTime != begin+10 || err != nil {
		t.Errorf("%q, %+v, %v", row, seen, err)
	}
}

func TestAmend(t *testing.T) {
	ctx, s := context.Background(), open(t, options(t, small(t).Addr()))
	p := payment{id: 1, time: begin, customer: 1, terminal: 1, amount: 3}
	if _, err := push(ctx, s, nil, &p); err != nil {
		t.Fatal(err)
	}
	amend := func(late bool, value float64, arrival int64) window.Outcome {
		u := p.updates()[:1]
		set := []plan.Amendment{{Column: "fraud", Value: value}}
		if late {
			u[0].Late = set
		} else {
			u[0].Amend, u[0].Event.Values = set, nil
		}
		outcomes := make([]window.Outcome, 1)
		if err := s.Apply(ctx, u, arrival, nil, outcomes); err != nil {
			t.Fatal(err)
		}
		return outcomes[0]
	}
	frauds := func() float64 {
		got, _, err := read(ctx, s, customers, 1, begin+int64(25*3600*1e6))
		if err != nil {
			t.Fatal(err)
		}
		return got.Numbers[4]
	}
	for i, c := range []struct {
		late    bool
		value   float64
		arrival int64
		outcome window.Outcome
		frauds  float64
	}{
		{false, 1, begin + 10, window.Applied, 1},
		{true, 5, begin + 20, window.Applied, 5},
		{false, 7, begin + int64(24*3600*1e6) + 1, window.TooLate, 5},
	} {
		if o := amend(c.late, c.value, c.arrival); o != c.outcome || frauds() != c.frauds {
			t.Errorf("amendment %d: %v, frauds %v", i, o, frauds())
		}
	}
	p.id = 2
	if o := amend(false, 1, begin+10); o != window.Unknown {
		t.Errorf("an event that is not there: %v", o)
	}
}

// TestRefused: what can never be taken is refused before it is logged.
func TestRefused(t *testing.T) {
	ctx, log := context.Background(), &memoryLog{}
	s := open(t, log.use(options(t, small(t).Addr()), "a"))
	good := func() plan.Update {
		p := payment{id: 1, time: begin, customer: 1, terminal: 1}
		return p.updates()[0]
	}
	for what, break1 := range map[string]func(u *plan.Update){
		"a table that is not":    func(u *plan.Update) { u.Table = 3 },
		"a table below zero":     func(u *plan.Update) { u.Table = -1 },
		"no key":                 func(u *plan.Update) { u.Key = nil },
		"a long key":             func(u *plan.Update) { u.Key = make([]byte, online.KeyBytesMax+1) },
		"a time out of range":    func(u *plan.Update) { u.Event.Time = math.MinInt64 },
		"too few values":         func(u *plan.Update) { u.Event.Values = nil },
		"an infinite value":      func(u *plan.Update) { u.Event.Values[0] = math.Inf(1) },
		"too many keys":          func(u *plan.Update) { u.Event.Keys = []uint64{1} },
		"an unknown column":      func(u *plan.Update) { u.Amend = []plan.Amendment{{Column: "x"}} },
		"an unknown late column": func(u *plan.Update) { u.Late = []plan.Amendment{{Column: "x"}} },
		"a long row": func(u *plan.Update) {
			*u = plan.Update{Table: profiles, Key: u.Key, Row: make([]byte, online.RowBytesMax+1)}
		},
	} {
		u := good()
		break1(&u)
		if err := s.Apply(ctx, []plan.Update{u}, 0, log.record(nil), make([]window.Outcome, 1)); !errors.Is(err, window.ErrEvent) {
			t.Errorf("%s: error %v", what, err)
		}
	}
	if err := s.Apply(ctx, []plan.Update{good()}, 0, log.record(nil), nil); err == nil {
		t.Error("no room for outcomes: no error")
	}
	refused := errors.New("the log is full")
	if err := s.Apply(ctx, []plan.Update{good()}, 0, func() (uint64, error) { return 0, refused }, make([]window.Outcome, 1)); !errors.Is(err, refused) {
		t.Errorf("a log that refuses: %v", err)
	}
	ended, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.Apply(ended, []plan.Update{good()}, 0, log.record(nil), make([]window.Outcome, 1)); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that has gone: %v", err)
	}
	if got, _, err := read(ctx, s, customers, 1, begin); err != nil || got.Numbers[0] != float64(log.position()) {
		t.Errorf("%v, %v: the events refused have left something", got, err)
	}
	if err := s.Apply(ctx, nil, 0, log.record(nil), nil); err != nil {
		t.Errorf("an event that touches nothing: %v", err)
	}
}

func TestClosed(t *testing.T) {
	address := small(t).Addr()
	goroutines := runtime.NumGoroutine()
	ctx, s := context.Background(), open(t, options(t, address))
	p := payment{id: 1, time: begin, customer: 1, terminal: 1}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for {
				if _, err := push(ctx, s, nil, &p); err != nil {
					if !errors.Is(err, online.ErrClosed) {
						t.Errorf("a push to a store that closes: %v", err)
					}
					return
				}
			}
		})
	}
	moreThan(t, s, 20)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	all.Wait()
	if _, _, err := read(ctx, s, customers, 1, begin); !errors.Is(err, online.ErrClosed) {
		t.Errorf("a read: %v", err)
	}
	if err := s.Checkpoint(ctx); !errors.Is(err, online.ErrClosed) {
		t.Errorf("a checkpoint: %v", err)
	}
	if err := s.Close(); !errors.Is(err, online.ErrClosed) {
		t.Errorf("closed again: %v", err)
	}
	until(t, "all goroutines end", func() bool { return runtime.NumGoroutine() <= goroutines })
}

// TestExpiry: what no window reaches any more goes.
func TestExpiry(t *testing.T) {
	ctx, m := context.Background(), small(t)
	s := open(t, options(t, m.Addr()))
	u := append((&payment{id: 1, time: begin, customer: 1, terminal: 1}).updates(), plan.Update{Table: profiles, Key: plan.AppendIntKey(nil, 1), Row: []byte("x"), Event: window.Event{Time: begin}})
	if err := s.Apply(ctx, u, 0, nil, make([]window.Outcome, 3)); err != nil {
		t.Fatal(err)
	}
	want := []time.Duration{8*day + time.Hour, 8*day + time.Hour, 30 * day}
	for i := range u {
		b := &s.buckets[0]
		key := string(b.appendKey(nil, b.record.Load().tables[u[i].Table].part, u[i].Key))
		if ttl := m.TTL(key); ttl != want[i] {
			t.Errorf("table %d: kept for %v, want %v", u[i].Table, ttl, want[i])
		}
	}
	m.FastForward(31 * day)
	if got, _, err := read(ctx, s, customers, 1, begin); err != nil || got.Status[0] != window.NotFound {
		t.Errorf("after its time: %v, %v", got, err)
	}
	forever := newTable(&plan.Table{Name: "l", Lookup: testLookup("l", 0)})
	if forever.ttl != "0" {
		t.Errorf("a lookup without a TTL is kept for %s ms", forever.ttl)
	}
}

func TestOpenRefuses(t *testing.T) {
	ctx := context.Background()
	o := options(t, freeAddress(t))
	o.Username, o.Password = "user", "secret"
	if _, err := Open(ctx, o); !errors.Is(err, online.ErrUnavailable) || !strings.Contains(err.Error(), o.Addresses[0]) || strings.Contains(err.Error(), "secret") {
		t.Errorf("nobody there: %v", err)
	}
	for url := range map[string]bool{"redis://u:secret@[:1": true, "http://u:secret@h": true, "redis://u:secret@h:1/x": true} {
		if _, err := Open(ctx, Options{URL: url}); !errors.Is(err, online.ErrInvalidOptions) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", url, err)
		}
	}
	bad := Options{Prefix: "a{b", Buckets: 3, Deadline: 1, WriteDeadline: 1, CacheBytes: 1, CheckpointEvery: 1, Log: "x y", Members: []string{""}}
	_, err := Open(ctx, bad)
	for _, part := range []string{"no URL", "prefix", "buckets 3", "deadline 1ns", "write deadline", "cache bytes", "checkpoint every", "log", "Position", "member"} {
		if !errors.Is(err, online.ErrInvalidOptions) || !strings.Contains(err.Error(), part) {
			t.Errorf("error %v does not tell of %q", err, part)
		}
	}
	r := serve(t, "--maxmemory", "100mb", "--maxmemory-policy", "allkeys-lru")
	if _, err := Open(ctx, options(t, r.address)); !errors.Is(err, online.ErrInvalidOptions) || !strings.Contains(err.Error(), "noeviction") {
		t.Errorf("a Redis that evicts: %v", err)
	}
	m := small(t)
	m.RequireUserAuth("user", "right")
	o = options(t, m.Addr())
	o.Username, o.Password = "user", "secret"
	if _, err := Open(ctx, o); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("the wrong password: %v", err)
	}
	o.Addresses, o.URL, o.Username, o.Password = nil, "redis://user:right@"+m.Addr(), "", ""
	s := open(t, o)
	if _, _, err := read(ctx, s, customers, 1, begin); err != nil || strings.Contains(fmt.Sprintf("%+v", s.Counters()), "right") {
		t.Errorf("the right password: %v", err)
	}
}

// proxy stands between a store and Redis, and can lose answers.
type proxy struct {
	listener net.Listener
	lose     atomic.Int64 // answers to be lost, each together with its connection
	lost     atomic.Int64
	all      sync.WaitGroup
}

func newProxy(t *testing.T, address string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l}
	p.all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.all.Go(func() { p.serve(c, address) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.all.Wait()
	})
	return p
}

func (p *proxy) serve(c net.Conn, address string) {
	defer c.Close()
	s, err := net.Dial("tcp", address)
	if err != nil {
		return
	}
	defer s.Close()
	p.all.Go(func() {
		_, _ = io.Copy(s, c)
		_ = s.Close()
	})
	buffer := make([]byte, 1<<16)
	for {
		n, err := s.Read(buffer)
		if err != nil {
			return
		}
		if p.lose.Load() > 0 && p.lose.Add(-1) >= 0 {
			p.lost.Add(1)
			return
		}
		if _, err := c.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// TestLostAnswers loses answers to writes that were carried out: these count once all the
// same, whether the store finds out by itself or the event is pushed again.
func TestLostAnswers(t *testing.T) {
	m, log, l := small(t), &memoryLog{}, &ledger{}
	p := newProxy(t, m.Addr())
	s := open(t, log.use(options(t, p.listener.Addr().String()), "a"))
	failed := 0
	for i := range 160 {
		// Old events, among many, which fall into tiles: the state alone would not know.
		pay := payment{id: uint64(i + 1), time: begin - int64(i%20)*3600*1e6, arrival: begin + int64(i), customer: 1, terminal: 1, amount: 1}
		until(t, "redis is back", func() bool { return s.Counters().Away == nil })
		before := log.position()
		p.lose.Store(int64(i % 4)) // after one the store tries again, after more it gives up
		_, err := push(context.Background(), s, log, &pay)
		p.lose.Store(0)
		if err != nil && !errors.Is(err, online.ErrUnavailable) {
			t.Fatal(err)
		}
		if log.position() > before {
			l.add(pay) // whether it failed or not
		}
		if err != nil && log.position() > before {
			failed++
			if i%2 == 0 {
				pushUntil(t, s, log, &pay)
			}
		}
	}
	until(t, "what is pending is written", func() bool { return s.Checkpoint(context.Background()) == nil && s.Counters().Pending == 0 })
	l.check(t, s, begin+1e9)
	if p.lost.Load() < 50 || failed == 0 {
		t.Errorf("%d answers lost, %d pushes failed behind the log: the test tested little", p.lost.Load(), failed)
	}
	if c := s.Counters(); c.Losses != 0 {
		t.Errorf("%+v", c)
	}
}

// TestCluster runs on a cluster of two nodes.
func TestCluster(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes seconds for a cluster to form")
	}
	nodes := []*server{serve(t, "--cluster-enabled", "yes"), serve(t, "--cluster-enabled", "yes")}
	_, port, _ := net.SplitHostPort(nodes[0].address)
	if err := nodes[0].do("CLUSTER", "ADDSLOTSRANGE", "0", "8191").Error(); err != nil {
		t.Skip("this Redis knows no slot ranges: ", err)
	}
	nodes[1].do("CLUSTER", "ADDSLOTSRANGE", "8192", "16383")
	nodes[1].do("CLUSTER", "MEET", "127.0.0.1", port)
	for _, n := range nodes {
		until(t, "the cluster forms", func() bool {
			info, err := n.do("CLUSTER", "INFO").ToString()
			return err == nil && strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_known_nodes:2")
		})
	}
	log, l := &memoryLog{}, &ledger{}
	o := log.use(options(t, nodes[0].address), "a")
	o.Buckets = 16
	var s *Store
	o.Recover = func(ctx context.Context) error { return log.recover(ctx, s) }
	s = open(t, o)
	pushSome(t, s, log, l, 200)
	l.check(t, s, begin+5e10)
	for _, n := range nodes {
		if keys, err := n.do("DBSIZE").AsInt64(); err != nil || keys < 5 {
			t.Errorf("a node has %d keys, %v: nothing is spread", keys, err)
		}
	}
	// One node loses everything: only its part is computed again.
	if err := nodes[1].do("FLUSHALL").Error(); err != nil {
		t.Fatal(err)
	}
	until(t, "the loss is made good", func() bool { return s.Counters().Recoveries > 0 })
	l.check(t, s, begin+5e10)
	if st := s.Stats(); st.Replayed == 0 || st.Replayed > 380 {
		t.Errorf("%d updates of 400 replayed", st.Replayed)
	}
}

// TestCopies: what is added stays while more is.
func TestCopies(t *testing.T) {
	var c Copies
	var kept [][]plan.Update
	for i := range 100 {
		u := plan.Update{
			Table: i, Key: []byte{byte(i)}, Row: []byte{byte(i), 1},
			Event: window.Event{Values: []float64{float64(i)}, Keys: []uint64{uint64(i), 2}},
			Amend: []plan.Amendment{{Column: "a", Value: float64(i)}}, Late: []plan.Amendment{{Column: "b"}},
		}
		kept = append(kept, c.Add([]plan.Update{u, u}))
		u.Key[0], u.Event.Values[0] = 255, -1
	}
	for i, updates := range kept {
		for _, u := range updates {
			if len(updates) != 2 || u.Table != i || u.Key[0] != byte(i) || u.Row[1] != 1 || u.Event.Values[0] != float64(i) ||
				!slices.Equal(u.Event.Keys, []uint64{uint64(i), 2}) || u.Amend[0].Value != float64(i) || u.Late[0].Column != "b" {
				t.Fatalf("event %d: %+v", i, u)
			}
		}
	}
}
