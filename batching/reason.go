// SPDX-License-Identifier: Apache-2.0

package batching

// Reason says why a batch was dispatched when it was, with the size it had.
type Reason uint8

// Reasons for a dispatch. The zero value is an item that did not run.
const (
	reasonNone Reason = iota
	ReasonIdle
	ReasonNext
	ReasonFull
	ReasonPreferred
	ReasonDelay
	ReasonDeadline
	ReasonGroup
	ReasonSingle
	ReasonDrain
	// ReasonCount is the length of an array indexed by Reason.
	ReasonCount
)

var reasons = [ReasonCount]struct{ name, meaning string }{
	reasonNone:      {"none", "The request did not run."},
	ReasonIdle:      {"idle", "An instance was idle on arrival, so nothing was waited for."},
	ReasonNext:      {"next", "An instance became free and took all that was queued."},
	ReasonFull:      {"full", "The maximum batch size was reached, or the next request did not fit into what was left of it."},
	ReasonPreferred: {"preferred", "A preferred batch size was reached."},
	ReasonDelay:     {"delay", "The oldest request had waited for the configured queue delay."},
	ReasonDeadline:  {"deadline", "More rows, or a longer wait for them, would have missed a deadline or the latency objective."},
	ReasonGroup:     {"group", "The other requests in the queue have another shape and cannot share the batch."},
	ReasonSingle:    {"single", "The model does not batch."},
	ReasonDrain:     {"drain", "The model is being unloaded, so what was queued ran without waiting for more."},
}

// String is the short name, as used in metric labels.
func (r Reason) String() string {
	if r >= ReasonCount {
		return "unknown"
	}
	return reasons[r].name
}

// Meaning is one sentence for people.
func (r Reason) Meaning() string {
	if r >= ReasonCount {
		return "This reason is not known."
	}
	return reasons[r].meaning
}

// Reasons lists every reason a dispatch can have.
func Reasons() []Reason {
	all := make([]Reason, 0, ReasonCount-1)
	for r := ReasonIdle; r < ReasonCount; r++ {
		all = append(all, r)
	}
	return all
}
