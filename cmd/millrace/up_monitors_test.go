// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"github.com/millrace-ml/millrace/console"
	"github.com/millrace-ml/millrace/evaluation/monitor/record"
	"github.com/millrace-ml/millrace/featurestore/dataset"
)

// withoutHook are the monitors of tests that tell nobody.
var withoutHook = strings.Replace(watchMonitors, `    alarms: {webhook: "${MILLRACE_TEST_HOOK}"}`+"\n", "", 1)

// TestMonitorWatches: amounts shift and scores lose their meaning at a day. Before it there is
// no alarm; then there are those of drift, before labels, and of quality, once there are some,
// in the file, in the metrics, at the webhook; and a pipeline is started that knows when.
func TestMonitorWatches(t *testing.T) {
	told := make(chan console.AlarmChange, 100)
	refused := false
	hook := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if !refused { // the first attempt
			refused = true
			rw.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		var e console.AlarmChange
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
			t.Error(err)
		}
		told <- e
	}))
	t.Cleanup(hook.Close)
	t.Setenv("MILLRACE_TEST_HOOK", hook.URL)
	w := newWatchWorld(t, watchMonitors)
	w.pipelines()
	m := w.start()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { w.monitors.hooks[0].run(ctx); close(done) }()
	for day := range watchShifted {
		w.day(day)
		w.watch(m)
	}
	if all := w.changes(); len(all) > 0 {
		t.Errorf("alarms before anything happened: %v", all)
	}
	for day := watchShifted; day < watchShifted+5; day++ {
		w.day(day)
		w.watch(m)
	}
	drift, ok := w.raised("drift:1d:amount")
	if want := timeOf(watchDay0 + (watchShifted+1)*dayMicros); !ok || drift.Time.Before(want) || drift.Time.After(want.Add(time.Hour)) || drift.Starts != nil {
		t.Errorf("drift %+v in %v", drift, w.changes())
	}
	quality, ok := w.raised("concept:1d:roc_auc")
	if !ok || quality.Severity != "critical" || !slices.Equal(quality.Starts, []string{"retrain"}) || !quality.Time.Equal(drift.Time.Add(48*time.Hour)) {
		t.Errorf("quality %+v in %v", quality, w.changes())
	}
	w.checkTriggered(quality)
	w.checkMetrics()
	for _, want := range w.changes() {
		select {
		case e := <-told:
			if got := e.Time.Format("01-02T15:04 ") + e.Change + " " + e.ID; got != want {
				t.Errorf("told of %s, not %s", got, want)
			}
		case <-time.After(time.Minute):
			t.Fatalf("nobody was told of %s", want)
		}
	}
	cancel()
	<-done
	trail, err := (&auditTrail{state: w.host.project.State}).Entries(100)
	if err != nil || !slices.ContainsFunc(trail, func(e console.Entry) bool {
		return e.Subject == "concept:1d:roc_auc" && strings.HasPrefix(e.Link, "/console/monitors/fraud/alarms?id=fraud%2Fconcept%3A1d%3Aroc_auc%40") && strings.Contains(e.Detail, "starts retrain")
	}) {
		t.Errorf("trail %+v, %v", trail, err)
	}
}

// checkTriggered begins the run that was asked for, and looks at what it knows.
func (w *watchWorld) checkTriggered(e console.AlarmChange) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	defer cancel()
	runner := w.host.pipelines.runner
	served := make(chan error, 1)
	go func() { served <- runner.Serve(ctx) }()
	deadline := time.Now().Add(time.Minute)
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for {
		runs := runner.Runs("")
		if len(runs) == 1 && runs[0].Status.Ended() {
			if r := runs[0]; r.Pipeline != "retrain" || r.Trigger["alarm"] == "" || r.Trigger["severity"] != "critical" || r.Trigger["time"] != e.Time.Format(time.RFC3339) || r.Status != "succeeded" {
				w.t.Errorf("run %+v", r)
			}
			break
		}
		if time.Now().After(deadline) {
			w.t.Fatalf("runs %+v", runs)
		}
		<-look.C
	}
	cancel()
	w.must(<-served)
	if again := w.monitors.trigger(&e, false); !slices.Equal(again, []string{"retrain"}) && len(runner.Runs("")) != 1 {
		w.t.Errorf("told again it starts %v", again)
	}
	later := e
	later.Time = e.Time.Add(24 * time.Hour)
	if again := w.monitors.trigger(&later, true); again != nil {
		w.t.Errorf("another bad window starts %v, which wants alarms alone", again)
	}
	later.ID, later.Subject = later.ID+"-skewed", "skewed:1d"
	if again := w.monitors.trigger(&later, true); !slices.Equal(again, []string{"other"}) {
		w.t.Errorf("another bad window starts %v", again)
	}
}

