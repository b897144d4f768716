// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/featurestore/definition"
)

// momentFlag is a flag that takes a moment: a time, in UTC unless it says otherwise,
// or how long ago. The zero value is none.
type momentFlag struct {
	time time.Time
	text string
}

func (m *momentFlag) String() string { return m.text }
func (m *momentFlag) Type() string   { return "time" }

func (m *momentFlag) Set(text string) error {
	t, err := momentOf(text, time.Now())
	m.time, m.text = t, text
	return err
}

// micros is the moment in microseconds since 1970 UTC, 0 for none.
func (m *momentFlag) micros() int64 {
	if m.time.IsZero() {
		return 0
	}
	return m.time.UnixMicro()
}

// momentForms are the ways to write a time.
var momentForms = []string{time.RFC3339Nano, "2006-01-02T15:04:05.999999", "2006-01-02 15:04:05.999999", time.DateOnly}

// momentOf reads a time, or how long before now it is.
func momentOf(text string, now time.Time) (time.Time, error) {
	for _, form := range momentForms {
		if t, err := time.Parse(form, text); err == nil {
			if t.Unix() < 0 {
				return time.Time{}, fmt.Errorf("%q lies before 1970", text)
			}
			return t.UTC(), nil
		}
	}
	if span, err := parseSpan(text); err == nil {
		return now.Add(-span).UTC(), nil
	}
	return time.Time{}, fmt.Errorf("%q is no time; write 2006-01-02, 2006-01-02T15:04:05Z, or how long ago as in 90s, 15m, 6h, 7d, 4w", text)
}

// spanUnits are those of durations in definitions.
var spanUnits = map[string]time.Duration{
	"us": time.Microsecond, "ms": time.Millisecond, "s": time.Second, "m": time.Minute,
	"h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour,
}

var spanForm = regexp.MustCompile(`^([0-9]+)(us|ms|s|m|h|d|w)$`)

// parseSpan reads a duration as definitions write it.
func parseSpan(text string) (time.Duration, error) {
	parts := spanForm.FindStringSubmatch(text)
	if parts == nil {
		return 0, fmt.Errorf("%q is no duration; write it as in 90s, 15m, 6h, 7d, 4w", text)
	}
	n, err := strconv.ParseInt(parts[1], 10, 64)
	if err != nil || n > math.MaxInt64/int64(spanUnits[parts[2]]) {
		return 0, fmt.Errorf("%q is longer than 292 years", text)
	}
	return time.Duration(n) * spanUnits[parts[2]], nil
}

// spanFlag is a flag that takes a duration as definitions write it.
type spanFlag time.Duration

func (s *spanFlag) String() string {
	if *s == 0 {
		return ""
	}
	return definition.FormatDuration(time.Duration(*s))
}
func (s *spanFlag) Type() string { return "duration" }

func (s *spanFlag) Set(text string) error {
	d, err := parseSpan(text)
	*s = spanFlag(d)
	return err
}

// bytesFlag is a flag that takes a size.
type bytesFlag int64

func (b *bytesFlag) String() string {
	if *b == 0 {
		return ""
	}
	return formatBytes(int64(*b))
}
func (b *bytesFlag) Type() string { return "size" }

var bytesUnits = []struct {
	name  string
	bytes int64
}{{"GiB", 1 << 30}, {"MiB", 1 << 20}, {"KiB", 1 << 10}, {"B", 1}}

func (b *bytesFlag) Set(text string) error {
	for _, unit := range bytesUnits {
		number, found := strings.CutSuffix(text, unit.name)
		if !found {
			continue
		}
		n, err := strconv.ParseInt(number, 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64/unit.bytes {
			break
		}
		*b = bytesFlag(n * unit.bytes)
		return nil
	}
	return fmt.Errorf("%q is no size; write it as in 512MiB or 2GiB", text)
}

// formatBytes writes a size for people.
func formatBytes(n int64) string {
	for _, unit := range bytesUnits {
		switch {
		case n < unit.bytes:
		case n%unit.bytes == 0:
			return fmt.Sprintf("%d%s", n/unit.bytes, unit.name)
		default:
			return fmt.Sprintf("%.1f%s", float64(n)/float64(unit.bytes), unit.name)
		}
	}
	return "0B"
}

// formatMicros writes a moment for people, empty for none.
func formatMicros(us int64) string {
	if us == 0 {
		return ""
	}
	return time.UnixMicro(us).UTC().Format(time.RFC3339Nano)
}

// formats are the formats of files, by the end of their names.
var formats = map[string]definition.Format{
	"csv": definition.CSV, "parquet": definition.Parquet, "jsonl": definition.JSONLines, "ndjson": definition.JSONLines,
}

// fileFormat is the format that a flag names, or that the name of the file says.
func fileFormat(name, path string) (definition.Format, error) {
	flag := name != ""
	if !flag {
		name = strings.ToLower(path[strings.LastIndexByte(path, '.')+1:])
	}
	if f, known := formats[name]; known {
		return f, nil
	}
	if flag {
		return 0, usageError{fmt.Errorf("--format %q: it is csv, jsonl or parquet", name)}
	}
	return 0, usageError{fmt.Errorf("%s: the name does not say what is in the file; give --format csv, jsonl or parquet", path)}
}

// parsePairs reads NAME=VALUE pairs of a flag; no name may come twice.
func parsePairs(flag string, pairs []string) (map[string]string, error) {
	found := map[string]string{}
	var problems []error
	for _, pair := range pairs {
		name, value, ok := strings.Cut(pair, "=")
		_, twice := found[name]
		switch {
		case !ok || name == "":
			problems = append(problems, fmt.Errorf("--%s %q: write it as NAME=VALUE", flag, pair))
		case twice:
			problems = append(problems, fmt.Errorf("--%s %s: given twice", flag, name))
		}
		found[name] = value
	}
	if len(problems) > 0 {
		return nil, usageError{errors.Join(problems...)}
	}
	return found, nil
}
