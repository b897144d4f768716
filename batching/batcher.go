// SPDX-License-Identifier: Apache-2.0

package batching

import (
	"cmp"
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Batcher queues items and runs them in batches on an Executor. All methods may be
// called from many goroutines at once.
type Batcher struct {
	executor Executor
	ordered  bool // Options.PreserveOrdering
	maxRows  int

	inbox inbox
	// busy is held by the goroutine at the core, which alone uses what follows.
	busy    atomic.Bool
	core    *core
	timer   *time.Timer // made when first needed
	timerAt int64       // when it fires; never when it is not set

	closing atomic.Bool
	drained chan struct{} // closed when the core has nothing left to run
	ended   chan struct{} // closed when timer and workers have ended, too
	workers sync.WaitGroup
}

// New makes a batcher that runs on executor. Defaults are filled into options. The
// seed, such as warm-up runs, is what its first plans are made with; it may be empty.
// An error wraps ErrInvalidOptions. The caller must Close the batcher.
func New(options Options, executor Executor, seed []Observation) (*Batcher, error) {
	options.EnsureDefaults()
	if err := options.Validate(); err != nil {
		return nil, err
	}
	return &Batcher{
		executor: executor,
		ordered:  options.PreserveOrdering,
		maxRows:  options.MaxRows,
		core:     newCore(options, seed),
		timerAt:  never,
		drained:  make(chan struct{}),
		ended:    make(chan struct{}),
	}, nil
}

// Do runs an item and returns when it is answered: nil, the executor's error for
// it, or why it was refused. A deadline of ctx is also a deadline of the item.
//
// When ctx ends while the item is queued, it leaves the queue without running and
// Do returns the error of ctx. A run is not interrupted: its memory is in use, so
// Do waits for its end.
//
// The calling goroutine may itself run the batch of its item.
func (b *Batcher) Do(ctx context.Context, it *Item) error {
	if err := cmp.Or(ctx.Err(), it.validate(b.maxRows)); err != nil {
		it.Started, it.Reason, it.Err = 0, reasonNone, err
		return err
	}
	if deadline, ok := ctx.Deadline(); ok {
		it.lowerDeadline(Nanos(deadline))
	}
	if it.wake == nil {
		it.wake = make(chan *instance, 1)
	}
	it.sync = true
	it.arrival = event{kind: eventArrive, at: Now(), item: it}
	inst := b.post(&it.arrival, it)
	if inst == nil {
		inst = b.await(ctx, it)
	}
	if inst != nil {
		b.lead(inst, it)
	}
	return it.Err
}

// await waits until an item is answered, or is to lead the batch of an instance.
func (b *Batcher) await(ctx context.Context, it *Item) *instance {
	select {
	case inst := <-it.wake:
		return inst
	case <-ctx.Done():
		b.cancel(it, ctx.Err())
		return <-it.wake
	}
}

// Submit hands an item over to be run by another goroutine. Its Owner is told
// the end, whatever it is. An error means that the item was not taken: it wraps
// ErrInvalidItem, and the Owner is not told.
func (b *Batcher) Submit(it *Item) error {
	if it.Owner == nil {
		return fmt.Errorf("%w: it has no owner to answer to", ErrInvalidItem)
	}
	if err := it.validate(b.maxRows); err != nil {
		return err
	}
	it.sync = false
	it.arrival = event{kind: eventArrive, at: Now(), item: it}
	b.post(&it.arrival, nil)
	return nil
}

// Cancel takes an item given to Submit out of the queue and reports whether it was
// still there; a run is not interrupted. The Owner is told either way, in the first
// case with context.Canceled. The item must not be used again before Cancel returns.
func (b *Batcher) Cancel(it *Item) bool { return b.cancel(it, context.Canceled) }

func (b *Batcher) cancel(it *Item, err error) bool {
	c := &call{err: err}
	b.ask(&event{kind: eventCancel, item: it}, c)
	return c.cancelled
}

// Stats is a snapshot of what the batcher has done and learned.
func (b *Batcher) Stats() Stats {
	c := &call{}
	b.ask(&event{kind: eventStats}, c)
	return c.stats
}

// Close refuses new items with ErrClosed, runs or refuses those that are queued,
// waits for the runs and ends the batcher's goroutines. It may be called again.
func (b *Batcher) Close() {
	if b.closing.CompareAndSwap(false, true) {
		b.ask(&event{kind: eventClose}, &call{})
		<-b.drained
		b.stop()
		close(b.ended)
	}
	<-b.ended
}

// ask posts an event and waits until its step was taken.
func (b *Batcher) ask(e *event, c *call) {
	c.done = make(chan struct{})
	e.call, e.at = c, Now()
	b.post(e, nil)
	<-c.done
}
