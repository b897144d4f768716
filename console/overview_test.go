// SPDX-License-Identifier: Apache-2.0

package console

import (
	"encoding/json"
	"math"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace-ml/millrace/evaluation/monitor"
	"github.com/millrace-ml/millrace/evaluation/monitor/estimate"
	"github.com/millrace-ml/millrace/evaluation/monitor/record"
)

// fakeMonitors have one alarm that was raised and cleared, and one that is raised.
type fakeMonitors struct{ reports []record.Report }

func (fakeMonitors) Monitors() ([]MonitorInfo, error) {
	return []MonitorInfo{{Name: "fraud", Decision: "card_payment"}}, nil
}

func (f fakeMonitors) Record(string) (MonitorRecord, error) {
	return fakeRecord{reports: f.reports}, nil
}

// fakeRecord has reports.
type fakeRecord struct {
	MonitorRecord
	reports []record.Report
}

func (f fakeRecord) Reports(q record.Query) ([]record.Report, error) {
	var all []record.Report
	for _, r := range f.reports {
		if q.Matured == nil || *q.Matured == r.Matured {
			all = append(all, r)
		}
	}
	return all[max(0, len(all)-q.Limit):], nil
}

func (fakeMonitors) AlarmChanges(limit int) ([]AlarmChange, error) {
	all := slices.Clone(someAlarms)
	slices.Reverse(all)
	return all[:min(limit, len(all))], nil
}

var someAlarms = []AlarmChange{
	{ID: "a/1", Time: began.Add(-time.Hour), Monitor: "fraud", Subject: "drift:1d:amount", Severity: "critical", Change: alarmRaised, Reason: evil, Starts: []string{"retrain"}},
	{ID: "a/1", Time: began.Add(time.Hour), Monitor: "fraud", Subject: "drift:1d:amount", Severity: "critical", Change: alarmCleared},
	{ID: "a/2", Time: began.Add(2 * time.Hour), Monitor: evil, Subject: "quality:7d:auc", Severity: "critical", Change: alarmRaised, Reason: "it fell"},
}

func TestRaised(t *testing.T) {
	open := raised(append(slices.Clone(someAlarms), AlarmChange{ID: "a/2", Change: "still"}))
	if len(open) != 1 || open[0].ID != "a/2" || open[0].Change != alarmRaised {
		t.Errorf("%+v", open)
	}
}

// TestStoryIsNotHiddenByMinorEvents: what led to a promotion is found behind any number of
// warnings.
func TestStoryIsNotHiddenByMinorEvents(t *testing.T) {
	all := []StoryEvent{{Text: "alarm"}}
	for range 10 * storyEventsMax {
		all = append(all, StoryEvent{Text: "warning", Minor: true})
	}
	all = append(all, StoryEvent{Text: "promotion"})
	shown := toldEvents(all)
	if len(shown) != storyMinorMax+2 || shown[0].Text != "promotion" || shown[len(shown)-1].Text != "alarm" {
		t.Errorf("%d events: %+v", len(shown), shown)
	}
}

