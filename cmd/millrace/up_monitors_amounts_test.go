// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/console"
	"github.com/millrace-ml/millrace/evaluation/monitor"
	"github.com/millrace-ml/millrace/labeling/groundtruth"
)

// amountMonitors watch a decision whose score is the amount that will be paid.
const amountMonitors = `
monitors:
  fraud:
    decision: card_payment
    label: paid
    reference: version
    windows: [1d]
    slices: [country]
`

// amountExample is a prediction of what will be paid, and what was. After the shift it is more.
func amountExample(rng *rand.Rand, shifted bool) (amount, payments, score, paid float64) {
	amount, payments = 50+10*rng.NormFloat64(), float64(rng.IntN(5))
	score = 2*amount + payments
	paid = score + 4*rng.NormFloat64()
	if shifted {
		paid += 15
	}
	return amount, payments, score, paid
}

// amountReference writes a reference, in place of the one of classes.
func (w *watchWorld) amountReference() {
	w.t.Helper()
	out, err := newReferenceWriter(filepath.Join(w.host.project.Models, "fraud", "1", monitor.ReferenceFileName), []monitor.Column{{Name: "amount"}, {Name: "payments_1d"}})
	w.must(err)
	rng := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		amount, payments, score, paid := amountExample(rng, false)
		out.number(0, amount)
		out.number(1, payments)
		w.must(out.end(score, paid))
	}
	w.must(out.close(nil))
}

// amountDay logs a day of predictions, and what was paid of those of the day before.
func (w *watchWorld) amountDay(day, shifted int) {
	w.t.Helper()
	w.logDay(day, "paid", func(rng *rand.Rand, day int) (amount, payments, score float64, label groundtruth.Value) {
		amount, payments, score, paid := amountExample(rng, day >= shifted)
		return amount, payments, score, groundtruth.Number(paid)
	})
}

// TestMonitorOfAmounts: a decision predicts what will be paid, and feedback says what was. From
// a day on more is paid: there is an alarm of quality and none of drift, in the metrics, on the
// pages, and in the report; a restart goes on.
func TestMonitorOfAmounts(t *testing.T) {
	const shifted, days = 4, 9
	w := newWatchWorld(t, amountMonitors)
	w.amountReference()
	m := w.start()
	for day := range days {
		if day == shifted { // as after a restart
			m.end()
			m = w.monitors.watchers[0]
		}
		w.amountDay(day, shifted)
		w.watch(m)
		if changes := w.changes(); day < shifted && len(changes) > 0 {
			t.Fatalf("alarms before anything happened: %v", changes)
		}
	}
	if m.spec.Config.Kind != monitor.Regression {
		t.Errorf("the kind is %q", m.spec.Config.Kind)
	}
	for _, subject := range []string{"concept:1d:mae", "concept:1d:bias"} {
		e, ok := w.raised(subject)
		if want := timeOf(watchDay0 + (shifted+3)*dayMicros); !ok || e.Severity != "critical" || e.Time.Before(want) || e.Time.After(want.Add(time.Hour)) {
			t.Errorf("%s: %+v in %v", subject, e, w.changes())
		}
	}
	if _, ok := w.raised("drift:1d:amount"); ok {
		t.Error("inputs drift, which they do not")
	}
	metrics := w.metrics()
	for _, want := range []string{`millrace_monitor_quality{metric="mae",monitor="fraud",window="1d"} 1`, `millrace_monitor_quality{metric="bias",monitor="fraud",window="1d"} -1`,
		`millrace_monitor_quality{metric="r2",monitor="fraud",window="1d"} 0.`, `millrace_monitor_estimated{metric="rmse",monitor="fraud",window="1d"} 4`,
		`millrace_monitor_events_total{kind="rejected",monitor="fraud"} 0`} {
		if !strings.Contains(metrics, want) {
			t.Errorf("the metrics lack %s in\n%s", want, metrics)
		}
	}
	if strings.Contains(metrics, "roc_auc") {
		t.Error("the metrics have an AUC of amounts")
	}
	w.amountPages()
	w.amountCommands(t)
}

