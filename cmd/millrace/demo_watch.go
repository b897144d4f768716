// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/url"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace-ml/millrace/evaluation/monitor"
	monitordoc "github.com/millrace-ml/millrace/evaluation/monitor/document"
	"github.com/millrace-ml/millrace/evaluation/monitor/estimate"
	"github.com/millrace-ml/millrace/evaluation/monitor/record"
	"github.com/millrace-ml/millrace/orchestrator"
)

// demo plays the world around a project that is served, watches what the project does about
// it, and tells the story. What it knows of the loop it reads where people would: alarms,
// promotions, runs and reports in the state folder.
//
// The replay's goroutine calls before and line, the goroutine of run does the watching, and
// the console asks for the story; what they share is atomic or in story.
type demo struct {
	options *demoOptions
	world   demoWorld
	fresh   bool // the folder was made by this start
	begun   time.Time
	out     io.Writer
	// terminal keeps one line of progress, nil where there is none.
	terminal io.Writer
	lined    time.Time // when a line was printed last, without a terminal

	up     *up
	replay *replay
	truth  demoTruth
	story  demoStory
	// annotated counts what the demo's people labelled.
	annotated atomic.Int64

	busy   atomic.Bool // a pipeline runs
	pacing demoPacing
	mu     struct {
		sync.Mutex
		// earlier are the counts of earlier starts, counts those of this one.
		earlier, counts demoCounts
	}
}

const (
	// demoLook is how often the demo looks at what happened.
	demoLook = 100 * time.Millisecond
	// demoQuiet is how often it looks at what takes longer to read.
	demoQuiet = 400 * time.Millisecond
	// demoMonitor and demoWindow name what quality is read from.
	demoMonitor = "fraud"
	demoWindow  = monitor.Duration(24 * time.Hour)
	// demoReviewed is the value of a task that counts the labels of people.
	demoReviewed = fromPrefix + "reviewer"
)

// run watches until ctx ends, or the demo does. A nil demo waits for ctx.
func (d *demo) run(ctx context.Context, u *up) error {
	if d == nil {
		<-ctx.Done()
		return nil
	}
	select {
	case <-u.parts.server.Ready():
	case <-ctx.Done():
		return nil
	}
	w, err := d.openWatch()
	if err != nil {
		return err
	}
	defer w.close()
	var beside sync.WaitGroup
	defer beside.Wait()
	during, stop := context.WithCancel(ctx)
	defer stop()
	beside.Go(func() { d.annotate(during) }) // ends when the demo does
	beside.Go(func() { d.tidy(during) })     // likewise
	ticker := time.NewTicker(demoLook)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		if err := w.look(); err != nil {
			return err
		}
		done, err := d.over()
		if done || err != nil {
			return err
		}
	}
}

// demoWatch reads what the loop writes.
type demoWatch struct {
	d        *demo
	monitors *monitorsOfState
	runs     *orchestrator.View
	told     map[string]orchestrator.Status // runs, by id
	// quiet is when the slower things were looked at last.
	quiet time.Time
}

func (d *demo) openWatch() (*demoWatch, error) {
	state := d.up.project.State
	w := &demoWatch{d: d, monitors: newMonitorsOfState(state, nil), runs: orchestrator.NewView(filepath.Join(state, "pipelines")), told: map[string]orchestrator.Status{}}
	if err := d.story.open(filepath.Join(state, demoStoryFile)); err != nil {
		return nil, errors.Join(err, w.monitors.close())
	}
	return w, nil
}

func (w *demoWatch) close() error { return errors.Join(w.monitors.close(), w.d.story.close()) }

// look takes what is new into the story.
func (w *demoWatch) look() error {
	now := w.d.up.clock.now()
	w.d.changes(now)
	if err := errors.Join(w.quality(), w.alarms()); err != nil {
		return err
	}
	if time.Since(w.quiet) > demoQuiet {
		w.quiet = time.Now()
		if err := errors.Join(w.pipelines(now), w.promotions(now)); err != nil {
			return err
		}
	}
	w.d.recovery(now)
	return nil
}

// quality reads what the monitor found of each day.
func (w *demoWatch) quality() error {
	store, err := w.monitors.store(demoMonitor)
	if err != nil {
		return nil // it has found nothing yet, so there is no folder
	}
	reports, err := store.Reports(record.Query{Window: demoWindow, From: w.d.story.since()})
	if err != nil {
		return fmt.Errorf("what monitor %s found: %w", demoMonitor, err)
	}
	for i := range reports {
		r := &reports[i]
		realised, estimated := math.NaN(), math.NaN()
		if r.Quality != nil {
			realised = r.Quality.Values.Of(estimate.AUC)
		}
		if r.Estimated != nil {
			estimated = r.Estimated.Values.Of(estimate.AUC)
		}
		w.d.story.day(w.d.dayOf(time.UnixMicro(r.Start)), r.Start, realised, estimated)
	}
	return nil
}

