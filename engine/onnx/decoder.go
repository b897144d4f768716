// SPDX-License-Identifier: Apache-2.0

package onnx

import (
	"cmp"
	"fmt"
	"strings"
)

// Bounds of what is accepted.
const (
	// depthMax is the deepest nesting of messages, the limit that protobuf libraries
	// have by default.
	depthMax = 100
	// messagesMax is the largest number of messages in one file: many times what
	// large models have, and few enough that a file of tiny ones cannot exhaust memory.
	messagesMax = 1 << 21
)

// decoder is the state of decoding one file. The first failure is kept with the
// path to it; from then on every cursor is at its end.
type decoder struct {
	options  ReadOptions
	path     []step
	messages int
	err      error
}

// step is one part of the path to a field. name, once decoded, says more than the
// index does; index is -1 where a field is not repeated.
type step struct {
	field string
	index int
	name  *string
}

func (s step) String() string {
	switch {
	case s.name != nil && *s.name != "":
		return fmt.Sprintf("%s %.100q", s.field, *s.name)
	case s.index >= 0:
		return fmt.Sprintf("%s[%d]", s.field, s.index)
	}
	return s.field
}

// fail records a fault of a field of the current message; field is empty where it
// is the message itself.
func (d *decoder) fail(field, format string, args ...any) {
	if d.err != nil {
		return
	}
	var path []string
	for _, s := range d.path {
		path = append(path, s.String())
	}
	if field != "" || path == nil {
		path = append(path, cmp.Or(field, "file"))
	}
	d.err = fmt.Errorf("%w: %s: %s", ErrCorrupt, strings.Join(path, "."), fmt.Sprintf(format, args...))
}

// enter steps into a sub-message, within the bounds.
func (d *decoder) enter(s step) bool {
	d.messages++
	switch {
	case len(d.path) >= depthMax:
		d.fail(s.field, "nested deeper than %d levels", depthMax)
	case d.messages > messagesMax:
		d.fail(s.field, "more than %d messages in one file", messagesMax)
	}
	if d.err != nil {
		return false
	}
	d.path = append(d.path, s)
	return true
}

func (d *decoder) leave() { d.path = d.path[:len(d.path)-1] }

// nested decodes the current field as a sub-message into v.
func nested[T any](c *cursor, field string, v *T, decode func(*cursor, *T)) {
	nestedAt(c, step{field: field, index: -1}, v, decode)
}

// optional decodes the current field as a sub-message that may be absent. A second
// occurrence adds to the first, as protobuf has it.
func optional[T any](c *cursor, field string, v **T, decode func(*cursor, *T)) {
	if *v == nil {
		*v = new(T)
	}
	nested(c, field, *v, decode)
}

// repeated decodes the current field as one more entry of a list of sub-messages.
func repeated[T any](c *cursor, field string, list *[]T, decode func(*cursor, *T)) {
	var zero T
	*list = append(*list, zero)
	last := len(*list) - 1
	nestedAt(c, step{field: field, index: last}, &(*list)[last], decode)
}

func nestedAt[T any](c *cursor, s step, v *T, decode func(*cursor, *T)) {
	data := c.bytes(s.field)
	if !c.d.enter(s) {
		return
	}
	defer c.d.leave()
	decode(&cursor{d: c.d, rest: data}, v)
}

// named gives the current message's name to the path of later failures.
func (c *cursor) named(name *string) { c.d.path[len(c.d.path)-1].name = name }
