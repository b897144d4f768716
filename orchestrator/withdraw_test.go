// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const alarmed = `
pipelines:
  p:
    triggers: [{on: alarm, subject: "quality:1d"}, {on: alarm, subject: "quality:7d"}]
    tasks: {a: {uses: note, with: {text: "{{ trigger.alarm }}+{{ join(trigger.also ?? [], '+') }}", takes: 1h}}}
`

// alarmWorld tells a runner of alarms.
type alarmWorld struct {
	t *testing.T
	r *Runner
	s *served
	o Options
}

func newAlarmWorld(t *testing.T) *alarmWorld {
	s := &served{}
	w := &alarmWorld{t: t, s: s, o: Options{Dir: t.TempDir(), Look: time.Minute, Kinds: []Kind{noteKind(s)}, Pipelines: parse(t, alarmed)}}
	w.r = openRunner(t, w.o)
	return w
}

// again is the next process.
func (w *alarmWorld) again() {
	w.t.Helper()
	if err := w.r.Close(); err != nil {
		w.t.Fatal(err)
	}
	w.r = openRunner(w.t, w.o)
}

func (w *alarmWorld) tell(id, subject string) {
	w.t.Helper()
	starts, err := w.r.Trigger(Happening{On: "alarm", ID: id, Subject: subject, Payload: map[string]any{"alarm": id}})
	if err != nil || strings.Join(starts, " ") != "p" {
		w.t.Errorf("alarm %s starts %v, %v", id, starts, err)
	}
}

func (w *alarmWorld) withdraw(id string, runs int) {
	w.t.Helper()
	withdrawn, err := w.r.Withdraw(id, "alarm "+id+" is over")
	if err != nil || len(withdrawn) != runs {
		w.t.Errorf("alarm %s: withdrawn are %v, %v, want %d", id, withdrawn, err, runs)
	}
}

// runs are the statuses of all runs, and why.
func (w *alarmWorld) runs() string {
	var all []string
	for _, run := range w.r.Runs("p") {
		all = append(all, fmt.Sprint(run.Status, " ", run.Trigger["alarm"], " ", run.Error))
	}
	return strings.Join(all, "; ")
}

// TestAlarmsShareARun: two alarms at once that want the same pipeline make one run, which
// knows of both; one that comes while it goes on makes another.
func TestAlarmsShareARun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newAlarmWorld(t)
		w.tell("A", "quality:1d")
		w.tell("B", "quality:7d")
		w.tell("B", "quality:7d") // told twice, as after a crash
		w.again()                 // nothing of it is forgotten
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.r.Serve(ctx) }()
		synctest.Wait()
		if got := w.s.take(); got != "B+A" {
			t.Errorf("ran %q", got)
		}
		<-time.After(time.Minute)
		w.tell("C", "quality:1d") // waits, and is joined
		<-time.After(time.Minute)
		w.tell("D", "quality:7d")
		w.tell("C", "quality:1d")                                // again, with what is known by now
		for id, starts := range map[string]int{"D": 1, "E": 1} { // which E is known to, as a run waits
			if got, err := w.r.Trigger(Happening{On: "alarm", ID: id, Subject: "quality:7d", Join: true, Payload: map[string]any{"alarm": id}}); err != nil || len(got) != starts {
				t.Errorf("alarm %s joins %v, %v", id, got, err)
			}
		}
		w.withdraw("E", 0)
		w.tell("C", "quality:1d")
		<-time.After(2 * time.Hour)
		synctest.Wait()
		if got := w.s.take(); got != "C+D" {
			t.Errorf("then ran %q", got)
		}
		if got, err := w.r.Trigger(Happening{On: "alarm", ID: "F", Subject: "quality:7d", Join: true}); err != nil || len(got) > 0 {
			t.Errorf("no run waits, and an alarm joins %v, %v", got, err)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestWithdraw: a run that nobody wants any more does not begin, and its record says so. It
// does while one of its alarms is raised, and one that goes on is left alone.
func TestWithdraw(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newAlarmWorld(t)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- w.r.Serve(ctx) }()
		w.tell("A", "quality:1d")
		synctest.Wait()
		<-time.After(time.Minute)
		w.tell("B", "quality:7d") // waits in the queue, behind that of A
		synctest.Wait()
		w.withdraw("A", 0) // goes on
		w.withdraw("B", 1)
		w.withdraw("B", 0)
		<-time.After(2 * time.Hour)
		synctest.Wait()
		if got := w.s.take(); got != "A+" {
			t.Errorf("ran %q", got)
		}
		w.tell("C", "quality:1d")
		synctest.Wait()
		<-time.After(time.Minute)
		w.tell("D", "quality:1d")
		w.tell("E", "quality:7d")
		w.withdraw("E", 0)
		<-time.After(2 * time.Hour)
		synctest.Wait()
		if got := w.s.take(); got != "C+ D+" {
			t.Errorf("then ran %q", got)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if got := w.runs(); got != "succeeded A ; cancelled B withdrawn before it began: alarm B is over; succeeded C ; succeeded D " {
			t.Errorf("the record has %s", got)
		}
	})
}

// TestWithdrawnStaysWithdrawn: what was withdrawn while nobody served is not begun by the next
// process, and what was not is.
func TestWithdrawnStaysWithdrawn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newAlarmWorld(t)
		w.tell("A", "quality:1d")
		w.withdraw("A", 1)
		w.again()
		serve(t, w.r, 2*time.Hour)
		if got := w.s.take(); got != "" {
			t.Errorf("ran %q", got)
		}
		w.tell("B", "quality:1d")
		w.again()
		serve(t, w.r, 2*time.Hour)
		if got := w.s.take(); got != "B+" {
			t.Errorf("then ran %q", got)
		}
		w.again()
		if got := w.runs(); got != "cancelled A withdrawn before it began: alarm A is over; succeeded B " {
			t.Errorf("the record has %s", got)
		}
	})
}
