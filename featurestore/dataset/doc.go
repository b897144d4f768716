// SPDX-License-Identifier: Apache-2.0

// Package dataset makes training sets: rows with labels, joined with the features of a
// service as they were known at each row's time (Build). The same engine joins two
// files by time (Join), tells the history of an entity (ReadHistory), and computes
// served vectors again from the event log (Verify, Verifier).
//
// # Point in time
//
// A row at time t sees an event that happened by t, and had arrived by t: with
// Options.Hindsight, by as-of. What arrived after as-of does not exist. A late field, such
// as a label, counts where its view's delay has passed; one that comes separately, with
// the id and time of its event, counts if it arrived within the shortest delay of the
// column, as online. A row's own label must have been known by as-of. Of events with
// one id and time the first to arrive counts. What an event means to a view or lookup is
// decided by plan.Router, the windows are window.Aggregator.Series, the vectors are
// plan.Assembler: the code that serves.
//
// # Path of the data
//
//	labels ──► batches ──────────────────────────────┐
//	   └─────► queries by key ─┐                     │
//	events ──► events by key ──┴► results by rows ───┴► vectors ──► Parquet
//
// Events and queries are spread over parts by the hash of their entity's key. A part is
// small enough for the cache: its keys are numbered by a hash table, its records sorted by
// time (not at all if they came so, else by radix), then by number, and each entity is
// one pass over events and queries. Results are spread over blocks of rows, and read
// back in the order of the rows. In between everything is words of 64 bits in blocks,
// which go to temporary files when they are more than MemoryMax; only their order is
// kept in memory.
//
// # Invariants
//
//	D1  Equal inputs, options and definitions make equal bytes, with any number of
//	    workers and any MemoryMax.
//	D2  What happened or arrived after a row's time does not change its features.
//	D3  A row that is not in the training set is counted, by reason.
//	D4  Features are those that online reads would have given, bit for bit, but where
//	    a state had to be coarsened to keep its bounds.
//	D5  Between steps no more than MemoryMax is held. Temporary files have no name.
//
// # Reproducibility
//
// The manifest beside a training set has the hashes of definitions, inputs and output, the
// counts of rows, and no time of day. Check compares it with what is there.
//
// # Concurrency
//
// Build, Join, ReadHistory and Verify start goroutines that end before they return. A
// Verifier has none of its own. Inside, spreader, feed, asker, worker and the like are
// memory for one goroutine at a time, lent from the struct whose name they bear.
package dataset
