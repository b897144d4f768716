// SPDX-License-Identifier: Apache-2.0

package dataset

import (
	"strings"
	"unsafe"

	"github.com/millrace-ml/millrace/featurestore/column"
)

// encodeBatch appends the values of a batch as words. Per column: one word that is 1 if
// nulls follow; a word for each value, of a text its length; the nulls as bytes; the bytes
// of texts, after a word with their number.
func encodeBatch(to []uint64, b *column.Batch) []uint64 {
	for i := range b.Columns {
		c := &b.Columns[i]
		nulls := uint64(0)
		if len(c.Nulls) > 0 && c.Type != column.Bool && c.Type != column.Float64 {
			nulls = 1
		}
		to = append(to, nulls)
		begin := len(to)
		to = grow(to, b.Rows)
		switch c.Type {
		case column.Bool, column.Float64:
			copy(to[begin:], unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(c.Numbers))), b.Rows))
		case column.String:
			for k, t := range c.Texts[:b.Rows] {
				to[begin+k] = uint64(len(t))
			}
		default:
			copy(to[begin:], unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(c.Ints))), b.Rows))
		}
		if nulls == 1 {
			begin = len(to)
			to = grow(to, wordsFor(b.Rows))
			putBytes(to[begin:], unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(c.Nulls))), b.Rows))
		}
		if c.Type == column.String {
			to = encodeTexts(to, c.Texts[:b.Rows])
		}
	}
	return to
}

// encodedSize is how many words encodeBatch appends.
func encodedSize(b *column.Batch) int {
	size := 0
	for i := range b.Columns {
		c := &b.Columns[i]
		size += 2 + b.Rows + wordsFor(len(c.Nulls))
		bytes := 0
		for _, t := range c.Texts {
			bytes += len(t)
		}
		size += wordsFor(bytes)
	}
	return size
}

func encodeTexts(to []uint64, texts []string) []uint64 {
	size := 0
	for _, t := range texts {
		size += len(t)
	}
	to = append(to, uint64(size))
	begin := len(to)
	to = grow(to, wordsFor(size))
	if size == 0 {
		return to
	}
	to[len(to)-1] = 0
	bytes := bytesOf(to[begin:])
	for _, t := range texts {
		bytes = bytes[copy(bytes, t):]
	}
	return to
}

// decodeBatch reads a batch of that many rows back into columns of the same types. The
// words are not referred to afterwards.
func decodeBatch(b *column.Batch, words []uint64, rows int) {
	b.Rows = rows
	for i := range b.Columns {
		c := &b.Columns[i]
		c.Reset()
		c.Nulls = nil
		nulls := words[0] == 1
		values := words[1 : 1+rows]
		words = words[1+rows:]
		switch c.Type {
		case column.Bool, column.Float64:
			c.Numbers = append(c.Numbers, unsafe.Slice((*float64)(unsafe.Pointer(unsafe.SliceData(values))), rows)...)
		case column.String:
		default:
			c.Ints = append(c.Ints, unsafe.Slice((*int64)(unsafe.Pointer(unsafe.SliceData(values))), rows)...)
		}
		if nulls {
			for _, v := range bytesOf(words)[:rows] {
				c.Nulls = append(c.Nulls, v != 0)
			}
			words = words[wordsFor(rows):]
		}
		if c.Type == column.String {
			words = decodeTexts(c, values, words)
		}
	}
}

// decodeTexts gives all texts of a column one piece of memory.
func decodeTexts(c *column.Column, lengths, words []uint64) []uint64 {
	size := int(words[0])
	n := wordsFor(size)
	var all strings.Builder
	all.Write(bytesOf(words[1 : 1+n])[:size])
	rest := all.String()
	for _, length := range lengths {
		c.Texts = append(c.Texts, rest[:length])
		rest = rest[length:]
	}
	return words[1+n:]
}

// empty makes a batch empty for reuse: a column says by nil that it has no nulls.
func empty(b *column.Batch) {
	b.Reset()
	for i := range b.Columns {
		b.Columns[i].Nulls = nil
	}
}

// copyRows appends rows of one column, from begin on, to another of the same type.
func copyRows(to, from *column.Column, begin, end int) {
	if from.Nulls != nil || to.Nulls != nil || from.Type == column.String {
		for row := begin; row < end; row++ {
			copyRow(to, from, row)
		}
		return
	}
	if from.Type == column.Bool || from.Type == column.Float64 {
		to.Numbers = append(to.Numbers, from.Numbers[begin:end]...)
	} else {
		to.Ints = append(to.Ints, from.Ints[begin:end]...)
	}
}

// copyRow appends a row of one column to another of the same type.
func copyRow(to, from *column.Column, row int) {
	switch {
	case from.Null(row):
		to.AppendNull()
	case from.Type == column.Bool || from.Type == column.Float64:
		to.AppendNumber(from.Numbers[row])
	case from.Type == column.String:
		to.AppendText(from.Texts[row])
	default:
		to.AppendInt(from.Ints[row])
	}
}
