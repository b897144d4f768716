// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

const diamond = `
pipelines:
  diamond:
    parameters: {word: hello}
    tasks:
      first: {uses: join, with: {text: "{{ params.word }}", set: {size: 5}}, outputs: [text]}
      left: {uses: join, inputs: {in: first.text}, with: {text: L}, outputs: [text]}
      right: {uses: join, inputs: {in: first.text}, with: {text: "R{{ first.size + 1 }}"}, outputs: [text]}
      last: {uses: join, inputs: {a: left.text, b: right.text}, outputs: {text: last.txt}}
`

func TestRunAndCache(t *testing.T) {
	x := &executed{}
	r := openRunner(t, Options{Pipelines: parse(t, diamond), Kinds: []Kind{joinKind(x)}})
	run, err := r.Run(t.Context(), "diamond", RunOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want(t, run, "first:succeeded left:succeeded right:succeeded last:succeeded")
	if got := content(t, r, run, "last", "text"); got != "(L(hello))(R6(hello))" {
		t.Errorf("last made %q", got)
	}
	for _, c := range []struct {
		name     string
		o        RunOptions
		executed string
	}{
		{"again", RunOptions{}, ""},
		{"another parameter", RunOptions{Params: map[string]any{"word": "bye"}}, "first last left right"},
		{"the first parameter again", RunOptions{Params: map[string]any{"word": "hello"}}, ""},
		{"all by force", RunOptions{IgnoreCache: true}, "first last left right"},
		{"from one", RunOptions{From: []string{"right"}}, "last right"},
		{"only one", RunOptions{Only: []string{"left"}, Params: map[string]any{"word": "x"}}, "first left"},
	} {
		x.take()
		if run, err = r.Run(t.Context(), "diamond", c.o); err != nil {
			t.Fatal(err)
		}
		if got := x.take(); got != c.executed {
			t.Errorf("%s: executed %q, want %q", c.name, got, c.executed)
		}
	}
	want(t, run, "first:succeeded left:succeeded")
	if err := r.Verify(t.Context(), run.ID); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(r.work); err != nil || len(left) != 0 {
		t.Errorf("%d attempts left behind, %v", len(left), err)
	}
}

// A task that gives the same bytes as before ends the recomputing there.
func TestSameOutputStopsRecomputing(t *testing.T) {
	x := &executed{}
	r := openRunner(t, Options{Kinds: []Kind{joinKind(x)}, Pipelines: parse(t, `
pipelines:
  p:
    parameters: {n: 1}
    tasks:
      a: {uses: join, with: {text: same, set: {n: "{{ params.n }}"}}, outputs: [text]}
      b: {uses: join, inputs: {in: a.text}, outputs: [text]}
`)})
	for i, executed := range []string{"a b", "a"} {
		if _, err := r.Run(t.Context(), "p", RunOptions{Params: map[string]any{"n": i}}); err != nil {
			t.Fatal(err)
		}
		if got := x.take(); got != executed {
			t.Errorf("run %d executed %q, want %q", i, got, executed)
		}
	}
}

func TestConditions(t *testing.T) {
	x := &executed{}
	r := openRunner(t, Options{Kinds: []Kind{joinKind(x)}, Pipelines: parse(t, `
pipelines:
  p:
    parameters: {verdict: pass, fail: 0}
    tasks:
      evaluate: {uses: join, with: {set: {verdict: "{{ params.verdict }}", auc: 0.9}, fail: "{{ params.fail }}"}}
      promote: {uses: join, when: "evaluate.verdict == 'pass' && evaluate.auc > 0.8"}
      after: {uses: join, needs: promote, with: {text: after}}
      undo: {uses: join, needs: [evaluate], when: failed, with: {text: undo}}
      tell: {uses: join, when: always, with: {text: "{{ evaluate.status }}"}}
      alarm: {uses: join, when: failed, with: {text: alarm}}
`)})
	for _, c := range []struct {
		params   map[string]any
		statuses string
		failed   bool
	}{
		{nil, "evaluate:succeeded promote:succeeded after:succeeded undo:skipped tell:succeeded alarm:skipped", false},
		{map[string]any{"verdict": "fail"}, "evaluate:succeeded promote:skipped after:skipped undo:skipped tell:cached alarm:skipped", false},
		{map[string]any{"fail": 1}, "evaluate:failed promote:blocked after:blocked undo:succeeded tell:succeeded alarm:succeeded", true},
	} {
		run, err := r.Run(t.Context(), "p", RunOptions{Params: c.params})
		if c.failed != errors.Is(err, ErrFailed) || c.failed == (err == nil) {
			t.Errorf("%v: %v", c.params, err)
		}
		want(t, run, c.statuses)
	}
}

func TestForeachGathers(t *testing.T) {
	x := &executed{}
	r := openRunner(t, Options{Kinds: []Kind{joinKind(x)}, Pipelines: parse(t, `
pipelines:
  p:
    parameters: {n: 3}
    tasks:
      each: {uses: join, foreach: "1..params.n", with: {text: "item {{ item }}", set: {twice: "{{ item * 2 }}"}}, outputs: [text]}
      all: {uses: join, inputs: {parts: each.text}, with: {text: "={{ sum(each.twice) }}"}, outputs: [text]}
`)})
	run, err := r.Run(t.Context(), "p", RunOptions{})
	if err != nil {
		t.Fatal(err)
	}
	want(t, run, "each[1]:succeeded each[2]:succeeded each[3]:succeeded each:succeeded all:succeeded")
	if got := content(t, r, run, "all", "text"); got != "=12(1=item 1;2=item 2;3=item 3;)" {
		t.Errorf("%q", got)
	}
	x.take()
	if run, err = r.Run(t.Context(), "p", RunOptions{Params: map[string]any{"n": 4}}); err != nil {
		t.Fatal(err)
	}
	if got := x.take(); got != "all each[4]" {
		t.Errorf("one item more executed %q", got)
	}
	want(t, run, "each[1]:cached each[2]:cached each[3]:cached each[4]:succeeded each:succeeded all:succeeded")
}

func TestRetriesWaitLongerEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		x := &executed{}
		r := openRunner(t, Options{Kinds: []Kind{joinKind(x)}, Pipelines: parse(t, `
pipelines:
  p:
    tasks:
      a: {uses: join, with: {fail: 4}, retries: 4, backoff: 10s, backoff_max: 30s, outputs: [o]}
  few:
    tasks:
      a: {uses: join, with: {fail: 4}, retries: 1}
`)})
		begin := time.Now()
		run, err := r.Run(t.Context(), "p", RunOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begin); took != 90*time.Second || run.Tasks[0].Attempt != 5 {
			t.Errorf("%d attempts in %s, want 5 in 10+20+30+30 s", run.Tasks[0].Attempt, took)
		}
		if run, err = r.Run(t.Context(), "few", RunOptions{}); !errors.Is(err, ErrFailed) || !strings.Contains(run.Error, "attempt 2 is to fail") {
			t.Errorf("%v", err)
		}
	})
}

func TestTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		r := openRunner(t, Options{StopWait: 5 * time.Second, Kinds: []Kind{
			taskKind("polite", func(ctx context.Context, _ *Call) error { <-ctx.Done(); return ctx.Err() }),
			taskKind("deaf", func(context.Context, *Call) error { <-release; return nil }),
		}, Pipelines: parse(t, `
pipelines:
  polite: {tasks: {a: {uses: polite, timeout: 1m}}}
  deaf: {tasks: {a: {uses: deaf, timeout: 1m, outputs: [o]}}}
`)})
		for name, lasts := range map[string]time.Duration{"polite": time.Minute, "deaf": 65 * time.Second} {
			begin := time.Now()
			run, err := r.Run(t.Context(), name, RunOptions{})
			if !errors.Is(err, ErrFailed) || !strings.Contains(run.Error, "timed out after 1m0s") || time.Since(begin) != lasts {
				t.Errorf("%s: %v after %s", name, err, time.Since(begin))
			}
		}
		close(release)
		synctest.Wait()
	})
}

func TestCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := make(chan string, 2)
		r := openRunner(t, Options{Kinds: []Kind{taskKind("wait", func(ctx context.Context, c *Call) error {
			begun <- c.Run
			<-ctx.Done()
			return ctx.Err()
		})}, Pipelines: parse(t, "pipelines: {p: {tasks: {a: {uses: wait}, b: {uses: wait, needs: a}, c: {uses: wait, when: always}}}}")})
		for name, cancel := range map[string]func(string) error{"here": r.Cancel, "elsewhere": NewView(r.options.Dir).Cancel} {
			go func() {
				if err := cancel(<-begun); err != nil {
					t.Error(err)
				}
			}()
			run, err := r.Run(t.Context(), "p", RunOptions{})
			if !errors.Is(err, ErrCancelled) || run.Status != StatusCancelled {
				t.Errorf("%s: %v, %s", name, err, run.Status)
			}
			want(t, run, "a:cancelled b:cancelled c:cancelled")
			again, err := r.Run(t.Context(), "p", RunOptions{Run: run.ID})
			if !errors.Is(err, ErrCancelled) || again.Status != StatusCancelled {
				t.Errorf("a cancelled run was resumed: %v", err)
			}
			if exists(r.cancelPath(run.ID)) {
				t.Error("the request is still there")
			}
		}
	})
}

