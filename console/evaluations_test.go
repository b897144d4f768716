// SPDX-License-Identifier: Apache-2.0

package console

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/evaluation/report"
	"github.com/millrace-ml/millrace/orchestrator"
)

// fakeEvaluations has reports by id; a nil one cannot be read.
type fakeEvaluations struct {
	reports []*report.Report
	opened  int
}

func (f *fakeEvaluations) Evaluations(limit int) ([]Evaluation, error) {
	var all []Evaluation
	for i := range f.reports {
		all = append(all, Evaluation{ID: fmt.Sprint("e", i), Content: fmt.Sprint(i), Time: began.Add(time.Duration(-i) * time.Hour), Run: "run-1", Task: "evaluate", Pipeline: "fraud"})
	}
	return all[:min(limit, len(all))], nil
}

func (f *fakeEvaluations) OpenReport(e *Evaluation) (io.ReadCloser, error) {
	f.opened++
	var at int
	if _, err := fmt.Sscanf(e.ID, "e%d", &at); err != nil || f.reports[at] == nil {
		return nil, errors.New("the report is no longer kept")
	}
	var b bytes.Buffer
	return io.NopCloser(&b), report.WriteJSON(&b, f.reports[at])
}

func number(v float64) *float64 { return &v }

func estimated(value, low, high float64) report.Estimate {
	return report.Estimate{Value: number(value), Low: number(low), High: number(high), Level: 0.95}
}

// someReport has an AUC and what goes with it.
func someReport(auc float64, verdict report.Verdict) *report.Report {
	value, difference := estimated(auc, auc-0.1, auc+0.05), estimated(0.01, -1e-17, 0.02)
	r := &report.Report{Version: report.Version, Created: began, Task: "binary", Verdict: verdict,
		Data: report.Data{Path: "x", SHA256: "d1", Rows: 1000}, Model: report.Model{Name: evil, SHA256: fmt.Sprintf("%08d", int(auc*1000))}, Against: &report.Model{Name: "champion", Version: "1"},
		Metrics: []report.Metric{{Name: "roc_auc", Better: "higher", Value: value, Difference: &difference, Rows: 1000}, {Name: "undefined"}},
		Slices:  []report.Slice{{Name: "country=" + evil, Rows: 500, Metrics: []report.Metric{{Name: "roc_auc", Value: value}}}, {Name: "few", Rows: 2, Skipped: "too few rows"}},
		Tests:   []report.Test{{Name: "delong", Metric: "roc_auc", Hypothesis: "no difference", P: number(0.25)}, {Name: "delong", Slice: "few", Hypothesis: "of a slice"}},
		Gates:   []report.Gate{{Name: "auc at_least", Condition: "at least 0.8", Observed: "0.7", Holds: verdict == report.Pass, Reason: "it is below"}},
		Leakage: []report.Finding{{Check: "predictor", Subject: evil, Detail: "looks like the truth", Severe: true}},
		Plots:   report.Plots{Reliability: []report.Curve{{Name: "model", X: []float64{0.01, 0.02}, Y: []float64{0.015, 0.04}}}},
	}
	return r
}

// fakePromotions are decisions about models.
type fakePromotions []Promotion

func (f fakePromotions) Promotions() ([]Promotion, error) { return f, nil }

func evaluationSite(t *testing.T, reports ...*report.Report) (*site, *fakeEvaluations) {
	t.Helper()
	s := newSite(t, Access{Local: true})
	from := &fakeEvaluations{reports: reports}
	s.console.options.Evaluations = from
	s.console.options.Promotions = fakePromotions{{Time: began, Model: "fraud", Version: 2, SHA256: "00000900", Promoted: true, Run: "run-1", By: evil}}
	mux := http.NewServeMux()
	s.console.Routes(mux)
	s.Config.Handler = mux
	return s, from
}

