// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// served notes when runs of a pipeline began, and what they were for.
type served struct {
	mu    sync.Mutex
	lines []string
}

func (s *served) note(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, text)
}

func (s *served) take() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	text := strings.Join(s.lines, " ")
	s.lines = nil
	return text
}

// noteKind notes the text it is given and takes the time it is given.
func noteKind(s *served) Kind {
	return Kind{Name: "note", Uncached: true, Decode: func(data []byte) (Task, error) {
		var w struct{ Text, Takes string }
		if err := strict(data, &w); err != nil {
			return nil, err
		}
		takes, err := time.ParseDuration("0" + w.Takes)
		if err != nil {
			return nil, err
		}
		return TaskFunc(func(ctx context.Context, _ *Call) error {
			s.note(w.Text)
			return wait(ctx, takes)
		}), nil
	}}
}

// serve runs Serve for a while.
func serve(t *testing.T, r *Runner, lasts time.Duration) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), lasts)
	defer cancel()
	if err := r.Serve(ctx); err != nil {
		t.Fatal(err)
	}
}

// Times are those of a bubble: they begin at midnight of 2000-01-01, UTC.
func TestServeSchedules(t *testing.T) {
	for _, c := range []struct{ name, schedule, takes, want string }{
		{"short runs", "cron: '0 * * * *'", "1m", "01 02 03 04 05 06"},
		{"skip", "cron: '0 * * * *', overlap: skip", "90m", "01 03 05"},
		{"queue", "cron: '0 * * * *', overlap: queue", "90m", "01 02 03 04"},
		{"cancel", "cron: '0 * * * *', overlap: cancel", "90m", "01 02 03 04 05 06"},
		{"every", "cron: '@every 2h'", "1m", "02 04 06"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &served{}
				r := openRunner(t, Options{Look: time.Minute, Kinds: []Kind{noteKind(s)}, Pipelines: parse(t, `
pipelines:
  p:
    schedule: {`+c.schedule+`}
    tasks: {a: {uses: note, with: {text: "{{ split(run.time, 'T')[1][:2] }}", takes: `+c.takes+`}}}
`)})
				serve(t, r, 6*time.Hour+30*time.Minute)
				if got := s.take(); got != c.want {
					t.Errorf("ran at %s, want %s", got, c.want)
				}
			})
		})
	}
}

// A run that is due cancels the one before it though that has not come to be written down.
func TestServeCancelsWhatHasNotBegun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &served{}
		kind, first := noteKind(s), true
		decode := kind.Decode
		kind.Decode = func(with []byte) (Task, error) { // asked for before a run is written down
			if first {
				first = false
				time.Sleep(90 * time.Minute) // of the bubble
			}
			return decode(with)
		}
		r := openRunner(t, Options{Look: time.Minute, Kinds: []Kind{kind}, Pipelines: parse(t, `
pipelines:
  p:
    schedule: {cron: "0 * * * *", overlap: cancel}
    tasks: {a: {uses: note, with: {text: ran}}}
`)})
		serve(t, r, 2*time.Hour+45*time.Minute)
		if got := s.take(); got != "ran" {
			t.Errorf("%q", got)
		}
		var all []string
		for _, run := range r.Runs("p") {
			all = append(all, string(run.Status)+" "+run.Time.Format(time.TimeOnly))
		}
		if got := strings.Join(all, ", "); got != "cancelled 01:00:00, succeeded 02:00:00" {
			t.Errorf("runs are %s", got)
		}
	})
}

func TestServeCatchesUp(t *testing.T) {
	for catchUp, want := range map[string]string{"none": "", "last": "05", "all": "02 03 04 05"} {
		synctest.Test(t, func(t *testing.T) {
			s := &served{}
			r := openRunner(t, Options{Look: time.Minute, Kinds: []Kind{noteKind(s)}, Pipelines: parse(t, `
pipelines:
  p:
    schedule: {cron: "0 * * * *", catch_up: `+catchUp+`}
    tasks: {a: {uses: note, with: {text: "{{ split(run.time, 'T')[1][:2] }}"}}}
`)})
			serve(t, r, 90*time.Minute)
			<-time.After(4 * time.Hour) // of the bubble: nobody serves
			s.take()
			serve(t, r, 10*time.Minute)
			if got := s.take(); got != want {
				t.Errorf("%s: caught up with %q, want %q", catchUp, got, want)
			}
		})
	}
}

