// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// Tasks that are run one by one come to what a run of all comes to.
func TestRunTaskAgreesWithRun(t *testing.T) {
	x := &executed{}
	o := Options{Dir: t.TempDir(), Kinds: []Kind{joinKind(x)}, Pipelines: parse(t, `
pipelines:
  p:
    parameters: {word: hello, as_of: now}
    tasks:
      a: {uses: join, with: {text: "{{ params.word }}", set: {n: 3}}, outputs: [o]}
      each: {uses: join, inputs: {x: a.o}, foreach: "1..a.n", with: {text: "i{{ item }}", set: {v: "{{ item }}"}}, outputs: [o]}
      no: {uses: join, when: "a.n > 5"}
      last: {uses: join, inputs: {x: each.o}, with: {text: "{{ params.word }}{{ sum(each.v) }}"}, outputs: [o]}
      end: {uses: join, when: always, with: {text: "{{ no.status }}"}}
`)}
	one := func(task string, params map[string]any) (*TaskStatus, error) {
		return RunTask(t.Context(), o, TaskOptions{Pipeline: "p", Task: task, RunOptions: RunOptions{Run: "scheduled__2026-01-01T00:00:00+00:00", Params: params}})
	}
	if s, err := one("last", nil); !errors.Is(err, ErrFailed) || s.Status != StatusBlocked {
		t.Fatalf("before what it waits for: %+v, %v", s, err)
	}
	var last *TaskStatus
	for _, task := range []string{"a", "each", "no", "last", "end"} {
		s, err := one(task, map[string]any{"word": "ignored: the first task has settled it"})
		if err != nil {
			t.Fatal(err)
		}
		if task == "last" {
			last = s
		}
		if want := map[string]Status{"no": StatusSkipped}[task]; want != "" && s.Status != want {
			t.Errorf("%s: %s", task, s.Status)
		}
	}
	if got := x.take(); got != "a each[1] each[2] each[3] end last" {
		t.Errorf("executed %s", got)
	}
	if _, err := one("last", nil); err != nil || x.take() != "" {
		t.Errorf("a task that succeeded was run again, or %v", err)
	}
	r := openRunner(t, o)
	run, err := r.Run(t.Context(), "p", RunOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if run.Task("last").Outputs["o"] != last.Outputs["o"] || run.Task("last").Key != last.Key {
		t.Errorf("a run gives %+v, its tasks one by one %+v", run.Task("last"), last)
	}
	if got := x.take(); got != "" {
		t.Errorf("the cache is not shared: executed %s", got)
	}
	removed, err := r.Collect(t.Context(), CollectOptions{})
	if err != nil || removed != 0 {
		t.Errorf("removed %d that are in use, %v", removed, err)
	}
}

func TestRunTaskOfManyProcesses(t *testing.T) {
	x := &executed{}
	o := Options{Dir: t.TempDir(), Kinds: []Kind{joinKind(x)}, Pipelines: parse(t, `
pipelines: {p: {parameters: {w: 0}, tasks: {a: {uses: join, with: {text: "w{{ params.w }}"}, outputs: [o]}, b: {uses: join, with: {text: "{{ params.w }}!"}, outputs: [o]}}}}`)}
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			_, err := RunTask(t.Context(), o, TaskOptions{Pipeline: "p", Task: []string{"a", "b"}[i%2], RunOptions: RunOptions{Run: "r", Params: map[string]any{"w": i}}})
			if err != nil && !errors.Is(err, ErrLocked) {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if got := x.take(); got != "a b" {
		t.Errorf("executed %s", got)
	}
	left, err := os.ReadDir(filepath.Join(o.Dir, "exported", "r"))
	names := ""
	for _, e := range left {
		names += e.Name() + " "
	}
	if err != nil || names != "a.lock a.task.json b.lock b.task.json run.json " {
		t.Errorf("%s, %v", names, err)
	}
}

func TestRunTaskFails(t *testing.T) {
	o := Options{Dir: t.TempDir(), Kinds: []Kind{joinKind(&executed{})}, Pipelines: parse(t, `
pipelines: {p: {tasks: {a: {uses: join, with: {fail: 1}}, b: {uses: join, needs: a}, c: {uses: join, when: failed}}}}`)}
	for task, want := range map[string]Status{"a": StatusFailed, "b": StatusBlocked} {
		s, err := RunTask(t.Context(), o, TaskOptions{Pipeline: "p", Task: task, RunOptions: RunOptions{Run: "r"}})
		if !errors.Is(err, ErrFailed) || s.Status != want {
			t.Errorf("%s: %+v, %v", task, s, err)
		}
	}
	if s, err := RunTask(t.Context(), o, TaskOptions{Pipeline: "p", Task: "c", RunOptions: RunOptions{Run: "r"}}); err != nil || s.Status != StatusSucceeded {
		t.Errorf("%+v, %v", s, err)
	}
	if _, err := RunTask(t.Context(), o, TaskOptions{Pipeline: "p", Task: "b", RunOptions: RunOptions{Run: "other"}}); !errors.Is(err, ErrFailed) || !strings.Contains(err.Error(), "task a was not run in run other: run it first") {
		t.Errorf("without the task before: %v", err)
	}
	o.Pipelines = parse(t, "pipelines: {p: {tasks: {a: {uses: join}, b: {uses: join, needs: a}, c: {uses: join, needs: b}}}}")
	if _, err := RunTask(t.Context(), o, TaskOptions{Pipeline: "p", Task: "c", RunOptions: RunOptions{Run: "middle"}}); !errors.Is(err, ErrFailed) || !strings.Contains(err.Error(), "task a was not run") {
		t.Errorf("without any task before: %v", err)
	}
	// Where the one that drives the run leaves out what waits for a task that failed, that was blocked all the same.
	o.Pipelines = parse(t, `
pipelines: {p: {tasks: {a: {uses: join, with: {fail: 1}}, b: {uses: join, needs: a}, c: {uses: join, needs: b}, d: {uses: join, when: "c.status == 'blocked' && b.status == 'blocked' && a.status == 'failed'"}}}}`)
	for i, want := range []Status{StatusFailed, StatusCached} { // c of above did what d does
		s, err := RunTask(t.Context(), o, TaskOptions{Pipeline: "p", Task: []string{"a", "d"}[i], RunOptions: RunOptions{Run: "gaps"}})
		if s == nil || s.Status != want {
			t.Errorf("%+v, %v, want %s", s, err, want)
		}
	}
	o.Pipelines = parse(t, "pipelines: {p: {tasks: {a: {uses: join}}}}")
	if _, err := RunTask(t.Context(), o, TaskOptions{Pipeline: "p", Task: "a", RunOptions: RunOptions{Run: "r"}}); !errors.Is(err, ErrChanged) {
		t.Error(err)
	}
	if _, err := RunTask(t.Context(), o, TaskOptions{Pipeline: "p", Task: "a", RunOptions: RunOptions{Run: "../up"}}); !errors.Is(err, ErrInvalid) {
		t.Error(err)
	}
}

func TestCollectKeepsTheNewestRuns(t *testing.T) {
	r := openRunner(t, Options{Kinds: []Kind{joinKind(&executed{})}, Pipelines: parse(t, `
pipelines: {p: {parameters: {n: 0}, tasks: {a: {uses: join, with: {text: "n{{ params.n }}"}, outputs: [o]}}}}`)})
	var runs []*RunStatus
	for i := range 5 {
		run, err := r.Run(t.Context(), "p", RunOptions{Params: map[string]any{"n": i}})
		if err != nil {
			t.Fatal(err)
		}
		runs = append(runs, run)
	}
	if removed, err := r.Collect(t.Context(), CollectOptions{Runs: 2}); err != nil || removed != 0 {
		t.Errorf("removed %d that are new, %v", removed, err)
	}
	removed, err := r.Collect(t.Context(), CollectOptions{Runs: 2, Age: time.Nanosecond})
	if err != nil || removed != 3 {
		t.Errorf("removed %d, %v", removed, err)
	}
	for i, run := range runs {
		a := run.Task("a")
		if r.store.Has(a.Outputs["o"].Digest) != (i >= 3) || exists(r.entryPath(a.Key)) != (i >= 3) {
			t.Errorf("run %d is kept or not, wrongly", i)
		}
	}
}

func TestJournalIsCompacted(t *testing.T) {
	o := Options{Dir: t.TempDir(), RunsMax: 5, Kinds: []Kind{joinKind(&executed{})}, Pipelines: parse(t, `
pipelines: {p: {parameters: {n: 0}, tasks: {a: {uses: join, with: {text: "n{{ params.n }}"}, outputs: [o]}}}}`)}
	r := openRunner(t, o)
	payload := map[string]any{"x": strings.Repeat("x", 60<<10)}
	for i := range 40 {
		if _, err := r.Run(t.Context(), "p", RunOptions{Params: map[string]any{"n": i % 2}, Trigger: payload}); err != nil {
			t.Fatal(err)
		}
	}
	before := r.journal.Size()
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	r = openRunner(t, o)
	runs := r.Runs("")
	if len(runs) != 5 || r.journal.Size() > before/5 || runs[4].Params["n"] != int64(1) || runs[4].Status != StatusSucceeded {
		t.Errorf("%d runs, %d bytes of %d before", len(runs), r.journal.Size(), before)
	}
	if logs, err := os.ReadDir(filepath.Join(o.Dir, "runs")); err != nil || len(logs) > 5 {
		t.Errorf("logs of %d runs, %v", len(logs), err)
	}
	if _, err := r.Run(t.Context(), "p", RunOptions{}); err != nil {
		t.Error(err)
	}
}
