// SPDX-License-Identifier: Apache-2.0

package online

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// An event between the log and its entities is not passed over: the checkpoint that
// notes a position behind it waits for it.
func TestCheckpointWaitsForEventUnderWay(t *testing.T) {
	log := &fakeLog{}
	o := quiet(log.options(Options{Dir: "store", Tables: smallTables(t)}))
	disk := vfs.NewCrashableMem()
	o.fs = disk
	noted := make(chan struct{}, 10)
	o.Durable = func(ctx context.Context, sequence uint64) error {
		noted <- struct{}{} // the position is known before its durability is asked for
		return log.waitDurable(ctx, sequence)
	}
	l := openLocal(t, o)
	l.Recovered()
	updates, done := updatesOf("k", 1), make(chan error, 1)
	must(t, l.Apply(t.Context(), updates, 0, func() (uint64, error) {
		sequence, err := log.append(updates)
		go func() { done <- l.Checkpoint(context.Background()) }()
		select {
		case <-noted:
		case err := <-done:
			done <- err
		}
		select {
		case err := <-done:
			t.Errorf("a checkpoint ended before the event was applied: %v", err)
			done <- err
		case <-time.After(20 * time.Millisecond): // enough to pass it over, if it did
		}
		return sequence, err
	}, make([]window.Outcome, 3)))
	must(t, <-done)
	o.Durable, o.fs = log.waitDurable, disk.CrashClone(vfs.CrashCloneCfg{})
	again := openLocal(t, o)
	if again.ReplayFrom() != 1 || countOf(t, again, "k") != 1 {
		t.Errorf("replay from %d, %v events", again.ReplayFrom(), countOf(t, again, "k"))
	}
}

// What a checkpoint has copied and could not write is written by the next one.
func TestFailedCheckpointIsRepeated(t *testing.T) {
	log := &fakeLog{}
	o := quiet(log.options(Options{Dir: "store", Tables: smallTables(t)}))
	disk := vfs.NewCrashableMem()
	o.fs, o.Position = disk, nil // so the log is asked for what was copied
	l := openLocal(t, o)
	pushLogged(t, l, log, "a", 1)
	log.setFail(errLog)
	for range 2 {
		if err := l.Checkpoint(t.Context()); !errors.Is(err, errLog) {
			t.Errorf("a checkpoint of what the log may lose: %v", err)
		}
	}
	log.setFail(nil)
	must(t, l.Checkpoint(t.Context()))
	o.fs = disk.CrashClone(vfs.CrashCloneCfg{})
	if n := countOf(t, openLocal(t, o), "a"); n != 1 {
		t.Errorf("%v events are stored", n)
	}
}

// An entity that was copied is not evicted before the checkpoint is finished.
func TestEntityBeingWrittenStays(t *testing.T) {
	o := quiet(Options{Tables: smallTables(t), Shards: 1})
	o.shardBytes = 1 << 20
	var l *Local
	asked := false
	o.Durable = func(context.Context, uint64) error { // with the copies made and nothing written
		l.shards[0].mu.Lock()
		defer l.shards[0].mu.Unlock()
		evicted, enough := l.shards[0].evictLocked(0)
		asked = true
		if evicted != 0 || enough {
			t.Errorf("%d evicted", evicted)
		}
		return nil
	}
	l = openLocal(t, o)
	must(t, l.Apply(t.Context(), updatesOf("k", 1), 0, func() (uint64, error) { return 1, nil }, make([]window.Outcome, 3)))
	must(t, l.Checkpoint(t.Context()))
	if evicted, enough := l.shards[0].evictLocked(0); evicted != 3 || !enough || !asked {
		t.Errorf("afterwards %d are evicted, %v", evicted, enough)
	}
}

// The position to replay from is durable in the log, even if no entity has its record.
func TestPositionIsDurable(t *testing.T) {
	log := &fakeLog{}
	o := quiet(log.options(Options{Dir: "store", Tables: smallTables(t)}))
	o.fs = vfs.NewMem()
	l := openLocal(t, o)
	must(t, l.Apply(t.Context(), nil, 0, func() (uint64, error) { return log.append(nil) }, nil))
	must(t, l.Checkpoint(t.Context()))
	if l.ReplayFrom() != 1 || log.durable != 1 || log.hold != 1 {
		t.Errorf("replay from %d, durable up to %d, hold behind %d", l.ReplayFrom(), log.durable, log.hold)
	}
}

// Without a position of the log, the store goes by what it was told.
func TestNoPosition(t *testing.T) {
	l := openLocal(t, quiet(Options{Tables: smallTables(t)}))
	must(t, l.Replay(t.Context(), updatesOf("k", 1), 7))
	must(t, l.Checkpoint(t.Context()))
	if l.ReplayFrom() != 7 {
		t.Errorf("after a replay: from %d", l.ReplayFrom())
	}
	must(t, l.Apply(t.Context(), updatesOf("k", 2), 0, func() (uint64, error) { return 8, nil }, make([]window.Outcome, 3)))
	must(t, l.Checkpoint(t.Context()))
	if l.ReplayFrom() != 7 { // it may be part of a rebuild
		t.Errorf("before recovery is over: from %d", l.ReplayFrom())
	}
	l.Recovered()
	must(t, l.Checkpoint(t.Context()))
	if l.ReplayFrom() != 8 {
		t.Errorf("after it: from %d", l.ReplayFrom())
	}
}