// alarmsRead bounds the changes of alarms that are read at a look.
const alarmsRead = 500

func (w *demoWatch) alarms() error {
	changes, err := w.monitors.AlarmChanges(alarmsRead)
	if err != nil {
		return err
	}
	raised := map[string]bool{}
	for i := len(changes) - 1; i >= 0; i-- {
		c := &changes[i]
		at := c.Time.UTC()
		switch monitor.Change(c.Change) {
		case monitor.Raised:
			raised[c.ID] = true
			text := fmt.Sprintf("alarm: %s: %s", alarmWords(c.Subject), firstLine(c.Reason, 160))
			if len(c.Starts) > 0 {
				text += fmt.Sprintf(" (starts pipeline %s)", c.Starts[0])
			}
			w.d.tell(storyEvent{Key: "alarm " + c.ID, Time: at, Kind: storyAlarm, Text: text, Link: alarmEntry(c).Link, Critical: c.Severity == string(monitor.Critical), Alarm: c.ID})
		case monitor.Cleared:
			delete(raised, c.ID)
			w.d.tell(storyEvent{Key: "cleared " + c.ID, Time: at, Kind: storyCleared, Text: "cleared: " + alarmWords(c.Subject), Link: alarmEntry(c).Link})
		}
	}
	w.d.story.raised.Store(int64(len(raised)))
	return nil
}

// runsRead bounds the newest runs that are looked at.
const runsRead = 20

func (w *demoWatch) pipelines(now time.Time) error {
	all, err := w.runs.Runs(demoRetrain)
	if err != nil {
		return err
	}
	busy := false
	for _, r := range all[max(0, len(all)-runsRead):] {
		busy = busy || !r.Status.Ended()
		if w.told[r.ID] == r.Status {
			continue
		}
		w.told[r.ID] = r.Status
		link := "/console/pipelines/" + url.PathEscape(r.ID)
		if !r.Status.Ended() || r.Status == orchestrator.StatusSucceeded { // also one that was over before the first look at it
			w.d.tell(storyEvent{Key: "run " + r.ID, Time: now, Kind: storyRun, Text: "pipeline " + r.Pipeline + " trains a challenger" + causeOf(r), Link: link})
		} else {
			w.d.tell(storyEvent{Key: "failed " + r.ID, Time: now, Kind: storyRun, Text: fmt.Sprintf("pipeline %s: %s: %s", r.Pipeline, r.Status, firstLine(r.Error, 200)), Link: link})
		}
	}
	w.d.busy.Store(busy)
	return nil
}

// causeOf says which alarm started a run.
func causeOf(r *orchestrator.RunStatus) string {
	if id, ok := r.Trigger["alarm"].(string); ok {
		return ", because of " + id
	}
	return ""
}

// learnt says how many labels of people a run learned from or judged by.
func (w *demoWatch) learnt(run string) string {
	r, err := w.runs.Status(run)
	if err != nil {
		return ""
	}
	for i := range r.Tasks {
		if n, ok := r.Tasks[i].Values[demoReviewed].(int64); ok {
			return fmt.Sprintf(", and learned from %d labels that people gave", n)
		}
	}
	return ""
}

func (w *demoWatch) promotions(now time.Time) error {
	all, err := readPromotions(w.d.up.project.State)
	if err != nil {
		return err
	}
	for _, p := range all[max(0, len(all)-runsRead):] {
		if p.Previous == 0 && p.Decision == decisionPromoted {
			continue // the first model
		}
		e := storyEvent{Key: "promotion " + p.Run, Time: now, Link: "/console/audit/promotions/" + url.PathEscape(p.Run), Kind: storyKept, Version: p.Version}
		if p.Decision == decisionPromoted {
			e.Kind, e.Text = storyPromotion, fmt.Sprintf("version %d of %s is promoted: it passed its gates against version %d%s", p.Version, p.Model, p.Previous, w.learnt(p.Run))
		} else {
			e.Text = fmt.Sprintf("the challenger does not pass, version %d goes on", w.d.servedVersion())
			if len(p.Reasons) > 0 {
				e.Text += ": " + firstLine(p.Reasons[0], 160)
			}
		}
		w.d.tell(e)
	}
	return nil
}

// alarmWords says what an alarm is of, for people.
func alarmWords(subject string) string { return monitordoc.Subject(&monitor.Alarm{Subject: subject}) }
