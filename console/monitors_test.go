// SPDX-License-Identifier: Apache-2.0

package console

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/evaluation/monitor"
	"github.com/millrace-ml/millrace/evaluation/monitor/drift"
	"github.com/millrace-ml/millrace/evaluation/monitor/estimate"
	"github.com/millrace-ml/millrace/evaluation/monitor/record"
	"github.com/millrace-ml/millrace/orchestrator"
	"github.com/millrace-ml/millrace/orchestrator/artifact"
)

// folderMonitors are monitors whose records are in a folder.
type folderMonitors struct {
	infos   []MonitorInfo
	stores  map[string]*record.Store
	changes []AlarmChange
}

func (f *folderMonitors) Monitors() ([]MonitorInfo, error) { return f.infos, nil }

func (f *folderMonitors) Record(name string) (MonitorRecord, error) {
	if s := f.stores[name]; s != nil {
		return s, nil
	}
	return nil, errors.New("no such record")
}

func (f *folderMonitors) AlarmChanges(limit int) ([]AlarmChange, error) {
	return f.changes[:min(limit, len(f.changes))], nil
}

func (f *folderMonitors) add(t *testing.T, info MonitorInfo, dir string) *record.Store {
	t.Helper()
	s, err := record.Open(filepath.Join(dir, info.Name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	if f.stores == nil {
		f.stores = map[string]*record.Store{}
	}
	f.infos, f.stores[info.Name] = append(f.infos, info), s
	return s
}

// alarmRuns has a run that an alarm started, and one that nothing did.
type alarmRuns struct {
	fakePipelines
	alarm string
}

func (a *alarmRuns) Runs(string) ([]*orchestrator.RunStatus, error) {
	return []*orchestrator.RunStatus{
		{ID: "fraud-7", Pipeline: "fraud", Status: orchestrator.StatusSucceeded, Started: began, Trigger: map[string]any{"alarm": a.alarm},
			Tasks: []orchestrator.TaskStatus{{Task: "evaluate", Status: orchestrator.StatusSucceeded, Outputs: map[string]artifact.Info{"report": {Digest: "sha256:ab"}}}}},
		{ID: "fraud-6", Pipeline: "fraud", Status: orchestrator.StatusSucceeded, Started: began},
	}, nil
}

const dayMicros = int64(24 * time.Hour / time.Microsecond)

// evilColumn is a name that would do harm if it were interpreted.
const evilColumn = evil + `"'&`

// fraudReports are four days: on the third the column drifts and quality falls, on the
// fourth the drift clears.
func fraudReports() (reports []monitor.Report, drifted, fell monitor.Alarm) {
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).UnixMicro()
	day := monitor.Duration(24 * time.Hour)
	drifted = monitor.Alarm{Subject: "drift:1d:" + evilColumn, Severity: monitor.Warning, Since: start + 3*dayMicros, Last: start + 3*dayMicros, Windows: 1, Reason: evil + " drifted"}
	fell = monitor.Alarm{Subject: "concept:1d:roc_auc", Severity: monitor.Critical, Since: start + 3*dayMicros + 1, Windows: 1, Reason: "roc_auc fell"}
	for i := range int64(4) {
		at := start + i*dayMicros
		closed := monitor.Report{Window: day, Start: at, End: at + dayMicros, At: at + dayMicros, Rows: 100 + i, Judged: true,
			Columns: []monitor.ColumnReport{{Name: evilColumn, Drift: &drift.Result{Test: drift.CvM, P: 0.5}, Effect: 0.25 + float64(i), Adjusted: 0.5, ScoreShift: 0.01, Mean: 1}},
			Score:   &monitor.ColumnReport{Name: "#score", Mean: 0.125}, Estimated: &estimate.Estimate{Rows: 100, Values: estimate.Values{0.9375}, Low: estimate.Values{0.875}, High: estimate.Values{0.96875}}, Latency: monitor.Latency{P50Micros: 10, P95Micros: 20, P99Micros: 31}}
		matured := monitor.Report{Window: day, Start: at, End: at + dayMicros, At: at + dayMicros + 1, Matured: true, Rows: 100 + i,
			Quality: &monitor.Quality{Rows: 100, Labelled: 50, Coverage: 0.5, Values: estimate.Values{0.875, math.NaN()}, Low: estimate.Values{0.75}, High: estimate.Values{0.96875}},
			Slices:  []monitor.SliceQuality{{Slice: "channel", Value: evil, Quality: monitor.Quality{Rows: 7}}}}
		switch i {
		case 2:
			closed.Events, matured.Events = []monitor.Event{{Change: monitor.Raised, At: closed.At, Alarm: drifted}}, []monitor.Event{{Change: monitor.Raised, At: matured.At, Alarm: fell}}
		case 3:
			closed.Events = []monitor.Event{{Change: monitor.Cleared, At: closed.At, Alarm: drifted}}
		}
		reports = append(reports, closed, matured)
	}
	return reports, drifted, fell
}

// watched is a console with the monitor fraud, which found something, and idle, which did not.
func watched(t *testing.T) (server *httptest.Server, monitors *folderMonitors, alarm string) {
	t.Helper()
	monitors = &folderMonitors{}
	dir := t.TempDir()
	s := monitors.add(t, MonitorInfo{Name: "fraud", Decision: "card_payment", Label: "is_fraud", Starts: []string{"fraud"}}, dir)
	monitors.add(t, MonitorInfo{Name: "idle", Decision: "other", Problem: "warming up"}, dir)
	reports, _, fell := fraudReports()
	if err := s.Append(reports); err != nil {
		t.Fatal(err)
	}
	alarm = alarmID("fraud", &fell)
	trail := &memoryTrail{entries: []Entry{
		{Time: began, Who: "pipeline fraud", Action: "promoted", Subject: "fraud_model", Detail: "version 8", Link: "/console/audit/promotions/fraud-7"},
		{Time: began, Who: "pipeline fraud", Action: "kept", Subject: "another", Link: "/console/pipelines/fraud-6"},
	}}
	c, err := New(Options{Project: "p", Version: "test", Monitors: monitors, Pipelines: &alarmRuns{alarm: alarm}, Audit: trail, Access: Access{Local: true}, Now: func() time.Time { return began }})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	c.Routes(mux)
	server = httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server, monitors, alarm
}

// page gets a page, whose status has to be as given.
func page(t *testing.T, address string, status int) string {
	t.Helper()
	answer, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil || answer.StatusCode != status {
		t.Fatalf("%s: %d %v\n%s", address, answer.StatusCode, err, text)
	}
	if strings.Contains(string(text), evil) {
		t.Errorf("%s: text of users is not escaped", address)
	}
	return string(text)
}

func contains(t *testing.T, text string, wanted ...string) {
	t.Helper()
	for _, w := range wanted {
		if !strings.Contains(text, w) {
			t.Errorf("there is no %q in\n%s", w, text)
		}
	}
}

func TestMonitors(t *testing.T) {
	server, monitors, alarm := watched(t)
	all := page(t, server.URL+"/console/monitors", http.StatusOK)
	contains(t, all, "realised roc_auc, windows of 1d", "1 critical", `0.875<br><small class="line">[0.75, 0.9688]</small>`, "0.9375", "warming up", "2026-03-05", url.QueryEscape(alarm))
	if strings.Contains(all, "drifted") {
		t.Error("an alarm that cleared is in the list of those that are raised")
	}
	one := page(t, server.URL+"/console/monitors/fraud", http.StatusOK)
	contains(t, one, "watches card_payment", "roc_auc fell", "Alarms that cleared", "drift of", "103", "31 µs", "50.0 %", "channel =", `0.875<br><small class="line">[0.75, 0.9688]</small>`,
		"/console/monitors/fraud/series.json?", "Rows with the same score")
	// What was told is what is raised: the drift was told of and is not over for people.
	_, drifted, _ := fraudReports()
	monitors.changes = []AlarmChange{{ID: alarmID("fraud", &drifted), Time: began, Monitor: "fraud", Subject: drifted.Subject, Severity: "warning", Change: "raised", Reason: "told", Starts: []string{"fraud"}}}
	told := page(t, server.URL+"/console/monitors", http.StatusOK)
	contains(t, told, "told", "1 warning")
	if strings.Contains(told, "critical") {
		t.Error("an alarm that was told to nobody is raised")
	}
	for path, status := range map[string]int{"/nobody": 404, "/fraud?window=3h": 404, "/fraud?window=1d": 200, "/idle": 200, "/idle/series.json": 200, "/idle/report": 200, "/fraud/alarms?id=x": 404, "/fraud/alarms": 404} {
		page(t, server.URL+"/console/monitors"+path, status)
	}
}

func TestMonitorSeries(t *testing.T) {
	server, _, _ := watched(t)
	query := url.Values{"window": {"1d"}, "column": {evilColumn, "unknown"}}
	answer, err := http.Get(server.URL + "/console/monitors/fraud/series.json?" + query.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var got monitorSeriesJSON
	if err := json.NewDecoder(answer.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	start := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).Unix()
	if !slices.Equal(got.Times, []int64{start, start + 86400, start + 2*86400, start + 3*86400}) {
		t.Errorf("times %v", got.Times)
	}
	auc, effect, average := got.Plots["roc_auc"], got.Plots["effect"], got.Plots["accuracy"]
	if len(auc) != 2 || *auc[0].Values[3] != 0.875 || *auc[0].Low[0] != 0.75 || *auc[1].Values[1] != 0.9375 {
		t.Errorf("AUC %+v", auc)
	}
	if len(effect) != 1 || effect[0].Label != evilColumn || *effect[0].Values[2] != 2.25 {
		t.Errorf("effect %+v", effect)
	}
	if len(average) != 2 || *got.Plots["rows"][0].Values[3] != 103 || *got.Plots["coverage"][0].Values[0] != 50 {
		t.Errorf("%+v", got.Plots)
	}
}

// TestAlarm follows an alarm to the promotion that it led to.
func TestAlarm(t *testing.T) {
	server, monitors, alarm := watched(t)
	address := server.URL + alarmPath("fraud", alarm)
	text := page(t, address, http.StatusOK)
	contains(t, text, "realised roc_auc", "raised since 2026-03-04", "/console/pipelines/fraud-7\"", "/console/pipelines/fraud-7/report/evaluate", `<a href="/console/audit/promotions/fraud-7">fraud_model was promoted</a>`, "version 8", "It has not cleared yet")
	if strings.Contains(text, "fraud-6") || strings.Contains(text, "another") {
		t.Error("a run that the alarm did not start is on its page")
	}
	_, drifted, _ := fraudReports()
	text = page(t, server.URL+alarmPath("fraud", alarmID("fraud", &drifted)), http.StatusOK)
	contains(t, text, "cleared at 2026-03-05", "It started no pipeline", "How the column moved", "It cleared")
	// One that no window tells of: the server found that no predictions come.
	quiet := AlarmChange{ID: "fraud/quiet@2026-03-04T00:00:00Z", Time: began, Monitor: "fraud", Subject: "quiet", Severity: "warning", Change: "raised", Reason: "no prediction came"}
	over := quiet
	over.Change, over.Time, over.Reason = "cleared", began.Add(time.Hour), "predictions come again"
	monitors.changes = []AlarmChange{over, quiet}
	text = page(t, server.URL+alarmPath("fraud", quiet.ID), http.StatusOK)
	contains(t, text, "no prediction came", "predictions come again", fmt.Sprint("cleared at ", when(over.Time)))
	// One of which no window says that it is over: another version was put into service.
	served := AlarmChange{ID: alarm, Time: began.Add(time.Hour), Monitor: "fraud", Severity: "critical", Change: "cleared", Reason: "version 8 is served"}
	monitors.changes = []AlarmChange{served}
	text = page(t, address, http.StatusOK)
	contains(t, text, "version 8 is served", fmt.Sprint("cleared at ", when(served.Time)), "It cleared")
}

// TestMonitorReport has the same page as the command, as a document that can do nothing.
func TestMonitorReport(t *testing.T) {
	server, _, _ := watched(t)
	text := page(t, server.URL+"/console/monitors/fraud/report", http.StatusOK)
	contains(t, text, "Monitor fraud", "1 alarm is raised, 1 critical", "<svg", "Slices")
	answer, err := http.Head(server.URL + "/console/monitors/fraud/report")
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if p := answer.Header.Get("Content-Security-Policy"); p != documentPolicy {
		t.Errorf("policy %q", p)
	}
}
