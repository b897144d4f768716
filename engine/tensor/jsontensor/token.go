// SPDX-License-Identifier: Apache-2.0

package jsontensor

import (
	"fmt"
	"strings"
	"unsafe"
)

// literal reads the given token if it comes next.
func (p *parser) literal(token string) bool {
	if !strings.HasPrefix(p.rest(), token) {
		return false
	}
	p.at += len(token)
	return true
}

// rest views what is not yet read as a string, valid as long as data is.
func (p *parser) rest() string {
	rest := p.data[p.at:]
	return unsafe.String(unsafe.SliceData(rest), len(rest))
}

// number reads a JSON number. whole is true where it has neither fraction nor
// exponent. The token is a view of data.
func (p *parser) number() (token string, whole bool, err error) {
	rest := p.rest()
	n := 0
	if n < len(rest) && rest[n] == '-' {
		n++
	}
	digits := countDigits(rest[n:])
	if digits == 0 || digits > 1 && rest[n] == '0' {
		return "", false, p.wrongKind("a number")
	}
	n += digits
	whole = true
	if n < len(rest) && rest[n] == '.' {
		whole = false
		digits = countDigits(rest[n+1:])
		n += 1 + digits
	}
	if digits > 0 && n < len(rest) && rest[n]|0x20 == 'e' {
		whole = false
		n++
		if n < len(rest) && (rest[n] == '+' || rest[n] == '-') {
			n++
		}
		digits = countDigits(rest[n:])
		n += digits
	}
	if digits == 0 {
		return "", false, fmt.Errorf("number %s at offset %d lacks digits", excerpt(rest[:n]), p.at)
	}
	p.at += n
	return rest[:n], whole, nil
}

func countDigits(s string) int {
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return i
		}
	}
	return len(s)
}

// excerpt shortens a token for an error message, and copies it, as tokens are views.
func excerpt(token string) string {
	const bytesMax = 40
	if len(token) > bytesMax {
		return token[:bytesMax] + "..."
	}
	return strings.Clone(token)
}
