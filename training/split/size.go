// SPDX-License-Identifier: Apache-2.0

package split

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
)

// Duration is a length of time, written such as 7d, 12h, 1w, 1d12h, 30m or 90s.
type Duration time.Duration

var units = map[byte]time.Duration{
	'w': 7 * 24 * time.Hour, 'd': 24 * time.Hour, 'h': time.Hour, 'm': time.Minute, 's': time.Second,
}

// durationMax bounds durations, so that sums of them and dates stay in range.
const durationMax = 50 * 365 * 24 * time.Hour

// ParseDuration reads a duration.
func ParseDuration(text string) (Duration, error) {
	var total time.Duration
	rest := strings.TrimSpace(text)
	if rest == "" {
		return 0, errors.New("the duration is empty")
	}
	for rest != "" {
		end := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
		if end <= 0 {
			return 0, fmt.Errorf("%q is no duration such as 7d, 12h or 30m", text)
		}
		n, err := strconv.ParseInt(rest[:end], 10, 32)
		unit, known := units[rest[end]]
		if err != nil || !known || time.Duration(n) > durationMax/unit {
			return 0, fmt.Errorf("%q is no duration such as 7d, 12h or 30m, of 50 years at most", text)
		}
		if total += time.Duration(n) * unit; total > durationMax {
			return 0, fmt.Errorf("duration %q is longer than 50 years", text)
		}
		rest = rest[end+1:]
	}
	return Duration(total), nil
}

// String is the duration as ParseDuration reads it.
func (d Duration) String() string {
	rest := time.Duration(d)
	if rest == 0 {
		return "0s"
	}
	var b strings.Builder
	for _, u := range []byte("dhms") {
		if n := rest / units[u]; n > 0 {
			fmt.Fprintf(&b, "%d%c", n, u)
			rest -= n * units[u]
		}
	}
	return b.String()
}

// MarshalText and UnmarshalText have String's form.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

func (d *Duration) UnmarshalText(text []byte) (err error) {
	*d, err = ParseDuration(string(text))
	return err
}

// UnmarshalYAML reads the text.
func (d *Duration) UnmarshalYAML(data []byte) error { return scalar(data, d.UnmarshalText) }

func (d Duration) micros() int64 { return time.Duration(d).Microseconds() }

// Date is a moment: microseconds since 1970 UTC.
type Date int64

var dateForms = []string{time.DateOnly, time.RFC3339, time.DateTime, "2006-01-02T15:04:05"}

// ParseDate reads 2006-01-02, 2006-01-02 15:04:05, or RFC 3339; without a zone it is UTC.
func ParseDate(text string) (Date, error) {
	for _, form := range dateForms {
		if t, err := time.Parse(form, strings.TrimSpace(text)); err == nil {
			return Date(t.UnixMicro()), nil
		}
	}
	return 0, fmt.Errorf("%q is no date such as 2018-07-25 or 2018-07-25T12:00:00Z", text)
}

// String is the date alone at midnight, else RFC 3339.
func (d Date) String() string {
	t := time.UnixMicro(int64(d)).UTC()
	if t.Truncate(24 * time.Hour).Equal(t) {
		return t.Format(time.DateOnly)
	}
	return t.Format(time.RFC3339Nano)
}

// Dates is one date or a list of them.
type Dates []Date

// MarshalText and UnmarshalText have the dates with commas between them.
func (d Dates) MarshalText() ([]byte, error) {
	texts := make([]string, len(d))
	for i, one := range d {
		texts[i] = one.String()
	}
	return []byte(strings.Join(texts, ",")), nil
}

func (d *Dates) UnmarshalText(text []byte) error {
	*d = nil
	for one := range strings.SplitSeq(string(text), ",") {
		date, err := ParseDate(one)
		if err != nil {
			return err
		}
		*d = append(*d, date)
	}
	return nil
}

// UnmarshalYAML reads a date or a list.
func (d *Dates) UnmarshalYAML(data []byte) error {
	var list []string
	if yaml.Unmarshal(data, &list) == nil {
		return d.UnmarshalText([]byte(strings.Join(list, ",")))
	}
	return scalar(data, d.UnmarshalText)
}

