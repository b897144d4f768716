// SPDX-License-Identifier: Apache-2.0

package browser_test

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace-ml/millrace/console"
	"github.com/millrace-ml/millrace/console/browser"
	"github.com/millrace-ml/millrace/console/internal/vectortest"
	"github.com/millrace-ml/millrace/evaluation/monitor"
	"github.com/millrace-ml/millrace/evaluation/monitor/record"
	"github.com/millrace-ml/millrace/evaluation/report"
	"github.com/millrace-ml/millrace/orchestrator"
	"github.com/millrace-ml/millrace/orchestrator/artifact"
)

// retraining is a run that an alarm started, and that promoted a model.
type retraining struct{ oneRun }

const alarm = "fraud/quality:1d:roc_auc@2026-01-02T03:00:00Z"

func (r retraining) Runs(string) ([]*orchestrator.RunStatus, error) {
	s, err := r.Status("run-1")
	return []*orchestrator.RunStatus{s}, err
}

func (retraining) Status(run string) (*orchestrator.RunStatus, error) {
	if run != "run-1" {
		return nil, orchestrator.ErrNotFound
	}
	return &orchestrator.RunStatus{ID: run, Pipeline: "retrain", Status: orchestrator.StatusSucceeded, Started: started, Ended: started.Add(time.Minute), Trigger: map[string]any{"alarm": alarm}, Tasks: []orchestrator.TaskStatus{
		{Task: "evaluate", Status: orchestrator.StatusSucceeded, Attempt: 1, Started: started, Ended: started.Add(20 * time.Second), Outputs: map[string]artifact.Info{"report": {Digest: "sha256:ab"}}, Values: map[string]any{"roc_auc": 0.93}},
		{Task: "canary", Status: orchestrator.StatusSucceeded, Attempt: 1, Started: started.Add(20 * time.Second), Ended: started.Add(40 * time.Second)},
		{Task: "promote", Status: orchestrator.StatusSucceeded, Attempt: 1, Started: started.Add(40 * time.Second), Ended: started.Add(time.Minute)},
	}}, nil
}

// watch is a monitor with one alarm, which was raised and cleared.
type watch struct{}

func (watch) Monitors() ([]console.MonitorInfo, error) {
	return []console.MonitorInfo{{Name: "fraud", Decision: "card_payment"}}, nil
}

func (watch) Record(string) (console.MonitorRecord, error) { return watch{}, nil }

func (watch) AlarmChanges(int) ([]console.AlarmChange, error) {
	change := func(at time.Time, what string) console.AlarmChange {
		return console.AlarmChange{ID: alarm, Time: at, Monitor: "fraud", Subject: "quality:1d:roc_auc", Severity: "critical", Change: what, Reason: "AUC is 0.8 where 0.93 was expected", Starts: []string{"retrain"}}
	}
	return []console.AlarmChange{change(started.Add(time.Hour), "cleared"), change(started, "raised")}, nil
}

func (watch) Reports(record.Query) ([]record.Report, error) { return nil, nil }
func (watch) Windows() ([]monitor.Duration, error)          { return nil, nil }
func (watch) Events(int) ([]monitor.Event, error)           { return nil, nil }
func (watch) Alarms() ([]monitor.Alarm, error)              { return nil, nil }

// judged are two evaluations.
type judged struct{}

func (judged) Evaluations(int) ([]console.Evaluation, error) {
	return []console.Evaluation{{ID: "new", Content: "0.93", Time: started, Pipeline: "retrain", Run: "run-1", Task: "evaluate"}, {ID: "old", Content: "0.8", Time: started.Add(-time.Hour), Name: "by hand"}}, nil
}

