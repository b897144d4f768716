// SPDX-License-Identifier: Apache-2.0

// Package redis keeps the states of entities in Redis, for replicas that share them and
// keep nothing themselves but their event logs. A Store implements online.Store.
//
// # Reading
//
// A Fetch is one round trip, whatever the number of entities: one call of a script for up
// to 128 of them, all in one pipeline. For an entity in the cache the script compares the
// version, and its value is sent only if it is another one. So the cache saves transfer
// and decoding, and never decides what is current.
//
// # Writing
//
// One goroutine writes. It takes the events that wait, asks for their places in the log,
// waits for the log if it has to, applies them to what it knows of their entities, and
// writes each entity on condition that its version in Redis is still the one known. An
// entity that others changed comes back with the refusal, and is tried again; a writer
// that is refused too often takes the turn, which keeps the others off for a moment. An
// entity that the store wrote before is not read first.
//
// # Each event once
//
// A value says for each of the last 16 logs that wrote to it which write was the last, and
// which place in the log it has seen. Hence
//
//	R1  A write whose answer was lost is found in the value, if not at once, then when it
//	    stands in the way of another: it is carried out before that, or never.
//	R2  What is in the log and could not be written is written before what comes after it,
//	    so an entity has all records of a log up to the place that its value says.
//	R3  A replay passes over what an entity has seen.
//	R4  An event that is pushed again counts once, though the window has folded the first
//	    into a tile: the value has the last 32 events of which that could be said, and the
//	    process the last 16384 that failed behind the log. Beyond both, an event that comes
//	    again after more than its view's DuplicateHorizon may count twice; so may one that
//	    is in two logs, pushed again to another replica, when Redis lost everything.
//
// # Losses
//
// Redis may come back with nothing, as after FLUSHALL, or with what it had some time ago,
// as after a failover to a replica that lags behind. Each bucket has a record that counts
// the writes, of all and of each writer; an answer with less than was known before is a
// loss. Who finds it gives the record another id. Then every replica replays its log from
// the place that is noted in what is left, or computes all tables from it if there is
// none, and until all have, reads fail with ErrIncomplete. Hence
//
//	R5  A loss is noticed by each replica whose writes it took at its next call, a quarter
//	    of a second later at most while it runs; from then on nobody reads a table that
//	    lacks them. One that does not run replays its log when it starts.
//	R6  A table counts as whole only when the events of all logs are in it that Redis, a
//	    replica that runs or Options.Members knows of; so does one that is new, or defined
//	    in another way. Store.Forget gives up a log.
//
// A value that vanishes alone, by an operator's DEL or by eviction, cannot be told from one
// that never was; a Redis that evicts is refused.
//
// # Redis away
//
// Every call has a deadline. A connection that breaks, or three calls without an answer,
// make Redis count as away: then all calls fail at once, before anything is logged, and
// one goroutine probes, at most every 5 ms and at least once a second.
//
// # Keys
//
//	PREFIX{N}:record       hash: the record of bucket N; its fields are in record.go
//	PREFIX{N}:turn         who alone may write to the bucket, for 100 ms at most
//	PREFIX{N}PART:KEY      string: an entity. PART stands for one table as it is defined
//	                       now, and is never used again for another; KEY is its key there
//
// All keys of a bucket have one hash tag, so they are on one node of a cluster. An entity
// expires when no window reaches its last event any more, or its row is older than the
// TTL. Those of definitions that are gone expire as well, but for lookups without a TTL.
//
// # Values
//
// Integers are little-endian. The first 16 bytes are the version.
//
//	 0  u64 owner, who wrote it: in the upper half a hash of the log's name
//	 8  u64 count of the owner's write, which begins anywhere
//	16  u64 place in the owner's log that it has seen, 0 for none
//	24  u8 version of the format (1), u8 kind (1 view, 2 lookup)
//	26  u8 number of other marks, u8 number of recent events
//	28  i64 time of the newest event
//	36  marks of other logs, the last writer's first: owner, count, place
//	    recent events, oldest first: i64 time, u64 id
//	    view:   the window.State
//	    lookup: i64 arrival, u64 id, the row
//	    u32 CRC-32C of all that is before
//
// # Concurrency
//
// A Store may be used from many goroutines, but for Rebuild, ReplayFrom and Replay, which
// are for the one that brings the states up to the log; a reader is for one at a time. The
// goroutines are the writer, the keeper, and one for each call under way, at most 256;
// they end with Close. Locks: finishing -> loader.mu -> mu, refreshing -> mu.
package redis
