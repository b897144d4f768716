// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace-ml/millrace/console"
	"github.com/millrace-ml/millrace/engine/repository"
	"github.com/millrace-ml/millrace/evaluation/monitor"
	"github.com/millrace-ml/millrace/evaluation/monitor/record"
	"github.com/millrace-ml/millrace/featurestore/dataset"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/orchestrator"
	"github.com/millrace-ml/millrace/serving/frontend/policy"
)

// upMonitors watch the project's decisions; nil watches nothing. Each monitor has a
// goroutine that follows the event log: decisions do not wait for it.
type upMonitors struct {
	monitorHost
	book     *alarmBook
	watchers []*watcher
	hooks    []*alarmHook
	console  *monitorsOfState
}

// monitorHost is what monitors need of the server.
type monitorHost struct {
	project *project
	events  *offline.Log
	now     func() time.Time // of the project's clock
	// replayed says that the clock is that of a replay, which goes back a little after a crash
	// and comes to the same decisions again.
	replayed bool
	// served is the version of a model that answers now, 0 if none does.
	served    func(policy.Model) int64
	pipelines *upPipelines // nil for none
	log       *slog.Logger
}

// openMonitors opens the project's monitors. Alarms trigger pipelines, which may be nil. The
// server and the front-end in parts are made later, before run is called.
func (u *up) openMonitors(ctx context.Context, parts *upParts, pipelines *upPipelines) (*upMonitors, error) {
	if len(u.project.Monitors) == 0 {
		return nil, nil
	}
	specs, err := monitorsOf(u.project.Monitors, u.policies, u.labels)
	if err != nil {
		return nil, err
	}
	return newMonitors(monitorHost{
		project: u.project, events: u.store.Log(), now: u.clock.now, replayed: u.replay != nil, pipelines: pipelines, log: u.log,
		served: func(m policy.Model) int64 { return servedVersion(parts.server.Repository(), m) },
	}, specs)
}

func newMonitors(host monitorHost, specs []*monitorSpec) (*upMonitors, error) {
	m := &upMonitors{monitorHost: host}
	book, changes, err := openAlarms(host.project.State)
	if err != nil {
		return nil, err
	}
	m.book = book
	var known []console.MonitorInfo
	for _, spec := range specs {
		w, err := m.newWatcher(spec)
		if err != nil {
			return nil, errors.Join(err, m.close())
		}
		m.watchers = append(m.watchers, w)
		if spec.Alarms.Webhook != "" {
			hook, err := newAlarmHook(spec, w.dir, changes, host.log)
			if err != nil {
				return nil, errors.Join(err, m.close())
			}
			m.hooks = append(m.hooks, hook)
			w.hook = hook
		}
		known = append(known, console.MonitorInfo{Name: spec.Name, Decision: spec.Decision, Label: spec.Label, Starts: m.starts(spec)})
	}
	if m.pipelines != nil {
		m.pipelines.monitors.Store(m)
	}
	m.console = newMonitorsOfState(host.project.State, known)
	if err := m.dropOthers(specs); err != nil {
		return nil, errors.Join(err, m.close())
	}
	return m, nil
}

// dropOthers ends the alarms of monitors that the project has no more: nobody would.
func (m *upMonitors) dropOthers(specs []*monitorSpec) error {
	gone := func(name string) bool {
		return !slices.ContainsFunc(specs, func(s *monitorSpec) bool { return s.Name == name })
	}
	for _, e := range m.book.openOf(gone) {
		e.Time, e.Change, e.Reason, e.Starts = m.now(), string(monitor.Cleared), "the project has no such monitor any more", nil
		m.withdraw(e.ID, e.Reason)
		if err := m.book.add(e); err != nil {
			return err
		}
	}
	return nil
}

func (m *upMonitors) newWatcher(spec *monitorSpec) (*watcher, error) {
	dir := filepath.Join(m.project.State, monitorsFolder, spec.Name)
	store, err := record.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("monitor %s: %w", spec.Name, err)
	}
	if err := errors.Join(removeHalves(dir, ".snapshot-*"), removeHalves(dir, ".told.*")); err != nil {
		return nil, err
	}
	w := &watcher{all: m, spec: spec, dir: dir, store: store, reader: spec.reader(), name: spec.Name, known: map[string]string{}}
	w.status.init(spec)
	return w, nil
}

