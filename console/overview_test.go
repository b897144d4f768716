// SPDX-License-Identifier: Apache-2.0

package console

import (
	"encoding/json"
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// fakeAlarms has one alarm that was raised and cleared, and one that is raised.
type fakeAlarms []Alarm

func (f fakeAlarms) Alarms() ([]Alarm, error) { return f, nil }

var someAlarms = fakeAlarms{
	{ID: "a/1", Time: began.Add(-time.Hour), Monitor: "fraud", Subject: "drift:1d:amount", Severity: "alarm", Change: alarmRaised, Reason: evil, Starts: []string{"retrain"}},
	{ID: "a/1", Time: began.Add(time.Hour), Monitor: "fraud", Subject: "drift:1d:amount", Severity: "alarm", Change: alarmCleared},
	{ID: "a/2", Time: began.Add(2 * time.Hour), Monitor: evil, Subject: "quality:7d:auc", Severity: "alarm", Change: alarmRaised, Reason: "it fell"},
}

func TestRaised(t *testing.T) {
	open := raised(append(someAlarms, Alarm{ID: "a/2", Change: "still"}))
	if len(open) != 1 || open[0].ID != "a/2" || open[0].Change != alarmRaised {
		t.Errorf("%+v", open)
	}
}

func TestOverviewTellsAStory(t *testing.T) {
	s := newSite(t, Access{Local: true})
	o := &s.console.options
	o.Alarms = someAlarms
	o.Loop = func() []Figure {
		return []Figure{{Name: "Labels", Value: "12", Note: evil, Link: "javascript:alert(1)"}, {Name: "Queue", Value: "3", Link: "/console/labeling"}}
	}
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
	for _, want := range []string{"Day 3 of 10", "43200x", "A pattern changed &lt;script&gt;", "quality:7d:auc", `href="/console/monitors/%3Cscript`, "Labels", `href="/console/labeling"`, "running", "v1"} {
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
	registry.MustRegister(answers)
	s.console.options.Metrics = registry
	now := began
	s.console.traffic = newTraffic(registry, func() time.Time { return now })
	answers.WithLabelValues("card", "approve").Add(5)
	s.console.traffic.sample()
	answers.WithLabelValues("card", "decline").Add(30)
	now = now.Add(2 * time.Second)
	s.console.traffic.sample()
	figures := s.console.loop(&overviewPage{Models: []modelRow{{}, {}}})
	if len(figures) != 3 || figures[0] != (Figure{Name: "Decisions", Value: "15", Note: "a second"}) || figures[1].Value != "none" || figures[2].State != "bad" {
		t.Errorf("%+v", figures)
	}
}
