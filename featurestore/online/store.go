// SPDX-License-Identifier: Apache-2.0

package online

import (
	"context"
	"errors"

	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// Errors that callers branch on. An update that can never be taken wraps
// window.ErrEvent.
var (
	// ErrClosed is returned by a closed store.
	ErrClosed = errors.New("online store is closed")
	// ErrCorrupt means that stored states are not what was written. They can be computed
	// again from the event log.
	ErrCorrupt = errors.New("stored states are corrupt")
	// ErrVersion means that the states were stored in a format of another version.
	ErrVersion = errors.New("states of another version")
	// ErrAhead means that stored states refer to records that the event log does not
	// have: the log was replaced or has lost its end.
	ErrAhead = errors.New("states are ahead of the event log")
	// ErrMemory means that entities which are not stored yet fill the memory allowed, and
	// cannot be stored now. Try again.
	ErrMemory = errors.New("states that are not stored yet fill the memory")
	// ErrUnavailable means that an entity lies on disk only, and the disk cannot be read
	// now. Try again.
	ErrUnavailable = errors.New("stored states cannot be read now")
	// ErrInvalidOptions is wrapped by Options.Validate.
	ErrInvalidOptions = errors.New("invalid options")
)

// Store keeps the states of entities. All its methods may be called at the same time,
// but for Replay, which is for one goroutine, before the first event that is pushed.
type Store interface {
	// Apply carries out what one event means. It locks the entities, asks record for the
	// event's place in the log, and then applies; a nil record means that the event is
	// not logged. arrival is when it became known, in microseconds since 1970 UTC; 0
	// leaves that to the updates. Outcomes has at least one element per update.
	//
	// On an error nothing is applied; but an error behind record, which only a store on
	// another machine can have, leaves the event in the log, to be replayed.
	Apply(ctx context.Context, updates []plan.Update, arrival int64, record func() (sequence uint64, err error), outcomes []window.Outcome) error
	// Replay applies an event read from the log, where records come in the order of their
	// sequences. Entities that have it already skip it.
	Replay(ctx context.Context, updates []plan.Update, sequence uint64) error
	// ReplayFrom is where a replay begins: all records up to this sequence are in the
	// stored states.
	ReplayFrom() uint64
	// Rebuild lists tables, as places in plan.Tables, of which nothing is known though the
	// log may have events for them. They are to be computed anew before the replay.
	Rebuild() []int
	// NewReader returns a reader for one goroutine at a time.
	NewReader() plan.Reader
	// Checkpoint stores what is known now.
	Checkpoint(ctx context.Context) error
	// Stats reads the state of the store.
	Stats() Stats
	// Close ends the store. It does not checkpoint.
	Close() error
}