func TestInterruptAndResume(t *testing.T) {
	dir := t.TempDir()
	var calls, stop atomic.Int64
	ctx, cancel := context.WithCancel(t.Context())
	stop.Store(2)
	o := Options{Dir: dir, Kinds: []Kind{taskKind("count", func(ctx context.Context, c *Call) error {
		if calls.Add(1) == stop.Load() {
			cancel()
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	})}, Pipelines: parse(t, "pipelines: {p: {tasks: {a: {uses: count}, b: {uses: count, needs: a}, c: {uses: count, needs: b}}}}")}
	r := openRunner(t, o)
	run, err := r.Run(ctx, "p", RunOptions{Run: "mine"})
	if !errors.Is(err, ErrInterrupted) || run.Status != StatusInterrupted {
		t.Fatalf("%v, %s", err, run.Status)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if seen, err := NewView(dir).Status("mine"); err != nil || seen.Status != StatusInterrupted {
		t.Errorf("%+v, %v", seen, err)
	}
	r = openRunner(t, o)
	ended, err := r.Resume(t.Context())
	if err != nil || len(ended) != 1 {
		t.Fatal(ended, err)
	}
	want(t, ended[0], "a:succeeded b:succeeded c:succeeded")
	if calls.Load() != 4 || ended[0].Task("b").Attempt != 2 {
		t.Errorf("%d calls, want a, b, b, c", calls.Load())
	}
	if again, err := r.Run(t.Context(), "p", RunOptions{Run: "mine"}); err != nil || again.Status != StatusSucceeded || calls.Load() != 4 {
		t.Errorf("a run that has ended was run again: %v", err)
	}
}

func TestResumeOfAChangedPipeline(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	o := Options{Dir: dir, Kinds: []Kind{taskKind("stop", func(ctx context.Context, _ *Call) error { cancel(); return ctx.Err() })},
		Pipelines: parse(t, "pipelines: {p: {tasks: {a: {uses: stop}}}}")}
	r := openRunner(t, o)
	if _, err := r.Run(ctx, "p", RunOptions{Run: "x"}); !errors.Is(err, ErrInterrupted) {
		t.Fatal(err)
	}
	_ = r.Close()
	o.Pipelines = parse(t, "pipelines: {p: {tasks: {a: {uses: stop, retries: 1}}}}")
	r = openRunner(t, o)
	if _, err := r.Run(t.Context(), "p", RunOptions{Run: "x"}); !errors.Is(err, ErrChanged) {
		t.Error(err)
	}
	if ended, err := r.Resume(t.Context()); !errors.Is(err, ErrChanged) || len(ended) != 1 || ended[0].Status != StatusFailed {
		t.Errorf("%v, %v", ended, err)
	}
}

func TestBadTasks(t *testing.T) {
	r := openRunner(t, Options{Kinds: []Kind{
		taskKind("panics", func(context.Context, *Call) error { panic("oh") }),
		taskKind("nothing", func(context.Context, *Call) error { return nil }),
		taskKind("link", func(_ context.Context, c *Call) error { return os.Symlink("/etc/hostname", c.Outputs["o"]) }),
		taskKind("value", func(_ context.Context, c *Call) error { return c.Set("status", "x") }),
	}, Pipelines: parse(t, `
pipelines:
  panics: {tasks: {a: {uses: panics, retries: 5}}}
  nothing: {tasks: {a: {uses: nothing, outputs: {o: out.txt}}}}
  link: {tasks: {a: {uses: link, outputs: [o]}}}
  value: {tasks: {a: {uses: value}}}
`)})
	for name, text := range map[string]string{"panics": "panicked: oh", "nothing": "output o: the task did not write out.txt", "link": "is a link", "value": "value name"} {
		run, err := r.Run(t.Context(), name, RunOptions{})
		if !errors.Is(err, ErrFailed) || !strings.Contains(run.Error, text) || run.Tasks[0].Attempt != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
	run := r.Runs("panics")[0]
	var log strings.Builder
	if err := r.Logs(run.ID, "a", "", &log); err != nil || !strings.Contains(log.String(), "goroutine") {
		t.Errorf("the log of a panic is %q, %v", log.String(), err)
	}
	if all, err := r.store.List(); err != nil || len(all) != 0 {
		t.Errorf("published %v, %v", all, err)
	}
}

func TestCheckReportsAll(t *testing.T) {
	r := openRunner(t, Options{Kinds: []Kind{
		{Name: "train", Inputs: []Port{{Name: "data", Doc: "what to learn from"}}, Outputs: []Port{{Name: "model", File: "model.onnx"}}, Decode: func(with []byte) (Task, error) {
			var w struct{ Trees int }
			return nil, strict(with, &w)
		}},
	}, Pipelines: parse(t, `
pipelines:
  p:
    tasks:
      a: {uses: trian}
      b: {uses: train, with: {trees: 3, leafs: 2}, outputs: [report]}
      c: {uses: train, inputs: {data: b.weights, other: b.model}}
`)})
	_, err := r.Run(t.Context(), "p", RunOptions{})
	if err == nil {
		t.Fatal("no mistake was found")
	}
	for _, text := range []string{`pipeline.yaml:5:7: pipelines.p.tasks.a: uses: there is no kind "trian"; there is train`, `unknown field "leafs"`,
		`no output "report"`, `train needs "data": what to learn from`, `task b has no output "weights"`, `no input "other"`} {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q is not in\n%v", text, err)
		}
	}
}

func TestConcurrencyLimits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int64
		r := openRunner(t, Options{Concurrency: 5, Kinds: []Kind{taskKind("busy", func(ctx context.Context, _ *Call) error {
			n := now.Add(1)
			// The larger of two that come at once stays.
			defer now.Add(-1)
			for before := most.Load(); n > before && !most.CompareAndSwap(before, n); before = most.Load() {
			}
			return wait(ctx, time.Second)
		})}, Pipelines: parse(t, `
pipelines:
  wide: {tasks: {a: {uses: busy, foreach: "1..20"}}}
  three: {concurrency: 3, tasks: {a: {uses: busy, foreach: "1..20"}}}
  two: {tasks: {a: {uses: busy, foreach: "1..20", parallel: 2}}}
`)})
		for name, limit := range map[string]int64{"wide": 5, "three": 3, "two": 2} {
			most.Store(0)
			begin := time.Now()
			if _, err := r.Run(t.Context(), name, RunOptions{}); err != nil {
				t.Fatal(err)
			}
			if took := time.Duration((20+limit-1)/limit) * time.Second; most.Load() != limit || time.Since(begin) != took {
				t.Errorf("%s: %d at once for %s, want %d for %s", name, most.Load(), time.Since(begin), limit, took)
			}
		}
	})
}

