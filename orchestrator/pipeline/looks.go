// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"slices"
	"time"
)

// LooksAtEnds says whether the task decides itself what to do when something that it waits
// for did not succeed.
func (t *Task) LooksAtEnds() bool {
	return t.When != nil && (t.When.mentions("always", "failed", "succeeded") ||
		slices.ContainsFunc(t.When.References, func(r Reference) bool { return r.Field == "status" }))
}

// LongestTime is how long the task may take with all its attempts and the waits between
// them, one item after the other being left out of account; 0 if it has no time-out.
func (t *Task) LongestTime() time.Duration {
	if t.Timeout == 0 || t.Foreach != nil {
		return 0
	}
	all, wait := t.Timeout, t.Backoff
	for range t.Retries {
		all += t.Timeout + min(wait, t.BackoffMax)
		if wait < t.BackoffMax {
			wait *= 2
		}
	}
	return all
}
