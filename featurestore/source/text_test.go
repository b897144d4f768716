// SPDX-License-Identifier: Apache-2.0

package source

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"testing"
	"testing/iotest"
	"time"
)

func TestTimes(t *testing.T) {
	for text, want := range map[string]string{
		"2024-02-29":                          "2024-02-29T00:00:00Z",
		"2024-02-29 23:59:59":                 "2024-02-29T23:59:59Z",
		"2024-02-29t23:59:59z":                "2024-02-29T23:59:59Z",
		"2024-02-29T23:59:59.123456789-05:30": "2024-03-01T05:29:59.123456Z",
		"1969-12-31 23:59:59.9999999+00":      "1969-12-31T23:59:59.999999Z",
		"0001-01-01T00:00:00+0100":            "0000-12-31T23:00:00Z",
		"9999-12-31T23:59:59.999999Z":         "9999-12-31T23:59:59.999999Z",
	} {
		got, err := parseTime(text)
		if s := time.UnixMicro(got).UTC().Format(time.RFC3339Nano); err != nil || s != want {
			t.Errorf("%q is %s, %v; want %s", text, s, err, want)
		}
	}
	for _, text := range []string{"", "2024", "2024-1-02", "2024-13-01", "2024-02-30", "2023-02-29", "2024-01-02T", "2024-01-02T03:04", "2024-01-02T24:00:00",
		"2024-01-02T03:04:60", "2024-01-02T03:04:05.", "2024-01-02T03:04:05.1234567890", "2024-01-02T03:04:05 Z", "2024-01-02T03:04:05+1", "2024-01-02T03:04:05+25:00",
		"2024-01-02T03:04:05+01:60", "2024-01-02x03:04:05", "1704164645", "2024/01/02", "02-01-2024", "2024-01-0２", "-024-01-02"} {
		if got, err := parseTime(text); err == nil {
			t.Errorf("%q is taken, as %d", text, got)
		}
	}
}

func TestEpochs(t *testing.T) {
	for _, c := range []struct {
		text string
		unit string
		want int64
	}{
		{"1704164645", "unix_s", 1704164645000000}, {"1704164645.1234567", "unix_s", 1704164645123456}, {"-1.5", "unix_s", -1500000},
		{"-0.0000001", "unix_s", -1}, {"1", "unix_ms", 1000}, {"1.5", "unix_us", 1}, {"-1", "unix_ns", -1}, {"1999", "unix_ns", 1},
		{"9223372036854775807", "unix_s", badTime}, {"-9223372036854775808", "unix_ms", badTime},
	} {
		if got, err := parseEpoch(c.text, epochs[c.unit]); err != nil || got != c.want {
			t.Errorf("%s %s: %d, %v; want %d", c.unit, c.text, got, err, c.want)
		}
	}
	for _, text := range []string{"", "1.", ".5", "1e9", "1.5x", "x", "1.-5", "99999999999999999999"} {
		if got, err := parseEpoch(text, epochs["unix_s"]); err == nil {
			t.Errorf("%q is taken, as %d", text, got)
		}
	}
}

// shapeOfTime is what RFC 3339 asks for; Parse also takes an hour of one digit, a comma, and
// an offset of 60 minutes.
var shapeOfTime = regexp.MustCompile(`^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$`)

// What both take means the same, and what has that shape is taken.
func FuzzTime(f *testing.F) {
	f.Add("2024-02-29T23:59:59.123456789-05:30")
	f.Add("2024-02-29 23:59:59")
	f.Add("2024-02-29T2:59:59.123456789-05:30")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := parseTime(text)
		want, other := time.Parse(time.RFC3339Nano, text)
		if other == nil && err == nil && want.UnixMicro() != got {
			t.Errorf("%q is %d, want %d", text, got, want.UnixMicro())
		}
		if other == nil && err != nil && shapeOfTime.MatchString(text) {
			t.Errorf("%q: %v", text, err)
		}
	})
}

// records are what encoding/csv makes of a text, line by line, malformed records too.
func records(content []byte, line int64) []string {
	var all []string
	r := csv.NewReader(bytes.NewReader(content))
	r.FieldsPerRecord = -1
	for {
		record, err := r.Read()
		if errors.Is(err, io.EOF) {
			return all
		}
		var malformed *csv.ParseError
		if errors.As(err, &malformed) {
			all = append(all, fmt.Sprint(line+int64(malformed.StartLine), malformed.Err))
			continue
		}
		at, _ := r.FieldPos(0)
		all = append(all, fmt.Sprintf("%d %q", line+int64(at), record))
	}
}

// Text cut into pieces has the records of the whole, however malformed.
func FuzzSplit(f *testing.F) {
	f.Add([]byte("a,b\n1,\"x\ny\"\n\n2,z"), uint8(1))
	f.Add([]byte("a\r\n\"1\"\"\n\"\r\n2"), uint8(2))
	f.Add([]byte("a\"b\n\"a\"b\n\"a,\n\"\"b\"\nc"), uint8(0))
	f.Fuzz(func(t *testing.T, content []byte, rows uint8) {
		s := newSplitter(iotest.OneByteReader(bytes.NewReader(content)), int(rows)+1, true)
		var got []string
		line, all := int64(1), []byte(nil)
		for {
			piece, err := s.next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if piece.line != line {
				t.Fatalf("a piece from line %d, want %d", piece.line, line)
			}
			line += int64(bytes.Count(piece.bytes, []byte{'\n'}))
			all = append(all, piece.bytes...)
			some := records(piece.bytes, piece.line)
			if len(some) > int(rows)+1 {
				t.Fatalf("a piece of %d records, of which %d are allowed", len(some), int(rows)+1)
			}
			got = append(got, some...)
		}
		if want := records(content, 1); !bytes.Equal(all, content) || !slices.Equal(got, want) {
			t.Fatalf("pieces %q, want %q", got, want)
		}
	})
}