// removeHalves removes what a crash left of files that were to be put in place.
func removeHalves(dir, pattern string) error {
	all, err := filepath.Glob(filepath.Join(dir, pattern))
	for _, path := range all {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// servedVersion is the version of a model that a policy asks for, 0 if there is none.
func servedVersion(r *repository.Repository, m policy.Model) int64 {
	if n, err := strconv.ParseInt(m.Version, 10, 64); err == nil {
		return n
	}
	info, err := r.Model(m.Name)
	if err != nil {
		return 0
	}
	if m.Version == "" {
		return info.Current
	}
	return info.Aliases[m.Version]
}

// starts are the pipelines that alarms of a monitor may start.
func (m *upMonitors) starts(spec *monitorSpec) (names []string) {
	if m.pipelines == nil {
		return nil
	}
	for _, p := range m.pipelines.file.Pipelines {
		for _, t := range p.Triggers {
			if t.On == "alarm" && (t.Monitor == "" || t.Monitor == spec.Name) {
				names = append(names, p.Name)
				break
			}
		}
	}
	return names
}

func (m *upMonitors) collectors() []prometheus.Collector {
	if m == nil {
		return nil
	}
	return []prometheus.Collector{m}
}

// show gives the console what it shows.
func (m *upMonitors) show(o *console.Options) {
	if m != nil {
		o.Monitors = &liveMonitors{monitorsOfState: m.console, watchers: m.watchers}
	}
}

// liveMonitors are monitors whose server runs: it knows what keeps one from watching.
type liveMonitors struct {
	*monitorsOfState
	watchers []*watcher
}

// Monitors implements console.Monitors.
func (l *liveMonitors) Monitors() ([]console.MonitorInfo, error) {
	all, err := l.monitorsOfState.Monitors()
	for i := range all {
		for _, w := range l.watchers {
			if w.name == all[i].Name {
				all[i].Problem = w.status.problem()
			}
		}
	}
	return all, err
}

// run watches until ctx ends.
func (m *upMonitors) run(ctx context.Context, ready <-chan struct{}) {
	if m == nil {
		return
	}
	select {
	case <-ready:
	case <-ctx.Done():
		return
	}
	var running sync.WaitGroup
	for _, w := range m.watchers {
		running.Go(func() { w.run(ctx) }) // ends with ctx
	}
	for _, h := range m.hooks {
		running.Go(func() { h.run(ctx) }) // likewise
	}
	running.Wait()
}

func (m *upMonitors) close() error {
	if m == nil {
		return nil
	}
	var all []error
	for _, w := range m.watchers {
		all = append(all, w.store.Close())
	}
	if m.console != nil {
		all = append(all, m.console.close())
	}
	return errors.Join(all...)
}

// verified takes what a verification of served features found, see upVerifier.
func (m *upMonitors) verified(p *dataset.Parity) {
	if m == nil {
		return
	}
	for _, w := range m.watchers {
		w.parity.take(p, w.spec.policy.Service.Name)
	}
}

// alarmTime is how a run is told the moment of an alarm.
const alarmTime = "2006-01-02T15:04:05Z07:00"

// trigger starts the pipelines that wait for an alarm, or again for another bad window of it
// unless a run that it started goes on.
// What was told before a crash is known by the runs that it started.
func (m *upMonitors) trigger(e *console.AlarmChange, again bool) []string {
	if m.pipelines == nil {
		return nil
	}
	runner := m.pipelines.runner
	var starts []string
	join := false // a run that waits behind another one learns of what is newer
	for _, run := range runner.Runs("") {
		if again && !run.Status.Ended() && run.Trigger["monitor"] == e.Monitor {
			join = true // what is made of it, or of another alarm of the monitor, is not there yet
			continue
		}
		if !slices.Contains(orchestrator.AlarmsOf(run.Trigger), e.ID) {
			continue
		}
		if !again || run.Trigger["time"] == e.Time.Format(alarmTime) {
			starts = append(starts, run.Pipeline)
		}
	}
	if starts != nil && !join {
		return starts
	}
	starts, err := runner.Trigger(orchestrator.Happening{
		On: "alarm", Name: e.Monitor, ID: e.ID, Severity: e.Severity, Subject: e.Subject, Again: again, Join: join,
		Payload: map[string]any{
			"alarm": e.ID, "monitor": e.Monitor, "subject": e.Subject, "severity": e.Severity, "reason": e.Reason,
			"time": e.Time.Format(alarmTime),
		},
	})
	if err != nil {
		m.log.Error("an alarm starts no pipeline", "alarm", e.ID, "error", err)
	}
	return starts
}

// unsettled says whether a run has to wait that alarms asked for: an alarm of it is raised of a
// version that is not served any more, as its monitor is about to find out. The run would make
// up for what the promotion before it has mended.
func (m *upMonitors) unsettled(trigger map[string]any) bool {
	if m == nil {
		return false
	}
	ids := orchestrator.AlarmsOf(trigger)
	for _, w := range m.watchers {
		served := m.served(w.spec.model())
		if served == 0 || !w.status.isBehind(served) {
			continue
		}
		if slices.ContainsFunc(m.book.raisedOf(w.name), func(e console.AlarmChange) bool { return slices.Contains(ids, e.ID) }) {
			return true
		}
	}
	return false
}

// withdraw takes back what an alarm asked for and has not begun. It comes before the alarm's
// end is written down, so that after a crash between the two it comes again.
func (m *upMonitors) withdraw(id, reason string) {
	if m.pipelines == nil {
		return
	}
	runs, err := m.pipelines.runner.Withdraw(id, "the alarm "+id+" is over: "+reason)
	if err != nil {
		m.log.Error("an alarm that is over may still start a pipeline", "alarm", id, "error", err)
	}
	if len(runs) > 0 {
		m.log.Info("withdrawn", "alarm", id, "runs", runs)
	}
}

// raise tells of an alarm that was raised.
func (w *watcher) raise(a monitor.Alarm, at int64) error {
	id, book := alarmID(w.name, a.Subject, a.Since), w.all.book
	if book.told(id, monitor.Raised) {
		return nil // before a crash
	}
	if open, ok := book.raised(w.name, a.Subject); ok {
		w.known[id] = open.ID // the monitor began anew, and the alarm goes on
		return nil
	}
	e := console.AlarmChange{ID: id, Time: timeOf(at), Monitor: w.name, Subject: a.Subject, Severity: string(a.Severity), Change: string(monitor.Raised), Reason: a.Reason}
	e.Starts = w.all.trigger(&e, false)
	return w.tell(e)
}

// remind raises the alarms that the monitor has and the book lacks. They ended when another
// version was served, which is replaced now by the one before.
func (w *watcher) remind(now int64) error {
	for _, a := range w.monitor.Alarms() {
		if _, ok := w.all.book.raised(w.name, a.Subject); ok {
			continue
		}
		id := alarmID(w.name, a.Subject, a.Since)
		if w.all.book.told(id, monitor.Raised) {
			a.Since = now
			w.known[id] = alarmID(w.name, a.Subject, now)
		}
		if err := w.raise(a, now); err != nil {
			return err
		}
	}
	return nil
}

// clear tells of an alarm that is over.
func (w *watcher) clear(a monitor.Alarm, at int64, reason string) error {
	id, book := alarmID(w.name, a.Subject, a.Since), w.all.book
	if other, ok := w.known[id]; ok {
		delete(w.known, id)
		id = other
	}
	open, ok := book.raised(w.name, a.Subject)
	if !ok || open.ID != id || book.told(id, monitor.Cleared) {
		return nil
	}
	return w.drop(open, at, reason)
}

// drop ends an alarm of the book.
func (w *watcher) drop(open console.AlarmChange, at int64, reason string) error {
	w.all.withdraw(open.ID, reason)
	open.Time, open.Change, open.Reason, open.Starts = timeOf(at), string(monitor.Cleared), reason, nil
	return w.tell(open)
}

// tell writes a change down and hands it on.
func (w *watcher) tell(e console.AlarmChange) error {
	if err := w.all.book.add(e); err != nil {
		return err
	}
	w.all.log.Info("alarm "+e.Change, "alarm", e.ID, "severity", e.Severity, "reason", e.Reason, "starts", e.Starts)
	if w.hook != nil {
		w.hook.add(e)
	}
	return nil
}
