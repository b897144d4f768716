// SPDX-License-Identifier: Apache-2.0

package online

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

const killChildVariable = "MILLRACE_ONLINE_KILL_CHILD"

// TestMain makes the test program the child that is killed, when asked to.
func TestMain(m *testing.M) {
	if dir := os.Getenv(killChildVariable); dir != "" {
		if err := killChild(dir); err != nil {
			fmt.Println("error", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// killSchema holds one payment: of a customer, at a terminal.
var killSchema = offline.Schema{Stream: "source.payments", Columns: []offline.Column{
	{Name: "customer", Type: offline.TypeInt64}, {Name: "terminal", Type: offline.TypeInt64}, {Name: "amount", Type: offline.TypeFloat64},
}}

// killTables count what entities have had over years.
func killTables() []plan.Table {
	d := window.Definition{Columns: []string{"amount"}, Features: []window.Feature{
		{Name: "count", Func: window.Count, Window: 365 * day, Hop: time.Hour},
		{Name: "sum", Func: window.Sum, Column: "amount", Window: 365 * day, Hop: time.Hour},
	}}
	tables := make([]plan.Table, 0, 2)
	for _, name := range []string{"customers", "terminals"} {
		tables = append(tables, viewTable(name, d))
	}
	return tables
}

// killUpdates is what a payment means to the two tables.
func killUpdates(r *offline.Record) []plan.Update {
	e := window.Event{Time: r.EventTime, Arrival: r.ArrivalTime, ID: window.KeyOf(r.ID), Values: []float64{r.Values[2].Float64()}}
	return []plan.Update{
		{Table: 0, Key: plan.AppendIntKey(nil, r.Values[0].Int64()), Event: e},
		{Table: 1, Key: plan.AppendIntKey(nil, r.Values[1].Int64()), Event: e},
	}
}

// killStore is a store over a log in files.
type killStore struct {
	log    *offline.Log
	stream *offline.Stream
	local  *Local
}

func openKillStore(ctx context.Context, dir string) (s *killStore, err error) {
	s = &killStore{}
	s.log, err = offline.Open(ctx, offline.Options{Dir: filepath.Join(dir, "log"), HoldFromStart: true, SegmentBytes: 64 << 10,
		GroupBytes: 8 << 10, CompactEvery: 5 * time.Millisecond, SegmentAge: 20 * time.Millisecond, WaitWhenFull: -1})
	if err != nil {
		return nil, err
	}
	if s.stream, err = s.log.Declare(killSchema); err != nil {
		return nil, err
	}
	tables := killTables()
	s.local, err = OpenLocal(ctx, Options{Dir: filepath.Join(dir, "online"), Tables: tables, Fingerprint: fingerprintOf(tables), Shards: 16,
		Durable: s.log.WaitDurable, Position: func() uint64 { return s.log.Next() - 1 }, OnCheckpoint: s.log.Hold,
		CheckpointEvery: 10 * time.Millisecond, CheckpointRecords: 300, SweepEvery: time.Second, Logger: quietLogger})
	if err != nil {
		return nil, err
	}
	if len(s.local.Rebuild()) > 0 {
		return nil, fmt.Errorf("tables %v are to be rebuilt", s.local.Rebuild())
	}
	err = s.log.Replay(ctx, s.local.ReplayFrom(), func(_ string, _ []offline.Column, r *offline.Record) error {
		return s.local.Replay(ctx, killUpdates(r), r.Sequence)
	})
	s.local.Recovered()
	return s, err
}

func (s *killStore) close() error { return errors.Join(s.local.Close(), s.log.Close()) }

// killChild pushes until it is killed, and says which payments are durable.
func killChild(dir string) error {
	ctx := context.Background()
	s, err := openKillStore(ctx, dir)
	if err != nil {
		return err
	}
	errs := make(chan error)
	for worker := range 3 {
		go func() { errs <- s.pushForever(ctx, worker) }()
	}
	return <-errs
}

func (s *killStore) pushForever(ctx context.Context, worker int) error {
	random := rand.New(rand.NewPCG(uint64(os.Getpid()), uint64(worker)))
	outcomes := make([]window.Outcome, 2)
	for i := 0; ; i++ {
		now := time.Now().UnixMicro()
		r := offline.Record{ID: fmt.Sprintf("%d-%d-%d", os.Getpid(), worker, i), EventTime: now - random.Int64N(second), ArrivalTime: now,
			Values: []offline.Value{offline.Int64(random.Int64N(200)), offline.Int64(random.Int64N(20)), offline.Float64(float64(random.IntN(100)))}}
		var sequence uint64
		err := s.local.Apply(ctx, killUpdates(&r), now, func() (_ uint64, err error) {
			sequence, err = s.stream.AppendSequence(ctx, &r)
			return sequence, err
		}, outcomes)
		if err == nil && i%8 == 7 {
			if err = s.log.WaitDurable(ctx, sequence); err == nil {
				fmt.Println(r.ID)
			}
		}
		if err != nil {
			return err
		}
	}
}

// A process that pushes and checkpoints is killed again and again. Every payment that it
// acknowledged counts once for its customer and its terminal, and so does every other
// one that the log kept.
func TestKillLosesNothing(t *testing.T) {
	rounds := 6
	if testing.Short() {
		rounds = 3
	}
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(uint64(time.Now().UnixNano()), 3))
	acknowledged := map[string]bool{}
	replayed, checkpointed := int64(0), uint64(0)
	missing := func() bool { return len(acknowledged) == 0 || replayed == 0 || checkpointed == 0 }
	for round := 0; round < rounds || missing() && round < 20*rounds; round++ { // a slow machine gets more
		runAndKill(t, dir, random.IntN(60), time.Duration(random.IntN(60))*time.Millisecond, acknowledged)
		s, err := openKillStore(t.Context(), dir)
		must(t, err)
		verifyKilled(t, s, acknowledged)
		replayed, checkpointed = replayed+s.local.Stats().Replayed, s.local.ReplayFrom()
		must(t, s.close())
	}
	t.Logf("%d payments acknowledged, %d replayed, the last replay was from %d", len(acknowledged), replayed, checkpointed)
	if missing() {
		t.Error("something never happened")
	}
}

// verifyKilled holds the states to the log, and the log to what was acknowledged.
func verifyKilled(t *testing.T, s *killStore, acknowledged map[string]bool) {
	t.Helper()
	scan, err := s.log.Scan(t.Context(), offline.Query{Stream: killSchema.Stream, Versions: offline.AllVersions})
	must(t, err)
	defer scan.Close()
	want := map[string][2]float64{}
	found := map[string]bool{}
	for scan.Next() {
		r := scan.Record()
		found[strings.Clone(r.ID)] = true
		for _, u := range killUpdates(r) {
			k := strconv.Itoa(u.Table) + string(u.Key)
			w := want[k]
			want[k] = [2]float64{w[0] + 1, w[1] + u.Event.Values[0]}
		}
	}
	must(t, scan.Err())
	for id := range acknowledged {
		if !found[id] {
			t.Fatalf("payment %s was acknowledged and is lost", id)
		}
	}
	reader, now := s.local.NewReader(), time.Now().UnixMicro()+second
	for k, w := range want {
		if v, _, _ := values(t, reader, 2, int(k[0]-'0'), k[1:], now); v[0] != w[0] || v[1] != w[1] {
			t.Fatalf("entity %x of table %c: %v, want %v", k[1:], k[0], v, w)
		}
	}
}

// runAndKill kills the child some time after its first lines.
func runAndKill(t *testing.T, dir string, lines int, after time.Duration, acknowledged map[string]bool) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), killChildVariable+"="+dir)
	out, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	in := bufio.NewScanner(out)
	n := 0
	for in.Scan() {
		if line := in.Text(); strings.Contains(line, "-") && !strings.HasPrefix(line, "error") {
			acknowledged[line] = true
		} else {
			t.Errorf("the child says %q", line)
		}
		if n++; n == lines+1 {
			timer := time.AfterFunc(after, func() { _ = child.Process.Kill() }) // it may have ended
			defer timer.Stop()
		}
	}
	if err := child.Wait(); err == nil {
		t.Error("the child ended by itself")
	}
}
