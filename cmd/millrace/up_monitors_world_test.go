// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/console"
	"github.com/millrace-ml/millrace/evaluation/monitor"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/labeling/groundtruth"
	"github.com/millrace-ml/millrace/serving/frontend"
	"github.com/millrace-ml/millrace/serving/frontend/policy"
)

const (
	watchProject = `
name: watched
features: [features.yaml]
decisions: [decisions.yaml]
feedback: [feedback.yaml]
monitors: [monitors.yaml]
pipelines: [pipeline.yaml]
`
	watchDecisions = `
decisions:
  card_payment:
    service: fraud
    model: {name: fraud}
    request: {transaction_id: {type: int64, required: true}, country: string}
    decisions: [approve, block]
    reasons: {RISK: the model finds it suspicious}
    thresholds: {default: [{from: 0.5, decision: block, reason: RISK}, {decision: approve}]}
    fallback: [{default: {decision: approve, reason: RISK}}]
`
	watchFeedback = `
labels:
  fraud: {decision: card_payment, name: is_fraud, type: bool, window: 2d}
  paid: {decision: card_payment, name: paid, type: number, window: 2d}
`
	watchMonitors = `
monitors:
  fraud:
    decision: card_payment
    label: fraud
    reference: version
    windows: [1d]
    slices: [country, answer]
    quiet_max: 36h
    draws: 20
    alarms: {webhook: "${MILLRACE_TEST_HOOK}"}
`
	watchPipeline = `
pipelines:
  retrain:
    triggers: [{on: alarm, monitor: fraud, severity: critical, subject: concept}]
    tasks: {a: {uses: command, with: {shell: "echo as of {{ trigger.time }}"}}}
  other:
    triggers: [{on: alarm, monitor: another, again: true}, {on: alarm, monitor: fraud, subject: skewed, again: true}]
    tasks: {a: {uses: command, with: {shell: "true"}}}
`
)

// watchDay0 is the first day of the history.
var watchDay0 = time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC).UnixMicro()

const (
	dayMicros    = 24 * 3600 * int64(1e6)
	watchPerDay  = 240
	watchShifted = 9 // the day from which on amounts are higher and scores mean nothing
)

// watchWorld is a project whose decisions and outcomes a test logs itself, on a clock of its
// own. Everything follows from the day, so that worlds are alike.
type watchWorld struct {
	t         testing.TB
	dir       string
	at        int64
	version   int64
	log       *offline.Log
	stream    *offline.Stream
	collector *groundtruth.Collector
	host      monitorHost
	monitors  *upMonitors
}

func newWatchWorld(t testing.TB, monitors string) *watchWorld {
	t.Helper()
	w := &watchWorld{t: t, dir: t.TempDir(), at: watchDay0, version: 1}
	for name, text := range map[string]string{projectFile: watchProject, "features.yaml": worldFeatures, "decisions.yaml": watchDecisions,
		"feedback.yaml": watchFeedback, "monitors.yaml": monitors, "pipeline.yaml": watchPipeline} {
		writeText(t, filepath.Join(w.dir, name), text)
	}
	p, err := loadProject(w.dir)
	w.must(err)
	w.log, err = offline.Open(t.Context(), offline.Options{Dir: filepath.Join(w.dir, "log"), GroupWait: time.Millisecond, CompactEvery: -1})
	w.must(err)
	t.Cleanup(func() { w.must(w.log.Close()) })
	w.stream, err = w.log.Declare(offline.Schema{Stream: frontend.DecisionStream, Columns: append([]offline.Column{
		{Name: "decision", Type: offline.TypeString}, {Name: "answer", Type: offline.TypeString}, {Name: "score", Type: offline.TypeFloat64},
		{Name: "model", Type: offline.TypeString}, {Name: "model_version", Type: offline.TypeInt64}, {Name: "facts", Type: offline.TypeString},
		{Name: "degraded", Type: offline.TypeString}, {Name: "duration_ns", Type: offline.TypeInt64},
	}, plan.VectorColumns()...)})
	w.must(err)
	_, _, labels, err := labelsIn(w.dir)
	w.must(err)
	w.collector, err = groundtruth.OpenCollector(t.Context(), groundtruth.Options{Log: w.log, Labels: labels, Now: w.now})
	w.must(err)
	w.host = monitorHost{project: p, events: w.log, now: w.now, log: slog.New(slog.NewTextHandler(testWriter{t}, nil)),
		served: func(policy.Model) int64 { return w.version }}
	w.reference(filepath.Join(p.Models, "fraud", "1", monitor.ReferenceFileName))
	return w
}

// testWriter writes to the log of a test.
type testWriter struct{ t testing.TB }

func (w testWriter) Write(b []byte) (int, error) {
	w.t.Logf("%s", b)
	return len(b), nil
}

func (w *watchWorld) now() time.Time { return timeOf(w.at) }

func (w *watchWorld) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// start opens the monitors, as a process does.
func (w *watchWorld) start() *watcher {
	w.t.Helper()
	specs, err := loadMonitors(w.host.project)
	w.must(err)
	w.monitors, err = newMonitors(w.host, specs)
	w.must(err)
	m := w.monitors
	w.t.Cleanup(func() { w.must(m.close()) })
	return m.watchers[0]
}

