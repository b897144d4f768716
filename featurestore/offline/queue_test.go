// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"context"
	"errors"
	"fmt"
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
	l := openLog(t, Options{GroupBytes: 4 << 10, SegmentBytes: 64 << 10, CompactEvery: time.Millisecond, GroupWait: time.Millisecond, RowGroupRows: 100, WaitWhenFull: -1})
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
				if i%50 == 49 {
					err = s.AppendSync(ctx, &r)
				} else {
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
