// SPDX-License-Identifier: Apache-2.0

package plan

import "github.com/millrace-ml/millrace/featurestore/window"

// Update is what an event means to one entity of one table. It and what it refers to
// belong to the Scratch that made it and are good until its next Route.
type Update struct {
	// Table is a place in Tables.
	Table int
	Key   []byte
	// Event is for a view: to be added with window.Aggregator.Update. If Amend is not empty
	// it is only named by time and id, and amended.
	Event window.Event
	Amend []Amendment
	// Late are the late columns that a whole event brings. If it turns out to be a
	// duplicate, they amend the one that is there; its outcome is then that of the
	// amendment.
	Late []Amendment
	// Row is for a lookup: its values, encoded; see AppendRow. It replaces the one there
	// if its event is newer, by time, then arrival, then id.
	Row []byte
}

// Amendment sets a column of an event that is already there.
type Amendment struct {
	Column string
	Value  float64
}