// example is a prediction: two columns, a score, and what becomes of it.
func example(rng *rand.Rand, shifted bool) (amount, payments, score float64, fraud bool) {
	amount, payments = 50+10*rng.NormFloat64(), float64(rng.IntN(5))
	risk := 1 / (1 + math.Exp(-(amount-50)/4))
	score, fraud = risk, rng.Float64() < risk
	if shifted {
		amount += 8
		fraud = rng.Float64() < 0.5
	}
	return amount, payments, score, fraud
}

// reference writes predictions as they are before the shift.
func (w *watchWorld) reference(path string) {
	w.t.Helper()
	out, err := newReferenceWriter(path, []monitor.Column{{Name: "amount"}, {Name: "payments_1d"}})
	w.must(err)
	rng := rand.New(rand.NewPCG(1, 1))
	for range 2000 {
		amount, payments, score, fraud := example(rng, false)
		out.number(0, amount)
		out.number(1, payments)
		w.must(out.end(score, truthNumber(fraud)))
	}
	w.must(out.close(nil))
}

// day logs a day: its decisions, and the outcomes of those of the day before.
func (w *watchWorld) day(day int) {
	w.t.Helper()
	w.logDay(day, "is_fraud", func(rng *rand.Rand, day int) (amount, payments, score float64, label groundtruth.Value) {
		amount, payments, score, fraud := example(rng, day >= watchShifted)
		return amount, payments, score, groundtruth.Bool(fraud)
	})
}

// logDay logs decisions as they are drawn for a day, and labels as they were for the day before.
func (w *watchWorld) logDay(day int, name string, draw func(rng *rand.Rand, day int) (amount, payments, score float64, label groundtruth.Value)) {
	w.t.Helper()
	rng := rand.New(rand.NewPCG(uint64(day), 2))
	before := rand.New(rand.NewPCG(uint64(day-1), 2))
	var outcomes []groundtruth.Feedback
	for i := range watchPerDay {
		w.at = watchDay0 + int64(day)*dayMicros + int64(i)*dayMicros/watchPerDay
		amount, payments, score, _ := draw(rng, day)
		w.decide(fmt.Sprintf("%d-%d", day, i), amount, payments, score)
		_, _, _, label := draw(before, day-1)
		outcomes = append(outcomes, groundtruth.Feedback{PredictionID: fmt.Sprintf("%d-%d", day-1, i), Name: name, Value: label, EventTime: w.at})
		if day == 0 || len(outcomes) < watchPerDay/8 {
			continue
		}
		results, err := w.collector.Submit(w.t.Context(), outcomes)
		if w.must(err); results[0].Err != nil {
			w.t.Fatal(results[0].Err)
		}
		outcomes = outcomes[:0]
	}
	w.at = watchDay0 + int64(day+1)*dayMicros
	w.must(w.log.Sync(w.t.Context()))
}

func (w *watchWorld) decide(id string, numbers ...float64) {
	w.t.Helper()
	var vector []byte
	for _, x := range numbers[:2] {
		vector = binary.LittleEndian.AppendUint64(vector, math.Float64bits(x))
	}
	null := offline.Value{}
	r := offline.Record{ID: id, EventTime: w.at, ArrivalTime: w.at + 1000, Values: []offline.Value{
		offline.String("card_payment"), offline.String("approve"), offline.Float64(numbers[2]), offline.String("fraud"), offline.Int64(w.version),
		offline.String(fmt.Sprintf(`{"country":"c%d"}`, len(id)%2)), null, offline.Int64(2_000_000),
		offline.String("fraud"), null, null, null, null, offline.Bytes(vector), null, offline.Bytes(make([]byte, 2)), null,
	}}
	w.must(w.stream.Append(w.t.Context(), &r))
}

// watch lets a watcher read all there is.
func (w *watchWorld) watch(m *watcher) {
	w.t.Helper()
	for range 1000 {
		more, err := m.step(w.t.Context())
		w.must(err)
		if !more && m.mark.now == 0 {
			return
		}
	}
	w.t.Fatal("it does not come to an end")
}

// changes are the lines of the file of alarms, in short.
func (w *watchWorld) changes() (all []string) {
	w.t.Helper()
	changes, err := readAlarms(w.host.project.State)
	w.must(err)
	for _, e := range changes {
		all = append(all, e.Time.Format("01-02T15:04 ")+e.Change+" "+e.ID)
	}
	return all
}

func (w *watchWorld) raised(subject string) (e console.AlarmChange, ok bool) {
	return w.monitors.book.raised("fraud", subject)
}

// removeSnapshot takes the snapshots away.
func (w *watchWorld) removeSnapshot() {
	w.t.Helper()
	all, err := filepath.Glob(filepath.Join(w.host.project.State, monitorsFolder, "fraud", "snapshot-*"))
	w.must(err)
	if len(all) == 0 {
		w.t.Fatal("there is no snapshot")
	}
	for _, path := range all {
		err = errors.Join(err, os.Remove(path))
	}
	w.must(err)
}
