// SPDX-License-Identifier: Apache-2.0

package online

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/millrace-ml/millrace/featurestore/window"
)

// faultyDisk is a disk in memory whose writes fail while it is told so.
type faultyDisk struct {
	mem   *vfs.MemFS
	fault atomic.Pointer[fault]
	hits  atomic.Int64
}

// fault is an error of writes to files whose name has a part.
type fault struct {
	err  error
	name string
	// some fails about one in that many.
	some int
}

func newFaultyDisk() *faultyDisk { return &faultyDisk{mem: vfs.NewCrashableMem()} }

func (d *faultyDisk) fs() vfs.FS {
	return errorfs.Wrap(d.mem, errorfs.InjectorFunc(func(op errorfs.Op) error {
		f := d.fault.Load()
		if f == nil || op.Kind.ReadOrWrite() != errorfs.OpIsWrite || !strings.Contains(filepath.Base(op.Path), f.name) {
			return nil
		}
		switch op.Kind {
		case errorfs.OpFileClose, errorfs.OpRemove, errorfs.OpRemoveAll, errorfs.OpLock:
			return nil
		}
		if f.some > 0 && rand.IntN(f.some) > 0 {
			return nil
		}
		d.hits.Add(1)
		return f.err
	}))
}

// crashed is the disk as a crash leaves it.
func (d *faultyDisk) crashed() vfs.FS {
	return d.mem.CrashClone(vfs.CrashCloneCfg{})
}

// faultWorld is a store on a disk that can fail, with a log that does not.
func faultWorld(t *testing.T) (*faultyDisk, *fakeLog, Options, *Local) {
	d, log := newFaultyDisk(), &fakeLog{}
	o := quiet(log.options(Options{Dir: "store", Tables: smallTables(t)}))
	o.fs = d.fs()
	return d, log, o, openLocal(t, o)
}

func pushLogged(t testing.TB, l *Local, log *fakeLog, key string, id uint64) {
	t.Helper()
	updates := updatesOf(key, id)
	must(t, l.Apply(context.Background(), updates, start+int64(id), func() (uint64, error) { return log.append(updates) }, make([]window.Outcome, 3)))
}

func (d *faultyDisk) set(err error, name string) { d.fault.Store(&fault{err: err, name: name}) }

func (d *faultyDisk) heal() { d.fault.Store(nil) }

// verifyAfterCrash opens what a crash would leave, and holds it to the log.
func verifyAfterCrash(t *testing.T, d *faultyDisk, log *fakeLog, o Options) {
	t.Helper()
	o.fs = d.crashed()
	l := openLocal(t, o)
	must(t, log.replay(l))
	c := &crowd{t: t, tables: o.Tables, keys: []string{"a", "b", "c"}}
	c.clock.Store(start + second)
	c.verify(l, log)
	must(t, l.Close())
}

// While the disk is full a checkpoint waits, Stats says why, and everything else goes on.
func TestDiskFull(t *testing.T) {
	for _, err := range []error{syscall.ENOSPC, syscall.EDQUOT} {
		d, log, o, l := faultWorld(t)
		pushLogged(t, l, log, "a", 1)
		d.set(fmt.Errorf("write: %w", err), "")
		done := make(chan error, 1)
		go func() { done <- l.Checkpoint(t.Context()) }()
		pushUntilFailing(t, l, log)
		if !errors.Is(l.Stats().Failing, err) {
			t.Errorf("the store fails with %v", l.Stats().Failing)
		}
		if got, _, _ := values(t, l.NewReader(), 6, 0, "b", start+second); got[3] != float64(len(log.records)-1) {
			t.Errorf("%v events of b are counted", got[3])
		}
		verifyAfterCrash(t, d, log, o)
		select {
		case err := <-done:
			t.Errorf("a checkpoint on a full disk ended: %v", err)
		default:
		}
		d.heal()
		must(t, <-done)
		if s := l.Stats(); s.Failing != nil || s.Failures == 0 || s.ReplayFrom == 0 {
			t.Errorf("after the disk has room again: %+v", s)
		}
		verifyAfterCrash(t, d, log, o)
		must(t, l.Close())
	}
}

// pushUntilFailing pushes events of b until the store knows that the disk fails. It does
// not hurry: on a busy machine that may take a while.
func pushUntilFailing(t *testing.T, l *Local, log *fakeLog) {
	t.Helper()
	for l.Stats().Failing == nil {
		pushLogged(t, l, log, "b", uint64(len(log.records)+1))
		<-time.After(time.Millisecond)
	}
}

// A checkpoint can be called off, and a store closed, while the disk is full.
func TestCloseWhileDiskIsFull(t *testing.T) {
	d, log, o, l := faultWorld(t)
	pushLogged(t, l, log, "a", 1)
	d.set(syscall.ENOSPC, "")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- l.Checkpoint(ctx) }()
	pushUntilFailing(t, l, log)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the checkpoint ended with %v", err)
	}
	must(t, l.Close())
	if err := l.Checkpoint(t.Context()); !errors.Is(err, ErrClosed) {
		t.Errorf("a checkpoint of a closed store: %v", err)
	}
	verifyAfterCrash(t, d, log, o)
}

// What fails besides that is reported; the next checkpoint after the disk has healed
// writes all that is missing, with a database opened anew if need be.
func TestDiskErrors(t *testing.T) {
	for _, name := range []string{"MANIFEST", ".sst", ""} {
		t.Run("file="+name, func(t *testing.T) {
			d, log, o, l := faultWorld(t)
			for round := range uint64(3) {
				pushLogged(t, l, log, "a", 10*round+1)
				must(t, l.Checkpoint(t.Context()))
				pushLogged(t, l, log, "b", 10*round+2)
				d.set(syscall.EIO, name)
				checkpointUntilFault(t, l, d)
				pushLogged(t, l, log, "c", 10*round+3)
				verifyAfterCrash(t, d, log, o)
				d.heal()
				if s := checkpointSoon(t, l); s.ReplayFrom != uint64(len(log.records)) {
					t.Errorf("after the disk has healed: %+v", s)
				}
				verifyAfterCrash(t, d, log, o)
			}
			must(t, l.Close())
		})
	}
}

