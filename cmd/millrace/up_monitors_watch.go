// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/console"
	"github.com/millrace-ml/millrace/evaluation/monitor"
	"github.com/millrace-ml/millrace/evaluation/monitor/record"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/labeling/groundtruth"
	"github.com/millrace-ml/millrace/serving/frontend"
)

// watcher is one monitor of one decision. Its goroutine alone uses it, but for status,
// parity and hook.
type watcher struct {
	all  *upMonitors
	spec *monitorSpec
	name string
	dir  string
	// store is where reports are kept.
	store *record.Store
	hook  *alarmHook // nil without one

	reader *predictionReader
	// version is that of the model that is watched, 0 until it is known; monitor is nil until
	// its reference is there.
	version int64
	monitor *monitor.Monitor
	tail    *offline.Tail
	live    *groundtruth.Live // nil without a label
	clock   int64             // of live
	mark    mark
	batch   watchBatch
	// known are ids of alarms that go on under an earlier id, see raise.
	known map[string]string

	saved    time.Time
	saving   time.Duration // that the last snapshot took
	dirty    bool
	lookNext time.Time // for a reference that is not there yet

	status watchStatus
	parity watchParity
}

// mark is a place in the log at a moment: what is behind it arrived later. The monitor's
// clock may go to the moment once all up to the place is durable and was read.
type mark struct {
	now  int64 // microseconds, 0 for no mark
	next uint64
}

const (
	// watchEvery is the time between two looks at the log, and watchRecords the most records
	// of one: together they bound what a monitor takes of the machine.
	watchEvery   = 200 * time.Millisecond
	watchRecords = 4096
	// clockBackMax is how far the clock may go back: a monitor waits until it is where it was.
	// Beyond it what was found in that future is given up, and the monitor begins anew.
	clockBackMax = 24 * time.Hour
	// watchRetry is the pause after an error; it doubles up to watchRetryMax.
	watchRetry    = time.Second
	watchRetryMax = time.Minute
	// watchSave is the longest time between two snapshots of a monitor that goes on; where
	// windows close they are saveShare times as far apart as one takes, at least a second.
	watchSave = 30 * time.Second
	saveShare = 20
)

// run watches until ctx ends. What goes wrong is logged, shown and tried again.
func (w *watcher) run(ctx context.Context) {
	pause := watchRetry
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			w.end()
			return
		case <-timer.C:
		}
		next, began := watchEvery, time.Now()
		switch more, err := w.step(ctx); {
		case ctx.Err() != nil:
		case err != nil:
			w.all.log.Error("a monitor stands still", "monitor", w.name, "error", err)
			w.status.fail(err)
			w.forget()
			next, pause = pause, min(2*pause, watchRetryMax)
		case more:
			next, pause = restAfter(began), watchRetry
		default:
			pause = watchRetry
		}
		timer.Reset(next)
	}
}

// end keeps the state for the next start.
func (w *watcher) end() {
	if w.monitor != nil {
		if err := w.save(); err != nil {
			w.all.log.Error("the state of a monitor is not kept; it reads the log again from the one before", "monitor", w.name, "error", err)
		}
	}
	w.forget()
}

// forget lets go of all that a snapshot has.
func (w *watcher) forget() {
	w.closeLive()
	w.monitor, w.tail, w.mark = nil, nil, mark{}
}

func (w *watcher) closeLive() {
	if w.live != nil {
		if err := w.live.Close(); err != nil {
			w.all.log.Warn("scratch files of a monitor stay", "monitor", w.name, "error", err)
		}
	}
	w.live = nil
}

// step reads some records. It says whether there are more.
func (w *watcher) step(ctx context.Context) (more bool, err error) {
	log := w.all.events
	if w.mark.now == 0 { // the clock before the place: what comes behind it arrived later
		w.mark.now = w.all.now().UnixMicro()
		w.mark.next = log.Next()
	}
	if w.monitor != nil && w.isBeyond(w.clock) {
		w.all.log.Warn("a monitor begins anew: the clock went back", "monitor", w.name, "from", timeOf(w.clock), "to", timeOf(w.mark.now))
		w.closeLive()
		w.monitor, w.tail = nil, nil
	}
	if err := w.follow(ctx); err != nil || w.monitor == nil {
		w.mark = mark{}
		return false, err
	}
	durable := log.Durable()
	to := min(durable, w.mark.next-1, w.tail.After()+watchRecords)
	if err := w.read(ctx, to); err != nil {
		return false, err
	}
	if w.tail.After()+1 >= w.mark.next {
		if err := w.settle(); err != nil {
			return false, err
		}
	}
	w.status.follow(w, durable)
	return w.tail.After() < durable && w.tail.After() < w.mark.next-1, w.keep()
}

