// SPDX-License-Identifier: Apache-2.0

// Package orchestrator runs pipelines: tasks that hand files and folders to one another.
// It knows nothing of what tasks do; its caller registers kinds of them.
//
// What a task makes is kept by content (package artifact). The key of a task is the
// SHA-256 of its kind's name and version, its `with` after expansion, the digests of its
// inputs, its item, partition and outputs, and its kind's fingerprint of whatever else it
// reads. A task whose key was seen before is not run again: its outputs are there.
//
// A state folder holds
//
//	lock         held by the one runner of the folder
//	journal      what happened in runs (package journal); replayed by Open
//	objects/     artifacts
//	cache/       per key what a task made
//	work/        what attempts that go on are making; emptied by Open
//	runs/        logs and progress
//	cancel/      runs that somebody wants to end
//	exported/    results of tasks that were run one by one, for other orchestrators
//
// Invariants. O1: a task whose end was recorded as succeeded is not run again in its run,
// however often the process is killed. O2: outputs come into the store whole, and only
// after the task returned without an error. O3: what is recorded as ended has its outputs
// in the store. O4: without Cancel, a run that was interrupted can be resumed and ends as it
// would have without the interruption. O5: a full disk, or any other fault of it, ends the
// run with an error and leaves what was recorded.
//
// Concurrency: a Runner may be used from many goroutines. Each Run is driven by its
// caller's goroutine, which owns one goroutine per task that goes on and one that watches
// for a cancel, and ends when those have; a task that does not return StopWait after its
// context ended is left alone, and its result is ignored. Lock order: none is held while
// another is taken, but Runner.mu -> the journal's.
package orchestrator