func TestServeTriggers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		s := &served{}
		r := openRunner(t, Options{Look: time.Second, Kinds: []Kind{noteKind(s)}, Pipelines: parse(t, `
pipelines:
  alarm: {triggers: [{on: alarm, monitor: quality, at_most: 1h}], tasks: {a: {uses: note, with: {text: "alarm-{{ trigger.level }}"}}}}
  grave: {triggers: [{on: alarm, severity: critical, subject: quality}], tasks: {a: {uses: note, with: {text: "as-of-{{ trigger.time ?? '' }}"}}}}
  labels: {triggers: [{on: labels, count: 10}], tasks: {a: {uses: note, with: {text: "labels"}}}}
  hook: {triggers: [{on: webhook, name: build}], tasks: {a: {uses: note, with: {text: "hook"}}}}
  file: {triggers: [{on: file, path: `+dir+`/*.csv}], tasks: {a: {uses: note, with: {text: "files-{{ len(trigger.files) }}"}}}}
`)})
		tell := func(h Happening, starts string) {
			t.Helper()
			got, err := r.Trigger(h)
			if err != nil || strings.Join(got, " ") != starts {
				t.Errorf("%+v starts %v, want %q, %v", h, got, starts, err)
			}
		}
		expect := func(after time.Duration, want string) {
			t.Helper()
			<-time.After(after) // of the bubble
			synctest.Wait()
			if got := s.take(); got != want {
				t.Errorf("ran %q, want %q", got, want)
			}
		}
		tell(Happening{On: "labels", Count: 9}, "") // remembered without Serve
		tell(Happening{On: "webhook", Name: "build"}, "hook")
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- r.Serve(ctx) }()
		expect(2*time.Second, "hook")
		tell(Happening{On: "labels"}, "labels")
		expect(2*time.Second, "labels")
		tell(Happening{On: "labels"}, "")
		tell(Happening{On: "alarm", Name: "other"}, "")
		tell(Happening{On: "alarm", Name: "quality", Payload: map[string]any{"level": 1}}, "alarm")
		expect(2*time.Second, "alarm-1")
		tell(Happening{On: "alarm", Name: "quality", Payload: map[string]any{"level": 2}}, "alarm")
		tell(Happening{On: "alarm", Name: "quality", Payload: map[string]any{"level": 3}}, "alarm")
		expect(30*time.Minute, "")
		expect(31*time.Minute, "alarm-3")
		tell(Happening{On: "alarm", Name: "m", Severity: "critical", Subject: "qualityless:1d"}, "")
		tell(Happening{On: "alarm", Name: "m", Severity: "warning", Subject: "quality:1d"}, "")
		tell(Happening{On: "alarm", Name: "m", Severity: "critical", Subject: "quality:1d", Again: true}, "")
		tell(Happening{On: "alarm", Name: "m", Severity: "critical", Subject: "quality:1d", Payload: map[string]any{"time": "2026-01-02T03:04:05Z"}}, "grave")
		expect(2*time.Second, "as-of-2026-01-02T03:04:05Z")
		if _, err := r.Run(ctx, "grave", RunOptions{}); err != nil { // by hand there is no trigger
			t.Error(err)
		}
		expect(2*time.Second, "as-of-")
		for i, name := range []string{"1.csv", "2.txt", "3.csv"} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o666); err != nil {
				t.Fatal(err)
			}
			expect(5*time.Second, []string{"files-1", "", "files-2"}[i])
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if _, err := r.Trigger(Happening{On: "alarm", Payload: map[string]any{"x": strings.Repeat("x", triggerBytesMax)}}); !errors.Is(err, ErrInvalid) {
			t.Error(err)
		}
	})
}

// What goes on when Serve ends is interrupted, and taken up by the next, also after the
// runner was opened anew.
func TestServeGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &served{}
		o := Options{Dir: t.TempDir(), Look: time.Minute, Kinds: []Kind{noteKind(s)}, Pipelines: parse(t, `
pipelines:
  p:
    schedule: {cron: "0 * * * *"}
    tasks:
      a: {uses: note, with: {text: a}}
      b: {uses: note, needs: a, with: {text: b, takes: 30m}}
      c: {uses: note, needs: b, with: {text: c}}
`)}
		r := openRunner(t, o)
		serve(t, r, 70*time.Minute)
		if runs := r.Runs("p"); len(runs) != 1 || runs[0].Status != StatusInterrupted {
			t.Fatalf("%+v", runs)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		r = openRunner(t, o)
		serve(t, r, 40*time.Minute)
		if got := s.take(); got != "a b b c" {
			t.Errorf("executed %s", got)
		}
		want(t, r.Runs("p")[0], "a:succeeded b:succeeded c:succeeded")
	})
}
