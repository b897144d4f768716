// SPDX-License-Identifier: Apache-2.0

// Package online keeps the states of entities, to be updated by events and read for
// predictions. Local is the store in memory over a folder; package online/redis has one
// that machines share.
//
// # The table in memory
//
// Keys are hashed into shards, each with its part of every table, so what an event
// means to several tables under one key is in one shard. An entity is a slot: its head
// (key, newest record), its window.State or lookup row, and one bit for each mark. Slots
// are allocated 32 at a time; the index holds hash and slot of each, without pointers,
// so that the collector follows one pointer per entity, to its events.
//
// # Where an event is safe
//
// The event log is the write-ahead log. Apply asks the log for the event's sequence
// under the lock of its entities, so each entity gets events in the order of the log
// and knows the newest it has. Checkpoints copy entities that changed into Pebble, whose
// own log is off, and then store the position to replay from. After a crash what is
// stored is loaded, and the records behind that position are replayed; an entity skips
// those it has. Stored states never have a record that the log could still lose.
//
// # What is stored
//
// Integers in values are little-endian, in keys big-endian.
//
//	"m"                     JSON: version, replay_from, and of each table id, name,
//	                        fingerprint, entities, and whether it is being rebuilt
//	"e" u32 table id, key   an entity
//	entity   0  version (1)
//	         1  u64 newest sequence that it has; 0 for none
//	         9  of a view: window.State in its stored form
//	            of a lookup: i64 event time, i64 arrival, u64 id, and the row
//
// A table whose definition changed gets a new id, and what is under the old one is
// deleted.
//
// # Invariants
//
//	O1  A read sees every event whose Apply returned before it.
//	O2  What was acknowledged by the log is in the states after a crash and a replay,
//	    once.
//	O3  A stored state has no record beyond what the log holds durably.
//	O4  Reads and events never wait for Pebble, but, with a bound on memory, to load an
//	    entity that was sent to disk, and events for room. Reads never wait for the log.
//	O5  An entity is evicted only when a finished checkpoint has all of it, so what is
//	    loaded is never stale.
//	O6  Order of events, duplicates, shards, restarts and evictions change no value.
//
// # Bounds
//
// Without Options.MemoryBytesMax, all entities are in memory, until the sweep finds them
// without events. With it, entities beyond are evicted by the second-chance rule
// (CLOCK; Corbató 1969); those not stored yet may take twice as much, and then events
// wait for a checkpoint, and meet ErrMemory if that fails. A checkpoint holds a lock for 16 entities or 64 KiB, a sweep for 32
// entities, an eviction for 256 chunks of 32.
//
// # When the disk fails
//
// Serving goes on, and pushes are as safe as the log. What Pebble writes waits while the
// disk is full, or repeats; checkpoints are tried again, after 100 ms at first and 5 s
// at last. Stats.Failing says why. Nothing is lost when the process ends meanwhile: what
// the last good checkpoint left, and the log, are all there is to know.
//
// # Concurrency
//
// Locks are taken in this order:
//
//	checkpointing -> shard.apply (ascending) -> shard.mu
//	shard.apply -> the log's own, disk.mu
//
// A Reader is for one goroutine at a time. One goroutine, owned by the store,
// checkpoints and sweeps; Close ends it, and Pebble's.
package online