// pipelines opens the project's pipelines.
func (w *watchWorld) pipelines() {
	w.t.Helper()
	p := w.host.project
	file, err := loadPipelines(p.Dir, p.Pipelines)
	w.must(err)
	runner, err := openRunner(w.t.Context(), (&pipelineOptions{}).runnerOptions(&taskHost{project: p}, file))
	w.must(err)
	w.t.Cleanup(func() { w.must(runner.Close()) })
	w.host.pipelines = &upPipelines{runner: runner, file: file, log: w.host.log}
}

// metrics are those of the monitors, as Prometheus reads them.
func (w *watchWorld) metrics() string {
	w.t.Helper()
	registry := prometheus.NewPedanticRegistry()
	for _, c := range w.monitors.collectors() {
		w.must(registry.Register(c))
	}
	families, err := registry.Gather()
	w.must(err)
	var text strings.Builder
	for _, f := range families {
		_, err := expfmt.MetricFamilyToText(&text, f)
		w.must(err)
	}
	return text.String()
}

// checkMetrics collects the metrics.
func (w *watchWorld) checkMetrics() {
	w.t.Helper()
	text := w.metrics()
	for _, want := range []string{
		`millrace_monitor_alarm{monitor="fraud",severity="warning",subject="drift:1d:amount"} 1`, `millrace_monitor_drift_effect{column="amount",monitor="fraud",window="1d"} 0.`,
		`millrace_monitor_quality{metric="roc_auc",monitor="fraud",window="1d"} 0.`, `millrace_monitor_estimated{metric="roc_auc",monitor="fraud",window="1d"} 0.`,
		`millrace_monitor_rows{monitor="fraud",window="1d"} 240`, `millrace_monitor_lag_records{monitor="fraud"} 0`, `millrace_monitor_watching{monitor="fraud"} 1`,
		`millrace_monitor_label_coverage{monitor="fraud",window="1d"} 1`, `millrace_monitor_events_total{kind="rejected",monitor="fraud"} 0`,
	} {
		if !strings.Contains(text, want) {
			w.t.Errorf("the metrics lack %s in\n%s", want, text)
		}
	}
}

