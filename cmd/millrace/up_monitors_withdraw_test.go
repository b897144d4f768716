// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/console"
	"github.com/millrace-ml/millrace/evaluation/monitor"
	"github.com/millrace-ml/millrace/orchestrator"
)

// TestAlarmOverWithdraws: another version comes into service before the run has begun that an
// alarm asked for. The run waits until the monitor has found out, is withdrawn with the alarm,
// and its record says why.
func TestAlarmOverWithdraws(t *testing.T) {
	w := newWatchWorld(t, withoutHook)
	w.pipelines()
	m := w.start()
	quality := console.AlarmChange{}
	for day := 0; quality.ID == "" && day < watchShifted+5; day++ {
		w.day(day)
		w.watch(m)
		quality, _ = w.raised("concept:1d:roc_auc")
	}
	if !slices.Equal(quality.Starts, []string{"retrain"}) {
		t.Fatalf("quality %+v in %v", quality, w.changes())
	}
	trigger := map[string]any{"alarm": quality.ID}
	if w.monitors.unsettled(trigger) {
		t.Error("the run is held while the version is served that the alarm is about")
	}
	w.version = 2
	if !w.monitors.unsettled(trigger) || w.monitors.unsettled(map[string]any{"alarm": "fraud/other@1"}) || w.monitors.unsettled(map[string]any{"on": "file"}) {
		t.Error("another version is served: the runs of its alarms wait, and no others")
	}
	for _, watcher := range w.monitors.watchers { // it would be for ever
		watcher.status.fail(errors.New("no reference"))
	}
	if w.monitors.unsettled(trigger) {
		t.Error("the run waits for a monitor that cannot watch the version")
	}
	for _, watcher := range w.monitors.watchers {
		watcher.status.wait(watchStarts)
	}
	w.at += int64(time.Hour / time.Microsecond)
	w.watch(m)
	if _, ok := w.raised("concept:1d:roc_auc"); ok || w.monitors.unsettled(trigger) {
		t.Errorf("it is raised still: %v", w.changes())
	}
	runs := w.host.pipelines.runner.Runs("retrain")
	if len(runs) != 1 || runs[0].Status != orchestrator.StatusCancelled || runs[0].Trigger["alarm"] != quality.ID ||
		!strings.HasSuffix(runs[0].Error, "is over: version 2 is served") || len(runs[0].Tasks) > 0 {
		t.Errorf("runs %+v", runs)
	}
}

// TestPromotionSaysWhatBegan: the record of a decision names what began its run.
func TestPromotionSaysWhatBegan(t *testing.T) {
	for _, c := range []struct {
		trigger   map[string]any
		by, alarm string
	}{
		{map[string]any{"on": "alarm", "alarm": "m/s@1", orchestrator.TriggerAlso: []any{"m/t@1"}}, "alarm", "m/s@1"},
		{map[string]any{"on": "schedule", "time": "x"}, "schedule", ""},
		{map[string]any{"on": "file", "path": "retrain"}, "file", ""},
		{map[string]any{"on": "hand"}, "ann", ""},
		{nil, "ann", ""},
	} {
		var p promotion
		if p.begunBy("ann", c.trigger); p.By != c.by || p.Alarm != c.alarm {
			t.Errorf("%v: by %q, alarm %q", c.trigger, p.By, p.Alarm)
		}
	}
}

// TestTrailOfASimulation: what is written down by the machine's clock, years from the project's,
// stands in the trail where the project's clock was.
func TestTrailOfASimulation(t *testing.T) {
	at := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	machine := at.AddDate(1, 0, 0)
	trail := &auditTrail{state: filepath.Join(t.TempDir(), "state"), now: func() time.Time { return at }}
	alarm := func(change monitor.Change) {
		e := console.AlarmChange{ID: "m/drift@1", Monitor: "m", Subject: "drift", Severity: "critical", Change: string(change), Time: at}
		if err := appendAlarm(trail.state, e); err != nil {
			t.Fatal(err)
		}
	}
	alarm(monitor.Raised)
	at = at.Add(time.Hour)
	if err := trail.Append(console.Entry{Time: machine, Who: "ann", Action: "canary started", Subject: "fraud"}); err != nil {
		t.Fatal(err)
	}
	at = at.Add(time.Hour)
	host := &taskHost{project: &project{State: trail.state}}
	p := &promotion{Time: machine.Add(time.Second), ProjectTime: at, Model: "fraud", Decision: decisionPromoted, Version: 2, By: "alarm", Alarm: "m/drift@1", Run: "r"}
	if err := host.record(p); err != nil {
		t.Fatal(err)
	}
	at = at.Add(time.Hour)
	alarm(monitor.Cleared)
	all, err := trail.Entries(10)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range all {
		got = append(got, e.At().Format("15h ")+e.Action)
	}
	if text := strings.Join(got, ", "); text != "03h alarm cleared, 02h promoted, 01h canary started, 00h alarm raised" {
		t.Errorf("the trail is %s", text)
	}
	if d := all[1]; !d.Time.Equal(p.Time) || !strings.Contains(d.Detail, "because of the alarm m/drift@1") || d.Who != "alarm" {
		t.Errorf("the promotion is %+v", d)
	}
}
