// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestSequencesBeginWithOneAndGoOn(t *testing.T) {
	ctx := t.Context()
	o := quiet(Options{Dir: t.TempDir()})
	next := uint64(1)
	for round := range 3 {
		l := openLog(t, o)
		s := declare(t, l, everyType)
		for i := range 5 {
			if l.Next() != next {
				t.Fatalf("round %d: next is %d, want %d", round, l.Next(), next)
			}
			r := sample(i)
			got, err := s.AppendSequence(ctx, &r)
			must(t, err)
			first, err := s.AppendBatch(ctx, []Record{sample(i), sample(i + 1)})
			must(t, err)
			if got != next || first != next+1 {
				t.Fatalf("round %d: sequences %d and %d, want %d and what follows", round, got, first, next)
			}
			next += 3
		}
		must(t, l.WaitDurable(ctx, next-1))
		if l.Durable() != next-1 {
			t.Errorf("durable is %d, want %d", l.Durable(), next-1)
		}
		if round == 1 {
			must(t, l.Compact(ctx))
		}
		must(t, l.Close())
	}
}

// A batch is taken whole or not at all, also when it goes into several groups.
func TestBatches(t *testing.T) {
	ctx := t.Context()
	l := openLog(t, quiet(Options{GroupBytes: 4 << 10, QueueBytes: 64 << 10, QueueRecords: 300, WaitWhenFull: time.Minute}))
	s := declare(t, l, everyType)
	var batch []Record
	for i := range 200 {
		batch = append(batch, sample(i))
	}
	first, err := s.AppendBatch(ctx, batch)
	must(t, err)
	must(t, l.WaitDurable(ctx, first+uint64(len(batch))-1))
	if st := l.Stats(); st.Groups < 3 || st.Stored != 200 || st.QueueRecords != 0 || st.QueueBytes != 0 {
		t.Errorf("stats %+v", st)
	}
	if first, err := s.AppendBatch(ctx, nil); first != 0 || err != nil {
		t.Errorf("no records: %d %v", first, err)
	}
	spoiled := slices.Clone(batch[:9])
	spoiled[7].ID = ""
	big := sample(1)
	big.Values[5] = Bytes(make([]byte, 40<<10))
	for what, c := range map[string][]Record{
		"record 7 of 9: invalid record: stream predictions: id has 0 bytes": spoiled,
		"a batch of 400 records does not fit into a queue of 300 records":   append(slices.Clone(batch), batch...),
		"a batch of 2 records does not fit into a queue of":                 {big, big},
	} {
		if _, err := s.AppendBatch(ctx, c); !errors.Is(err, ErrInvalidRecord) || !strings.Contains(err.Error(), what) {
			t.Errorf("%s: %v", what, err)
		}
	}
	big.Values[5] = Bytes(make([]byte, 100<<10)) // by itself it may be larger than the queue
	_, err = s.AppendBatch(ctx, []Record{big})
	must(t, err)
	must(t, l.Sync(ctx))
	if st := l.Stats(); st.Appended != 201 || st.Stored != 201 || st.Dropped != 0 {
		t.Errorf("stats %+v", st)
	}
}

func TestBatchMeetsAFullQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newMemFS(1)
		l, err := Open(t.Context(), quiet(Options{Dir: "log", QueueRecords: 10, files: disk}))
		must(t, err)
		s := declare(t, l, everyType)
		disk.setFault(func(string, string) error { return errFault })
		batch := []Record{sample(0), sample(1), sample(2), sample(3)}
		for range 2 {
			_, err := s.AppendBatch(t.Context(), batch)
			must(t, err)
		}
		if _, err := s.AppendBatch(t.Context(), batch); !errors.Is(err, ErrFull) {
			t.Errorf("a third batch: %v", err)
		}
		_, err = s.AppendBatch(t.Context(), batch[:2])
		must(t, err)
		if st := l.Stats(); st.Dropped != 4 || st.QueueRecords != 10 || l.Next() != 11 {
			t.Errorf("next %d, stats %+v", l.Next(), st)
		}
		disk.setFault(nil)
		must(t, l.Close())
	})
}

