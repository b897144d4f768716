// SPDX-License-Identifier: Apache-2.0

package source

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/source/internal/pages"
)

// badTime is a time that does not fit; checkTimes rejects its row.
const badTime = pages.BadTime

// epoch is the unit of times that are numbers, in nanoseconds; 0 is that numbers are no
// times.
type epoch int64

// epochs are the names of units in definition.Input.Columns.
var epochs = map[string]epoch{"unix_s": 1e9, "unix_ms": 1e6, "unix_us": 1e3, "unix_ns": 1}

// columnName reads what Columns says of a field: a name, "-", or unix_ms(name).
func columnName(field string, columns map[string]string) (name string, unit epoch, absent bool) {
	text, ok := columns[field]
	if !ok {
		return field, 0, false
	}
	if text == "-" {
		return "", 0, true
	}
	if before, rest, found := strings.Cut(text, "("); found && strings.HasSuffix(rest, ")") {
		if unit, known := epochs[before]; known {
			return rest[:len(rest)-1], unit, false
		}
	}
	return text, 0, false
}

var (
	errBool  = errors.New("is not true, false, 1 or 0")
	errInt   = errors.New("is not a whole number within 64 bits")
	errFloat = errors.New("is not a finite decimal number")
	errTime  = errors.New("is not a time such as 2006-01-02T15:04:05Z or 2006-01-02 15:04:05; for a number say its unit, as unix_ms(name), under columns")
	errEpoch = errors.New("is not a number of seconds or parts of them since 1970, as columns says")
)

// parseBool reads a truth value as CSV has it.
func parseBool(text string) (float64, error) {
	switch {
	case text == "1" || strings.EqualFold(text, "true"):
		return 1, nil
	case text == "0" || strings.EqualFold(text, "false"):
		return 0, nil
	}
	return 0, errBool
}

func parseInt(text string) (int64, error) {
	v, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, errInt
	}
	return v, nil
}

// parseFloat reads decimal notation alone: no hexadecimal, no words.
func parseFloat(text string) (float64, error) {
	for i := range len(text) {
		switch c := text[i]; {
		case c >= '0' && c <= '9', c == '.', c == '-', c == '+', c == 'e', c == 'E':
		default:
			return 0, errFloat
		}
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(v, 0) {
		return 0, errFloat
	}
	return v, nil
}

// parseEpoch reads a number of units since 1970, with a fraction if it has one, down to
// microseconds.
func parseEpoch(text string, unit epoch) (int64, error) {
	whole, fraction, _ := strings.Cut(text, ".")
	v, err := strconv.ParseInt(whole, 10, 64)
	if err != nil || fraction == "" && len(whole) != len(text) {
		return 0, errEpoch
	}
	nanos, digits := int64(0), int64(unit)
	for i := range len(fraction) {
		c := fraction[i]
		if c < '0' || c > '9' {
			return 0, errEpoch
		}
		digits /= 10
		nanos += int64(c-'0') * digits
	}
	if strings.HasPrefix(whole, "-") {
		nanos = -nanos
	}
	return toMicros(v, nanos, unit), nil
}

// toMicros is v units and some nanoseconds as microseconds, rounded down.
func toMicros(v, nanos int64, unit epoch) int64 {
	perSecond := int64(1e9) / int64(unit)
	seconds, rest := v/perSecond, v%perSecond
	if seconds > timeMax/1_000_000+1 || seconds < -timeMax/1_000_000-1 {
		return badTime
	}
	rest = rest*int64(unit) + nanos
	micros := rest / 1000
	if rest%1000 < 0 {
		micros--
	}
	return seconds*1_000_000 + micros
}

// parseTime reads the layouts of package source, without time.Parse, which is several
// times slower and takes more than is said.
func parseTime(text string) (int64, error) {
	if len(text) < 10 || text[4] != '-' || text[7] != '-' {
		return 0, errTime
	}
	year, month, day := number(text[0:4]), number(text[5:7]), number(text[8:10])
	hour, minute, second, nanos, offset := 0, 0, 0, 0, 0
	if len(text) > 10 {
		if len(text) < 19 || text[10] != 'T' && text[10] != ' ' && text[10] != 't' || text[13] != ':' || text[16] != ':' {
			return 0, errTime
		}
		hour, minute, second = number(text[11:13]), number(text[14:16]), number(text[17:19])
		var rest string
		var ok bool
		if nanos, rest, ok = fractionOf(text[19:]); !ok {
			return 0, errTime
		}
		if offset, ok = zoneOf(rest); !ok {
			return 0, errTime
		}
	}
	if year < 0 || month < 1 || month > 12 || day < 1 || hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59 {
		return 0, errTime
	}
	t := time.Date(year, time.Month(month), day, hour, minute, second, nanos, time.UTC)
	if t.Day() != day {
		return 0, errTime // that month has no such day
	}
	return t.UnixMicro() - int64(offset)*1_000_000, nil
}

// number reads digits alone; -1 is none.
func number(text string) int {
	v := 0
	for i := range len(text) {
		c := text[i]
		if c < '0' || c > '9' {
			return -1
		}
		v = v*10 + int(c-'0')
	}
	return v
}

// fractionOf reads up to nine digits behind a point.
func fractionOf(text string) (nanos int, rest string, ok bool) {
	if text == "" || text[0] != '.' {
		return 0, text, true
	}
	n, unit := 1, 100_000_000
	for n < len(text) && text[n] >= '0' && text[n] <= '9' {
		if n > 9 {
			return 0, "", false
		}
		nanos += int(text[n]-'0') * unit
		unit /= 10
		n++
	}
	return nanos, text[n:], n > 1
}

// zoneOf reads Z, +01:00, +0100 or +01, in seconds; nothing is UTC.
func zoneOf(text string) (seconds int, ok bool) {
	if text == "" || text == "Z" || text == "z" {
		return 0, true
	}
	sign := 1
	switch text[0] {
	case '-':
		sign = -1
	case '+':
	default:
		return 0, false
	}
	minutes := 0
	switch digits := text[1:]; {
	case len(digits) == 5 && digits[2] == ':':
		minutes = number(digits[3:])
	case len(digits) == 4:
		minutes = number(digits[2:])
	case len(digits) != 2:
		return 0, false
	}
	hours := number(text[1:3])
	if hours < 0 || hours > 23 || minutes < 0 || minutes > 59 {
		return 0, false
	}
	return sign * (hours*3600 + minutes*60), true
}

// appendText appends what a text means for a field, and null for an empty one.
func appendText(c *column.Column, text string, unit epoch) error {
	if text == "" {
		c.AppendNull()
		return nil
	}
	switch c.Type {
	case column.Bool:
		v, err := parseBool(text)
		c.AppendNumber(v)
		return err
	case column.Float64:
		v, err := parseFloat(text)
		c.AppendNumber(v)
		return err
	case column.Int64:
		v, err := parseInt(text)
		c.AppendInt(v)
		return err
	case column.Timestamp:
		v, err := int64(0), error(nil)
		if unit != 0 {
			v, err = parseEpoch(text, unit)
		} else {
			v, err = parseTime(text)
		}
		c.AppendInt(v)
		return err
	}
	c.AppendText(text)
	return nil
}
