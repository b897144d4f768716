// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/millrace-ml/millrace/console"
	"github.com/millrace-ml/millrace/evaluation/monitor"
	"github.com/millrace-ml/millrace/evaluation/monitor/record"
)

// scoredFile is a CSV of predictions, 100 a day from 2026-01-01 on: on day 24 the amount
// moves, and on day 30 labels mean the contrary.
func scoredFile(t *testing.T, days int) string {
	t.Helper()
	r := rand.New(rand.NewPCG(7, 7))
	var b strings.Builder
	b.WriteString("at,amount,country,channel,score,is_fraud\n")
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range days * 100 {
		day := i / 100
		amount, country := r.NormFloat64(), []string{"NL", "BE"}[r.IntN(2)]
		if day >= 24 {
			amount += 3
		}
		score := r.Float64()
		label := r.Float64() < score
		if day >= 30 {
			label = !label
		}
		fmt.Fprintf(&b, "%s,%.4f,%s,web,%.6f,%t\n", start.Add(time.Duration(i)*864*time.Second).Format(time.RFC3339), amount, country, score, label)
	}
	path := filepath.Join(t.TempDir(), "scored.csv")
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestMonitorBacktest replays a file, keeps what was found, and reports it.
func TestMonitorBacktest(t *testing.T) {
	dir := t.TempDir()
	kept, page := filepath.Join(dir, "state", "monitors", "scored"), filepath.Join(dir, "found.html")
	args := []string{"monitor", "backtest", "--data", scoredFile(t, 36), "--time", "at", "--label", "is_fraud", "--label-delay", "2d",
		"--columns", "amount,country", "--slice", "channel", "--window", "1d", "--reference-days", "14"}
	status, out, stderr := runCommand(t, "", append(args, "--output", page, "--record", kept)...)
	if status != 0 {
		t.Fatalf("%d %s", status, stderr)
	}
	lines := strings.Split(out, "\n")
	if !strings.Contains(lines[1], "2026-01-26 00:10") || !strings.Contains(lines[1], "drift of amount, windows of 1d") || !strings.Contains(out, "realised roc_auc") ||
		!strings.Contains(out, "0 came too late") {
		t.Errorf("%s", out)
	}
	if text, err := os.ReadFile(page); err != nil || !strings.Contains(string(text), "channel=web") || !strings.Contains(string(text), "When alarms were raised") {
		t.Errorf("%v: %.300s", err, text)
	}
	var found testedJSON
	status, out, stderr = runCommand(t, "", append(args, "--json", "--to", "2026-01-20")...)
	if err := json.Unmarshal([]byte(out), &found); err != nil || status != 0 || found.Counts.Predictions != 500 || len(found.Fired) > 1 || found.Matured != 4 {
		t.Errorf("%v %d %s: %+v", err, status, stderr, found)
	}
	reportKept(t, dir)
}

// reportKept looks at what a backtest kept, as at the state folder of a project.
func reportKept(t *testing.T, dir string) {
	t.Helper()
	state := filepath.Join(dir, "state")
	status, out, stderr := runCommand(t, "", "monitor", "status", state)
	if status != 0 || !strings.Contains(out, "critical") || !strings.Contains(out, "drift of amount, windows of 1d") {
		t.Errorf("%d %s: %s", status, stderr, out)
	}
	status, out, stderr = runCommand(t, "", "monitor", "status", state, "--json")
	var states []monitorState
	if err := json.Unmarshal([]byte(out), &states); err != nil || status != 0 || len(states) != 1 || states[0].Monitor != "scored" || len(states[0].Raised) < 2 || states[0].Windows[0].Value == nil {
		t.Errorf("%v %d %s: %s", err, status, stderr, out)
	}
	for format, want := range map[string]string{"text": "ALARMS", "markdown": "### Alarms", "html": "<!DOCTYPE html>", "json": `"worst": "critical"`} {
		if status, out, stderr = runCommand(t, "", "monitor", "report", state, "--format", format); status != 0 || !strings.Contains(out, want) {
			t.Errorf("%s: %d %s: %.500s", format, status, stderr, out)
		}
	}
	for _, c := range []struct {
		args   []string
		status int
		want   string
	}{
		{[]string{"--fail-on", "critical"}, 1, "critical"},
		{[]string{"--fail-on", "critical", "--to", "2026-01-29"}, 0, ""},
		{[]string{"--fail-on", "warning", "--to", "2026-01-29"}, 1, "2 alarms are raised, none critical"},
		{[]string{"--fail-on", "warning", "--to", "2026-01-22"}, 0, ""},
		{[]string{"--fail-on", "much"}, 2, "it is warning or critical"},
		{[]string{"--monitor", "scord"}, 2, "did you mean scored?"},
		{[]string{"--window", "7d"}, 2, "has windows of 1d"},
		{[]string{"--format", "pdf"}, 2, "html, markdown, text or json"},
		{[]string{"--output", "x.pdf"}, 2, "does not say the format"},
	} {
		status, _, stderr := runCommand(t, "", append([]string{"monitor", "report", state}, c.args...)...)
		if status != c.status || !strings.Contains(stderr, c.want) {
			t.Errorf("%q: %d %s", c.args, status, stderr)
		}
	}
	// An alarm that ended since another version is served is raised no more, though no report says so.
	for _, a := range states[0].Raised {
		e := console.AlarmChange{ID: alarmID("scored", a.Subject, a.Since), Time: time.Date(2026, 6, 1, 0, 0, 0, 0, time.UTC), Monitor: "scored",
			Subject: a.Subject, Severity: string(a.Severity), Change: string(monitor.Cleared), Reason: "version 2 is served"}
		if err := appendAlarm(state, e); err != nil {
			t.Fatal(err)
		}
	}
	if status, out, stderr = runCommand(t, "", "monitor", "status", state); status != 0 || !strings.Contains(out, "no alarm is raised") {
		t.Errorf("%d %s: %s", status, stderr, out)
	}
	for to, want := range map[string]int{"2026-07-01": 0, "2026-05-31": 1} {
		if status, out, stderr = runCommand(t, "", "monitor", "report", state, "--fail-on", "critical", "--to", to); status != want {
			t.Errorf("to %q: %d %s: %s", to, status, stderr, out)
		}
	}
	s, err := record.Open(filepath.Join(state, "monitors", "scored"))
	if err != nil {
		t.Fatal(err)
	}
	if reports, err := s.Reports(record.Query{}); err != nil || len(reports) < 40 {
		t.Errorf("%d reports were kept, %v", len(reports), err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

// TestMonitorBacktestLog replays the event log of a project, from the tenth day of which on
// amounts are higher and scores mean nothing.
func TestMonitorBacktestLog(t *testing.T) {
	w := newWatchWorld(t, watchMonitors)
	for day := range watchShifted + 4 {
		w.day(day)
	}
	copied := t.TempDir() // the log itself belongs to who writes it
	w.must(os.CopyFS(copied, os.DirFS(filepath.Join(w.dir, "log"))))
	replayed := func(want string, args ...string) (found testedJSON) {
		t.Helper()
		status, out, stderr := runCommand(t, "", append([]string{"monitor", "backtest", w.dir, "--log", copied, "--json"}, args...)...)
		if err := json.Unmarshal([]byte(out), &found); err != nil || status != 0 {
			t.Fatalf("%q: %d %s %v", args, status, stderr, err)
		}
		for _, f := range found.Fired {
			if f.Subject == want {
				if day := f.First.Sub(time.UnixMicro(watchDay0)) / (24 * time.Hour); day < watchShifted || day > watchShifted+3 {
					t.Errorf("%q: %s fired on day %d", args, want, day)
				}
				return found
			}
		}
		t.Errorf("%q: %s did not fire: %+v", args, want, found)
		return found
	}
	all := replayed("concept:1d:roc_auc") // with the reference of the version
	if n := int64(watchShifted+4) * watchPerDay; all.Counts.Predictions != n || all.Counts.Outcomes != n-watchPerDay || all.Rejected != 0 {
		t.Errorf("%+v", all.Counts)
	}
	some := replayed("drift:1d:amount", "--reference-days", "4", "--to", "2026-03-13")
	if n := int64(12-4) * watchPerDay; some.Counts.Predictions != n {
		t.Errorf("without the first days: %+v", some.Counts)
	}
	writeText(t, filepath.Join(w.dir, "monitors.yaml"), "monitors: {plain: {decision: card_payment, windows: [1d]}}")
	if plain := replayed("drift:1d:amount"); plain.Counts.Outcomes != 0 || plain.Counts.Predictions != int64(watchShifted+4)*watchPerDay {
		t.Errorf("without labels: %+v", plain.Counts)
	}
}

// TestMonitorMistakes says what is wrong with a command line, and what to do.
func TestMonitorMistakes(t *testing.T) {
	t.Chdir(t.TempDir())
	data := scoredFile(t, 2)
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"status"}, "there is no millrace.yaml"},
		{[]string{"report", "nowhere"}, "there is no millrace.yaml"},
		{[]string{"backtest", "--data", data}, "needs --time COLUMN, or --step"},
		{[]string{"backtest", "--data", data, "--time", "att"}, "did you mean at?"},
		{[]string{"backtest", "--data", data, "--time", "amount"}, "has no times"},
		{[]string{"backtest", "--data", data, "--time", "at", "--score", "country"}, "the column country has texts"},
		{[]string{"backtest", "--data", data, "--time", "at", "--window", "soon"}, "no duration such as"},
		{[]string{"backtest", "--data", data, "--time", "at", "--columns", "amont"}, "did you mean amount?"},
		{[]string{"backtest", "--data", data, "--time", "at"}, "all rows are of the first 14 days"},
		{[]string{"backtest", "--data", data, "--time", "at", "--log", "x"}, "either of a file or of an event log"},
		{[]string{"backtest", "--data", data, "--time", "at", "--label", "amount", "--kind", "binary"}, "labels are 0 and 1"},
		{[]string{"backtest", "--data", data, "--time", "at", "--output", "x"}, "does not say the format"},
		{[]string{"backtest", "--data", "x.txt", "--time", "at"}, "give --format"},
	} {
		if status, _, stderr := runCommand(t, "", append([]string{"monitor"}, c.args...)...); status == 0 || !strings.Contains(stderr, c.want) {
			t.Errorf("%q: %d %s", c.args, status, stderr)
		}
	}
}

// TestMonitorFlagsAreDocumented holds the page of the commands to the flags there are.
func TestMonitorFlagsAreDocumented(t *testing.T) {
	text := document(t, "docs/reference/monitor-commands.md")
	var walk func(c *cobra.Command)
	walk = func(c *cobra.Command) {
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if !strings.Contains(text, "`--"+f.Name) {
				t.Errorf("%s: --%s is not in docs/reference/monitor-commands.md", c.CommandPath(), f.Name)
			}
		})
		for _, below := range c.Commands() {
			walk(below)
		}
	}
	walk(newMonitorCommand())
}