// Only what changed is written.
func TestCheckpointWritesChanges(t *testing.T) {
	l := openLocal(t, quiet(Options{Tables: smallTables(t)}))
	for i := range uint64(100) {
		apply(t, l, updatesOf(fmt.Sprint("k", i), i)...)
	}
	for _, want := range []int64{300, 0, 3} {
		must(t, l.Checkpoint(t.Context()))
		if got := l.Stats().CheckpointEntities; got != want {
			t.Errorf("%d entities are written, want %d", got, want)
		}
		if want == 0 {
			apply(t, l, updatesOf("k1", 500)...)
		}
	}
}

// The goroutine checkpoints after a number of events, and ends with the store, as do
// Pebble's.
func TestBackgroundCheckpoint(t *testing.T) {
	before := runtime.NumGoroutine()
	log := &fakeLog{}
	o := quiet(log.options(Options{Dir: t.TempDir(), Tables: smallTables(t), CheckpointRecords: 50}))
	o.CheckpointEvery, o.SweepEvery = time.Hour, time.Millisecond
	l, err := OpenLocal(t.Context(), o)
	must(t, err)
	for id := uint64(1); l.Stats().Checkpoints < 2; id++ {
		pushLogged(t, l, log, "k", id)
		time.Sleep(100 * time.Microsecond) // a slow disk would get more events than memory holds
	}
	if s := l.Stats(); s.ReplayFrom < 50 || s.DiskBytes == 0 {
		t.Errorf("%+v", s)
	}
	must(t, l.Close())
	for runtime.NumGoroutine() > before { // the test's time limit ends it
		runtime.Gosched()
	}
}

// Checkpoints leave as much time as they take, and after errors wait longer and longer.
func TestSchedule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := schedule{every: time.Minute, retryEvery: 5 * time.Second}
		s.done(0, nil)
		check := func(what string, asked bool, want time.Duration) {
			t.Helper()
			if got := s.wait(asked); got != want {
				t.Errorf("%s: %v, want %v", what, got, want)
			}
		}
		check("nobody asks", false, time.Minute)
		check("somebody asks", true, 0)
		s.done(3*time.Second, nil)
		check("asked after a long one", true, 3*time.Second)
		s.done(2*time.Minute, nil)
		check("after a longer one", false, 2*time.Minute)
		for _, want := range []time.Duration{100, 200, 400, 800, 1600, 3200, 5000, 5000} {
			s.done(time.Second, errors.New("disk"))
			check("after an error", false, want*time.Millisecond)
			check("asked after an error", true, want*time.Millisecond)
		}
		s.done(0, nil)
		check("after it was good again", true, 0)
		s.every = -1
		check("never", true, idleForever)
	})
}

// A new entity turns away what a reader found on disk before it was made.
func TestNewEntityTurnsReaderAway(t *testing.T) {
	o := quiet(Options{Tables: smallTables(t), Shards: 1})
	o.shardBytes = 1 << 20
	l := openLocal(t, o)
	key := []byte("k")
	id, hash, sh := flightKey{0, "k"}, l.hashOf(key), l.shards[0]
	f := &flight{done: make(chan struct{})}
	updates := []plan.Update{event(0, "k", start, 1, 1)}
	must(t, l.Apply(t.Context(), updates, 0, func() (uint64, error) {
		sh.mu.flights[id] = f // a reader asks the disk, which has nothing
		return 1, nil
	}, make([]window.Outcome, 1)))
	if !f.away || len(sh.mu.flights) != 0 {
		t.Fatal("the flight goes on")
	}
	var stale entity
	f.value = []byte("what a later checkpoint has written meanwhile")
	l.land(sh, f, id, hash, &stale, nil)
	<-f.done
	if n := countOf(t, l, "k"); n != 1 {
		t.Errorf("%v events are read", n)
	}
	if l.Stats().Loads != 0 || sh.mu.tables[0].used != 1 {
		t.Error("what was turned away is in memory")
	}
}

// Readers that ask for the same entity wait for one flight.
func TestOneFlight(t *testing.T) {
	fs := vfs.NewMem()
	o := quiet(Options{Dir: "store", Tables: smallTables(t), Shards: 1})
	o.fs = fs
	l := openLocal(t, o)
	apply(t, l, updatesOf("k", 1)...)
	must(t, l.Checkpoint(t.Context()))
	must(t, l.Close())
	o.shardBytes = 1 << 20
	l = openLocal(t, o)
	sh, f := l.shards[0], &flight{done: make(chan struct{})}
	id := flightKey{0, "k"}
	sh.mu.flights[id] = f
	results := make(chan float64, 8)
	for range cap(results) {
		go func() {
			r := l.NewReader()
			into, status := make([]float64, 6), make([]window.Status, 6)
			err := r.Fetch(context.Background(), []plan.Ref{{Table: 0, Key: []byte("k")}})
			if err == nil {
				_, err = r.View(0, start+second, into, status)
			}
			if err != nil {
				t.Error(err)
			}
			results <- into[3]
		}()
	}
	runtime.Gosched()
	var e entity
	var err error
	f.value, err = l.disk.get(l.ids[0], []byte("k"))
	must(t, err)
	e, err = l.decode(0, []byte("k"), append([]byte{}, f.value...))
	must(t, err)
	l.land(sh, f, id, l.hashOf([]byte("k")), &e, nil)
	for range cap(results) {
		if n := <-results; n != 1 {
			t.Errorf("%v events are read", n)
		}
	}
	if n := l.Stats().Loads; n != 1 {
		t.Errorf("%d loads", n)
	}
}
