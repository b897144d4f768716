// SPDX-License-Identifier: Apache-2.0

// Package shapecache keeps what a backend prepares for a set of input shapes, in
// bounded numbers. A Cache belongs to one goroutine at a time.
package shapecache

import (
	"errors"
	"math/bits"
	"slices"

	"github.com/millrace-ml/millrace/engine/tensor"
)

// Bounds of what one cache remembers.
const (
	// RowsMax is the most row counts that have a place of their own.
	RowsMax = 1024
	// RecentMax is how many other sets of shapes are kept.
	RecentMax = 16
	// rowsPrepared is up to which row count Rows lists every one; beyond it powers
	// of two.
	rowsPrepared = 64
)

// Entry is something made for inputs of certain shapes.
type Entry interface {
	comparable
	// Shapes are those of the inputs, nil where one is left out.
	Shapes() []tensor.Shape
	// Destroy releases what the entry holds.
	Destroy() error
}

// Cache keeps entries by their input shapes. Row counts up to the table's length are
// found by index, all other shapes among the most recently used.
type Cache[E Entry] struct {
	// byRows is indexed by the first dimension of the first input; empty for models
	// whose shapes vary in more than their rows.
	byRows []E
	// recent is in order of use, the latest first.
	recent []E
}

// ReserveRows makes a place for each row count up to rowsMax.
func (c *Cache[E]) ReserveRows(rowsMax int) {
	if c.byRows == nil && rowsMax > 0 {
		c.byRows = make([]E, min(rowsMax, RowsMax)+1)
	}
}

// Find gives the entry for shapes, the zero value when there is none.
func (c *Cache[E]) Find(shapes []tensor.Shape) E {
	var none E
	if row := c.row(shapes); row != nil && *row != none && fits(*row, shapes) {
		return *row
	}
	for i, e := range c.recent {
		if fits(e, shapes) {
			copy(c.recent[1:], c.recent[:i])
			c.recent[0] = e
			return e
		}
	}
	return none
}

// row is the table's place for shapes, nil when the table has none.
func (c *Cache[E]) row(shapes []tensor.Shape) *E {
	if len(c.byRows) == 0 || len(shapes) == 0 || len(shapes[0]) == 0 {
		return nil
	}
	if rows := shapes[0][0]; rows >= 0 && rows < int64(len(c.byRows)) {
		return &c.byRows[rows]
	}
	return nil
}

// fits reports whether e is for inputs of these shapes.
func fits[E Entry](e E, shapes []tensor.Shape) bool {
	have := e.Shapes()
	if len(shapes) != len(have) {
		return false
	}
	for i, s := range shapes {
		if !slices.Equal(s, have[i]) || (s == nil) != (have[i] == nil) {
			return false
		}
	}
	return true
}

// Put keeps e, which Find does not have. The least recently used one makes room.
func (c *Cache[E]) Put(e E) error {
	var none E
	if row := c.row(e.Shapes()); row != nil && *row == none {
		*row = e
		return nil
	}
	c.recent = slices.Insert(c.recent, 0, e)
	if len(c.recent) <= RecentMax {
		return nil
	}
	last := len(c.recent) - 1
	oldest := c.recent[last]
	c.recent = slices.Delete(c.recent, last, last+1)
	return oldest.Destroy()
}

// Clear destroys all entries. The table keeps its length.
func (c *Cache[E]) Clear() error {
	var none E
	var problems []error
	for i, e := range c.byRows {
		if e != none {
			problems = append(problems, e.Destroy())
			c.byRows[i] = none
		}
	}
	for _, e := range c.recent {
		problems = append(problems, e.Destroy())
	}
	c.recent = slices.Delete(c.recent, 0, len(c.recent))
	return errors.Join(problems...)
}

// Rows lists the row counts to prepare for when an instance is made. The largest
// comes first, so that memory does not have to grow.
func Rows(rowsMax int) []int {
	rows := []int{rowsMax}
	for power := 1 << bits.Len(uint(max(rowsMax-1, 0))) >> 1; power > rowsPrepared; power /= 2 {
		rows = append(rows, power)
	}
	for n := min(rowsPrepared, rowsMax-1); n > 0; n-- {
		rows = append(rows, n)
	}
	return rows
}