func (judged) OpenReport(e *console.Evaluation) (io.ReadCloser, error) {
	auc, low, high := 0.93, 0.9, 0.95
	if e.ID == "old" {
		auc, low, high = 0.8, 0.75, 0.85
	}
	value := report.Estimate{Value: &auc, Low: &low, High: &high, Level: 0.95}
	var b bytes.Buffer
	return io.NopCloser(&b), report.WriteJSON(&b, &report.Report{Version: report.Version, Created: started, Task: "binary", Verdict: report.Pass, Model: report.Model{Name: "fraud", SHA256: "0123456789"},
		Data: report.Data{Rows: 1000}, Metrics: []report.Metric{{Name: "roc_auc", Better: "higher", Value: value, Rows: 1000}}, Gates: []report.Gate{{Name: "auc", Condition: "0.7 or more", Observed: "0.93", Holds: true}},
		Slices: []report.Slice{{Name: "country=x", Rows: 500, Metrics: []report.Metric{{Name: "roc_auc", Value: value}}}}, Plots: report.Plots{Reliability: []report.Curve{{Name: "model", X: []float64{0.1, 0.5}, Y: []float64{0.1, 0.6}}}}})
}

type promoted struct{}

func (promoted) Promotions() ([]console.Promotion, error) {
	return []console.Promotion{{Time: started.Add(time.Minute), Model: "fraud", Version: 2, Previous: 1, SHA256: "0123456789", Promoted: true, By: "pipeline retrain", Run: "run-1", Verdict: "pass"}}, nil
}

// told is the story of a simulation.
func told() *console.Story {
	s := &console.Story{Time: started, Day: 3, Days: 9, Speed: "3600x", Headline: "The new version serves.", Quality: console.StoryQuality{Metric: "AUC", Marks: []console.StoryMark{{Day: 2, Kind: console.MarkAlarm, Text: "alarm"}}},
		Events: []console.StoryEvent{{Time: started, Text: "Version 2 is promoted", Link: "/console/audit/promotions/run-1"}}}
	for day := range 4 {
		s.Quality.Points = append(s.Quality.Points, console.StoryPoint{Day: float64(day), Realised: 0.9, Estimated: 0.91})
	}
	return s
}

// TestLoopPages follows a promotion back to its alarm from the first page, chooses
// evaluations to compare, and looks at features.
func TestLoopPages(t *testing.T) {
	store := vectortest.Open(t, 20*time.Minute, func(_ time.Time, i int) vectortest.Row {
		return vectortest.Row{Customer: int64(i * 7919 % 199), Amount: float64(i % 10), Channel: []string{"web", "app"}[i%2], Score: 0.5}
	})
	c, err := console.New(console.Options{Project: "cards", Version: "test", Models: &twoVersions{serving: 2, before: 1}, Pipelines: retraining{}, Metrics: prometheus.NewRegistry(), Audit: &trail{}, Access: alone,
		Monitors: watch{}, Evaluations: judged{}, Promotions: promoted{}, Features: store, Story: told})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	c.Routes(mux)
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close) // after the tab's, as in TestPages
	page := browser.Visitor(t).Open(t, server.URL+"/")
	page.Wait(t, `document.querySelector("[data-story] canvas")`)
	page.Check(t, "overview-story")
	page.Click(t, `.events a`)
	page.Wait(t, `document.querySelectorAll(".chain li").length === 6`)
	page.Check(t, "chain")
	if first := page.Text(t, ".chain li:first-child"); !bytes.Contains([]byte(first), []byte("quality:1d:roc_auc")) {
		t.Errorf("the chain begins with %q", first)
	}
	page.Go(t, server.URL+"/console/evaluations")
	page.Check(t, "evaluations")
	page.Click(t, `input[value="new"]`)
	page.Click(t, `input[value="old"]`)
	page.Click(t, `form[action$="/compare"] button`)
	page.Wait(t, `document.querySelectorAll(".intervals circle").length === 2`)
	page.Check(t, "comparison")
	for name, path := range map[string]string{
		"features": "/console/features", "feature": "/console/features/fraud/amount", "entity": "/console/entities/fraud?customer_id=7", "model-versions": "/console/models/fraud",
	} {
		page.Go(t, server.URL+path)
		page.Check(t, name)
	}
}
