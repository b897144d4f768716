// SPDX-License-Identifier: Apache-2.0

package onnx

import (
	"encoding/binary"
	"math"
	"unicode/utf8"
)

// The ways in which a field's value is laid out after its key.
const (
	wireVarint  = 0
	wireFixed64 = 1
	wireBytes   = 2
	wireFixed32 = 5
)

// fieldNumberMax is the largest number a field may have.
const fieldNumberMax = 1<<29 - 1

// cursor walks the fields of one message: next moves to a field, and the methods
// named for types give its value.
type cursor struct {
	d      *decoder
	rest   []byte
	number uint64
	wire   uint64
	value  uint64 // of a varint or fixed field
	data   []byte // of a length-delimited field
}

// next moves to the next field. It reports false at the end and after a failure.
func (c *cursor) next() bool {
	if c.d.err != nil || len(c.rest) == 0 {
		return false
	}
	key, ok := c.varint()
	if !ok {
		c.d.fail("", "a field's key is cut off or malformed")
		return false
	}
	c.number, c.wire = key>>3, key&7
	if c.number == 0 || c.number > fieldNumberMax {
		c.d.fail("", "field number %d is not allowed", c.number)
		return false
	}
	return c.load()
}

// load reads the value that follows the key.
func (c *cursor) load() bool {
	ok := true
	switch c.wire {
	case wireVarint:
		c.value, ok = c.varint()
	case wireFixed32:
		c.value, ok = c.fixed(4)
	case wireFixed64:
		c.value, ok = c.fixed(8)
	case wireBytes:
		c.data, ok = c.delimited()
	default:
		c.d.fail("", "field %d has wire type %d, which ONNX does not use", c.number, c.wire)
		return false
	}
	if !ok {
		c.d.fail("", "field %d is cut off or malformed", c.number)
	}
	return ok
}

func (c *cursor) varint() (uint64, bool) {
	v, n := binary.Uvarint(c.rest)
	if n <= 0 {
		return 0, false
	}
	c.rest = c.rest[n:]
	return v, true
}

func (c *cursor) fixed(size int) (v uint64, ok bool) {
	if len(c.rest) < size {
		return 0, false
	}
	for i, b := range c.rest[:size] {
		v |= uint64(b) << (8 * i)
	}
	c.rest = c.rest[size:]
	return v, true
}

func (c *cursor) delimited() ([]byte, bool) {
	n, ok := c.varint()
	if !ok || n > uint64(len(c.rest)) {
		return nil, false
	}
	data := c.rest[:n:n]
	c.rest = c.rest[n:]
	return data, true
}

// is reports whether the field is laid out as it must be, and fails otherwise.
func (c *cursor) is(wire uint64, field string) bool {
	if c.wire != wire {
		c.d.fail(field, "has wire type %d, want %d", c.wire, wire)
	}
	return c.wire == wire
}

func (c *cursor) int(field string) int64 {
	if !c.is(wireVarint, field) {
		return 0
	}
	return int64(c.value)
}

func (c *cursor) float(field string) float32 {
	if !c.is(wireFixed32, field) {
		return 0
	}
	return math.Float32frombits(uint32(c.value))
}

// bytes is a length-delimited value, aliasing the input. It is never nil.
func (c *cursor) bytes(field string) []byte {
	if !c.is(wireBytes, field) {
		return []byte{}
	}
	return c.data
}

func (c *cursor) string(field string) string {
	data := c.bytes(field)
	if !utf8.Valid(data) {
		c.d.fail(field, "is not valid UTF-8")
		return ""
	}
	return string(data)
}
