// SPDX-License-Identifier: Apache-2.0

package console

import (
	"math"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestWords(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 1e-16: "0", 3: "3", 62.589: "62.6", 0.50071: "0.501", 1234.4: "1234", -0.0072061: "-0.00721", math.Inf(1): "–"} {
		if got := formatRate(v); got != want {
			t.Errorf("rate %v is %q, want %q", v, got, want)
		}
	}
	if got := formatRate(math.NaN()); got != "–" {
		t.Errorf("an unknown rate is %q", got)
	}
	for text, want := range map[string]numberAndRange{"0.8 [0.7, 0.9]": {"0.8", "[0.7, 0.9]"}, "0.8": {"0.8", ""}, "–": {"–", ""}} {
		if got := intervalParts(text); got != want {
			t.Errorf("%q is cut into %+v", text, got)
		}
	}
	for text, want := range map[string]string{"": "", " what it is ": "What it is.", "why?": "Why?", "état": "État.", "recovered: well": "Recovered: well.", "roc_auc fell": "roc_auc fell.", "\xff": "\uFFFD."} {
		if got := sentence(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
	for span, want := range map[time.Duration]time.Duration{
		time.Millisecond: time.Millisecond, 15300 * time.Millisecond: 2 * time.Second, time.Minute: 10 * time.Second,
		3 * time.Hour: 30 * time.Minute, 10_000 * time.Hour: 10_000 * time.Hour,
	} {
		if got := tickStep(span, ganttTicks); got != want {
			t.Errorf("the ticks of %v are %v apart, want %v", span, got, want)
		}
	}
}

// TestProblemPages says what is wrong in words, as a page.
func TestProblemPages(t *testing.T) {
	s := newSite(t, people)
	viewer := s.browser(t, "v"+secret)
	for path, want := range map[string]string{
		"/console/none":                         "<h1>Not found</h1>",
		"/console/%3Cscript%3Ealert(1)%3C/none": "&lt;script",
	} {
		if status, text := s.get(t, viewer, path); status != http.StatusNotFound || !strings.Contains(text, want) || strings.Contains(text, "<script>alert") {
			t.Errorf("%s: %d, want 404 with %q", path, status, want)
		}
	}
}
