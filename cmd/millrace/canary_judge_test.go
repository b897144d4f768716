// SPDX-License-Identifier: Apache-2.0

package main

import (
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/featurestore/latency"
)

// TestJudgeCanary: what ends a canary, and what fails it.
func TestJudgeCanary(t *testing.T) {
	usual := func() *rolloutReport {
		return &rolloutReport{
			Decision: "pay", Model: "fraud", Current: 1, CanaryVersion: 2,
			Canary: rolloutSide{Decisions: 500, Scored: 500, ScoreMean: 0.2, ScoreStdDev: 0.1, P95Micros: 900, Answers: map[string]int64{"ok": 490, "no": 10}},
			Rest:   rolloutSide{Decisions: 4500, Scored: 4500, ScoreMean: 0.19, ScoreStdDev: 0.1, P95Micros: 800, Answers: map[string]int64{"ok": 4400, "no": 100}},
		}
	}
	degraded := func(s *rolloutSide, n int64) {
		s.Degraded, s.DegradedRate = n, float64(n)/float64(s.Decisions)
	}
	for name, c := range map[string]struct {
		change func(*rolloutReport)
		ended  bool
		reason string // "" passes
	}{
		"passes":                      {func(*rolloutReport) {}, true, ""},
		"too few":                     {func(r *rolloutReport) { r.Canary.Decisions = 499 }, false, ""},
		"no rest":                     {func(r *rolloutReport) { r.Rest.Decisions = 19 }, false, ""},
		"degraded":                    {func(r *rolloutReport) { degraded(&r.Canary, 6) }, true, "1.20 % of its answers are degraded"},
		"degraded like the rest":      {func(r *rolloutReport) { degraded(&r.Canary, 60); degraded(&r.Rest, 540) }, true, ""},
		"certain before there is any": {func(r *rolloutReport) { r.Canary.Decisions = 20; degraded(&r.Canary, 5) }, true, "25.00 % of its answers are degraded"},
		"not certain yet":             {func(r *rolloutReport) { r.Canary.Decisions = 20; degraded(&r.Canary, 1) }, false, ""},
		"slow":                        {func(r *rolloutReport) { r.Canary.P95Micros = 1900 }, true, "it is slow"},
		"slower by less than matters": {func(r *rolloutReport) { r.Rest.P95Micros, r.Canary.P95Micros = 30, 800 }, true, ""},
		"scores apart":                {func(r *rolloutReport) { r.Canary.ScoreMean = 0.3 }, true, "max_score_shift 0.1"},
	} {
		w, err := decodeCanary([]byte(`{"decision": "pay", "model": "fraud", "max_score_shift": 0.1}`))
		if err != nil {
			t.Fatal(err)
		}
		r := usual()
		c.change(r)
		v := judgeCanary(w, r)
		if v.Ended != c.ended || v.Passed != (c.ended && c.reason == "") || !strings.Contains(strings.Join(v.Reasons, "\n"), c.reason) {
			t.Errorf("%s: %+v", name, v)
		}
	}
}

// TestCanaryIntervals holds the interval of a difference to the worked example of Newcombe,
// Statistics in Medicine 17 (1998), table II, 56 of 70 against 48 of 80, method 10.
func TestCanaryIntervals(t *testing.T) {
	v := canaryVerdict{Canary: rolloutSide{Decisions: 70, Answers: map[string]int64{"no": 56}}, Rest: rolloutSide{Decisions: 80, Answers: map[string]int64{"no": 48}}}
	v.answers()
	if len(v.Answers) != 1 || math.Abs(v.Answers[0].Low-0.0524) > 5e-5 || math.Abs(v.Answers[0].High-0.3339) > 5e-5 || math.Abs(v.Answers[0].Difference-0.2) > 1e-12 {
		t.Errorf("%+v", v.Answers)
	}
}

// TestCanaryWith: all that is wrong is said.
func TestCanaryWith(t *testing.T) {
	_, err := decodeCanary([]byte(`{"decision": "a/b", "model": "..", "share": 1, "decisions": 0, "timeout": "soon", "max_degraded": 2, "max_latency_ratio": 0.5, "max_score_shift": 0}`))
	if err == nil {
		t.Fatal("it is taken")
	}
	for _, want := range []string{"with.decision", "with.model", "with.share", "with.decisions", "with.timeout", "with.max_degraded", "with.max_latency_ratio", "with.max_score_shift"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("no %s in %v", want, err)
		}
	}
	if _, err := decodeCanary([]byte(`{"decision": "a", "model": "m", "shares": 1}`)); err == nil || !strings.Contains(err.Error(), "shares") {
		t.Errorf("an unknown field: %v", err)
	}
}

// TestTimeQuantile reads quantiles off a histogram to within a bucket.
func TestTimeQuantile(t *testing.T) {
	var h latency.Histogram
	for range 1000 {
		h.Observe(100 * time.Microsecond)
	}
	s := h.Snapshot()
	if q := timeQuantile(&s, 0.5); q < 64 || q > 128 {
		t.Errorf("%v, want 100 to within its bucket", q)
	}
	h.Observe(latency.Bound(latency.Buckets-1) * 4)
	s = h.Snapshot()
	if q := timeQuantile(&s, 1); math.IsNaN(q) || q < 128 {
		t.Errorf("%v beyond all bounds", q)
	}
	if q := timeQuantile(new(latency.Snapshot), 0.5); q != 0 {
		t.Errorf("%v of nothing", q)
	}
}

// TestRolloutsFile: one that cannot be read stops the start, and says which it is.
func TestRolloutsFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, rolloutsFile)
	for text, want := range map[string]string{"{": "repair or remove it", `{"format": 2}`: "format 2 is not known", `{"format": 1, "rollouts": {"a": null, "b": {"decision": "c"}}}`: ""} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		r, err := openRollouts(&auditTrail{state: dir}, nil, nil, slog.New(slog.DiscardHandler))
		if want == "" && (err != nil || len(r.list()) != 0) || want != "" && (err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path)) {
			t.Errorf("%s: %v", text, err)
		}
	}
}