// TestMonitorGoesOn ends the process again and again, at once or in order, with its snapshot
// or without: what is found, and told, is what a monitor finds that was never interrupted.
func TestMonitorGoesOn(t *testing.T) {
	const days = watchShifted + 5
	whole := newWatchWorld(t, withoutHook)
	m := whole.start()
	for day := range days {
		whole.day(day)
		whole.watch(m)
	}
	if len(whole.changes()) < 3 {
		t.Fatalf("too little happens: %v", whole.changes())
	}
	for _, test := range []struct {
		name    string
		between func(*watchWorld, *watcher, int)
	}{
		{"killed", func(w *watchWorld, m *watcher, day int) {
			if day%3 == 0 {
				w.must(m.save())
			}
			m.forget()
		}},
		{"ended", func(_ *watchWorld, m *watcher, _ int) { m.end() }},
		{"compacted", func(w *watchWorld, m *watcher, day int) {
			m.forget()
			if w.log.Hold(1 << 60); day%2 == 0 {
				w.must(w.log.Compact(t.Context()))
			}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWatchWorld(t, withoutHook)
			m := w.start()
			for day := range days {
				w.day(day)
				w.watch(m)
				test.between(w, m, day)
				m = w.start()
			}
			w.watch(m)
			if got, want := w.changes(), whole.changes(); !slices.Equal(got, want) {
				t.Errorf("alarms\n%s\nnot\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
			}
			w.same(m.store, whole.monitors.watchers[0].store)
		})
	}
	t.Run("away for a week", func(t *testing.T) {
		w := newWatchWorld(t, withoutHook)
		m := w.start()
		for day := range days {
			w.day(day)
			switch day {
			case 2:
				w.watch(m)
				m.end()
				m = w.start()
			case 9:
				w.log.Hold(1 << 60)
				w.must(w.log.Compact(t.Context()))
			}
		}
		w.watch(m)
		w.same(m.store, whole.monitors.watchers[0].store)
	})
	t.Run("begun anew", func(t *testing.T) {
		w := newWatchWorld(t, withoutHook)
		m := w.start()
		for day := range days {
			w.day(day)
			w.watch(m)
			if m.end(); day%4 == 3 {
				w.removeSnapshot()
			}
			m = w.start()
		}
		w.watch(m)
		open := func(w *watchWorld) (subjects []string) {
			for _, e := range w.monitors.book.raisedOf("fraud") {
				if !strings.HasPrefix(e.Subject, "online:") { // of all labels since the beginning
					subjects = append(subjects, e.Subject)
				}
			}
			return subjects
		}
		if got, want := open(w), open(whole); !slices.Equal(got, want) {
			t.Errorf("raised are %v, not %v", got, want)
		}
	})
}

// same compares what monitors found.
func (w *watchWorld) same(a, b *record.Store) {
	w.t.Helper()
	got, err := a.Reports(record.Query{})
	w.must(err)
	want, err := b.Reports(record.Query{})
	w.must(err)
	if len(got) != len(want) {
		w.t.Fatalf("%d reports, not %d", len(got), len(want))
	}
	for i := range got {
		x, err := json.Marshal(got[i])
		w.must(err)
		y, err := json.Marshal(want[i])
		w.must(err)
		if string(x) != string(y) {
			w.t.Errorf("report %d is\n%s\nnot\n%s", i, x, y)
		}
	}
}

// TestMonitorOfVersions: another version is served, which has no reference: its first days in
// the log become one, and the alarms of the version before are over.
func TestMonitorOfVersions(t *testing.T) {
	text := strings.Replace(withoutHook, "reference: version", "reference: {log: {days: 3}}", 1)
	w := newWatchWorld(t, text)
	m := w.start()
	for day := range watchShifted + 2 {
		w.day(day)
		w.watch(m)
		m.lookNext = time.Time{}
		if problem := m.status.problem(); day < 4 && !strings.Contains(problem, "warming up") || day > 5 && problem != "" {
			t.Errorf("day %d: %q", day, problem)
		}
	}
	if _, ok := w.raised("drift:1d:amount"); !ok {
		t.Fatalf("no drift in %v", w.changes())
	}
	m.end()
	w.version = 2
	m = w.start() // swapped while there was no process
	for day := watchShifted + 2; day < watchShifted+9; day++ {
		w.day(day)
		m.lookNext = time.Time{}
		w.watch(m)
	}
	if m.version != 2 || m.monitor == nil || m.status.problem() != "" {
		t.Errorf("version %d: %s", m.version, m.status.problem())
	}
	changes, err := readAlarms(w.host.project.State)
	if last := changes[len(changes)-1]; err != nil || last.Change != "cleared" || last.Reason != "version 2 is served" {
		t.Errorf("%+v, %v", changes, err)
	}
	w.version = 1 // back again, in a process that runs
	w.watch(m)
	if m.version != 1 || m.monitor == nil {
		t.Errorf("version %d", m.version)
	}
}

// TestMonitorOfQuiet: where nothing comes any more, or features are not those that the log
// gives, there is one alarm until it is over, whoever restarts.
func TestMonitorOfQuiet(t *testing.T) {
	w := newWatchWorld(t, withoutHook)
	m := w.start()
	w.day(0)
	w.watch(m)
	w.at += 2 * dayMicros
	for range 2 {
		w.watch(m)
		m.end()
		m = w.start()
	}
	m.parity.take(&dataset.Parity{Features: []dataset.FeatureParity{{Service: "fraud", Feature: "amount", Compared: 10, Mismatched: 2}, {Service: "other", Mismatched: 5}}}, "fraud")
	w.watch(m)
	skew, _ := w.raised(skewSubject)
	if !strings.Contains(skew.Reason, "2 of 10 values") {
		t.Errorf("%+v", skew)
	}
	m.parity.take(&dataset.Parity{Features: []dataset.FeatureParity{{Service: "fraud", Feature: "amount", Compared: 10}}}, "fraud")
	w.watch(m)
	w.day(3)
	w.watch(m)
	var got []string
	changes, err := readAlarms(w.host.project.State)
	for _, e := range changes {
		got = append(got, e.Change+" "+e.Subject)
	}
	want := []string{"raised " + quietSubject, "raised " + skewSubject, "cleared " + skewSubject, "cleared " + quietSubject}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%v, %v", got, err)
	}
	if due := changes[0].Time; !due.Equal(timeOf(watchDay0 + dayMicros*(watchPerDay-1)/watchPerDay).Add(36 * time.Hour)) {
		t.Errorf("quiet since %v", due)
	}
}
