// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// none stands for a number that is not defined.
const none = "–"

// textMax bounds the characters of a name or sentence that is shown; JSON has all of it.
const textMax = 400

// visible makes a text that comes from data one line without anything that a terminal or a
// page would obey: control characters, and those that turn the direction of what follows,
// become U+FFFD, line breaks and tabs a space.
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

// shortened cuts a text to a number of columns, the last of which is an ellipsis then.
func shortened(s string, columns int) string {
	if columnsOf(s) <= columns {
		return s
	}
	used := 0
	for i, r := range s {
		if used += runeColumns(r); used > columns-1 {
			return s[:i] + "…"
		}
	}
	return s
}

// middleShortened cuts a name to a number of columns and keeps both ends: slices and classes
// are often told apart by the last.
func middleShortened(s string, columns int) string {
	if columnsOf(s) <= columns {
		return s
	}
	head := cutAt(s, columns/2)
	room := columns - 1 - columnsOf(head)
	tail := len(s)
	for tail > len(head) {
		r, size := utf8.DecodeLastRuneInString(s[:tail])
		if room -= runeColumns(r); room < 0 {
			break
		}
		tail -= size
	}
	return head + "…" + s[tail:]
}

// cutAt is the longest head of s that is no wider than columns.
func cutAt(s string, columns int) string {
	used := 0
	for i, r := range s {
		if used += runeColumns(r); used > columns {
			return s[:i]
		}
	}
	return s
}

// columnsOf is the width of a text on a terminal.
func columnsOf(s string) int {
	n := 0
	for _, r := range s {
		n += runeColumns(r)
	}
	return n
}

// runeColumns is 2 for the wide characters of East Asia and for pictures, 0 for marks that
// join the character before them.
func runeColumns(r rune) int {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	case r >= 0x1100 && r <= 0x115f, r >= 0x2e80 && r <= 0xa4cf, r >= 0xac00 && r <= 0xd7a3,
		r >= 0xf900 && r <= 0xfaff, r >= 0xfe30 && r <= 0xfe6f, r >= 0xff00 && r <= 0xff60,
		r >= 0xffe0 && r <= 0xffe6, r >= 0x1f300 && r <= 0x1faff, r >= 0x20000 && r <= 0x3fffd:
		return 2
	}
	return 1
}

// number writes a value with four digits that matter: 0.8712, 12.35, 1234.6, 1.20e+07.
func number(v float64) string {
	a := math.Abs(v)
	switch {
	case !isFinite(v):
		return none
	case v == 0:
		return "0"
	case a < 1e-4 || a >= 1e7:
		return strconv.FormatFloat(v, 'e', 2, 64)
	case a < 1:
		return strconv.FormatFloat(v, 'f', 4, 64)
	}
	digits := int(math.Log10(a))
	return strconv.FormatFloat(v, 'f', max(0, 3-digits), 64)
}

func numberOf(p *float64) string {
	if p == nil {
		return none
	}
	return number(*p)
}

// valueOf is the value of an estimate without its interval.
func valueOf(e *Estimate) string {
	if e == nil {
		return none
	}
	return numberOf(e.Value)
}

// signed is number with a plus in front of what is above 0. What rounding leaves between
// two equal numbers is 0.
func signed(v float64) string {
	if math.Abs(v) < 1e-12 {
		return "0"
	}
	if v > 0 && isFinite(v) {
		return "+" + number(v)
	}
	return number(v)
}

// estimate writes a value and its interval: "0.871 [0.862, 0.880]".
func estimate(e *Estimate) string { return estimateWith(e, number) }

// difference is estimate with signs.
func difference(e *Estimate) string { return estimateWith(e, signed) }

func estimateWith(e *Estimate, write func(float64) string) string {
	if e == nil || e.Value == nil {
		return none
	}
	s := write(*e.Value)
	if e.Low != nil && e.High != nil {
		s += " [" + write(*e.Low) + ", " + write(*e.High) + "]"
	}
	return s
}

// probability writes a p-value.
func probability(p *float64) string {
	switch {
	case p == nil:
		return none
	case *p < 0.001:
		return "< 0.001"
	}
	return strconv.FormatFloat(*p, 'f', 3, 64)
}

// percent writes a share of 1.
func percent(v float64) string {
	switch a := 100 * v; {
	case a != 0 && math.Abs(a) < 0.01:
		return "< 0.01 %"
	case a >= 99.95 && a < 100:
		return "> 99.9 %"
	case math.Abs(a) < 1:
		return strconv.FormatFloat(a, 'f', 2, 64) + " %"
	default:
		return strconv.FormatFloat(a, 'f', 1, 64) + " %"
	}
}

// count writes thousands apart: 1,754,155.
func count(n int) string {
	s := strconv.Itoa(n)
	sign := ""
	if n < 0 {
		sign, s = "-", s[1:]
	}
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return sign + s
}

// counted writes a number of things: "1 row", "20 rows".
func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return count(n) + " " + many
}

func sizeOf(bytes int64) string {
	switch {
	case bytes >= 10<<20:
		return fmt.Sprintf("%.0f MiB", float64(bytes)/(1<<20))
	case bytes >= 1<<20:
		return fmt.Sprintf("%.1f MiB", float64(bytes)/(1<<20))
	case bytes >= 1<<10:
		return fmt.Sprintf("%.1f KiB", float64(bytes)/(1<<10))
	}
	return fmt.Sprintf("%d B", bytes)
}

func moment(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