// amountPages looks at the console.
func (w *watchWorld) amountPages() {
	t := w.t
	t.Helper()
	o := console.Options{Project: "p", Version: "test", Audit: &auditTrail{state: w.host.project.State}, Access: console.Access{Local: true}, Now: w.now}
	w.monitors.show(&o)
	c, err := console.New(o)
	w.must(err)
	mux := http.NewServeMux()
	c.Routes(mux)
	server := httptest.NewServer(mux)
	defer server.Close()
	e, _ := w.raised("concept:1d:mae")
	for path, wanted := range map[string][]string{
		"/console/monitors":                                          {"Mean absolute error 1", "realised mae, windows of 1d"},
		"/console/monitors/fraud":                                    {`data-plot="mae"`, `data-plot="bias"`, "R²", "Bias by score", "errors by score", "country = c"},
		"/console/monitors/fraud/series.json?window=1d":              {`"mae":[{"label":"by labels"`, `"bias":`},
		"/console/monitors/fraud/report":                             {"Mean absolute error", "Bias by score", "RMSE"},
		"/console/monitors/fraud/alarms?id=" + url.QueryEscape(e.ID): {"realised mae, windows of 1d", "where"},
	} {
		answer, err := http.Get(server.URL + path)
		w.must(err)
		text, err := io.ReadAll(answer.Body)
		w.must(err)
		w.must(answer.Body.Close())
		for _, want := range append(wanted, "") {
			if answer.StatusCode != http.StatusOK || !strings.Contains(string(text), want) {
				t.Errorf("%s: %d, and no %q in\n%s", path, answer.StatusCode, want, text)
			}
		}
		if strings.Contains(string(text), "AUC") || strings.Contains(string(text), "roc_auc") {
			t.Errorf("%s tells of an AUC", path)
		}
	}
}

// amountCommands looks at what the commands say of the state folder.
func (w *watchWorld) amountCommands(t *testing.T) {
	t.Helper()
	state := w.host.project.State
	if status, out, stderr := runCommand(t, "", "monitor", "status", state); status != 0 || !strings.Contains(out, "mae") || !strings.Contains(out, "critical") {
		t.Errorf("%d %s: %s", status, stderr, out)
	}
	for format, want := range map[string]string{"text": "MEAN ABSOLUTE ERROR", "markdown": "Bias by score", "json": `"kind": "regression"`} {
		if status, out, stderr := runCommand(t, "", "monitor", "report", state, "--format", format); status != 0 || !strings.Contains(out, want) || strings.Contains(out, "AUC") {
			t.Errorf("%s: %d %s: %.900s", format, status, stderr, out)
		}
	}
}

// amountFile is a CSV of predictions of an amount, 100 a day. From day 20 on truth is double.
func amountFile(t *testing.T, days int) string {
	t.Helper()
	r := rand.New(rand.NewPCG(7, 7))
	var b strings.Builder
	b.WriteString("at,size,score,paid\n")
	start := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range days * 100 {
		size := 10 + r.NormFloat64()
		paid := size + r.NormFloat64()
		if i >= 2000 {
			paid *= 2
		}
		fmt.Fprintf(&b, "%s,%.4f,%.4f,%.4f\n", start.Add(time.Duration(i)*864*time.Second).Format(time.RFC3339), size, size, paid)
	}
	path := filepath.Join(t.TempDir(), "amounts.csv")
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestMonitorBacktestOfAmounts: the labels say that they are amounts, or a flag does.
func TestMonitorBacktestOfAmounts(t *testing.T) {
	path := amountFile(t, 26)
	args := []string{"monitor", "backtest", "--data", path, "--time", "at", "--label", "paid", "--label-delay", "1d", "--window", "1d", "--reference-days", "10"}
	for _, more := range [][]string{nil, {"--kind", "regression"}} {
		status, out, stderr := runCommand(t, "", append(args, more...)...)
		if status != 0 || !strings.Contains(out, "realised mae, windows of 1d") || !strings.Contains(out, "2026-01-23 00:10") || strings.Contains(out, "drift of size") {
			t.Errorf("%v: %d %s\n%s", more, status, stderr, out)
		}
	}
	for want, more := range map[string][]string{
		"for amounts give --kind regression": {"--kind", "binary"}, `--kind "amount": it is binary or regression`: {"--kind", "amount"}, "threshold: it is of labels": {"--threshold", "0.5"},
	} {
		if status, out, stderr := runCommand(t, "", append(args, more...)...); status == 0 || !strings.Contains(stderr, want) {
			t.Errorf("%v: %d %s\n%s", more, status, stderr, out)
		}
	}
}
