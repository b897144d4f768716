// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"
)

// demoPacing keeps simulated time from running away from those who watch and train, whose
// time is real. The replay's goroutine alone has it.
type demoPacing struct {
	day   int
	began time.Time // of the day, real
	busy  int       // days that began since the pipeline did which runs
}

const (
	// paceBehind is for how long a monitor may not have caught up with the log before time
	// stands still for it; paceWait bounds that for each day, so that a monitor that fails does
	// not end time.
	paceBehind = 400 * time.Millisecond
	paceWait   = 5 * time.Second
	// paceBusy is the shortest day while a pipeline runs: a training that takes some seconds
	// is to be over within some days.
	paceBusy = 500 * time.Millisecond
	// paceSlow is the shortest day once a pipeline runs for paceDays, which are enough for a canary:
	// on a machine that is slow the world does not change while a challenger is made for it.
	paceSlow = 4 * time.Second
	paceDays = 4
	// paceLook is how often to look again.
	paceLook = 5 * time.Millisecond
)

// before is called before each event. At the first one of a day it waits until those who
// watch have caught up.
func (d *demo) before(ctx context.Context, at int64) {
	day := d.dayOf(time.UnixMicro(at))
	if day == d.pacing.day {
		return
	}
	d.count(d.replay.report.total())
	if d.pacing.day > 0 {
		began := time.Now()
		d.hold(ctx)
		if time.Since(began) > paceLook {
			d.replay.clock.again()
		}
	}
	d.pacing.day, d.pacing.began = day, time.Now()
	if d.pacing.busy++; !d.busy.Load() {
		d.pacing.busy = 0
	}
}

func (d *demo) hold(ctx context.Context) {
	limit, least := time.Now().Add(paceWait), paceBusy
	if d.pacing.busy >= paceDays {
		least = paceSlow
	}
	for ctx.Err() == nil && time.Now().Before(limit) {
		behind := d.up.parts.monitors.lag() > paceBehind
		hurried := d.busy.Load() && time.Since(d.pacing.began) < least
		if !behind && !hurried {
			return
		}
		timer := time.NewTimer(paceLook)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
		}
	}
}

// demoLineWidth is how much of a terminal's line the progress takes.
const demoLineWidth = 150

// demoLineEvery is how often there is a line of progress where there is no terminal.
const demoLineEvery = 10 * time.Second

// line is the progress in the terminal.
func (d *demo) line(perSecond float64, total replayCounts) string {
	d.count(total)
	now := d.up.clock.now()
	text := fmt.Sprintf("day %3d  %s  %.0f decisions/s", d.dayOf(now), now.Format(time.DateOnly), perSecond)
	if c := d.counts(); c.Known > 0 {
		text += fmt.Sprintf(", %d of %d known frauds caught", c.Caught, c.Known)
	}
	realised, estimated := d.latest()
	if !math.IsNaN(realised) || !math.IsNaN(estimated) {
		text += fmt.Sprintf(", AUC %s, estimated %s", figure(realised), figure(estimated))
	}
	if n := d.story.raised.Load(); n > 0 {
		text += fmt.Sprintf(", %d alarms", n)
	}
	if n := d.annotated.Load(); n > 0 {
		text += fmt.Sprintf(", %d labelled", n)
	}
	text += ": " + d.headline(now)
	switch {
	case d.options.headless:
	case d.terminal != nil:
		fmt.Fprintf(d.terminal, "\r%-*.*s", demoLineWidth, demoLineWidth, text)
	case time.Since(d.lined) > demoLineEvery:
		d.lined = time.Now()
		fmt.Fprintln(d.out, text)
	}
	return "" // it is told
}

func figure(v float64) string {
	if math.IsNaN(v) {
		return "-"
	}
	return fmt.Sprintf("%.3f", v)
}

// latest is the quality of the last days that are known: by outcomes, and estimated.
func (d *demo) latest() (realised, estimated float64) {
	realised, estimated = math.NaN(), math.NaN()
	for _, p := range d.story.points() {
		if !math.IsNaN(p.Realised) {
			realised = p.Realised
		}
		if !math.IsNaN(p.Estimated) {
			estimated = p.Estimated
		}
	}
	return realised, estimated
}

// servedVersion is the version of the model that answers now, 0 if nobody knows.
func (d *demo) servedVersion() int64 {
	v, err := d.up.parts.server.Repository().Acquire(demoModel, "")
	if err != nil {
		return 0
	}
	defer v.Release()
	return v.Number
}

// over says whether the demo is at its end, and why it is not where it should be.
func (d *demo) over() (bool, error) {
	e := d.options.end
	if e.never() {
		return false, nil
	}
	day := d.dayOf(d.up.clock.now())
	if e.days > 0 {
		if day > e.days {
			return true, d.summary(day)
		}
		return false, nil
	}
	if c, ok := d.improved(); ok && c.recovery.Key != "" {
		return true, d.summary(day)
	}
	if day > d.options.daysMax {
		return true, d.missing(fmt.Sprintf("%d days are over", d.options.daysMax))
	}
	return false, nil
}

// missing says what did not happen until the end of a bound.
func (d *demo) missing(bound string) error {
	c, ok := d.chapter()
	what := "no challenger was promoted, though there was an alarm"
	switch {
	case !ok:
		what = "the world did not change"
	case c.alarm.Key == "":
		what = "no critical alarm followed the new pattern of day " + fmt.Sprint(d.dayOf(c.change.Time))
	case c.promotion.Key != "":
		what = "too few outcomes are known since the promotion"
	}
	if kept, ok := d.last(time.Time{}, storyKept); ok && c.promotion.Key == "" {
		what += "; the last one: " + kept.Text
	}
	return errors.New("demo: " + bound + ", and " + what)
}

// summary is the one line at the end.
func (d *demo) summary(day int) error {
	counts := d.counts()
	text := fmt.Sprintf("demo: %d days, %d decisions, %d outcomes", day, counts.Decisions, counts.Outcomes)
	if c, ok := d.improved(); ok {
		before, at, after, _ := c.quality(d)
		text += fmt.Sprintf("; alarm %d days after the change; AUC %s before, %s at the change, %s after; version %d promoted",
			d.dayOf(c.alarm.Time)-d.dayOf(c.change.Time), figure(before), figure(at), figure(after), c.promotion.Version)
	}
	_, err := fmt.Fprintf(d.out, "%s; %.0f s\n", text, time.Since(d.begun).Seconds())
	return err
}
