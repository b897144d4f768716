// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"math"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/rueidis"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

const day = 24 * time.Hour

// begin is when the events of the tests happen, in microseconds.
var begin = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

// testView is a view with count, sum and mean of amounts over 1 and 7 days. Few events
// are kept apart, so that duplicates soon fall into tiles.
func testView(t testing.TB, name string) *definition.View {
	t.Helper()
	d := window.Definition{Columns: []string{"amount", "fraud"}, HeadEventsMax: 16, EntriesMax: 256, DuplicateHorizon: time.Minute}
	for _, w := range []time.Duration{day, 7 * day} {
		d.Features = append(d.Features,
			window.Feature{Name: fmt.Sprintf("n%d", w/day), Func: window.Count, Window: w, Hop: time.Hour},
			window.Feature{Name: fmt.Sprintf("sum%d", w/day), Func: window.Sum, Column: "amount", Window: w, Hop: time.Hour})
	}
	d.Features = append(d.Features, window.Feature{Name: "frauds", Func: window.Sum, Column: "fraud", Window: 7 * day, Hop: time.Hour, Delay: day})
	w, err := window.NewView(d)
	if err != nil {
		t.Fatal(err)
	}
	e := &definition.Entity{Name: "customer", Key: "customer_id", Type: column.Int64}
	return &definition.View{
		Name: name, Window: w, Entities: []*definition.Entity{e}, Keys: []int{0},
		Source:  &definition.Source{Name: "payments", Fields: []definition.Field{{Name: "customer_id"}, {Name: "amount"}, {Name: "fraud"}}},
		Columns: []definition.Column{{Field: 1}, {Field: 2}},
	}
}

func testLookup(name string, ttl time.Duration) *definition.Lookup {
	e := &definition.Entity{Name: "customer", Key: "customer_id", Type: column.Int64}
	s := &definition.Source{Name: "profiles", Fields: []definition.Field{{Name: "customer_id"}, {Name: "country", Type: column.String}}}
	return &definition.Lookup{Name: name, Entities: []*definition.Entity{e}, Keys: []int{0}, Source: s, Fields: []int{1}, TTL: ttl}
}

// Places of the tables of testTables.
const (
	customers = iota
	terminals
	profiles
)

func testTables(t testing.TB) []plan.Table {
	v, w, l := testView(t, "customers"), testView(t, "terminals"), testLookup("profiles", 30*day)
	return []plan.Table{{Name: v.Name, View: v}, {Name: w.Name, View: w}, {Name: l.Name, Lookup: l}}
}

// quiet is a logger that nobody reads.
var quiet = slog.New(slog.NewTextHandler(io.Discard, nil))

// options are those of a store at an address.
func options(t testing.TB, address string) Options {
	return Options{
		Addresses: []string{address}, Tables: testTables(t), Logger: quiet,
		// A loaded machine is slow, and the tests say when they want less.
		Deadline: 30 * time.Second, WriteDeadline: 30 * time.Second,
	}
}

func open(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

// crash ends a store as if its process had ended: nothing more goes to Redis.
func (s *Store) crash() {
	s.conn.close()
	_ = s.Close()
}

// small starts a Redis in memory.
func small(t testing.TB) *miniredis.Miniredis {
	t.Helper()
	m := miniredis.NewMiniRedis()
	if err := m.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

// server is a Redis process.
type server struct {
	t       testing.TB
	dir     string
	address string
	args    []string
	started bool // at this address, which stays
	process *exec.Cmd
	ended   chan struct{} // closed when the process has
}

// serve starts a Redis process, or skips the test.
func serve(t testing.TB, args ...string) *server {
	t.Helper()
	if _, err := exec.LookPath("redis-server"); err != nil {
		t.Skip("redis-server is not on the PATH")
	}
	s := &server{t: t, dir: t.TempDir(), args: args}
	t.Cleanup(s.kill)
	s.start()
	return s
}

func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start starts the process and waits until it answers. Where another program has taken
// the port meanwhile, the process ends, and is started again.
func (s *server) start() {
	s.t.Helper()
	until(s.t, "redis-server starts", func() bool {
		select {
		case <-s.ended:
			s.kill()
		default:
		}
		if s.process == nil {
			s.launch()
		}
		return s.answers()
	})
	s.started = true
}

func (s *server) launch() {
	s.t.Helper()
	if !s.started {
		s.address = freeAddress(s.t)
	}
	_, port, _ := net.SplitHostPort(s.address)
	args := append([]string{"--port", port, "--bind", "127.0.0.1", "--dir", s.dir, "--save", "", "--logfile", filepath.Join(s.dir, "log")}, s.args...)
	process, ended := exec.Command("redis-server", args...), make(chan struct{})
	if err := process.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.process, s.ended = process, ended
	go func() {
		defer close(ended)
		_ = process.Wait() // it is killed
	}()
}

// answers reports whether the process does, and not another one at its port.
func (s *server) answers() bool {
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{s.address}, DisableCache: true, ForceSingleClient: true})
	if err != nil {
		return false
	}
	defer c.Close()
	info, err := c.Do(context.Background(), c.B().Info().Section("server").Build()).ToString()
	return err == nil && infoField(info, "process_id") == strconv.Itoa(s.process.Process.Pid) && c.Do(context.Background(), c.B().Ping().Build()).Error() == nil
}

