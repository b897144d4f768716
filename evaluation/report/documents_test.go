// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"
	"testing"
)

func TestTextKeepsWidth(t *testing.T) {
	long := cardReport()
	long.Slices[0].Name = strings.Repeat("wide 語 ", 80)
	long.Warnings = append(long.Warnings, strings.Repeat("x", 350), strings.Repeat("語", 350))
	long.Metrics[0].Name = strings.Repeat("name", 50)
	for name, r := range map[string]*Report{"long": long, "hostile": hostileReport(), "card": cardReport()} {
		for _, line := range strings.Split(written(t, "txt", r), "\n") {
			if columnsOf(line) > columnsMax {
				t.Errorf("%s: a line of %d columns: %s", name, columnsOf(line), line)
			}
			if strings.ContainsAny(line, "\x1b\x00\r\u202e") {
				t.Errorf("%s: a line with control characters: %q", name, line)
			}
		}
	}
}

// cells counts the cells of a row: no pipe is ever left in one.
func cells(line string) int { return strings.Count(line, "|") - 1 }

func TestMarkdownTablesHold(t *testing.T) {
	for name, sample := range samples {
		columns := 0
		for _, line := range strings.Split(written(t, "md", sample()), "\n") {
			if !strings.HasPrefix(line, "|") {
				columns = 0
				continue
			}
			if n := cells(line); columns == 0 {
				columns = n
			} else if n != columns {
				t.Errorf("%s: a row of %d cells in a table of %d: %s", name, n, columns, line)
			}
		}
	}
}

var ownTags = regexp.MustCompile(`</?(details|summary|sub|code)>|<!-- -->`)

func TestMarkdownTextsStayTexts(t *testing.T) {
	text := written(t, "md", hostileReport())
	rest := ownTags.ReplaceAllString(text, "")
	if strings.ContainsAny(rest, "<") {
		t.Errorf("a tag that is not the writer's: %s", rest[strings.Index(rest, "<"):][:80])
	}
	for _, bad := range []string{"@everyone", "://", " #1", "\x1b", "\x00", "\u202e", "\n# h"} {
		if strings.Contains(text, bad) {
			t.Errorf("the comment has %q", bad)
		}
	}
}

func TestMarkdownIsBounded(t *testing.T) {
	r := cardReport()
	for i := range 1500 {
		s := r.Slices[0]
		s.Name = fmt.Sprintf("customer=%d %s", i, strings.Repeat("*", 300))
		r.Slices = append([]Slice{s}, r.Slices...)
		r.Warnings = append(r.Warnings, s.Name)
		r.Leakage = append(r.Leakage, Finding{Check: "predictor", Detail: s.Name})
		r.Tests = append(r.Tests, Test{Name: "delong", Metric: s.Name})
		r.Metrics = append(r.Metrics, Metric{Name: s.Name, Note: s.Name})
		r.Gates = append(r.Gates, Gate{Name: s.Name, Condition: s.Name, Reason: s.Name})
	}
	text := written(t, "md", r)
	if len(text) > 65536 {
		t.Errorf("%d bytes", len(text))
	}
	for _, want := range []string{"A part was left out", "more rows are in the report", "### Gates", "### Metrics", "### Worst slices", "### Leakage", "### Warnings"} {
		if !strings.Contains(text, want) {
			t.Errorf("the comment does not have %q", want)
		}
	}
	if !strings.HasPrefix(text, "## ❌ Fail") {
		t.Errorf("the comment does not say what is missing: %.300s", text)
	}
	if text := written(t, "txt", r); len(text) > 200<<10 {
		t.Errorf("the text has %d bytes", len(text))
	}
	if page := written(t, "html", r); len(page) > 4<<20 || !strings.Contains(page, "more in the report as JSON") {
		t.Errorf("the page has %d bytes", len(page))
	}
}

func TestMarkdownNames(t *testing.T) {
	for in, want := range map[string]string{
		"a_b": "`a_b`", "": none, "a|b": "<code>a&#124;b</code>", "`": "<code>\\`</code>", "@x": "`@x`",
		`C:\d`: `<code>C:\\d</code>`,
	} {
		if got := mdName(in); got != want {
			t.Errorf("mdName(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestJUnitCounts(t *testing.T) {
	for name, sample := range samples {
		var suites junitSuites
		if err := xml.Unmarshal([]byte(written(t, "xml", sample())), &suites); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		r, s := sample(), suites.Suites[0]
		failed, _ := r.broken()
		failures := 0
		seen := map[string]bool{}
		for _, c := range s.Cases {
			if seen[c.Name] || c.Name == "" || c.Class == "" {
				t.Errorf("%s: the name %q is not one", name, c.Name)
			}
			seen[c.Name] = true
			if c.Failure != nil {
				failures++
				if c.Failure.Message == "" {
					t.Errorf("%s: %q fails without saying why", name, c.Name)
				}
			}
		}
		if s.Tests != len(r.Gates) || len(s.Cases) != s.Tests || s.Failures != failed || failures != failed {
			t.Errorf("%s: %d tests, %d cases, %d failures (%d said) of %d gates, %d of them failed",
				name, s.Tests, len(s.Cases), failures, s.Failures, len(r.Gates), failed)
		}
	}
}

func TestMiddleShortened(t *testing.T) {
	for _, test := range []struct {
		in      string
		columns int
		want    string
	}{
		{"channel=web", 11, "channel=web"}, {"channel=web", 10, "chann…=web"}, {"語語語語", 5, "語…語"}, {"ab", 1, "…"}, {"", 3, ""},
	} {
		if got := middleShortened(test.in, test.columns); got != test.want || columnsOf(got) > test.columns {
			t.Errorf("%q in %d columns is %q, want %q", test.in, test.columns, got, test.want)
		}
	}
}

func TestPercent(t *testing.T) {
	for v, want := range map[float64]string{0: "0.00 %", 0.00001: "< 0.01 %", 0.0084: "0.84 %", 0.5: "50.0 %", 0.99982: "> 99.9 %", 1: "100.0 %"} {
		if got := percent(v); got != want {
			t.Errorf("percent(%g) = %q, want %q", v, got, want)
		}
	}
}

// TestSeveralReportsAreOneDocument: an XML file has one root.
func TestSeveralReportsAreOneDocument(t *testing.T) {
	var b bytes.Buffer
	if err := WriteJUnitAll(&b, []*Report{{Title: "one", Verdict: Pass}, {Title: "two", Verdict: Fail}}); err != nil {
		t.Fatal(err)
	}
	var read junitSuites
	d := xml.NewDecoder(&b)
	if err := d.Decode(&read); err != nil || len(read.Suites) != 2 || read.Suites[1].ID != 1 {
		t.Errorf("%+v, %v", read, err)
	}
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if space, ok := token.(xml.CharData); !ok || len(bytes.TrimSpace(space)) > 0 {
			t.Fatalf("%v, %v follow the document", token, err)
		}
	}
}