func TestOneRunnerPerFolder(t *testing.T) {
	r := openRunner(t, Options{})
	if _, err := Open(t.Context(), Options{Dir: r.options.Dir}); !errors.Is(err, ErrLocked) {
		t.Error(err)
	}
}

// Those who look at a folder at once take neither each other for a runner, nor does a runner
// that begins meanwhile: it waits for them.
func TestViewsAreNoRunners(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		o := Options{Dir: t.TempDir(), Kinds: []Kind{taskKind("stop", func(ctx context.Context, _ *Call) error { cancel(); return ctx.Err() })},
			Pipelines: parse(t, "pipelines: {p: {tasks: {a: {uses: stop}}}}")}
		r := openRunner(t, o)
		if _, err := r.Run(ctx, "p", RunOptions{Run: "x"}); !errors.Is(err, ErrInterrupted) {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		looking, err := lockShared(filepath.Join(o.Dir, "lock"))
		if err != nil {
			t.Fatal(err)
		}
		if s, err := NewView(o.Dir).Status("x"); err != nil || s.Status != StatusInterrupted {
			t.Errorf("%+v, %v", s, err)
		}
		time.AfterFunc(10*time.Second, func() {
			if err := looking.Close(); err != nil {
				t.Error(err)
			}
		})
		begin := time.Now()
		openRunner(t, o)
		if waited := time.Since(begin); waited < 10*time.Second {
			t.Errorf("the runner was there after %s", waited)
		}
		if _, err := Open(t.Context(), o); !errors.Is(err, ErrLocked) {
			t.Errorf("a second runner: %v", err)
		}
	})
}