// slowDisk makes each fsync of a file take some time, by the clock of the bubble.
func slowDisk(disk *memFS, took time.Duration) {
	disk.setFault(func(op, name string) error {
		if op == "sync" {
			<-time.After(took)
		}
		return nil
	})
}

// Who waits for durability waits for the fsync under way and for its own, and never for
// company, however long GroupWait is.
func TestWaitersShareAnFsyncAndNeverWaitForCompany(t *testing.T) {
	const appenders, each = 8, 50
	const fsync = time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		disk := newMemFS(1)
		l, err := Open(t.Context(), quiet(Options{Dir: "log", GroupWait: time.Minute, files: disk}))
		must(t, err)
		s := declare(t, l, everyType)
		r := sample(0)
		must(t, s.AppendSync(t.Context(), &r)) // makes the segment
		slowDisk(disk, fsync)
		began := time.Now()
		must(t, s.AppendSync(t.Context(), &r))
		if took := time.Since(began); took != fsync {
			t.Errorf("with an idle disk it takes %v", took)
		}
		var group sync.WaitGroup
		began = time.Now()
		for a := range appenders {
			group.Go(func() {
				for i := range each {
					<-time.After(time.Duration(a*i%7) * 100 * time.Microsecond)
					began := time.Now()
					sequence, err := s.AppendSequence(t.Context(), &r)
					if err == nil {
						err = l.WaitDurable(t.Context(), sequence)
					}
					if took := time.Since(began); err != nil || took > 2*fsync || l.Durable() < sequence {
						t.Errorf("appender %d, record %d: %v after %v", a, i, err, took)
					}
				}
			})
		}
		group.Wait()
		st := l.Stats()
		if alone := appenders * each * fsync; time.Since(began) > alone/3 || st.Groups > appenders*each/3 {
			t.Errorf("%v and %d groups for %d records", time.Since(began), st.Groups, st.Stored)
		}
		must(t, l.Close())
	})
}

func TestWaitDurableSaysWhatItCannot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newMemFS(1)
		l, err := Open(t.Context(), quiet(Options{Dir: "log", files: disk}))
		must(t, err)
		s := declare(t, l, everyType)
		must(t, l.WaitDurable(t.Context(), 0))
		must(t, l.Sync(t.Context()))
		for _, sequence := range []uint64{1, 99, 1<<64 - 1} {
			if err := l.WaitDurable(t.Context(), sequence); !errors.Is(err, ErrUnknownSequence) {
				t.Errorf("sequence %d: %v", sequence, err)
			}
		}
		r := sample(1)
		must(t, s.AppendSync(t.Context(), &r))
		slowDisk(disk, time.Hour)
		sequence, err := s.AppendSequence(t.Context(), &r)
		must(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := l.WaitDurable(ctx, sequence); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("wait with an end: %v", err)
		}
		must(t, l.WaitDurable(t.Context(), sequence))
		must(t, l.Close())
		must(t, l.WaitDurable(t.Context(), sequence))
	})
}

