// SPDX-License-Identifier: Apache-2.0

package modelconfig

import (
	"strings"
	"unicode/utf8"
)

// ParseText reads a configuration in the protobuf text format, as config.pbtxt
// holds it. Errors wrap ErrInvalidConfig and begin with line:column.
//
// It is stricter than other readers in two ways, because both are mistakes: the
// same key twice in a map, and an enum number that has no name.
func ParseText(data []byte) (*Config, error) {
	if err := checkSource(data); err != nil {
		return nil, err
	}
	p := textParser{source: source{data: data}}
	fields, err := p.fields(0, 0)
	if err != nil {
		return nil, err
	}
	return decode(&p.source, node{kind: messageNode, fields: fields}, textRules)
}

// textParser is a recursive descent over the bytes. offset is the next byte.
type textParser struct {
	source
	offset int
}

// peek is the next byte after space and comments, 0 at the end.
func (p *textParser) peek() byte {
	for p.offset < len(p.data) {
		switch c := p.data[p.offset]; c {
		case ' ', '\t', '\n', '\r', '\v', '\f':
			p.offset++
		case '#':
			p.skipLine()
		default:
			return c
		}
	}
	return 0
}

func (p *textParser) skipLine() {
	for p.offset < len(p.data) && p.data[p.offset] != '\n' {
		p.offset++
	}
}

// accept consumes the next byte where it is c.
func (p *textParser) accept(c byte) bool {
	if p.peek() != c {
		return false
	}
	p.offset++
	return true
}

// fields reads the fields of a message up to its closing byte, which it consumes;
// 0 stands for the end of the text.
func (p *textParser) fields(closing byte, depth int) ([]fieldNode, error) {
	var fields []fieldNode
	for {
		c := p.peek()
		switch {
		case p.offset == len(p.data) && closing == 0:
			return fields, nil
		case p.offset == len(p.data):
			return nil, p.errorf(p.offset, "text ends inside a message, %q is missing", closing)
		case closing != 0 && c == closing:
			p.offset++
			return fields, nil
		}
		field, err := p.field(depth)
		if err != nil {
			return nil, err
		}
		fields = append(fields, field)
		if !p.accept(',') {
			p.accept(';')
		}
	}
}

// field reads a name and its value. Only messages, and lists of them, may follow
// their name without a colon.
func (p *textParser) field(depth int) (fieldNode, error) {
	field := fieldNode{offset: p.offset}
	switch c := p.peek(); {
	case c == '[':
		return field, p.errorf(p.offset, "extensions are not supported, a field name is expected")
	case !startsWord(c):
		return field, p.errorf(p.offset, "a field name is expected, not %q", p.nextRune())
	}
	field.name = p.take(isWord)
	colon := p.accept(':')
	value, err := p.value(depth + 1)
	if err != nil {
		return field, err
	}
	if !colon && !holdsMessages(value) {
		return field, p.errorf(value.offset, "':' is missing between %s and its value", field.name)
	}
	field.value = value
	return field, nil
}

func holdsMessages(n node) bool {
	if n.kind != listNode {
		return n.kind == messageNode
	}
	for _, item := range n.items {
		if item.kind != messageNode {
			return false
		}
	}
	return true
}

func (p *textParser) value(depth int) (node, error) {
	c := p.peek()
	n := node{offset: p.offset}
	if err := p.enter(p.offset, depth); err != nil {
		return n, err
	}
	var err error
	switch {
	case c == '{' || c == '<':
		p.offset++
		n.kind = messageNode
		n.fields, err = p.fields(closingOf(c), depth)
	case c == '[':
		p.offset++
		n.kind = listNode
		n.items, err = p.list(depth)
	case c == '"' || c == '\'':
		n.kind = stringNode
		n.text, err = p.joinedStrings()
	default:
		n.kind, n.text, err = p.scalar()
	}
	return n, err
}

func closingOf(opening byte) byte {
	if opening == '<' {
		return '>'
	}
	return '}'
}

// list reads the rest of a list, its '[' being consumed.
func (p *textParser) list(depth int) ([]node, error) {
	var items []node
	if p.accept(']') {
		return nil, nil
	}
	for {
		if p.peek() == '[' {
			return nil, p.errorf(p.offset, "a list cannot hold lists")
		}
		item, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		items = append(items, item)
		if p.accept(']') {
			return items, nil
		}
		if !p.accept(',') {
			return nil, p.errorf(p.offset, "',' or ']' is expected in a list")
		}
	}
}

// scalar reads a number or a word, either of which may have a sign.
func (p *textParser) scalar() (nodeKind, string, error) {
	sign := ""
	if p.accept('-') {
		sign = "-"
	}
	c := p.peek()
	switch {
	case p.offset == len(p.data):
		return 0, "", p.errorf(p.offset, "text ends where a value is expected")
	case c == '.' || isDigit(c):
		return numberNode, sign + p.number(), nil
	case startsWord(c):
		return wordNode, sign + p.take(isWord), nil
	}
	return 0, "", p.errorf(p.offset, "a value is expected, not %q", p.nextRune())
}

// number takes everything that could belong to a number; the decoder, which knows
// the field's type, decides whether it is one.
func (p *textParser) number() string {
	start := p.offset
	for p.offset < len(p.data) {
		c := p.data[p.offset]
		exponentSign := (c == '+' || c == '-') && strings.IndexByte("eE", p.data[p.offset-1]) >= 0
		if !isWord(c) && c != '.' && (!exponentSign || isHex(p.data[start:p.offset])) {
			break
		}
		p.offset++
	}
	return string(p.data[start:p.offset])
}

func isHex(digits []byte) bool {
	return len(digits) > 1 && digits[0] == '0' && (digits[1] == 'x' || digits[1] == 'X')
}

func (p *textParser) take(belongs func(byte) bool) string {
	start := p.offset
	for p.offset < len(p.data) && belongs(p.data[p.offset]) {
		p.offset++
	}
	return string(p.data[start:p.offset])
}

func (p *textParser) nextRune() rune {
	r, _ := utf8.DecodeRune(p.data[p.offset:])
	return r
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

func startsWord(c byte) bool {
	return c == '_' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

func isWord(c byte) bool { return startsWord(c) || isDigit(c) }