// No attempt begins after the context has ended, though there is room for it.
func TestNoSlotAfterTheEnd(t *testing.T) {
	r := openRunner(t, Options{})
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(ErrCancelled)
	for range 100 {
		if err := r.inSlot(ctx, func() error { return errors.New("it began") }); !errors.Is(err, ErrCancelled) {
			t.Fatal(err)
		}
	}
}

func TestFingerprintIsPartOfTheKey(t *testing.T) {
	x := &executed{}
	kind := joinKind(x)
	source := filepath.Join(t.TempDir(), "source.csv")
	kind.Fingerprint = func(ctx context.Context, f *Fingerprint) (string, error) { return f.Hash(ctx, source) }
	r := openRunner(t, Options{Kinds: []Kind{kind}, Pipelines: parse(t, "pipelines: {p: {tasks: {a: {uses: join, outputs: [o]}}}}")})
	if _, err := r.Run(t.Context(), "p", RunOptions{}); !errors.Is(err, ErrFailed) || !strings.Contains(err.Error(), source) {
		t.Errorf("without the source: %v", err)
	}
	for i, executed := range []string{"a", "", "a", "", ""} {
		if err := os.WriteFile(source, fmt.Appendf(nil, "%d", i/2%2), 0o666); err != nil {
			t.Fatal(err)
		}
		if _, err := r.Run(t.Context(), "p", RunOptions{}); err != nil {
			t.Fatal(err)
		}
		if got := x.take(); got != executed {
			t.Errorf("run %d executed %q, want %q", i, got, executed)
		}
	}
}

func TestLostAndDamagedArtifactsAreMadeAgain(t *testing.T) {
	x := &executed{}
	r := openRunner(t, Options{Verify: true, Pipelines: parse(t, diamond), Kinds: []Kind{joinKind(x)}})
	run, err := r.Run(t.Context(), "diamond", RunOptions{})
	if err != nil {
		t.Fatal(err)
	}
	x.take()
	lost, damaged := run.Task("left").Outputs["text"].Digest, r.Path(run.Task("last").Outputs["text"].Digest)
	if err := errors.Join(r.store.Remove(lost), os.Chmod(damaged, 0o666), os.WriteFile(damaged, []byte("bad"), 0o666)); err != nil {
		t.Fatal(err)
	}
	if run, err = r.Run(t.Context(), "diamond", RunOptions{}); err != nil {
		t.Fatal(err)
	}
	if got := x.take(); got != "last left" || r.Verify(t.Context(), run.ID) != nil {
		t.Errorf("executed %q", got)
	}
}

func TestBackfill(t *testing.T) {
	x := &executed{}
	r := openRunner(t, Options{Kinds: []Kind{joinKind(x)}, Pipelines: parse(t, `
pipelines:
  p:
    partitions: {by: day, from: 2026-01-01}
    tasks:
      a: {uses: join, with: {text: "{{ partition.start }} to {{ partition.end }}"}, outputs: [o]}
`)})
	from, to := time.Date(2025, 12, 1, 0, 0, 0, 0, time.UTC), time.Date(2026, 1, 4, 0, 0, 0, 0, time.UTC)
	for i := range 2 {
		runs, err := r.Backfill(t.Context(), "p", from, to, 2, RunOptions{Run: "b"})
		if err != nil || len(runs) != 3 {
			t.Fatalf("%d runs, %v", len(runs), err)
		}
		if got := content(t, r, runs[2], "a", "o"); got != "2026-01-03T00:00:00Z to 2026-01-04T00:00:00Z" {
			t.Errorf("%q", got)
		}
		if got := x.take(); got != strings.Repeat("a a a", 1-i) {
			t.Errorf("backfill %d executed %q", i, got)
		}
	}
	if _, err := r.Run(t.Context(), "p", RunOptions{Partition: "2025-12-31"}); err == nil || !strings.Contains(err.Error(), "outside") {
		t.Error(err)
	}
}

func TestLogsAreBounded(t *testing.T) {
	path := filepath.Join(t.TempDir(), "runs", "task.log")
	l, err := openLog(path, 1<<10)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		fmt.Fprintf(l, "line %d\n", i)
	}
	_, _ = l.Write(make([]byte, 10<<10))
	fmt.Fprintln(l, "the end")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	size := int64(0)
	for _, name := range []string{path, path + ".1"} {
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		size += info.Size()
	}
	if data, _ := os.ReadFile(path); size > 2<<10 || !strings.HasSuffix(string(data), "the end\n") {
		t.Errorf("%d bytes, ending in %q", size, data)
	}
}
