// SPDX-License-Identifier: Apache-2.0

package modelconfig

import (
	"bytes"
	"fmt"
	"unicode/utf8"
)

// Limits of what is read, so that hostile text costs bounded memory and stack.
const (
	sourceBytesMax = 4 << 20
	depthMax       = 64
	valuesMax      = 200_000
)

// nodeKind is what a value looks like before it is known which field takes it.
type nodeKind uint8

const (
	stringNode  nodeKind = iota // text is its content, unescaped
	numberNode                  // text is as written, sign included
	wordNode                    // true, KIND_CPU, inf, null; text may begin with a sign
	listNode                    // items
	messageNode                 // fields
)

func (k nodeKind) String() string {
	return [...]string{"a string", "a number", "a word", "a list", "a message"}[k]
}

// node is one value as written. Both readers produce nodes and one decoder takes
// them, so the two formats cannot drift apart.
type node struct {
	kind   nodeKind
	offset int
	text   string
	items  []node
	fields []fieldNode
}

// fieldNode is a name with its value.
type fieldNode struct {
	name   string
	offset int
	value  node
}

// source is the text being read. It places errors and counts values.
type source struct {
	data   []byte
	values int
}

// checkSource refuses texts no reader should start on.
func checkSource(data []byte) error {
	if len(data) > sourceBytesMax {
		return invalidf("configuration has %d bytes, at most %d are read", len(data), sourceBytesMax)
	}
	if !utf8.Valid(data) {
		offset := invalidUTF8Offset(data)
		return (&source{data: data}).errorf(offset, "text is not valid UTF-8")
	}
	return nil
}

func invalidUTF8Offset(data []byte) int {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return len(data)
}

// errorf is an error at a place of the text, given as line:column counted from 1.
func (s *source) errorf(offset int, format string, args ...any) error {
	before := s.data[:min(offset, len(s.data))]
	line := 1 + bytes.Count(before, []byte{'\n'})
	column := 1 + utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:])
	return invalidf("%d:%d: %s", line, column, fmt.Sprintf(format, args...))
}

// enter bounds the nesting and the number of values.
func (s *source) enter(offset, depth int) error {
	s.values++
	switch {
	case s.values > valuesMax:
		return s.errorf(offset, "more than %d values", valuesMax)
	case depth > depthMax:
		return s.errorf(offset, "nested deeper than %d levels", depthMax)
	}
	return nil
}