func TestEvaluationsSideBySide(t *testing.T) {
	s, from := evaluationSite(t, someReport(0.9, report.Pass), nil, someReport(0.7, report.Fail))
	c := s.browser(t, "")
	_, text := s.get(t, c, "/console/evaluations")
	for _, want := range []string{"version 2 00000900", `0.9<br><small class="line">[0.8, 0.95]</small>`, "no longer kept", "auc at_least: it is below", `value="e0"`, "/console/pipelines/run-1/report/evaluate", "&lt;script"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q", want)
		}
	}
	if strings.Contains(text, "<script>alert") || strings.Contains(text, `value="e1"`) {
		t.Error("a name is interpreted, or a report that is gone can be chosen")
	}
	status, text := s.get(t, c, "/console/evaluations/compare?id=e0&id=e2&metric=roc_auc")
	for _, want := range []string{"0.7 [0.6, 0.75]", "to champion 0.01 [0, 0.02]", "country=&lt;script", "too few rows", "at least 0.8", "looks like the truth", "from 0 to 0.04", "0.25", "delong", "champion 1"} {
		if status != http.StatusOK || !strings.Contains(text, want) {
			t.Errorf("%d, no %q", status, want)
		}
	}
	for _, bad := range []string{"<script>alert", "of a slice", "not of the same rows", "NaN"} {
		if strings.Contains(text, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	if from.opened != 3 {
		t.Errorf("three reports were read %d times", from.opened)
	}
	for query, want := range map[string]int{
		"": http.StatusBadRequest, "id=e0": http.StatusBadRequest, "id=e0&id=e0": http.StatusBadRequest, "id=e0&id=e1": http.StatusBadRequest, "id=e0&id=e9": http.StatusNotFound,
		"id=" + strings.Repeat("e0&id=e2&id=", 4): http.StatusBadRequest, "id=e0&id=e2&metric=none": http.StatusOK,
	} {
		if status, _ := s.get(t, c, "/console/evaluations/compare?"+query); status != want {
			t.Errorf("%q: %d, want %d", query, status, want)
		}
	}
}

func TestComparisonSaysWhatDiffers(t *testing.T) {
	other := someReport(0.8, report.NoGates)
	other.Data.SHA256, other.Task, other.Slices, other.Plots = "d2", "regression", nil, report.Plots{}
	s, _ := evaluationSite(t, someReport(0.9, report.Pass), other)
	_, text := s.get(t, s.browser(t, ""), "/console/evaluations/compare?id=e0&id=e1")
	for _, want := range []string{"not of the same rows", "different tasks", "not in this report", "no gates"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q", want)
		}
	}
}

func TestModelPageKnowsItsVersions(t *testing.T) {
	s, _ := evaluationSite(t, someReport(0.9, report.Pass))
	_, text := s.get(t, s.browser(t, ""), "/console/models/fraud")
	for _, want := range []string{`href="/console/audit/promotions/run-1"`, "by &lt;script", "0.9<br>", "[0.8, 0.95]", "not loaded", "report/evaluate", "card"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q", want)
		}
	}
	for age, want := range map[time.Duration]string{time.Second: "under a minute", time.Minute: "1 minute", 90 * time.Minute: "1 hour", 49 * time.Hour: "2 days"} {
		if got := ageWord(age); got != want {
			t.Errorf("%v: %s", age, got)
		}
	}
}

