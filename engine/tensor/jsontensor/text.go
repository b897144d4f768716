// SPDX-License-Identifier: Apache-2.0

package jsontensor

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

// lengthBytes is the size of the length before each BYTES element.
const lengthBytes = 4

var errStringEnd = errors.New("string has no end")

// text reads a string and appends it with its length.
func (p *parser) text() error {
	if p.peek() != '"' {
		return p.wrongKind("a string")
	}
	p.at++
	start := len(p.out)
	p.out = append(p.out, make([]byte, lengthBytes)...)
	for {
		p.plainText()
		switch p.peek() {
		case '"':
			p.at++
			binary.LittleEndian.PutUint32(p.out[start:], uint32(len(p.out)-start-lengthBytes))
			return nil
		case '\\':
			if err := p.escape(); err != nil {
				return err
			}
		default:
			if err := p.nonASCII(); err != nil {
				return err
			}
		}
	}
}

// plainText copies the ASCII characters that stand for themselves.
func (p *parser) plainText() {
	end := p.at
	for end < len(p.data) && plainASCII(p.data[end]) {
		end++
	}
	p.out = append(p.out, p.data[p.at:end]...)
	p.at = end
}

func plainASCII(c byte) bool {
	return ' ' <= c && c < utf8.RuneSelf && c != '"' && c != '\\'
}

// nonASCII copies a character of several bytes.
func (p *parser) nonASCII() error {
	if p.at == len(p.data) {
		return errStringEnd
	}
	if c := p.data[p.at]; c < utf8.RuneSelf {
		return fmt.Errorf("control character %q at offset %d, want it escaped", c, p.at)
	}
	r, size := utf8.DecodeRune(p.data[p.at:])
	if r == utf8.RuneError && size <= 1 {
		return fmt.Errorf("byte 0x%02x at offset %d is not UTF-8: send it by gRPC or as binary data", p.data[p.at], p.at)
	}
	p.out = append(p.out, p.data[p.at:p.at+size]...)
	p.at += size
	return nil
}

// escape reads a character written with a backslash.
func (p *parser) escape() error {
	if p.at+1 == len(p.data) {
		return errStringEnd
	}
	c := p.data[p.at+1]
	switch c {
	case '"', '\\', '/':
	case 'b':
		c = '\b'
	case 'f':
		c = '\f'
	case 'n':
		c = '\n'
	case 'r':
		c = '\r'
	case 't':
		c = '\t'
	case 'u':
		return p.unicodeEscape()
	default:
		return fmt.Errorf("unknown escape \\%c at offset %d", c, p.at)
	}
	p.out = append(p.out, c)
	p.at += 2
	return nil
}

// unicodeEscape reads \uXXXX, or two of them that are a surrogate pair.
func (p *parser) unicodeEscape() error {
	r, ok := p.hexEscape(p.at)
	size := hexEscapeBytes
	if ok && utf16.IsSurrogate(r) {
		low, _ := p.hexEscape(p.at + size)
		r = utf16.DecodeRune(r, low)
		ok = r != utf8.RuneError
		size *= 2
	}
	if !ok {
		return fmt.Errorf("escape at offset %d is no Unicode character", p.at)
	}
	p.out = utf8.AppendRune(p.out, r)
	p.at += size
	return nil
}

const hexEscapeBytes = len(`\uXXXX`)

func (p *parser) hexEscape(at int) (rune, bool) {
	if at+hexEscapeBytes > len(p.data) || p.data[at] != '\\' || p.data[at+1] != 'u' {
		return 0, false
	}
	v, err := strconv.ParseUint(string(p.data[at+2:at+hexEscapeBytes]), 16, 16)
	return rune(v), err == nil
}

const hexDigits = "0123456789abcdef"

// appendText appends a string in quotes. It must be UTF-8.
func appendText(dst []byte, s []byte) []byte {
	dst = append(dst, '"')
	for len(s) > 0 {
		n := 0
		for n < len(s) && (plainASCII(s[n]) || s[n] >= utf8.RuneSelf) {
			n++
		}
		dst = append(dst, s[:n]...)
		if s = s[n:]; len(s) > 0 {
			dst = appendEscaped(dst, s[0])
			s = s[1:]
		}
	}
	return append(dst, '"')
}

func appendEscaped(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&0xf])
}