func TestOverviewTellsAStory(t *testing.T) {
	s := newSite(t, Access{Local: true})
	o := &s.console.options
	o.Monitors = fakeMonitors{}
	told := &Story{Time: began, Day: 3, Days: 10, Speed: "43200x", Headline: "A pattern changed " + evil, Quality: StoryQuality{Metric: "AUC"}}
	for i := range storyPointsMax + 5 {
		told.Quality.Points = append(told.Quality.Points, StoryPoint{Day: float64(i), Realised: math.NaN(), Estimated: 0.75})
	}
	told.Quality.Points[storyPointsMax].Realised = 0.5
	told.Quality.Marks = []StoryMark{{Day: 2, Kind: MarkAlarm, Text: "alarm"}, {Day: math.Inf(1)}}
	for i := range storyEventsMax + 3 {
		told.Events = append(told.Events, StoryEvent{Time: began, Text: strings.Repeat("x", i+1) + evil, Link: "//evil.example"})
	}
	o.Story = func() *Story { return told }
	mux := http.NewServeMux()
	s.console.Routes(mux)
	s.Config.Handler = mux
	_, text := s.get(t, s.browser(t, ""), "/")
	for _, want := range []string{"Day 3 of 10", "43200x", "A pattern changed &lt;script&gt;", "quality:7d:auc", `href="/console/monitors/%3Cscript`, "running", "v1"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q", want)
		}
	}
	for _, bad := range []string{"<script>alert", "javascript:", "evil.example", "drift:1d:amount"} {
		if strings.Contains(text, bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	if n := strings.Count(text, "<li><time"); n != storyEventsMax {
		t.Errorf("%d events", n)
	}
	if len(told.Events) != storyEventsMax+3 || !strings.HasPrefix(told.Events[0].Text, "x<") {
		t.Error("the story was changed")
	}
	_, text = s.get(t, s.browser(t, ""), "/console/story.json")
	var d plotData
	if err := json.Unmarshal([]byte(text), &d); err != nil || len(d.Days) != storyPointsMax || len(d.Marks) != 1 || d.Realised[0] != nil || *d.Estimated[0] != 0.75 || *d.Realised[storyPointsMax-5] != 0.5 {
		t.Errorf("%v: %d points, marks %v", err, len(d.Days), d.Marks)
	}
	if s.console.story().Quality.Now() != 0.5 {
		t.Error("the quality now is not the last that is known")
	}
	o.Story = func() *Story { return nil }
	if status, _ := s.get(t, s.browser(t, ""), "/console/story.json"); status != http.StatusNotFound {
		t.Errorf("no story: %d", status)
	}
}

func TestLoopFigures(t *testing.T) {
	s := newSite(t, Access{Local: true})
	registry := prometheus.NewRegistry()
	answers := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "millrace_decisions_total"}, []string{"decision", "answer"})
	feedback := prometheus.NewCounterVec(prometheus.CounterOpts{Name: "millrace_feedback_total"}, []string{"outcome"})
	registry.MustRegister(answers, feedback)
	s.console.options.Metrics = registry
	now := began
	s.console.traffic = newTraffic(registry, func() time.Time { return now })
	answers.WithLabelValues("card", "approve").Add(5)
	feedback.WithLabelValues("accepted").Add(0)
	s.console.traffic.sample()
	answers.WithLabelValues("card", "decline").Add(30)
	feedback.WithLabelValues("accepted").Add(40)
	feedback.WithLabelValues("refused").Add(7)
	now = now.Add(2 * time.Second)
	s.console.traffic.sample()
	figures := s.console.loop(&overviewPage{Models: []modelRow{{}, {}}})
	if len(figures) != 4 || figures[0] != (Figure{Name: "Decisions", Value: "15", Note: "a second"}) || figures[1].Value != "40" || figures[1].Note != "20 outcomes a second" || figures[2].Value != "none" || figures[3].State != "bad" {
		t.Errorf("%+v", figures)
	}
	estimated := record.Report{End: began.UnixMicro(), Estimated: &estimate.Estimate{Values: estimate.Values{0.75}}}
	s.console.options.Monitors = fakeMonitors{[]record.Report{estimated}}
	if figures = s.console.loop(&overviewPage{}); figures[2].Value != "0.75" || figures[2].Note != "AUC, estimated, until 2026-01-02 03:04" || figures[3].Note != "none raised" {
		t.Errorf("%+v", figures)
	}
	matured := record.Report{Matured: true, Quality: &monitor.Quality{Values: estimate.Values{0.5}}}
	s.console.options.Monitors = fakeMonitors{[]record.Report{matured, estimated}}
	if figures = s.console.loop(&overviewPage{}); figures[2].Value != "0.5" {
		t.Errorf("%+v", figures)
	}
}
