// SPDX-License-Identifier: Apache-2.0

package batching

import (
	"fmt"
	"time"
)

// Item is one request on its way through a batcher. Callers embed it in their own
// pooled request object, so that queueing allocates nothing.
//
// The caller sets the first group of fields. From Do or Submit until the answer
// (Do returns, or ItemDone is called) the item belongs to the batcher and must not
// be touched but by the Executor that is given it. After that the second group is
// valid and the item may be used again; it must not be copied after its first use.
type Item struct {
	// Rows is the number of rows, at least 1 and at most Options.MaxRows. Where
	// the model does not batch it has no meaning.
	Rows int
	// Group tells apart what cannot share a batch, such as shapes.
	Group uint64
	// Priority is the level, 1 the most urgent. 0, or a level that does not
	// exist, means the default.
	Priority int
	// Deadline is when the answer is worthless, on the clock of [Now]; 0 is none.
	Deadline int64
	// Timeout is the longest time in the queue that the request itself asks for; 0
	// is none. It counts only where the policy allows it, and can only shorten.
	Timeout time.Duration
	// Owner is told when an item given to Submit is answered. Do ignores it.
	Owner Owner

	// Enqueued is when the item was handed over.
	Enqueued int64
	// Started is when its batch was dispatched; 0 when it did not run.
	Started int64
	// Reason is why its batch had the size it had.
	Reason Reason
	// Err is why the item did not run, or the executor's error, or nil.
	Err error

	// Everything below belongs to the core, up to wake.
	size    int    // rows counted against MaxRows: 1 where the model does not batch
	seq     uint64 // arrival number, which breaks ties
	state   itemState
	level   int // index of its own priority level
	place   int // index of the level it is queued in: its own or the delayed one
	probing bool
	links   [linkCount]link
	slots   [slotCount]slot

	arrival event
	// wake tells a caller in Do what is next: nil, its item is answered; an
	// instance, it leads the batch there.
	wake chan *instance
	// sync says that a caller waits in Do.
	sync bool
}

// itemState says where an item is.
type itemState uint8

const (
	stateOutside itemState = iota // with its caller
	stateQueued
	stateRunning
	stateAnswered // waiting for earlier arrivals, with PreserveOrdering
)

// Owner is told about the end of an asynchronous item.
type Owner interface {
	// ItemDone is called exactly once for each item that Submit accepted, from any
	// goroutine, with the item's result fields set. It must not block, which Do,
	// Cancel, Stats and Close may; it may Submit again, the same item too.
	ItemDone(it *Item)
}

// Executor runs batches.
type Executor interface {
	// Execute runs a batch on an instance and sets the Err of items that failed. It
	// is called once at a time per instance, from changing goroutines. The items
	// have one group. The slice is the batcher's and valid during the call only.
	// It must not panic.
	Execute(instance int, batch []*Item)
}

// notify gives an answered item back to its caller.
func (it *Item) notify() {
	if it.sync {
		it.wake <- nil
		return
	}
	it.Owner.ItemDone(it)
}

// validate refuses what the core could never dispatch.
func (it *Item) validate(rowsMax int) error {
	if rowsMax > 0 && (it.Rows < 1 || it.Rows > rowsMax) {
		return fmt.Errorf("%w: it has %d rows, a batch holds 1 to %d", ErrInvalidItem, it.Rows, rowsMax)
	}
	return nil
}
