// SPDX-License-Identifier: Apache-2.0

// Package labeling lets people label what is worth labelling: projects with a set of
// labels, tasks that are handed out on leases, annotations, review, and gold tasks that
// show how well somebody labels.
//
// # Life of a task
//
//	              Lease              Submit x overlap           Review
//	open ─────────────────► leased ───────────────────► review ────────► done
//	  ▲    expiry, Postpone    │                           ▲               │
//	  └────────────────────────┘   Skip by SkipsMax people ┘    Undo, Reopen ▼ back
//
// A task needs Overlap annotations. What then becomes of it is up to the project's review
// policy: done if they agree, else review. Status is a function of what people said and
// nothing else, so undoing something brings back what was before. Gold tasks are mixed in
// for everybody and never end.
//
// # What is stored
//
// Everything is an event in the log (featurestore/offline) and durable before a method
// returns. The streams are
//
//	labeling_projects     id project               a version each time it is defined
//	labeling_tasks        id project/task          once
//	labeling_predictions  id project/task          priority, pre-label and reasons, newest counts
//	labeling_leases       id project/who/task      newest counts
//	annotations           id project/who/task      annotation, skip, postpone or retracted
//	                      id project/!review/task  review or retracted
//
// An annotation that is corrected or undone is a new version of its event, so the log reads
// as of any instant. State in memory is the newest version, by sequence, of every id: Open
// finds it by reading the streams, in whatever order and from whatever files.
//
// # Invariants
//
//	A1  What a method acknowledged is there after kill -9.
//	A2  A task never has more than Overlap leases and annotations together, gold aside,
//	    but for annotations that came after their lease had expired: those are kept too.
//	A3  A value that is stored fits the label set and the text of its task.
//	A4  Nobody is handed a task that they have labelled or skipped, unless they undo it.
//	A5  Leases go by priority, then by age of the task; postponed tasks come last.
//	A6  Open gives the state that was there, whenever the process ended.
//
// # Concurrency and bounds
//
// A Store may be used by many goroutines and has none of its own: what has expired is
// found when somebody asks. One lock guards the state and is never held while waiting for
// the disk; those who wait share an fsync. The queue is a balanced tree, kept in order by
// whoever changes a task, so handing one out takes a few comparisons. Projects, tasks,
// people and bytes are bounded by Options, leases and postponed tasks of a person by
// constants.
//
// Data of a task is kept as it came and never interpreted: who shows it escapes it.
package labeling

import "errors"

// What callers branch on.
var (
	// ErrInvalid means that something given can never be taken: the error has its path.
	ErrInvalid = errors.New("invalid")
	// ErrInvalidValue means that a value does not fit the label set or the task.
	ErrInvalidValue = errors.New("value does not fit")
	// ErrUnknownProject means that no project has the name.
	ErrUnknownProject = errors.New("unknown project")
	// ErrUnknownTask means that the project has no task of that id.
	ErrUnknownTask = errors.New("unknown task")
	// ErrNotLeased means that the task was never handed to who answers it: ask for it first.
	ErrNotLeased = errors.New("task was not handed out to this person")
	// ErrConflict means that something else is there under that name or id, or that
	// somebody was faster: read it again.
	ErrConflict = errors.New("conflict")
	// ErrNothing means that there is nothing to undo.
	ErrNothing = errors.New("nothing to undo")
	// ErrFull means that a bound of Options or a constant is reached; nothing was taken.
	ErrFull = errors.New("labelling store is full")
)
