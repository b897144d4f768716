// SPDX-License-Identifier: Apache-2.0

package online

import "time"

// Stats is the state of a store. Counts are since it was opened.
type Stats struct {
	// Tables has the entities of each table, in the order of plan.Tables.
	Tables []TableStats
	// MemoryBytes is the memory of all entities, keys and indices included.
	MemoryBytes int64
	// Applied and Replayed are the updates of entities that events led to, Skipped those
	// of a replay that an entity had already, Refused those of a replay that do not fit
	// the definitions.
	Applied, Replayed, Skipped, Refused int64
	// Loads are entities read from disk for a read or an update, Evicted ones were given
	// up to keep the memory bound, Removed ones had no event left in any window.
	Loads, Evicted, Removed int64
	// ReplayFrom is that of the last checkpoint, LagRecords is the number of events
	// since.
	ReplayFrom uint64
	LagRecords int64
	// Checkpoints were finished. The last one wrote CheckpointEntities in
	// CheckpointTime.
	Checkpoints        int64
	CheckpointEntities int64
	CheckpointTime     time.Duration
	// Failures counts errors of the disk; Failing is the error that keeps states from
	// being stored, nil if there is none. Serving goes on meanwhile, and events are safe
	// in the log.
	Failures int64
	Failing  error
	// DiskBytes is the size of what was stored at the last checkpoint.
	DiskBytes int64
	// OpenTime is how long it took to load Loaded entities when the store was opened.
	Loaded   int64
	OpenTime time.Duration
}

// TableStats is the state of a table.
type TableStats struct {
	Name string
	// Entities is the number of entities in memory.
	Entities int64
}
