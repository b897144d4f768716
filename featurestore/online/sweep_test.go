// SPDX-License-Identifier: Apache-2.0

package online

import (
	"fmt"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// sweepAll looks at every entity at least once.
func sweepAll(l *Local) {
	for range 2 {
		l.sweep(1 << 16)
	}
}

func entityCount(l *Local) (n int64) {
	for _, t := range l.Stats().Tables {
		n += t.Entities
	}
	return n
}

// An entity whose events have left all windows gives its memory back, and after a time
// is forgotten, on disk too; a lookup stays.
func TestSweepForgets(t *testing.T) {
	for _, budget := range []int64{0, 4 << 10} {
		t.Run(fmt.Sprintf("shardBytes=%d", budget), func(t *testing.T) {
			fs := vfs.NewMem()
			o := quiet(Options{Dir: "store", Tables: smallTables(t), ForgetAfter: time.Hour, Shards: 4})
			o.fs, o.shardBytes = fs, budget
			l := openLocal(t, o)
			for i := range uint64(100) {
				apply(t, l, updatesOf(fmt.Sprint("k", i), i)...)
			}
			must(t, l.Checkpoint(t.Context()))
			before := l.Stats().MemoryBytes
			clock := func(after time.Duration) int64 {
				at := start + after.Microseconds()
				apply(t, l, event(0, "clock", at, 1, 1), event(2, "clock", at, 1, 1, 1))
				sweepAll(l)
				return at
			}

			at := clock(sweepLag + 21*time.Minute)
			if v, status, seen := values(t, l.NewReader(), 6, 0, "k7", at); v[3] != 0 || status[3] != window.Present || seen.EventTime != start+7 {
				t.Errorf("without events in a window: %v, %v, %+v", v, status, seen)
			}
			if after := l.Stats().MemoryBytes; budget == 0 && after >= before {
				t.Errorf("%d bytes before and %d after", before, after)
			}
			at = clock(2*sweepLag + 30*time.Minute)
			if v, status, seen := values(t, l.NewReader(), 6, 0, "k7", at); status[3] != window.NotFound || seen != (plan.Seen{}) {
				t.Errorf("what is forgotten reads %v, %v, %+v", v, status, seen)
			}
			if s := l.Stats(); s.Removed != 200 {
				t.Errorf("%d removed", s.Removed)
			}

			// One comes back before the checkpoint, one after it.
			apply(t, l, event(0, "k1", at, 9, 1))
			must(t, l.Checkpoint(t.Context()))
			apply(t, l, event(0, "k2", at, 9, 1))
			must(t, l.Checkpoint(t.Context()))
			must(t, l.Close())
			o.shardBytes = 0
			l = openLocal(t, o)
			if n := entityCount(l); n != 100+2+2 { // lookups, clocks, and those that came back
				t.Errorf("%d entities are stored", n)
			}
			for _, key := range []string{"k1", "k2"} {
				if v, _, _ := values(t, l.NewReader(), 6, 0, key, at); v[3] != 1 {
					t.Errorf("%s has %v events", key, v[3])
				}
			}
		})
	}
}

// The sweep does not follow a clock that is ahead of all events, nor an event that is
// ahead of the clock.
func TestSweepClock(t *testing.T) {
	now := time.UnixMicro(start).Add(time.Minute)
	o := quiet(Options{Tables: smallTables(t), ForgetAfter: 1, Now: func() time.Time { return now }})
	l := openLocal(t, o)
	apply(t, l, event(0, "k", start, 1, 1))
	sweepAll(l)
	now = now.Add(1000 * time.Hour) // nothing came: history may be replayed
	sweepAll(l)
	now = time.UnixMicro(start).Add(time.Minute)
	future := event(0, "other", start+10, 2, 1)
	future.Event.Arrival = start + (300 * time.Hour).Microseconds()
	apply(t, l, future) // too late for its view, but it moves the clock
	sweepAll(l)
	if v, _, _ := values(t, l.NewReader(), 6, 0, "k", start+second); v[3] != 1 {
		t.Errorf("%v events are left", v[3])
	}
	now = now.Add(1000 * time.Hour)
	sweepAll(l)
	if _, status, _ := values(t, l.NewReader(), 6, 0, "k", now.UnixMicro()); status[3] != window.NotFound {
		t.Errorf("when the clock has passed it is %v", status[3])
	}
}
