// SPDX-License-Identifier: Apache-2.0

// Package frontend is the domain logic between a client and a model: it takes the
// facts of the moment and answers what to do.
//
//	facts ─► remembered? ─► event pushed ─► features ─► rules ─► arm ─► model ─► policy ─► answer
//	             │                             │                        │
//	             └─ the same answer            └── late or down: fallback ladder, degraded
//
// A policy (package policy) says which features, which model, which thresholds and
// rules; it is pure. This package adds what a decision needs of the world: time,
// features, the model, memory of idempotency keys, and the log.
//
// # What is promised
//
//	F1  A request with an idempotency key that is remembered gets the same answer, and
//	    nothing is run or logged again. Keys survive a restart: they are read back from
//	    the log of decisions. The same key with other facts is refused.
//	F2  Every answer is logged with its vector, arm and propensity, off the hot path; what a
//	    full log refuses is counted (Stats.Unlogged), and the answer says so.
//	F3  An answer that did not take the whole way says degraded, why, and which step of the
//	    ladder gave it.
//	F4  A decision ends within its total budget, plus one step of the ladder.
//	F5  Attributions are those of the vector and of the version that gave the score, whatever
//	    is swapped meanwhile. Requests that do not want them pay a comparison; where one
//	    might end after the deadline, the answer comes without it and says so.
//
//	F6  Of a decision with a Rollout, a unit's version depends on the unit, the version and the
//	    share alone; a unit that has the canary keeps it while the share grows. Arm and
//	    propensity that are logged are those of the draw, whoever answered in the end. A
//	    decision without one pays the load of a pointer.
//
// # Concurrency
//
// A Frontend may be used from many goroutines, a Request by one at a time. Shadows run
// on a goroutine of the Frontend, from a bounded queue, and so does the reading of models
// whose scores are to be attributed; both end with Close.
package frontend
