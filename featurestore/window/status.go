// SPDX-License-Identifier: Apache-2.0

package window

import "errors"

var (
	// ErrDefinition says that a Definition contradicts itself or its limits.
	ErrDefinition = errors.New("invalid view definition")
	// ErrEvent says that an event does not fit its view. Drop it; it will not fit later.
	ErrEvent = errors.New("invalid event")
	// ErrCorrupt says that stored bytes are not a state or partial result of this version.
	ErrCorrupt = errors.New("corrupt window state")
	// ErrView says that a state was built by a view with other columns or aggregations.
	// Rebuild it from the events.
	ErrView = errors.New("window state of another view")
	// ErrArguments says that slices have the wrong length or queries are not sorted.
	ErrArguments = errors.New("invalid arguments")
)

// Status says what a value is worth.
type Status uint8

const (
	// NotFound: the entity has no event up to the time asked for; the value is the default.
	NotFound Status = iota
	// Present: the value is computed.
	Present
	// Null: the aggregation is undefined, as the mean of nothing; the value is the default.
	Null
	// OutsideMaxAge: the entity's newest event is older than the view's MaxAge; the value is
	// what it would be without that bound.
	OutsideMaxAge
)

func (s Status) String() string {
	switch s {
	case NotFound:
		return "not found"
	case Present:
		return "present"
	case Null:
		return "null"
	case OutsideMaxAge:
		return "outside max age"
	}
	return "unknown status"
}

// Outcome says what became of an event or an amendment.
type Outcome uint8

const (
	// Applied: the event counts from now on.
	Applied Outcome = iota
	// AppliedUnchecked: the event counts, but it lies among events that are no longer kept
	// one by one, so it could not be checked for being a duplicate.
	AppliedUnchecked
	// Duplicate: an event of the same time and id is already there; nothing changed.
	Duplicate
	// TooLate: older than the view's bound on lateness or than any window reaches, or an
	// amendment after the value was due; nothing changed.
	TooLate
	// TooEarly: further ahead of its arrival than the view allows; nothing changed.
	TooEarly
	// Unknown: no event of that time and id is kept to be amended; nothing changed.
	Unknown
)

func (o Outcome) String() string {
	switch o {
	case Applied:
		return "applied"
	case AppliedUnchecked:
		return "applied unchecked"
	case Duplicate:
		return "duplicate"
	case TooLate:
		return "too late"
	case TooEarly:
		return "too early"
	case Unknown:
		return "unknown event"
	}
	return "unknown outcome"
}