func TestReportCacheIsBounded(t *testing.T) {
	from := &fakeEvaluations{reports: []*report.Report{someReport(0.9, report.Pass)}}
	var cache reportCache
	for i := range 5 * evaluationsMax {
		if _, err := cache.get(from, &Evaluation{ID: "e0", Content: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
		if len(cache.byKey) > 2*evaluationsMax {
			t.Fatalf("%d reports are held", len(cache.byKey))
		}
	}
	if _, err := cache.get(from, &Evaluation{ID: "e0", Content: fmt.Sprint(5*evaluationsMax - 1)}); err != nil || from.opened != 5*evaluationsMax {
		t.Errorf("the newest was forgotten: %v", err)
	}
}

func TestIntervals(t *testing.T) {
	one := estimated(0.5, 0.4, 0.7)
	d := drawIntervals([]*report.Estimate{&one, nil, {Value: number(math.NaN())}, {Value: number(1)}})
	if len(d.Lines) != 2 || d.Lines[0].From != 6 || d.Lines[1].X != intervalsWidth-6 || d.Lines[1].From != d.Lines[1].To || d.Low != "0.4" || d.High != "1" {
		t.Errorf("%+v", d)
	}
	if d = drawIntervals([]*report.Estimate{nil}); len(d.Lines) != 0 || d.Height != intervalRow {
		t.Errorf("%+v", d)
	}
}

// alarmedPipelines have a run that an alarm started.
type alarmedPipelines struct{ fakePipelines }

func (f *alarmedPipelines) Status(run string) (*orchestrator.RunStatus, error) {
	s, err := f.fakePipelines.Status(run)
	if s != nil {
		s.Trigger = map[string]any{triggerAlarm: "a/1"}
		s.Tasks = append(s.Tasks, orchestrator.TaskStatus{Task: "canary", Status: orchestrator.StatusSucceeded, Values: map[string]any{"share": 0.25, "arm": evil}})
	}
	return s, err
}

func TestChainFromAlarmToPromotion(t *testing.T) {
	s, _ := evaluationSite(t)
	o := &s.console.options
	o.Monitors, o.Pipelines = fakeMonitors{}, &alarmedPipelines{}
	o.Promotions = fakePromotions{
		{Time: began.Add(time.Minute), Model: "fraud", Version: 2, Previous: 1, Promoted: true, Run: "run-1", By: "schedule", Verdict: "pass", Rollback: "millrace models swap"},
		{Time: began, Model: "fraud", Run: "forgotten", By: "ann", Reasons: []string{"auc: too low " + evil}},
	}
	c := s.browser(t, "")
	status, text := s.get(t, c, "/console/audit/promotions/run-1")
	if status != http.StatusOK || strings.Contains(text, "<script>alert") {
		t.Fatalf("%d %.300s", status, text)
	}
	from := 0
	for _, want := range []string{"It took 1m0s", ">alarm<", "drift of amount, windows of 1d", ">run<", "started by the alarm a/1", ">evaluation<", "report/evaluate", ">canary<", "share 0.25", ">promotion<", "in place of version 1", ">cleared<", "/console/monitors/fraud"} {
		at := strings.Index(text[from:], want)
		if at < 0 {
			t.Fatalf("no %q in its place: %s", want, text)
		}
		from += at
	}
	if _, text = s.get(t, c, "/console/audit/promotions/forgotten"); !strings.Contains(text, "Why fraud stayed as it is") || !strings.Contains(text, "too low &lt;script") {
		t.Errorf("%s", text)
	}
	if status, _ = s.get(t, c, "/console/audit/promotions/none"); status != http.StatusNotFound {
		t.Errorf("%d", status)
	}
}

func TestAuditIsFiltered(t *testing.T) {
	s := newSite(t, Access{Local: true})
	for i := range 3*auditPageRows - 50 {
		e := Entry{Time: began.Add(time.Duration(i) * time.Second), Who: "ann", Action: "swap", Subject: "fraud", Detail: fmt.Sprint("number ", i, " ", evil)}
		if i%2 == 0 {
			e.Who, e.Action, e.Subject = "bob", "rollback", "churn"
		}
		if err := s.trail.Append(e); err != nil {
			t.Fatal(err)
		}
	}
	c := s.browser(t, "")
	for query, want := range map[string][]string{
		"":                                {"250 found, page 1 of 3", "page=2", "number 249", `<option value="rollback"`},
		"page=3":                          {"page 3 of 3", "page=2", "number 0 "},
		"who=ann&what=swap&of=fraud":      {"125 found, page 1 of 2", "page=2&amp;what=swap&amp;who=ann"},
		"who=ann&what=rollback":           {"0 found", "Nothing was changed"},
		"text=NUMBER+17+":                 {"1 found", "number 17 "},
		"text=" + url.QueryEscape(evil):   {"250 found"},
		"page=9":                          {"page 9 of 3"},
		"who=" + url.QueryEscape(`"><i>`): {"0 found"},
	} {
		status, text := s.get(t, c, "/console/audit?"+query)
		for _, w := range want {
			if status != http.StatusOK || !strings.Contains(text, w) {
				t.Errorf("%q: %d, no %q", query, status, w)
			}
		}
		if strings.Contains(text, "<script>alert") || strings.Contains(text, `"><i>`) {
			t.Errorf("%q is interpreted", query)
		}
		if n := strings.Count(text, "<tr><td><time"); n > auditPageRows {
			t.Errorf("%q: %d rows", query, n)
		}
	}
	for _, query := range []string{"page=0", "page=x", "page=-1", "page=99999999999", "text=" + strings.Repeat("x", auditTextMax+1)} {
		if status, _ := s.get(t, c, "/console/audit?"+query); status != http.StatusBadRequest {
			t.Errorf("%q: %d", query, status)
		}
	}
}
