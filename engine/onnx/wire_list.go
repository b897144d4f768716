// SPDX-License-Identifier: Apache-2.0

package onnx

import (
	"math"
	"slices"
)

// varints adds the current field to a list: one number, or a packed run of them.
func varints[T int32 | int64 | uint64](c *cursor, field string, list []T) []T {
	if c.wire == wireVarint {
		return append(list, T(c.value))
	}
	run := cursor{d: c.d, rest: c.bytes(field)}
	list = slices.Grow(list, countVarints(run.rest))
	for len(run.rest) > 0 {
		v, ok := run.varint()
		if !ok {
			c.d.fail(field, "a number is cut off or malformed")
			return list
		}
		list = append(list, T(v))
	}
	return list
}

// countVarints counts the bytes that end a number.
func countVarints(data []byte) int {
	n := 0
	for _, b := range data {
		if b < 0x80 {
			n++
		}
	}
	return n
}

// fixeds adds the current field to a list: one number of size bytes, or a packed
// run of them.
func fixeds[T float32 | float64](c *cursor, field string, list []T, single uint64, from func(uint64) T) []T {
	if c.wire == single {
		return append(list, from(c.value))
	}
	size := 4
	if single == wireFixed64 {
		size = 8
	}
	run := cursor{d: c.d, rest: c.bytes(field)}
	if len(run.rest)%size != 0 {
		c.d.fail(field, "%d bytes are not a whole number of %d-byte entries", len(run.rest), size)
		return list
	}
	list = slices.Grow(list, len(run.rest)/size)
	for len(run.rest) > 0 {
		v, _ := run.fixed(size)
		list = append(list, from(v))
	}
	return list
}

func (c *cursor) floats(field string, list []float32) []float32 {
	return fixeds(c, field, list, wireFixed32, func(v uint64) float32 { return math.Float32frombits(uint32(v)) })
}

func (c *cursor) doubles(field string, list []float64) []float64 {
	return fixeds(c, field, list, wireFixed64, math.Float64frombits)
}