// The disk is full while many wait, in all parts of the queue: each learns it, nobody
// is told a lie, and all is stored when there is room again.
func TestDiskFullWithWaiters(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newMemFS(1)
		o := quiet(Options{Dir: "log", GroupBytes: 4 << 10, files: disk})
		l, err := Open(t.Context(), o)
		must(t, err)
		s := declare(t, l, everyType)
		r := sample(0)
		must(t, s.AppendSync(t.Context(), &r))
		disk.setFault(func(op, name string) error {
			if op == "write" || op == "create" {
				return fmt.Errorf("%s %s: no space left on device: %w", op, name, errFault)
			}
			return nil
		})
		const records = 200
		told := make(chan error, records)
		for i := range records {
			r := sample(i)
			sequence, err := s.AppendSequence(t.Context(), &r)
			must(t, err)
			go func() { told <- l.WaitDurable(t.Context(), sequence) }()
		}
		for range records {
			if err := <-told; !errors.Is(err, ErrNotDurable) || !errors.Is(err, errFault) || !strings.Contains(err.Error(), "no space left") {
				t.Fatalf("a waiter was told %v", err)
			}
		}
		if l.Durable() != 1 || l.Stats().Failing == nil {
			t.Errorf("durable is %d, stats %+v", l.Durable(), l.Stats())
		}
		disk.setFault(nil)
		var group sync.WaitGroup
		for i := range uint64(records + 1) {
			group.Go(func() {
				for l.WaitDurable(t.Context(), i+1) != nil { // the attempt under way may be from before
					<-time.After(time.Millisecond)
				}
			})
		}
		group.Wait()
		if st := l.Stats(); st.Failing != nil || st.Stored != records+1 {
			t.Errorf("stats %+v", st)
		}
		_ = l.Close() // and with it all that is not on the disk
		disk.crash()
		l, err = Open(t.Context(), o)
		must(t, err)
		if got := replayAll(t, l, 0); len(got) != records+1 {
			t.Errorf("%d records after a crash", len(got))
		}
		must(t, l.Close())
	})
}

// When Close gives a group up, it gives up those behind it too: a log must not have a
// hole that the next Open takes for damage.
func TestCloseLeavesNoHole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk := newMemFS(1)
		o := quiet(Options{Dir: "log", GroupBytes: 4 << 10, files: disk})
		l, err := Open(t.Context(), o)
		must(t, err)
		s := declare(t, l, everyType)
		r := sample(0)
		must(t, s.AppendSync(t.Context(), &r))
		disk.setFault(func(string, string) error { return errFault })
		for i := range 200 {
			r := sample(i)
			must(t, s.Append(t.Context(), &r))
		}
		synctest.Wait() // the writer waits to try again
		failures := 1
		disk.setFault(func(string, string) error {
			if failures--; failures >= 0 {
				return errFault
			}
			return nil
		})
		if err := l.Close(); err == nil || !strings.Contains(err.Error(), "200 records were not stored") {
			t.Errorf("close: %v", err)
		}
		if err := l.WaitDurable(t.Context(), 100); !errors.Is(err, ErrNotDurable) {
			t.Errorf("wait for a lost record: %v", err)
		}
		l, err = Open(t.Context(), o)
		must(t, err)
		if l.Next() != 2 {
			t.Errorf("next is %d", l.Next())
		}
		must(t, l.Close())
	})
}

// A log that is made is there after a crash: the folder above is synced, also when the
// folder itself was there before.
func TestFolderOfANewLogIsDurable(t *testing.T) {
	disk := newMemFS(1)
	var synced []string
	disk.setFault(func(op, name string) error {
		if op == "syncdir" {
			synced = append(synced, name)
		}
		return nil
	})
	o := quiet(Options{Dir: "above/log", files: disk})
	l, err := Open(t.Context(), o)
	must(t, err)
	if !slices.Contains(synced, "above") {
		t.Errorf("synced are %q", synced)
	}
	must(t, l.Close())
	disk.setFault(func(op, name string) error {
		if name == "above" {
			return errFault
		}
		return nil
	})
	if _, err := Open(t.Context(), o); !errors.Is(err, errFault) {
		t.Errorf("the folder above cannot be synced: %v", err)
	}
	real := filepath.Join(t.TempDir(), "a", "b")
	must(t, openLog(t, quiet(Options{Dir: real})).Close())
}

func TestBatchesDoNotAllocate(t *testing.T) {
	l := openLog(t, quiet(Options{WaitWhenFull: -1, SegmentBytes: 1 << 30}))
	s := declare(t, l, everyType)
	batch := make([]Record, 100)
	for i := range batch {
		batch[i] = sample(i)
	}
	ctx := t.Context()
	appendAll := func() { _, _ = s.AppendBatch(ctx, batch) } // that it works is looked at elsewhere
	for range 500 {
		appendAll()
	}
	if n := testing.AllocsPerRun(200, appendAll); n > 0.1 && !raceEnabled {
		t.Errorf("%v allocations per batch", n)
	}
}