// Range is from a date up to another.
type Range struct{ From, To Date }

// Size is how much: one of its fields is set. It is written 7d, 500 rows, 0.2 or 20%, or
// 2018-07-25..2018-08-01, whose end is not included.
type Size struct {
	Duration Duration
	Rows     int
	// Share is above 0 and below 1.
	Share float64
	Range *Range
}

// IsZero reports whether nothing was given.
func (s Size) IsZero() bool { return s == Size{} }

// String is the form in which it is written; empty for nothing.
func (s Size) String() string {
	switch {
	case s.Range != nil:
		return s.Range.From.String() + ".." + s.Range.To.String()
	case s.Duration > 0:
		return s.Duration.String()
	case s.Rows > 0:
		return strconv.Itoa(s.Rows) + " rows"
	case s.Share > 0:
		return strconv.FormatFloat(s.Share, 'g', -1, 64)
	}
	return ""
}

// sound reports whether one thing is set, in its bounds; sizes that were parsed are.
func (s Size) sound() bool {
	switch {
	case s.Range != nil:
		return s == (Size{Range: s.Range}) && s.Range.From < s.Range.To
	case s.Duration != 0:
		return s == (Size{Duration: s.Duration}) && s.Duration > 0 && time.Duration(s.Duration) <= durationMax
	case s.Rows != 0:
		return s == (Size{Rows: s.Rows}) && s.Rows > 0
	}
	return s.Share > 0 && s.Share < 1
}

// MarshalText and UnmarshalText have String's form.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

func (s *Size) UnmarshalText(text []byte) (err error) {
	*s, err = ParseSize(string(text))
	return err
}

// UnmarshalYAML reads the text or number.
func (s *Size) UnmarshalYAML(data []byte) error { return scalar(data, s.UnmarshalText) }

// ParseSize reads a size.
func ParseSize(text string) (Size, error) {
	text = strings.TrimSpace(text)
	if from, to, ok := strings.Cut(text, ".."); ok {
		return parseRange(from, to)
	}
	if number, ok := strings.CutSuffix(text, "rows"); ok {
		n, err := strconv.ParseInt(strings.TrimSpace(number), 10, 32)
		if err != nil || n < 1 {
			return Size{}, fmt.Errorf("%q is no number of rows", text)
		}
		return Size{Rows: int(n)}, nil
	}
	percent, isPercent := strings.CutSuffix(text, "%")
	if share, err := strconv.ParseFloat(strings.TrimSpace(percent), 64); err == nil {
		if isPercent {
			share /= 100
		}
		if !(share > 0 && share < 1) || math.IsNaN(share) {
			return Size{}, fmt.Errorf("share %q is not above 0 and below 1", text)
		}
		return Size{Share: share}, nil
	}
	d, err := ParseDuration(text)
	if err != nil {
		return Size{}, fmt.Errorf("%q is none of 7d (a duration), 0.2 (a share), 500 rows, 2018-07-25..2018-08-01 (dates)", text)
	}
	if d == 0 {
		return Size{}, fmt.Errorf("%q is no time at all: leave it out", text)
	}
	return Size{Duration: d}, nil
}

func parseRange(from, to string) (Size, error) {
	var r Range
	var err error
	if r.From, err = ParseDate(from); err != nil {
		return Size{}, err
	}
	if r.To, err = ParseDate(to); err != nil {
		return Size{}, err
	}
	if r.To <= r.From {
		return Size{}, fmt.Errorf("%s..%s ends before it begins", from, to)
	}
	return Size{Range: &r}, nil
}

// scalar hands the text of a YAML scalar on, numbers and dates as they are written.
func scalar(data []byte, read func([]byte) error) error {
	var value any
	if err := yaml.Unmarshal(data, &value); err != nil {
		return err
	}
	switch v := value.(type) {
	case string:
		return read([]byte(v))
	case int, int64, uint64, float64:
		return read(fmt.Append(nil, v))
	case time.Time:
		return read([]byte(v.Format(time.RFC3339)))
	}
	return fmt.Errorf("a text or a number is wanted, not %v", value)
}
