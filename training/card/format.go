// SPDX-License-Identifier: Apache-2.0

package card

import (
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// none stands for a number that is not known.
const none = "–"

// textMax bounds the characters of a text that is shown.
const textMax = 2000

// visible makes a text one line without anything that a terminal or a page would obey:
// control characters and those that turn the direction of what follows become U+FFFD.
func visible(s string) string {
	var b strings.Builder
	n := 0
	for _, r := range s {
		if n == textMax {
			b.WriteRune('…')
			break
		}
		n++
		switch {
		case r == '\n' || r == '\r' || r == '\t' || unicode.Is(unicode.Z, r):
			b.WriteByte(' ')
		case unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || r == utf8.RuneError || r&0xfffe == 0xfffe:
			b.WriteRune(utf8.RuneError)
		default:
			b.WriteRune(r)
		}
	}
	return strings.TrimSpace(b.String())
}

// shortened cuts a text to a number of characters, the last of which is an ellipsis then.
func shortened(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n-1]) + "…"
	}
	return s
}

func finite(v float64) bool { return !math.IsNaN(v) && !math.IsInf(v, 0) }

// number writes a value with four digits that matter.
func number(v float64) string {
	a := math.Abs(v)
	switch {
	case !finite(v):
		return none
	case v == 0:
		return "0"
	case a < 1e-4 || a >= 1e7:
		return strconv.FormatFloat(v, 'e', 2, 64)
	case a < 1:
		return strconv.FormatFloat(v, 'f', 4, 64)
	}
	return strconv.FormatFloat(v, 'f', max(0, 3-int(math.Log10(a))), 64)
}

// count writes thousands apart: 1,754,155.
func count(n int) string {
	s, sign := strconv.Itoa(n), ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
