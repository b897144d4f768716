// SPDX-License-Identifier: Apache-2.0

// Package offline is the event log: the one place where serving leaves what happened
// (predictions, pushes, decisions) and the loop leaves what became of it (outcomes,
// annotations, promotions). It is append-only and bitemporal: every record says when
// it happened and when it arrived, so the log can be read as it was known at any time.
//
// # Path of a record
//
//	Append -> queue -> group -> segment --(sealed)--> partitions (Parquet)
//
// [Stream.Append] encodes a record into a bounded queue. One goroutine writes the
// queue as groups, each one frame of a segment and one fsync. A segment that is full
// or old is sealed. A compaction sorts sealed segments by event time into one Parquet
// file for each stream and date,
//
//	stream=NAME/date=YYYY-MM-DD/part-N.parquet
//
// with the columns id, event_time, arrival_time, sequence and those of the stream,
// then publishes them by a manifest, and only then removes the segments, or keeps
// those that [Log.Hold] asks for.
//
// # What a crash can take
//
// Nothing that [Stream.AppendSync], [Log.WaitDurable] or [Log.Sync] acknowledged. Of other records, those
// of the last GroupWait and of the write and fsync then under way, while the disk keeps
// up; at the very most QueueBytes and QueueRecords. An error while storing loses
// nothing: the group goes to a new segment as soon as the disk takes one; meanwhile
// the queue fills, and appends meet ErrFull.
//
// # As a write-ahead log
//
// Who keeps a state that follows from the log appends, applies, and acknowledges when
// [Log.WaitDurable] returns. While one fsync runs the next group forms, so all who wait
// share the fsyncs there are, and nobody waits for company; GroupWait is for records
// that nobody waits for. The state notes the sequence through which it is saved and
// tells it to Hold. After a crash it opens the log with HoldFromStart and lets
// [Log.Replay] hand it what came after, from segments held or live. Should that meet
// [ErrTooOld], it begins anew with [Log.Scan].
//
// [Open] reads and checks every live segment, and every held one, on all processors
// at once: what the compaction has not reached yet, at the speed of memory if the
// machine still has it there.
//
// # Segments
//
// Integers are little-endian, checksums CRC-32C (Castagnoli; RFC 3720, appendix B.4).
//
//	segment   0  header
//	         48  header again, should one be damaged
//	         96  frame: catalog
//	             frames: batches and gaps, to the end
//	header    0  "MLRSEG" 0, version of the format (1)
//	          8  u64 number of the segment, as in its name
//	         16  u64 sequence of its first record
//	         24  u64 salt, random
//	         32  i64 time it was made, in microseconds
//	         40  u32 0
//	         44  u32 checksum of bytes 0 to 43
//	frame     0  "FMR1"
//	          4  u32 kind: 1 catalog, 2 batch, 3 gap
//	          8  u32 size of the payload
//	         12  u32 checksum of the payload
//	         16  u32 checksum of salt, u64 offset of the frame, and bytes 0 to 15
//	         20  payload
//	catalog   JSON: [{"number", "stream", "columns": [{"name", "type"}]}]
//	batch     0  u64 sequence of the first record
//	          8  u32 number of records
//	         12  u32 0
//	         16  i64 earliest event time
//	         24  i64 latest event time
//	         32  records, each with its size, u32, before it
//	gap       u64 first sequence that a repair could not save, u64 first after it
//	record    0  u32 number of its schema in the catalog
//	          4  i64 event time
//	         12  i64 arrival time
//	         20  u16 size of the id, then the id
//	             one bit for each column, set if it is null
//	             the values that are not: 8 bytes (int64, float64, timestamp), 4
//	             (float32), 1 (bool), or uvarint size and content (string, bytes,
//	             list of float32)
//
// A frame is written when all before it are durable, so bytes that are no frame are a
// torn tail if no sound frame follows, and damage if one does. A segment ends where
// the next one's first sequence says, whatever bytes are behind that: so a tail is cut,
// and a group stored anew after an error, without touching the old file.
//
// # Manifests
//
// An object manifest-N holds a checksum of its second line, in hexadecimal, and JSON:
// the partitions, the last segment that is in them and the sequence behind it, and the
// latest event time that retention ever deleted. The one with the highest N counts.
// Partitions that it does not name do not count.
//
// # Readers
//
// [OpenReader] opens a log that another process owns and writes, without its lock and
// without a word to it. Of a writer that was killed, or is in the midst of a group, it sees
// the whole frames, as [Open] would: a record that is not acknowledged yet, never half of
// one. It loads the newest manifest, lists and opens the segments behind that, and looks
// whether the manifest is still the newest; if not, it begins anew. So it misses none: a
// segment goes only after a newer manifest came (L3), and one that was acknowledged before
// was there to be listed.
//
// Open files outlive their removal, so segments stay until the reader is closed.
// Partitions, which may be many and in a blob store, are opened when they are read. If one
// is gone then, the newest manifest has others with its records, as merging keeps them all,
// with their sequences: a scan goes on in those behind the record it had, below the
// sequence at which the partitions ended when the reader was opened; what is behind that it
// has from its segments. Only below the event time that retention deleted, which the
// manifest tells, may records be gone: then it is an error.
//
// # Invariants
//
//	L1  What was acknowledged as durable is read by every later scan, once.
//	L2  Sequences of live segments and gaps follow one another from the manifest's on.
//	L3  A segment is removed only when a published manifest has its records.
//	L4  A file is not removed while a scan of its owner that began with it is open.
//	L5  The queue never exceeds its bounds; what it refuses is counted.
//	L6  A column keeps its type.
//	L7  Sequences begin with 1, and one that is durable is never given again.
//	L8  Replay visits every durable record behind a sequence, once and in order, or none.
//	L9  Within HoldBytesMax, a segment with records above the hold is not removed.
//	L10 A reader has every record that was durable before it was opened, and others only
//	    up to one sequence: each once and whole, but for what retention has deleted.
//
// # Concurrency
//
// One process owns a log, which a lock on its folder sees to; any number may read it.
// Everything on [Log] and [Stream] may be used by many goroutines; a [Scanner] by one.
// Encoding happens outside the lock, which an append holds for one copy. The writer
// goroutine alone writes segments; one compaction runs at a time. Both end with
// [Log.Close]. A visit of Replay holds no lock. Locks: compacting -> removing -> mu.
package offline
