// SPDX-License-Identifier: Apache-2.0

// Package batching forms batches from requests that arrive one by one. It knows
// rows, deadlines, priorities and groups, and nothing of tensors or models.
//
// # Policy
//
// A request is dispatched at once when an instance is idle; no delay is added to a
// lone request unless the user asks for one. While all instances are busy, the
// queue is the next batch. Its order is priority level, then earliest deadline,
// then arrival. A batch is the longest run of that order, items of other groups passed
// over, which fits MaxRows and whose predicted latency meets every deadline in it. A
// request that can no longer meet its deadline is refused instead of run late.
// Every dispatch carries the [Reason] for its size.
//
// # Two layers
//
// The core (core.go, pick.go, due.go, queue.go, latency.go) is the policy: a pure step
// function from a state, a time and an event to actions. It has no clock, no
// goroutine and no lock, and is driven in tests by scripts. The shell
// (batcher.go, lead.go, combine.go) brings it time, callers and an [Executor].
//
// # Concurrency
//
// No lock is shared by requests and nobody waits to reach the core. An event is
// stepped by its own goroutine when the core is free; otherwise it is left in a
// lock-free inbox, which whoever is at the core empties, a bounded number of times,
// before it is done. Steps are
// therefore one after another and pure computation. Their actions are carried out
// after the core is left, but for answers that have to keep their order. A mutex in
// its place measured the same with two cores, but would park callers when there are
// many.
//
// No goroutine stands between a request and its run. [Batcher.Do] that finds an
// idle instance runs the batch itself. When it is done it wakes the others of its
// batch, lets the first waiter of the next batch lead that one, and returns: nobody
// runs a batch for others once its own answer is ready. Batches with asynchronous items
// only are run by a goroutine of their instance, started at the first one and
// ended by [Batcher.Close].
//
// # Invariants
//
//	B1  An item handed over is answered exactly once: run, refused or cancelled.
//	B2  An instance runs one batch at a time.
//	B3  A batch has one group, and at most MaxRows rows; or it is a single item.
//	B4  An expired or cancelled item never runs.
//	B5  The queue never exceeds its bound; what does not fit is refused and counted.
//	B6  With PreserveOrdering, answers leave in the order of arrival.
package batching
