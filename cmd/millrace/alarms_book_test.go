// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/console"
	"github.com/millrace-ml/millrace/evaluation/monitor"
)

// changesOf makes changes of alarms, each "MONITOR/SUBJECT@N raised" or "… cleared".
func changesOf(texts ...string) (all []console.AlarmChange) {
	for i, text := range texts {
		id, change, _ := strings.Cut(text, " ")
		name, subject, _ := strings.Cut(id, "/")
		subject, _, _ = strings.Cut(subject, "@")
		all = append(all, console.AlarmChange{ID: id, Time: timeOf(watchDay0 + int64(i)), Monitor: name, Subject: subject, Change: change})
	}
	return all
}

// TestWebhookBegins: what a webhook is told at a start follows what it was told last; a new
// one hears of what is raised still, and of many changes the newest are not the ones dropped.
func TestWebhookBegins(t *testing.T) {
	changes := changesOf("a/drift@1 raised", "b/drift@1 raised", "a/drift@1 cleared", "a/score@2 raised", "a/drift@3 raised")
	for last, want := range map[string]string{
		"":                  "[a/score@2 raised a/drift@3 raised]",
		"a/gone@0 raised":   "[a/score@2 raised a/drift@3 raised]",
		"a/drift@1 raised":  "[a/drift@1 cleared a/score@2 raised a/drift@3 raised]",
		"a/drift@1 cleared": "[a/score@2 raised a/drift@3 raised]",
		"a/drift@3 raised":  "[]",
	} {
		var got []string
		for _, e := range untold(changes, "a", last) {
			got = append(got, hookKey(&e))
		}
		if fmt.Sprint(got) != want {
			t.Errorf("after %q it is told of %v, want %s", last, got, want)
		}
	}
	var many []string
	for i := range 3 * hookQueue {
		many = append(many, fmt.Sprintf("a/drift@%d raised", i))
	}
	got := untold(changesOf(many...), "a", "")
	if last := got[len(got)-1].ID; len(got) != hookQueue || last != fmt.Sprintf("a/drift@%d", 3*hookQueue-1) {
		t.Errorf("it is told of %d changes, at last of %s", len(got), last)
	}
}

// TestAlarmsAreBounded: the file of a server that runs for long is cut down, in its order, and
// keeps what is raised.
func TestAlarmsAreBounded(t *testing.T) {
	state := t.TempDir()
	texts := []string{"a/first@0 raised", "a/second@0 raised"}
	for i := range alarmsMax - 1 {
		texts = append(texts, fmt.Sprintf("a/drift@%d raised", i), fmt.Sprintf("a/drift@%d cleared", i))
	}
	book := &alarmBook{state: state}
	if err := book.rewrite(changesOf(texts...)); err != nil {
		t.Fatal(err)
	}
	book, all, err := openAlarms(state)
	if err != nil || len(all) != 2*alarmsMax {
		t.Fatalf("%d changes, %v", len(all), err)
	}
	if err := book.add(changesOf("a/third@0 raised")[0]); err != nil {
		t.Fatal(err)
	}
	all, err = readAlarms(state)
	if err != nil || len(all) != alarmsMax+2 || all[0].Subject != "first" || all[1].Subject != "second" || all[len(all)-1].Subject != "third" {
		t.Fatalf("%d changes, %v", len(all), err)
	}
	shown, err := newMonitorsOfState(state, nil).AlarmChanges(10)
	if err != nil || len(shown) != 12 || shown[0].Subject != "third" || shown[11].Subject != "first" {
		t.Errorf("shown are %+v, %v", shown, err)
	}
	if n := len(book.mu.told); n != len(all) || !book.told("a/third@0", monitor.Raised) || book.told("a/drift@0", monitor.Raised) || len(book.raisedOf("a")) != 3 {
		t.Errorf("%d changes are known to be told", n)
	}
}

// TestAlarmsOfNobody: alarms of a monitor that the project has no more, and of a silence that
// is not looked for any more, do not stay raised for ever.
func TestAlarmsOfNobody(t *testing.T) {
	w := newWatchWorld(t, withoutHook)
	w.must(appendAlarm(w.host.project.State, changesOf("other/drift:1d:amount@1 raised")[0]))
	m := w.start()
	if open := w.monitors.book.raisedOf("other"); len(open) > 0 {
		t.Errorf("raised are %v", open)
	}
	w.day(0)
	w.at += 2 * dayMicros
	w.watch(m)
	if _, ok := w.raised(quietSubject); !ok {
		t.Fatalf("no alarm in %v", w.changes())
	}
	m.spec.QuietMax = 0
	w.watch(m)
	if e, ok := w.raised(quietSubject); ok {
		t.Errorf("raised is %+v", e)
	}
}

// TestMonitorComesBack: a version with an alarm is replaced, and put back. Its alarm is raised
// again, under an id of its own, goes on over a restart, and is cleared once.
func TestMonitorComesBack(t *testing.T) {
	w := newWatchWorld(t, withoutHook)
	m := w.start()
	for day := range watchShifted + 2 {
		w.day(day)
		w.watch(m)
	}
	const subject = "drift:1d:amount"
	before, ok := w.raised(subject)
	if !ok {
		t.Fatalf("no drift in %v", w.changes())
	}
	w.version = 2
	w.at += int64(time.Hour / time.Microsecond)
	w.watch(m)
	if e, ok := w.raised(subject); ok {
		t.Fatalf("raised of version 2: %+v", e)
	}
	w.version = 1
	w.at += int64(time.Hour / time.Microsecond)
	m.lookNext = time.Time{}
	w.watch(m)
	after, ok := w.raised(subject)
	if !ok || after.ID == before.ID {
		t.Fatalf("raised again is %+v in %v", after, w.changes())
	}
	for day := watchShifted + 2; day < watchShifted+4; day++ {
		w.day(day)
		w.watch(m)
		m.end()
		m = w.start()
	}
	if e, _ := w.raised(subject); e.ID != after.ID {
		t.Errorf("raised is %+v, not %s", e, after.ID)
	}
	w.watch(m)
	w.must(m.clear(monitor.Alarm{Subject: subject, Since: before.Time.UnixMicro()}, w.at, "as a good window does"))
	if e, ok := w.raised(subject); ok {
		t.Errorf("raised still is %+v", e)
	}
}

// TestMonitorAfterClockJump: the clock of the machine shows next year for a moment, decisions
// are logged then, and it is put right. The monitor goes on as if they were not there.
func TestMonitorAfterClockJump(t *testing.T) {
	for _, restarts := range []bool{false, true} {
		w := newWatchWorld(t, withoutHook)
		m := w.start()
		for day := range 3 {
			w.day(day)
			w.watch(m)
		}
		right := w.at
		w.at += 365 * dayMicros
		w.decide("wrong", 50, 1, 0.5)
		w.must(w.log.Sync(t.Context()))
		w.watch(m)
		w.at = right
		if restarts {
			m.end()
			m = w.start()
		}
		for day := 3; day < watchShifted+2; day++ {
			w.day(day)
			w.watch(m)
		}
		if _, ok := w.raised("drift:1d:amount"); !ok {
			t.Errorf("restarts %v: the shift was not seen: %v", restarts, w.changes())
		}
		if n := m.monitor.Counts().Late; n > 0 {
			t.Errorf("restarts %v: %d predictions came too late", restarts, n)
		}
	}
}
