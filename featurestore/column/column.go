// SPDX-License-Identifier: Apache-2.0

// Package column holds rows as typed columns: what a source file yields, what a
// request asks with, what a training set is made of. No value is boxed.
//
// Bool and Float64 live in Numbers (false 0, true 1), Int64 and Timestamp in Ints
// (timestamps in microseconds since 1970 UTC), String in Texts. A null is NaN in
// Numbers, and marked in Nulls for the others.
//
// Columns and batches are plain data: many may read them at once, a writer is alone.
package column

import (
	"fmt"
	"math"
	"strings"
)

// Type is the type of a field, a feature or a column.
type Type uint8

// The types.
const (
	// Invalid is no type.
	Invalid Type = iota
	Bool
	Int64
	Float64
	String
	Timestamp
)

var typeNames = [...]string{"invalid", "bool", "int64", "float64", "string", "timestamp"}

// String is the type's name in definitions.
func (t Type) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return fmt.Sprintf("type(%d)", uint8(t))
}

// ParseType returns the type of that name.
func ParseType(name string) (Type, error) {
	for i, known := range typeNames[1:] {
		if known == name {
			return Type(i + 1), nil
		}
	}
	return Invalid, fmt.Errorf("type %q: it is one of %s", name, strings.Join(typeNames[1:], ", "))
}

// Number reports whether expressions and aggregations see the type as a number.
func (t Type) Number() bool { return t != String && t != Invalid }

// IntegerMax is the largest magnitude of an Int64 that becomes a feature or enters an
// expression, 2^53: up to there a float64 holds every integer. Keys have no such bound.
const IntegerMax = 1 << 53

// Column is a column of values.
type Column struct {
	Name string
	Type Type
	// Numbers holds Bool and Float64, Ints Int64 and Timestamp, Texts String.
	Numbers []float64
	Ints    []int64
	Texts   []string
	// Nulls marks nulls of Ints and Texts; nil is none.
	Nulls []bool
}

// Len is the number of values.
func (c *Column) Len() int {
	switch c.Type {
	case Bool, Float64:
		return len(c.Numbers)
	case Int64, Timestamp:
		return len(c.Ints)
	case String:
		return len(c.Texts)
	}
	return 0
}

// Null reports whether value i is null.
func (c *Column) Null(i int) bool {
	switch c.Type {
	case Bool, Float64:
		return math.IsNaN(c.Numbers[i])
	}
	return i < len(c.Nulls) && c.Nulls[i]
}

// Number is value i as expressions see it: NaN for a null or a text.
func (c *Column) Number(i int) float64 {
	switch {
	case c.Type == Bool || c.Type == Float64:
		return c.Numbers[i]
	case c.Type == String || c.Null(i):
		return math.NaN()
	}
	return float64(c.Ints[i])
}

// Reset empties the column and keeps its memory.
func (c *Column) Reset() {
	clear(c.Texts)
	c.Numbers, c.Ints, c.Texts, c.Nulls = c.Numbers[:0], c.Ints[:0], c.Texts[:0], c.Nulls[:0]
}

// AppendNumber appends to a Bool or Float64; NaN is null.
func (c *Column) AppendNumber(v float64) { c.Numbers = append(c.Numbers, v) }

// AppendInt appends to an Int64 or Timestamp.
func (c *Column) AppendInt(v int64) {
	c.Ints = append(c.Ints, v)
	if len(c.Nulls) > 0 { // once there was a null, every value is marked
		c.Nulls = append(c.Nulls, false)
	}
}

// AppendText appends to a String.
func (c *Column) AppendText(v string) {
	c.Texts = append(c.Texts, v)
	if len(c.Nulls) > 0 { // once there was a null, every value is marked
		c.Nulls = append(c.Nulls, false)
	}
}

// AppendNull appends a null.
func (c *Column) AppendNull() {
	n := c.Len()
	switch c.Type {
	case Bool, Float64:
		c.Numbers = append(c.Numbers, math.NaN())
		return
	case String:
		c.Texts = append(c.Texts, "")
	default:
		c.Ints = append(c.Ints, 0)
	}
	for len(c.Nulls) < n {
		c.Nulls = append(c.Nulls, false)
	}
	c.Nulls = append(c.Nulls, true)
}

// Batch is some rows.
type Batch struct {
	Columns []Column
	Rows    int
}

// Reset empties the batch and keeps its memory.
func (b *Batch) Reset() {
	for i := range b.Columns {
		b.Columns[i].Reset()
	}
	b.Rows = 0
}

// Column returns the column of that name, nil if there is none.
func (b *Batch) Column(name string) *Column {
	for i := range b.Columns {
		if b.Columns[i].Name == name {
			return &b.Columns[i]
		}
	}
	return nil
}

// Select copies rows, in the order given. Columns without values stay without.
func (b *Batch) Select(rows []int32) *Batch {
	s := &Batch{Rows: len(rows), Columns: make([]Column, len(b.Columns))}
	for i := range b.Columns {
		c := &b.Columns[i]
		s.Columns[i] = Column{Name: c.Name, Type: c.Type, Numbers: pick(c.Numbers, rows), Ints: pick(c.Ints, rows), Texts: pick(c.Texts, rows), Nulls: pick(c.Nulls, rows)}
	}
	return s
}

func pick[T any](values []T, rows []int32) []T {
	if len(values) == 0 {
		return nil
	}
	picked := make([]T, len(rows))
	for i, row := range rows {
		picked[i] = values[row]
	}
	return picked
}
