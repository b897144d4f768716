// SPDX-License-Identifier: Apache-2.0

package source

import "github.com/millrace-ml/millrace/featurestore/column"

// rejects are the bad rows of one slice.
type rejects struct {
	input  string
	isLine bool
	// first is the number of the batch's first row; lines has the number of each instead,
	// where they do not follow one another.
	first int64
	lines []int64
	// marks are the rows of the batch to drop; empty is none.
	marks []bool
	count int64
	list  []RowError // the first BadListMax
}

func (r *rejects) reset(input string, isLine bool, first int64) {
	r.input, r.isLine, r.first = input, isLine, first
	r.lines, r.marks, r.count, r.list = r.lines[:0], r.marks[:0], 0, nil
}

// number is where row i of the batch was in the input.
func (r *rejects) number(i int) int64 {
	if i < len(r.lines) {
		return r.lines[i]
	}
	return r.first + int64(i)
}

// row rejects a row of the batch for the first thing that is wrong with it.
func (r *rejects) row(i int, field, message string) {
	for len(r.marks) <= i {
		r.marks = append(r.marks, false)
	}
	if r.marks[i] {
		return
	}
	r.marks[i] = true
	r.add(r.number(i), field, message)
}

// rejected says whether row i of the batch is.
func (r *rejects) rejected(i int) bool { return i < len(r.marks) && r.marks[i] }

// line rejects what did not become a row of the batch.
func (r *rejects) line(number int64, message string) { r.add(number, "", message) }

func (r *rejects) add(number int64, field, message string) {
	r.count++
	if len(r.list) < BadListMax {
		r.list = append(r.list, RowError{Input: r.input, Row: number, IsLine: r.isLine, Field: field, Message: message})
	}
}

// drop takes the rejected rows out of the batch.
func (r *rejects) drop(b *column.Batch) {
	if len(r.marks) == 0 {
		return
	}
	kept := 0
	for i := range b.Rows {
		if !r.rejected(i) {
			kept++
		}
	}
	for i := range b.Columns {
		c := &b.Columns[i]
		c.Numbers = keep(c.Numbers, r.marks)
		c.Ints = keep(c.Ints, r.marks)
		c.Texts = keep(c.Texts, r.marks)
		c.Nulls = keep(c.Nulls, r.marks)
	}
	b.Rows = kept
}

// keep moves the values without a mark together.
func keep[T any](values []T, marks []bool) []T {
	to := 0
	for i := range values {
		if i < len(marks) && marks[i] {
			continue
		}
		values[to] = values[i]
		to++
	}
	clear(values[to:])
	return values[:to]
}
