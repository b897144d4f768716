// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"context"
	"time"

	"github.com/millrace-ml/millrace/featurestore/window"
)

// Ref names an entity of a table.
type Ref struct {
	// Table is a place in Tables.
	Table int
	Key   []byte
}

// Seen says what a read of an entity was based on.
type Seen struct {
	// EventTime is when the newest event happened, in microseconds since 1970 UTC; 0 for
	// none.
	EventTime int64
	// Sequence is the place in the event log of the newest record that had been applied
	// to the entity; 0 for none. Records with a lower one for it had all been applied.
	Sequence uint64
	// Missed is by how much at most a window's edge is off; see window.Aggregator.Read.
	Missed time.Duration
}

// Reader reads entities. It is for one goroutine at a time.
type Reader interface {
	// Fetch makes entities readable, at most one round trip for all of them; keys are not
	// kept. An entity of which nothing is known is no error.
	Fetch(ctx context.Context, refs []Ref) error
	// View computes the view's features of the entity refs[i] of the last Fetch at a time,
	// in microseconds since 1970 UTC, into slices of window.View.Width elements.
	View(i int, at int64, into []float64, status []window.Status) (Seen, error)
	// Lookup returns the encoded row of the entity refs[i], nil for none. The bytes are
	// good until the next Fetch. See RowOf.
	Lookup(i int, at int64) (row []byte, seen Seen, err error)
	// Release ends the use of what was fetched.
	Release()
}
