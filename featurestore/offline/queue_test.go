// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// A queue whose disk fails is full at its bound: appends are dropped and counted, or
// wait as long as they may, and go on when the disk does.
func TestQueueIsBounded(t *testing.T) {
	for _, wait := range []time.Duration{0, 20 * time.Millisecond, -1} {
		synctest.Test(t, func(t *testing.T) {
			disk := newMemFS(1)
			l, err := Open(t.Context(), quiet(Options{Dir: "log", QueueRecords: 100, WaitWhenFull: wait, files: disk}))
			must(t, err)
			s := declare(t, l, everyType)
			disk.mu.Lock()
			disk.fault = func(string, string) error { return errFault }
			disk.mu.Unlock()
			for i := range 100 {
				r := sample(i)
				must(t, s.Append(t.Context(), &r))
			}
			r := sample(100)
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			want := max(wait, 0)
			if wait < 0 {
				want = time.Second
			}
			if err := s.Append(ctx, &r); !errors.Is(err, ErrFull) || time.Since(began) != want {
				t.Errorf("wait %v: after %v %v", wait, time.Since(began), err)
			}
			if err := l.Sync(t.Context()); !errors.Is(err, ErrNotDurable) || !errors.Is(err, errFault) {
				t.Errorf("sync: %v", err)
			}
			st := l.Stats()
			if st.Dropped != 1 || st.Appended != 100 || st.QueueRecords != 100 || st.Failing == nil || st.StoreErrors == 0 {
				t.Errorf("stats %+v", st)
			}
			disk.mu.Lock()
			disk.fault = nil
			disk.mu.Unlock()
			for l.Sync(t.Context()) != nil {
				<-time.After(time.Millisecond)
			}
			must(t, s.AppendSync(t.Context(), &r))
			if got := scanAll(t, l, Query{Stream: "predictions"}); len(got) != 101 {
				t.Errorf("%d records", len(got))
			}
			must(t, l.Close())
		})
	}
}

// Appends, scans, compactions and declarations at once; run it with -race.
func TestConcurrency(t *testing.T) {
	ctx := t.Context()
	l := openLog(t, Options{HoldFromStart: true, GroupBytes: 4 << 10, SegmentBytes: 64 << 10, CompactEvery: time.Millisecond, GroupWait: time.Millisecond, RowGroupRows: 100, WaitWhenFull: -1})
	declare(t, l, everyType)
	const writers, each = 4, 400
	var group sync.WaitGroup
	errs := make(chan error, 64)
	for w := range writers {
		group.Go(func() {
			s, err := l.Declare(everyType)
			for i := 0; i < each && err == nil; i++ {
				r := sample(i)
				r.ID = fmt.Sprintf("%d-%d", w, i)
				switch i % 50 {
				case 49:
					err = s.AppendSync(ctx, &r)
				case 24:
					var sequence uint64
					if sequence, err = s.AppendSequence(ctx, &r); err == nil {
						err = l.WaitDurable(ctx, sequence)
					}
				default:
					err = s.Append(ctx, &r)
				}
			}
			errs <- err
		})
	}
	for range 2 {
		group.Go(func() {
			seen := 0
			for range 15 {
				s, err := l.Scan(ctx, Query{Stream: "predictions"})
				if err != nil {
					errs <- err
					return
				}
				n := 0
				for s.Next() {
					n++
				}
				if err := errors.Join(s.Err(), s.Close()); err != nil || n < seen {
					errs <- fmt.Errorf("scan has %d after %d: %w", n, seen, err)
					return
				}
				seen = n
				_ = l.Stats()
			}
		})
	}
	group.Go(func() {
		for range 10 {
			errs <- l.Compact(ctx)
		}
	})
	group.Go(func() { // replays as an online store would, and lets go what it has
		var err error
		for after := uint64(0); after < writers*each && err == nil; runtime.Gosched() {
			err = l.Replay(ctx, after, func(_ string, _ []Column, r *Record) error {
				if after++; r.Sequence != after {
					return fmt.Errorf("replayed %d, want %d", r.Sequence, after)
				}
				return nil
			})
			l.Hold(after - min(after, 100))
		}
		errs <- err
	})
	group.Wait()
	close(errs)
	for err := range errs {
		must(t, err)
	}
	must(t, l.Compact(ctx))
	var mu sync.Mutex
	total := 0
	must(t, l.ScanParallel(ctx, Query{Stream: "predictions"}, 3, func(_ context.Context, _ int, s *Scanner) error {
		for s.Next() {
			mu.Lock()
			total++
			mu.Unlock()
		}
		return s.Err()
	}))
	if st := l.Stats(); total != writers*each || st.PartitionRows != writers*each || st.ScansOpen != 0 || st.CompactError != nil {
		t.Errorf("%d records, stats %+v", total, st)
	}
}

func TestAppendDoesNotAllocate(t *testing.T) {
	l := openLog(t, quiet(Options{WaitWhenFull: -1, SegmentBytes: 1 << 30}))
	s := declare(t, l, everyType)
	r := sample(1)
	ctx := t.Context()
	for range 50_000 {
		must(t, s.Append(ctx, &r))
	}
	if n := testing.AllocsPerRun(20_000, func() { _ = s.Append(ctx, &r) }); n != 0 && !raceEnabled {
		t.Errorf("%v allocations per Append", n)
	}
}
