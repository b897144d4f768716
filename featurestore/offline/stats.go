// SPDX-License-Identifier: Apache-2.0

package offline

import "time"

// Stats is the state of a log. Counts are since it was opened.
type Stats struct {
	// QueueRecords and QueueBytes wait to be stored; QueueAge is for how long the
	// oldest group of them that is not being stored.
	QueueRecords, QueueBytes int
	QueueAge                 time.Duration
	// Appended records were taken, Dropped ones met ErrFull, Stored ones are durable,
	// Lost ones could not be stored when the log was closed.
	Appended, Dropped, Stored, Lost int64
	// StoredBytes were written to segments, in Groups writes.
	StoredBytes, Groups int64
	// WriteTime and SyncTime are the time of all writes and fsyncs.
	WriteTime, SyncTime, SyncTimeMax time.Duration
	// StoreErrors counts failed attempts to store; Failing is the error of the last
	// one, nil when the last attempt was good.
	StoreErrors int64
	Failing     error
	// Segments are live: their records, LagRecords, are not in partitions.
	// CompactLag is the age of the oldest of them.
	Segments     int
	SegmentBytes int64
	LagRecords   int64
	CompactLag   time.Duration
	// HeldSegments are kept for Replay though their records are in partitions;
	// HoldsBroken counts those that went before Hold allowed it, for HoldBytesMax.
	// ReplayFrom is the first sequence that can be replayed.
	HeldSegments int
	HeldBytes    int64
	HoldsBroken  int64
	ReplayFrom   uint64
	// Partitions, their size and their rows.
	Partitions     int
	PartitionBytes int64
	PartitionRows  int64
	// Compactions were finished, CompactedRecords went through them, RetiredRows
	// were deleted by retention. CompactError is how the last one in the background
	// ended.
	Compactions, CompactedRecords, RetiredRows int64
	CompactError                               error
	// ScansOpen is the number of files that scans hold.
	ScansOpen int
}

type counts struct {
	Appended, Dropped, Stored, Lost            int64
	StoredBytes, Groups                        int64
	WriteTime, SyncTime, SyncTimeMax           time.Duration
	StoreErrors, HoldsBroken                   int64
	Compactions, CompactedRecords, RetiredRows int64
}

// Stats reads the state of the log.
func (l *Log) Stats() Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.mu.counts
	s := Stats{
		QueueRecords: l.mu.queued.records, QueueBytes: l.mu.queued.bytes,
		Appended: n.Appended, Dropped: n.Dropped, Stored: n.Stored, Lost: n.Lost,
		StoredBytes: n.StoredBytes, Groups: n.Groups,
		WriteTime: n.WriteTime, SyncTime: n.SyncTime, SyncTimeMax: n.SyncTimeMax,
		StoreErrors: n.StoreErrors, Failing: l.mu.failing,
		HeldSegments: len(l.mu.held), HeldBytes: l.mu.heldBytes, HoldsBroken: n.HoldsBroken, ReplayFrom: l.replayFromLocked(),
		Segments: len(l.mu.segments), Partitions: len(l.mu.manifest.Parts),
		Compactions: n.Compactions, CompactedRecords: n.CompactedRecords, RetiredRows: n.RetiredRows,
		CompactError: l.mu.compactError, ScansOpen: len(l.mu.pins),
	}
	if len(l.mu.full) > 0 {
		s.QueueAge = time.Since(l.mu.full[0].began)
	} else if l.mu.open != nil {
		s.QueueAge = time.Since(l.mu.open.began)
	}
	for i, segment := range l.mu.segments {
		s.SegmentBytes += segment.end
		s.LagRecords += int64(segment.next - segment.header.base)
		if i == 0 {
			s.CompactLag = time.Duration(l.now()-segment.header.created) * time.Microsecond
		}
	}
	for i := range l.mu.manifest.Parts {
		s.PartitionBytes += l.mu.manifest.Parts[i].Bytes
		s.PartitionRows += l.mu.manifest.Parts[i].Rows
	}
	return s
}
