// SPDX-License-Identifier: Apache-2.0

//go:build cgo && unix

package onnxrt

import (
	"errors"
	"slices"

	"github.com/millrace-ml/millrace/engine/tensor"
)

// Bounds of what one instance remembers.
const (
	// rowsCached is the most row counts that have a place of their own.
	rowsCached = 1024
	// recentCached is how many other sets of shapes are kept.
	recentCached = 16
)

// cache keeps bounds by their input shapes. Row counts up to the table's length are
// found by index, all other shapes among the most recently used.
type cache struct {
	// byRows is indexed by the first dimension of the first input; empty for models
	// whose shapes vary in more than their rows.
	byRows []*bound
	// recent is in order of use, the latest first.
	recent []*bound
}

// find gives the bound for shapes, nil when there is none.
func (c *cache) find(shapes []tensor.Shape) *bound {
	if row := c.row(shapes); row != nil && *row != nil && (*row).fits(shapes) {
		return *row
	}
	for i, b := range c.recent {
		if b.fits(shapes) {
			copy(c.recent[1:], c.recent[:i])
			c.recent[0] = b
			return b
		}
	}
	return nil
}

// row is the table's place for shapes, nil when the table has none.
func (c *cache) row(shapes []tensor.Shape) **bound {
	if len(c.byRows) == 0 || len(shapes) == 0 || len(shapes[0]) == 0 {
		return nil
	}
	if rows := shapes[0][0]; rows >= 0 && rows < int64(len(c.byRows)) {
		return &c.byRows[rows]
	}
	return nil
}

// put keeps b, which find does not have. The least recently used one makes room.
func (c *cache) put(b *bound) error {
	if row := c.row(b.shapes); row != nil && *row == nil {
		*row = b
		return nil
	}
	c.recent = slices.Insert(c.recent, 0, b)
	if len(c.recent) <= recentCached {
		return nil
	}
	last := len(c.recent) - 1
	oldest := c.recent[last]
	c.recent = slices.Delete(c.recent, last, last+1)
	return oldest.destroy()
}

// clear destroys all bounds. The table keeps its length.
func (c *cache) clear() error {
	var problems []error
	for i, b := range c.byRows {
		if b != nil {
			problems = append(problems, b.destroy())
			c.byRows[i] = nil
		}
	}
	for _, b := range c.recent {
		problems = append(problems, b.destroy())
	}
	c.recent = slices.Delete(c.recent, 0, len(c.recent))
	return errors.Join(problems...)
}