// isBeyond says that a time can only be of a clock that was wrong then and was put right since.
// A monitor whose own clock is there would take all that comes for late.
func (w *watcher) isBeyond(time int64) bool {
	return !w.all.replayed && time-w.mark.now > clockBackMax.Microseconds()
}

// settle moves the monitor's clock to the mark, as all that arrived until then was read.
func (w *watcher) settle() error {
	reports, err := w.monitor.Advance(w.mark.now)
	if err != nil {
		return err
	}
	if err := w.report(reports); err != nil {
		return err
	}
	now := w.mark.now
	w.clock = max(w.clock, now)
	w.status.settled()
	w.mark = mark{}
	return errors.Join(w.remind(now), w.checkQuiet(now), w.checkParity(now))
}

// restAfter is how long a monitor that catches up rests after a step: as long as that took,
// so that it takes half a processor at most and leaves the rest to requests and to the
// writer of the log.
func restAfter(began time.Time) time.Duration { return min(time.Since(began), watchEvery) }

// read takes the records up to a place in the log: predictions, and the labels that these
// and feedback make known, of one reading.
func (w *watcher) read(ctx context.Context, to uint64) error {
	if to <= w.tail.After() {
		return nil
	}
	w.batch.reset()
	err := w.tail.Read(ctx, to, func(stream string, columns []offline.Column, r *offline.Record) error {
		if stream == frontend.DecisionStream {
			if p := w.reader.read(columns, r); p != nil && w.watches(p) {
				if w.isBeyond(p.Arrival) { // it would take the monitor's clock there again
					w.status.reject()
					return nil
				}
				w.batch.add(&p.Prediction)
				w.clock = max(w.clock, p.Arrival)
			}
		}
		if w.live == nil {
			return nil
		}
		return w.live.Feed(stream, columns, r, w.hear)
	})
	if errors.Is(err, offline.ErrTooOld) { // what is behind is in partitions already
		return w.catchUp(ctx, w.tail.After())
	}
	if err != nil {
		return err
	}
	if w.live != nil {
		w.live.Fed(to)
		if err := w.live.PollTo(ctx, to, w.hear); err != nil { // what is mature
			return err
		}
	}
	w.batch.sort()
	for i := range w.batch.events {
		if err := w.take(&w.batch.events[i]); err != nil {
			return err
		}
	}
	return nil
}

// watches says whether a prediction is of the version that is watched. Answers without a
// score are of whichever version should have answered.
func (w *watcher) watches(p *loggedPrediction) bool { return p.version == w.version || p.version == 0 }

// hear takes a row whose label came or changed.
func (w *watcher) hear(row *groundtruth.Row) error {
	if o, ok := w.outcome(row); ok && !w.isBeyond(o.Arrival) {
		w.batch.events = append(w.batch.events, watched{arrival: o.Arrival, outcome: o})
	}
	return nil
}

// outcome is what a row says became of its prediction. What silence says the monitor knows
// by itself.
func (w *watcher) outcome(row *groundtruth.Row) (o monitor.Outcome, ok bool) {
	if row.Label.Status != groundtruth.Observed {
		return o, false
	}
	label, ok := w.spec.outcome(row.Label.Value)
	// An outcome may be said to have happened before its prediction, or not to be known when.
	at := min(max(row.Label.Time, 1), row.Label.Known)
	return monitor.Outcome{ID: strings.Clone(row.PredictionID), Label: label, Time: at, Arrival: row.Label.Known}, ok
}

// again starts the pipelines that want to hear of each bad window of an alarm that is raised.
func (w *watcher) again(a monitor.Alarm, at int64) {
	open, ok := w.all.book.raised(w.name, a.Subject)
	if !ok {
		return
	}
	open.Time, open.Reason = timeOf(at), a.Reason
	w.all.trigger(&open, true)
}