// kill ends the process as a power cut would.
func (s *server) kill() {
	if s.process != nil {
		_ = s.process.Process.Signal(syscall.SIGCONT)
		_ = s.process.Process.Kill()
		<-s.ended
		s.process, s.ended = nil, nil
	}
}

func (s *server) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.process.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// do runs a command.
func (s *server) do(args ...string) rueidis.RedisResult { return do(s.t, s.address, args...) }

func do(t testing.TB, address string, args ...string) rueidis.RedisResult {
	t.Helper()
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{address}, DisableCache: true, ForceSingleClient: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.Do(context.Background(), c.B().Arbitrary(args...).Build())
}

// until waits until something is so. How long is no matter; a minute is a failure.
func until(t testing.TB, what string, so func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !so(); {
		if time.Now().After(end) {
			t.Fatalf("%s: not within a minute", what)
		}
		<-time.After(2 * time.Millisecond)
	}
}

// memoryLog is an event log: it gives out places, and has what was appended.
type memoryLog struct {
	mu      sync.Mutex
	records []logged
}

type logged struct {
	updates []plan.Update
	copies  Copies
}

// record returns the function that Apply calls.
func (l *memoryLog) record(updates []plan.Update) func() (uint64, error) {
	return func() (uint64, error) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.records = append(l.records, logged{})
		r := &l.records[len(l.records)-1]
		r.updates = r.copies.Add(updates)
		return uint64(len(l.records)), nil
	}
}

func (l *memoryLog) position() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return uint64(len(l.records))
}

// use sets the options that concern the log.
func (l *memoryLog) use(o Options, name string) Options {
	o.Log, o.Position = name, l.position
	return o
}

// recover does what the opener of a store does.
func (l *memoryLog) recover(ctx context.Context, s *Store) error {
	if tables := s.Rebuild(); len(tables) > 0 {
		if err := l.rebuild(ctx, s, tables); err != nil {
			return err
		}
	}
	return l.replay(ctx, s)
}

// rebuild applies all records in an order of their own, as a scan of the log would: only
// those of one event keep theirs.
func (l *memoryLog) rebuild(ctx context.Context, s *Store, tables []int) error {
	l.mu.Lock()
	records := l.records
	l.mu.Unlock()
	outcomes, order := make([]window.Outcome, 8), make([]int, len(records))
	for i := range order {
		order[i] = i
	}
	mixed := func(i int) uint64 { return records[i].updates[0].Event.ID * 0x9e3779b97f4a7c15 }
	slices.SortStableFunc(order, func(a, b int) int { return cmp.Compare(mixed(a), mixed(b)) })
	for _, i := range order {
		var mine []plan.Update
		for _, u := range records[i].updates {
			for _, t := range tables {
				if u.Table == t {
					mine = append(mine, u)
				}
			}
		}
		if err := s.Apply(ctx, mine, 0, func() (uint64, error) { return uint64(i + 1), nil }, outcomes); err != nil {
			return err
		}
	}
	return nil
}

func (l *memoryLog) replay(ctx context.Context, s *Store) error {
	after := s.ReplayFrom()
	l.mu.Lock()
	records := l.records
	l.mu.Unlock()
	for i := range records {
		if uint64(i+1) > after {
			if err := s.Replay(ctx, records[i].updates, uint64(i+1)); err != nil {
				return err
			}
		}
	}
	return nil
}

