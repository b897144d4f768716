// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"sync/atomic"

	"github.com/millrace-ml/millrace/featurestore/online"
	"github.com/millrace-ml/millrace/featurestore/online/cache"
)

// counters are what Stats and Counters tell.
type counters struct {
	fetches, loads, corrupt                     atomic.Int64
	events, applied, replayed, skipped, refused atomic.Int64
	writes, conflicts, pending, evicted         atomic.Int64
	writerBytes, writerEntities                 atomic.Int64
	checkpoints, checkpointFailures             atomic.Int64
	losses, recoveries                          atomic.Int64
	through                                     atomic.Uint64
}

// Counters is the state of a store, beside what Stats tells. Counts are since it was
// opened.
type Counters struct {
	// Address is where Redis is, without a password.
	Address string
	// Away is why Redis counts as unavailable, nil while it does not; Incomplete is what it
	// lost, until that is back. Fenced says that another store writes for the same log.
	Away, Incomplete error
	Fenced           bool
	// Calls are round trips, Failures requests without a result, Timeouts calls without an
	// answer in time, Opened how often Redis came to count as away.
	Calls, Failures, Timeouts, Opened int64
	// Fetches are reads of entities, Values those that had to be sent and decoded, Corrupt
	// those that were not what was written.
	Fetches, Values, Corrupt int64
	// Events were taken, Writes are entities written, Conflicts attempts that found another
	// replica's change, Pending updates that are in the log and not yet in Redis.
	Events, Writes, Conflicts, Pending int64
	// Losses is how often Redis was found to have lost states, Recoveries how often this
	// replica brought its part back.
	Losses, Recoveries int64
	// CheckpointFailures counts those that the store tried of itself.
	CheckpointFailures int64
	// Cache is that of reads; WriterEntities and WriterBytes are kept for updates.
	Cache                       cache.Stats
	WriterEntities, WriterBytes int64
}

// Counters reads the state of the store.
func (s *Store) Counters() Counters {
	n, c := &s.counts, s.conn
	all := Counters{
		Address: c.address, Fenced: s.fenced.Load(),
		Calls: c.counts.calls.Load(), Failures: c.counts.failures.Load(), Timeouts: c.counts.timeouts.Load(), Opened: c.counts.opened.Load(),
		Fetches: n.fetches.Load(), Values: n.loads.Load(), Corrupt: n.corrupt.Load(),
		Events: n.events.Load(), Writes: n.writes.Load(), Conflicts: n.conflicts.Load(), Pending: n.pending.Load(),
		Losses: n.losses.Load(), Recoveries: n.recoveries.Load(), CheckpointFailures: n.checkpointFailures.Load(),
		Cache: s.reads.Stats(), WriterEntities: n.writerEntities.Load(), WriterBytes: n.writerBytes.Load(),
	}
	if away := c.away.Load(); away != nil {
		all.Away = c.unavailable(*away)
	}
	if p := s.at(); p == lost || p == recovering {
		all.Incomplete = s.incomplete()
	}
	return all
}

// Stats implements online.Store. How many entities Redis has is not known, and told as 0.
func (s *Store) Stats() online.Stats {
	c := s.Counters()
	st := online.Stats{
		MemoryBytes: c.WriterBytes + c.Cache.Bytes,
		Applied:     s.counts.applied.Load(), Replayed: s.counts.replayed.Load(),
		Skipped: s.counts.skipped.Load(), Refused: s.counts.refused.Load(),
		Loads: c.Values, Evicted: s.counts.evicted.Load() + c.Cache.Evicted,
		ReplayFrom: s.counts.through.Load(), Checkpoints: s.counts.checkpoints.Load(),
		Failures: c.Failures, Failing: c.Away,
	}
	if st.Failing == nil {
		st.Failing = c.Incomplete
	}
	for i := range s.tables {
		st.Tables = append(st.Tables, online.TableStats{Name: s.tables[i].name})
	}
	if o := &s.options; o.Log != "" {
		if end := o.Position(); end > st.ReplayFrom {
			st.LagRecords = int64(end - st.ReplayFrom)
		}
	}
	return st
}
