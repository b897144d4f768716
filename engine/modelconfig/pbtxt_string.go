// SPDX-License-Identifier: Apache-2.0

package modelconfig

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// joinedStrings reads one string or several in a row, which are one when joined.
func (p *textParser) joinedStrings() (string, error) {
	var joined strings.Builder
	for {
		quote := p.peek()
		if quote != '"' && quote != '\'' {
			return joined.String(), nil
		}
		if err := p.quoted(&joined, quote); err != nil {
			return "", err
		}
	}
}

func (p *textParser) quoted(out *strings.Builder, quote byte) error {
	start := p.offset
	p.offset++
	for p.offset < len(p.data) {
		c := p.data[p.offset]
		p.offset++
		switch c {
		case quote:
			return nil
		case '\n':
			return p.errorf(start, "string is not closed on its line")
		case 0:
			return p.errorf(p.offset-1, "zero byte in a string, write it as \\000")
		case '\\':
			if err := p.escape(out); err != nil {
				return err
			}
		default:
			out.WriteByte(c)
		}
	}
	return p.errorf(start, "string is not closed")
}

var simpleEscapes = map[byte]byte{
	'a': '\a', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t', 'v': '\v',
	'?': '?', '\\': '\\', '\'': '\'', '"': '"',
}

// escape reads what follows a backslash.
func (p *textParser) escape(out *strings.Builder) error {
	start := p.offset - 1
	if p.offset == len(p.data) {
		return p.errorf(start, "text ends inside an escape")
	}
	c := p.data[p.offset]
	if plain, ok := simpleEscapes[c]; ok {
		p.offset++
		return out.WriteByte(plain)
	}
	switch {
	case '0' <= c && c <= '7':
		return p.byteEscape(out, start, 8, 1, 3)
	case c == 'x' || c == 'X':
		p.offset++
		return p.byteEscape(out, start, 16, 1, 2)
	case c == 'u':
		p.offset++
		return p.runeEscape(out, start, 4)
	case c == 'U':
		p.offset++
		return p.runeEscape(out, start, 8)
	}
	return p.errorf(start, "unknown escape \\%c", p.nextRune())
}

func (p *textParser) byteEscape(out *strings.Builder, start, base, digitsMin, digitsMax int) error {
	value, err := p.escapedNumber(start, base, digitsMin, digitsMax)
	if err != nil {
		return err
	}
	if value > 0xFF {
		return p.errorf(start, "escape stands for %d, which is not a byte", value)
	}
	return out.WriteByte(byte(value))
}

func (p *textParser) runeEscape(out *strings.Builder, start, digits int) error {
	value, err := p.escapedNumber(start, 16, digits, digits)
	if err != nil {
		return err
	}
	if value > utf8.MaxRune || !utf8.ValidRune(rune(value)) {
		return p.errorf(start, "escape stands for %X, which is not a Unicode character", value)
	}
	out.WriteRune(rune(value))
	return nil
}

// escapedNumber reads the digits of an escape that begins at start.
func (p *textParser) escapedNumber(start, base, digitsMin, digitsMax int) (uint64, error) {
	from := p.offset
	for p.offset < len(p.data) && p.offset-from < digitsMax && digitValue(p.data[p.offset]) < base {
		p.offset++
	}
	digits := string(p.data[from:p.offset])
	if len(digits) < digitsMin {
		return 0, p.errorf(start, "escape has %d digits, at least %d are expected", len(digits), digitsMin)
	}
	return strconv.ParseUint(digits, base, 64)
}

// digitValue is the value of a hexadecimal digit, 16 for any other byte.
func digitValue(c byte) int {
	switch {
	case isDigit(c):
		return int(c - '0')
	case 'a' <= c && c <= 'f':
		return int(c-'a') + 10
	case 'A' <= c && c <= 'F':
		return int(c-'A') + 10
	}
	return 16
}