// payment is an event in customers and terminals.
type payment struct {
	id                 uint64
	time, arrival      int64
	customer, terminal int64
	amount             float64
}

func (p *payment) updates() []plan.Update {
	e := window.Event{Time: p.time, Arrival: p.arrival, ID: p.id, Values: []float64{p.amount, math.NaN()}}
	f := e
	f.Values = []float64{p.amount, math.NaN()}
	return []plan.Update{
		{Table: customers, Key: plan.AppendIntKey(nil, p.customer), Event: e},
		{Table: terminals, Key: plan.AppendIntKey(nil, p.terminal), Event: f},
	}
}

// push applies a payment and returns its outcomes.
func push(ctx context.Context, s *Store, l *memoryLog, p *payment) ([]window.Outcome, error) {
	updates, outcomes := p.updates(), make([]window.Outcome, 2)
	var record func() (uint64, error)
	if l != nil {
		record = l.record(updates)
	}
	return outcomes, s.Apply(ctx, updates, 0, record, outcomes)
}

// pushUntil pushes again until it succeeds.
func pushUntil(t testing.TB, s *Store, l *memoryLog, p *payment) {
	t.Helper()
	var err error
	until(t, "a push succeeds", func() bool {
		_, err = push(context.Background(), s, l, p)
		if err != nil && (errors.Is(err, window.ErrEvent) || errors.Is(err, ErrFenced)) {
			t.Fatal(err)
		}
		return err == nil
	})
}

// values are what a read of an entity gives at a time.
type values struct {
	Numbers []float64
	Status  []window.Status
}

func (v values) String() string {
	var b strings.Builder
	for i := range v.Numbers {
		fmt.Fprintf(&b, "%v/%v ", v.Numbers[i], v.Status[i])
	}
	return b.String()
}

func read(ctx context.Context, s *Store, table int, key, at int64) (values, plan.Seen, error) {
	r := s.NewReader()
	defer r.Release()
	if err := r.Fetch(ctx, []plan.Ref{{Table: table, Key: plan.AppendIntKey(nil, key)}}); err != nil {
		return values{}, plan.Seen{}, err
	}
	n := s.tables[table].view.Width()
	v := values{make([]float64, n), make([]window.Status, n)}
	seen, err := r.View(0, at, v.Numbers, v.Status)
	return v, seen, err
}

// reference computes what a read has to give from all events, each once.
func reference(t testing.TB, view *window.View, events []window.Event, at int64) values {
	t.Helper()
	v := values{make([]float64, view.Width()), make([]window.Status, view.Width())}
	if err := view.NewAggregator().Series(events, []window.Query{{At: at, AsOf: math.MaxInt64 >> 8}}, v.Numbers, v.Status); err != nil {
		t.Fatal(err)
	}
	return v
}

// ledger is what was pushed.
type ledger struct {
	mu       sync.Mutex
	payments []payment
}

func (l *ledger) add(p payment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.payments = append(l.payments, p)
}

// check compares every entity of a store with the payments, each counted once. It leaves
// out frauds, of which it does not know.
func (l *ledger) check(t testing.TB, s *Store, at int64) {
	t.Helper()
	type entity struct {
		table int
		key   int64
	}
	events := map[entity][]window.Event{}
	for _, p := range l.payments {
		for _, u := range p.updates() {
			e := entity{u.Table, p.customer}
			if u.Table == terminals {
				e.key = p.terminal
			}
			events[e] = append(events[e], u.Event)
		}
	}
	bad := 0
	for e, list := range events {
		want := reference(t, s.tables[e.table].view, list, at)
		got, _, err := read(context.Background(), s, e.table, e.key, at)
		if err != nil {
			t.Fatalf("table %d, entity %d: %v", e.table, e.key, err)
		}
		got.Numbers, want.Numbers = got.Numbers[:4], want.Numbers[:4]
		if got.String() != want.String() {
			if bad++; bad < 5 {
				t.Errorf("table %d, entity %d: %v, want %v", e.table, e.key, got, want)
			}
		}
	}
	if bad > 0 {
		t.Errorf("%d of %d entities are wrong", bad, len(events))
	}
}

// resum appends the checksum of a stored value.
func resum(b []byte) []byte {
	return binary.LittleEndian.AppendUint32(b[:len(b):len(b)], crc32.Checksum(b, castagnoli))
}