// take gives an event to the monitor. One that is not sound is counted.
func (w *watcher) take(e *watched) error {
	var reports []monitor.Report
	var err error
	if e.prediction != nil {
		reports, err = w.monitor.Observe(e.prediction)
	} else {
		reports, err = w.monitor.ObserveOutcome(&e.outcome)
	}
	if errors.Is(err, monitor.ErrEvent) {
		w.status.reject()
		err = nil
	}
	return errors.Join(err, w.report(reports))
}

// report keeps what the monitor found, and tells of its alarms.
func (w *watcher) report(reports []monitor.Report) error {
	if len(reports) == 0 {
		return nil
	}
	if err := w.store.Append(reports); err != nil {
		return err
	}
	for i := range reports {
		r := &reports[i]
		for j := range r.Events {
			e := &r.Events[j]
			var err error
			switch e.Change {
			case monitor.Raised:
				err = w.raise(e.Alarm, e.At)
			case monitor.Still:
				w.again(e.Alarm, e.At)
			case monitor.Cleared:
				err = w.clear(e.Alarm, e.At, "windows are good again; it was: "+e.Alarm.Reason)
			}
			if err != nil {
				return err
			}
		}
		w.status.report(r)
	}
	w.dirty = true
	return nil
}

// keep writes a snapshot when one is due.
func (w *watcher) keep() error {
	since := time.Since(w.saved)
	if since < watchSave && (!w.dirty || since < max(time.Second, saveShare*w.saving)) {
		return nil
	}
	return w.save()
}

// quietSubject is of the alarm that no prediction comes, skewSubject of features that were
// served otherwise than the log says.
const (
	quietSubject = "quiet:predictions"
	skewSubject  = "skew:served"
)

// checkQuiet raises an alarm where no prediction came for too long. Since when follows from
// the newest one, so that the alarm is the same after a restart.
func (w *watcher) checkQuiet(now int64) error {
	most := time.Duration(w.spec.QuietMax).Microseconds()
	newest := w.monitor.Newest()
	open, raised := w.all.book.raised(w.name, quietSubject)
	if most == 0 && raised {
		return w.drop(open, now, "the monitor has no quiet_max any more")
	}
	if most == 0 || newest == 0 {
		return nil
	}
	due := newest + most
	switch {
	case now > due && !raised:
		return w.raise(monitor.Alarm{Subject: quietSubject, Severity: monitor.Critical, Since: due,
			Reason: fmt.Sprintf("there was no prediction for %s; the last one was at %s", w.spec.QuietMax, timeOf(newest).Format(time.RFC3339))}, due)
	case now <= due && raised:
		return w.drop(open, now, "predictions come again")
	}
	return nil
}

// checkParity raises an alarm where features were served that the log does not give again.
func (w *watcher) checkParity(now int64) error {
	p, ok := w.parity.next()
	if !ok {
		return nil
	}
	open, raised := w.all.book.raised(w.name, skewSubject)
	switch {
	case p.mismatched > 0 && !raised:
		return w.raise(monitor.Alarm{Subject: skewSubject, Severity: monitor.Warning, Since: now, Reason: p.reason}, now)
	case p.mismatched == 0 && raised:
		return w.drop(open, now, "features are served as the log gives them")
	}
	return nil
}

// reconcile ends the alarms of the book that the monitor does not know: it began anew. Those
// of other checks go on.
func (w *watcher) reconcile(at int64, reason string) error {
	known := map[string]bool{quietSubject: true, skewSubject: true}
	for _, a := range w.monitor.Alarms() {
		known[a.Subject] = true
	}
	return w.dropAll(at, reason, func(e *console.AlarmChange) bool { return known[e.Subject] })
}

// recall finds the alarms of a snapshot that go on under another id: those of the book that
// were raised before the snapshot. A later one the monitor is about to find itself.
func (w *watcher) recall() {
	for _, a := range w.monitor.Alarms() {
		id := alarmID(w.name, a.Subject, a.Since)
		if open, ok := w.all.book.raised(w.name, a.Subject); ok && open.ID != id && open.Time.UnixMicro() <= w.clock {
			w.known[id] = open.ID
		}
	}
}

func (w *watcher) dropAll(at int64, reason string, but func(*console.AlarmChange) bool) error {
	for _, open := range w.all.book.raisedOf(w.name) {
		if but(&open) {
			continue
		}
		if err := w.drop(open, at, reason); err != nil {
			return err
		}
	}
	return nil
}