// checkpointUntilFault calls a checkpoint off when it has met a fault.
func checkpointUntilFault(t *testing.T, l *Local, d *faultyDisk) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	hits, done := d.hits.Load(), make(chan error, 1)
	go func() { done <- l.Checkpoint(ctx) }()
	for d.hits.Load() == hits || l.Stats().Failing == nil {
		select {
		case err := <-done:
			t.Fatalf("a checkpoint that cannot write ended: %v", err)
		default:
			runtime.Gosched()
		}
	}
	cancel()
	if err := <-done; err == nil {
		t.Error("a checkpoint that cannot write succeeds")
	}
}

// checkpointSoon gives Pebble the attempts that were under way when the disk healed. A
// compaction may tell of its failure when a checkpoint has succeeded already; then the
// next checkpoint finds that the disk does not fail any more.
func checkpointSoon(t *testing.T, l *Local) (s Stats) {
	t.Helper()
	var err error
	for range 100 {
		if err = l.Checkpoint(t.Context()); err == nil {
			if s = l.Stats(); s.Failing == nil {
				return s
			}
		}
	}
	t.Fatalf("after the disk has healed: %v, %+v", err, s)
	return s
}

// Faults at random change nothing that is read, after crashes neither.
func TestRandomFaults(t *testing.T) {
	rounds := 8
	if testing.Short() {
		rounds = 3
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 5))
	hits := int64(0)
	for range rounds {
		d, log, o, l := faultWorld(t)
		for i := range uint64(60) {
			pushLogged(t, l, log, []string{"a", "b", "c"}[random.IntN(3)], i+1)
			switch random.IntN(12) {
			case 0, 1:
				d.fault.Store(&fault{err: []error{syscall.EIO, syscall.ENOSPC}[random.IntN(2)], some: 1 + random.IntN(6),
					name: []string{"", "MANIFEST", ".sst", "marker"}[random.IntN(4)]})
			case 2, 3, 4:
				d.heal()
			case 5, 6, 7:
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Millisecond)
				_ = l.Checkpoint(ctx) // it may fail; what matters is what is read
				cancel()
			case 8:
				verifyAfterCrash(t, d, log, o)
			}
		}
		d.heal()
		checkpointSoon(t, l)
		verifyAfterCrash(t, d, log, o)
		hits += d.hits.Load()
		must(t, l.Close())
	}
	if hits == 0 {
		t.Error("no fault was met")
	}
}

// An event waits for no log that fails, and nothing of it is applied.
func TestLogFails(t *testing.T) {
	_, log, _, l := faultWorld(t)
	pushLogged(t, l, log, "a", 1)
	log.setFail(errLog)
	updates := updatesOf("a", 2)
	err := l.Apply(t.Context(), updates, start+second, func() (uint64, error) { return log.append(updates) }, make([]window.Outcome, 3))
	if !errors.Is(err, errLog) {
		t.Errorf("an event that the log refuses: %v", err)
	}
	if got, _, seen := values(t, l.NewReader(), 6, 0, "a", start+second); got[3] != 1 || seen.Sequence != 1 {
		t.Errorf("%v events, %+v", got[3], seen)
	}
	if err := l.Checkpoint(t.Context()); !errors.Is(err, errLog) || l.ReplayFrom() != 0 {
		t.Errorf("a checkpoint of what the log may lose: %v, replay from %d", err, l.ReplayFrom())
	}
	log.setFail(nil)
	must(t, l.Checkpoint(t.Context()))
	if l.ReplayFrom() != 1 {
		t.Errorf("replay from %d", l.ReplayFrom())
	}
}

// With a bound on memory a disk that fails is met by events only when there is nothing
// to give up, and by reads only of what is on disk.
func TestFaultsWithBoundedMemory(t *testing.T) {
	d, log := newFaultyDisk(), &fakeLog{}
	o := quiet(log.options(Options{Dir: "store", Tables: smallTables(t), Shards: 1}))
	o.fs, o.shardBytes = d.fs(), 4<<10
	l := openLocal(t, o)
	d.set(syscall.EIO, "")
	refused := errors.New("none")
	for id := uint64(1); id < 10_000; id++ {
		updates := updatesOf(fmt.Sprint("k", id), id)
		err := l.Apply(t.Context(), updates, start+second, func() (uint64, error) { return log.append(updates) }, make([]window.Outcome, 3))
		if err != nil {
			refused = err
			break
		}
	}
	if !errors.Is(refused, ErrMemory) {
		t.Fatalf("events that do not fit end with %v", refused)
	}
	n := len(log.records)
	if m := l.shards[0].bytesLocked(); m > 3*o.shardBytes {
		t.Errorf("%d bytes in a shard of %d", m, o.shardBytes)
	}
	d.heal()
	checkpointSoon(t, l)
	pushLogged(t, l, log, "more", uint64(n+1))
	reader := l.NewReader()
	for id := 1; id <= n; id++ {
		if got, _, _ := values(t, reader, 6, 0, fmt.Sprint("k", id), start+second); got[3] != 1 {
			t.Fatalf("k%d has %v events", id, got[3])
		}
	}
	if s := l.Stats(); s.Evicted == 0 || s.Loads == 0 {
		t.Errorf("%d evicted, %d loaded", s.Evicted, s.Loads)
	}
}
