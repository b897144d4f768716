// SPDX-License-Identifier: Apache-2.0

// Package labelstudio speaks Label Studio's formats (labelstud.io, Apache-2.0): task JSON
// in and out, the labelling configuration, and the HTTP shapes of an ML backend, so that a
// team can label there with selections and models from here.
//
//	{"id": 1, "data": {...}, "meta": {"millrace_id": "..."},
//	 "annotations": [{"result": [{"from_name", "to_name", "type", "value"}], "completed_by",
//	                  "was_cancelled", "ground_truth", "lead_time", "created_at"}],
//	 "predictions": [{"model_version", "score", "result": [...]}]}
//
// What becomes of what:
//
//	id             of a task: meta.millrace_id if it is there, else "ls-" and its id,
//	               else the beginning of the SHA-256 of its data
//	completed_by   "ls-" and the annotator's number, or a mail address without a number;
//	               "annotator" of our own exports comes before it
//	annotations.id the comment, by which a deletion finds it (Comment)
//	was_cancelled  a skip
//	ground_truth   the task is gold, with that value; if it was there and is not gold, it is
//	               an annotation like others
//	result         that of the control which Config names; others are passed over
//	predictions    the last one; numbers of predictions are passed over
//
// Label Studio's front-end counts UTF-16 units in a text, its exports count characters. A
// span with "text" is taken whichever of the two fits; one without counts as characters,
// as spans of this system do.
//
// A file is a JSON array of tasks, or tasks one after another. It is read as a stream: one
// task is held at a time, and a task is at most TaskBytesMax. Data is kept as it came and
// never interpreted.
package labelstudio

import "errors"

var (
	// ErrFormat means that JSON or XML is not what Label Studio writes; the error has the
	// place.
	ErrFormat = errors.New("not in Label Studio's format")
	// ErrTooLarge means that a task or request exceeds its bound.
	ErrTooLarge = errors.New("too large")
)

// Bounds of what is read.
const (
	// TaskBytesMax is the largest task in a file, with its annotations.
	TaskBytesMax = 8 << 20
	// ConfigBytesMax is the largest configuration.
	ConfigBytesMax = 1 << 20
	// RequestBytesMax is the largest request to the backend, and RequestTasksMax the most
	// tasks in one.
	RequestBytesMax = 32 << 20
	RequestTasksMax = 1000
)
