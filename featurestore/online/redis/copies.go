// SPDX-License-Identifier: Apache-2.0

package redis

import (
	"slices"

	"github.com/millrace-ml/millrace/featurestore/plan"
)

// Copies keeps updates beyond the next Route of the plan.Scratch that made them, as
// ApplyBatch needs it.
type Copies struct {
	updates []plan.Update
	bytes   []byte
	values  []float64
	keys    []uint64
	amends  []plan.Amendment
}

// Add copies the updates of an event. The copies are good until Reset.
func (c *Copies) Add(updates []plan.Update) []plan.Update {
	begin := len(c.updates)
	for i := range updates {
		u := updates[i]
		u.Key = appendCopy(&c.bytes, u.Key)
		u.Row = appendCopy(&c.bytes, u.Row)
		u.Event.Values = appendCopy(&c.values, u.Event.Values)
		u.Event.Keys = appendCopy(&c.keys, u.Event.Keys)
		u.Amend = appendCopy(&c.amends, u.Amend)
		u.Late = appendCopy(&c.amends, u.Late)
		c.updates = append(c.updates, u)
	}
	return c.updates[begin:len(c.updates):len(c.updates)]
}

// appendCopy copies a slice to the end of another, of which earlier pieces stay where
// they are if it has to grow.
func appendCopy[T any](to *[]T, from []T) []T {
	if from == nil {
		return nil
	}
	begin := len(*to)
	*to = append(*to, from...)
	return (*to)[begin:len(*to):len(*to)]
}

// Reset forgets all copies and keeps the memory.
func (c *Copies) Reset() {
	clear(c.updates)
	c.updates, c.bytes, c.values, c.keys, c.amends = c.updates[:0], c.bytes[:0], c.values[:0], c.keys[:0], c.amends[:0]
}

// size is the memory in use.
func (c *Copies) size() int {
	return len(c.bytes) + 8*(len(c.values)+len(c.keys)) + 24*len(c.amends) + 160*len(c.updates)
}

// clone copies one update to memory of its own.
func clone(u *plan.Update) plan.Update {
	n := *u
	n.Key, n.Row = slices.Clone(u.Key), slices.Clone(u.Row)
	n.Event.Values, n.Event.Keys = slices.Clone(u.Event.Values), slices.Clone(u.Event.Keys)
	n.Amend, n.Late = slices.Clone(u.Amend), slices.Clone(u.Late)
	return n
}
