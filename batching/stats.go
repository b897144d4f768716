// SPDX-License-Identifier: Apache-2.0

package batching

import "time"

// Stats is what a batcher has done and learned since it was made.
type Stats struct {
	// Reasons counts dispatches, indexed by Reason.
	Reasons [ReasonCount]DispatchCount
	// Sizes is what was learned per batch size, in ascending order; sizes never
	// seen are left out.
	Sizes []SizeStats
	// Refused and cancelled items, by cause. None of them ran.
	QueueFull, DeadlineMissed, TimedOut, Cancelled uint64
	// Delayed counts items put behind all others by TimeoutDelay.
	Delayed uint64
	// QueuedItems and QueuedRows are waiting now.
	QueuedItems, QueuedRows int
	// BusyInstances are running now.
	BusyInstances int
}

// DispatchCount counts batches and their rows.
type DispatchCount struct{ Batches, Rows uint64 }

// SizeStats is about batches of more than RowsMax/2 and up to RowsMax rows.
type SizeStats struct {
	RowsMax int
	// Runs is the number of runs observed, warm-up included.
	Runs uint64
	// Mean is the moving average of their duration, Planned the duration that
	// batches of RowsMax rows are planned with.
	Mean, Planned time.Duration
}

// Observation is how long a run of some rows took, for example at warm-up.
type Observation struct {
	Rows    int
	Elapsed time.Duration
}

// counters are the totals the core keeps.
type counters struct {
	reasons                                                 [ReasonCount]DispatchCount
	queueFull, deadlineMissed, timedOut, cancelled, delayed uint64
}

// dispatched counts one batch.
func (c *counters) dispatched(r Reason, rows int) {
	c.reasons[r].Batches++
	c.reasons[r].Rows += uint64(rows)
}

// stats copies what the core knows.
func (c *core) stats() Stats {
	return Stats{
		Reasons:        c.counters.reasons,
		Sizes:          c.latency.stats(),
		QueueFull:      c.counters.queueFull,
		DeadlineMissed: c.counters.deadlineMissed,
		TimedOut:       c.counters.timedOut,
		Cancelled:      c.counters.cancelled,
		Delayed:        c.counters.delayed,
		QueuedItems:    c.queue.items,
		QueuedRows:     c.queue.rows,
		BusyInstances:  len(c.instances) - len(c.idle),
	}
}
