// SPDX-License-Identifier: Apache-2.0

package offline

import (
	"errors"
	"strconv"
)

var (
	// ErrClosed is returned by operations on a closed log.
	ErrClosed = errors.New("event log is closed")
	// ErrFull is returned by an append that found the queue full, at once or when its
	// wait was over. The record was not taken; it is counted as dropped.
	ErrFull = errors.New("event log queue is full")
	// ErrInvalidRecord means that the record can never be taken: correct it.
	ErrInvalidRecord = errors.New("invalid record")
	// ErrInvalidSchema means that a schema is malformed, or contradicts what the
	// stream already has.
	ErrInvalidSchema = errors.New("invalid schema")
	// ErrUnknownStream means that nobody declared the stream.
	ErrUnknownStream = errors.New("unknown stream")
	// ErrInvalidQuery means that a query asks for what cannot be.
	ErrInvalidQuery = errors.New("invalid query")
	// ErrInvalidOptions is wrapped by Options.Validate.
	ErrInvalidOptions = errors.New("invalid options")
	// ErrCorrupt means that stored bytes are not what was written, before the end of
	// the log. See [CorruptError] and [Repair].
	ErrCorrupt = errors.New("event log is corrupt")
	// ErrNotDurable is returned by a synchronous append whose group could not be
	// stored yet. The log keeps trying, so the record may still become durable: append
	// it again with the same id and event time, and it counts once.
	ErrNotDurable = errors.New("record is not durable yet")
	// ErrUnknownSequence means that the log has not given a sequence that it is asked
	// about. If the caller had it from this log, the log lost its end; see [Repair].
	ErrUnknownSequence = errors.New("sequence was not given yet")
	// ErrTooOld means that a replay asks for records that are in partitions and whose
	// segments are gone; see [Log.Hold]. The error says from where the log can replay.
	// What is before is read with [Log.Scan].
	ErrTooOld = errors.New("records are no longer there to be replayed")
	// ErrLocked means that another process has the log open.
	ErrLocked = errors.New("event log is open elsewhere")
	// ErrReadOnly is returned by what would write to a log that [OpenReader] opened.
	ErrReadOnly = errors.New("event log is open for reading alone")
	// ErrChanging means that the log's owner replaced files faster than a reader could
	// open them. Try again.
	ErrChanging = errors.New("event log changes faster than it can be read")
	// ErrRetired means that retention deleted records that a reader was still to read.
	// Open the log again, and it reads what is left.
	ErrRetired = errors.New("retention deleted records that were still to be read")
	// ErrNotFound is returned by a [Storage] for an object that is not there.
	ErrNotFound = errors.New("object not found")
	// ErrTooManyVersions means that a query with [Latest] met more ids written more
	// than once than Options.VersionsMax. Narrow AsOf, or ask for [LatestPerEvent].
	ErrTooManyVersions = errors.New("too many ids have several versions")
)

// CorruptError names the place of damage. It wraps ErrCorrupt.
type CorruptError struct {
	// Segment is the file name of the damaged segment.
	Segment string
	// Offset is where the damage begins, in bytes from the start of the file.
	Offset int64
	// Reason says what is wrong there.
	Reason string
}

// Error names segment, offset and reason.
func (e *CorruptError) Error() string {
	return ErrCorrupt.Error() + ": segment " + e.Segment + ", offset " + strconv.FormatInt(e.Offset, 10) + ": " + e.Reason
}

// Unwrap is ErrCorrupt.
func (e *CorruptError) Unwrap() error { return ErrCorrupt }
