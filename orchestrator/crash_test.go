// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/orchestrator/artifact"
	"github.com/millrace-ml/millrace/orchestrator/pipeline"
)

const (
	crashDirVariable  = "MILLRACE_ORCHESTRATOR_CRASH_DIR"
	crashTestPipeline = `
pipelines:
  crash:
    concurrency: 3
    tasks:
      a: {uses: join, with: {text: a, set: {n: 2}}, outputs: [o]}
      b: {uses: join, with: {text: b, folder: true}, outputs: [o]}
      c: {uses: join, inputs: {x: a.o}, with: {text: c, fail: 1}, outputs: [o], retries: 100, backoff: 1ms}
      d: {uses: join, inputs: {x: a.o, y: b.o}, with: {text: d}, outputs: [o, p]}
      e: {uses: join, inputs: {x: c.o}, with: {text: "e{{ a.n }}"}, outputs: [o]}
      f: {uses: join, inputs: {x: d.p}, foreach: [1, 2, 3], with: {text: "f{{ item }}"}, outputs: [o]}
      g: {uses: effect, needs: [e], outputs: [o]}
      h: {uses: join, inputs: {x: f.o, y: g.o}, with: {text: h}, outputs: [o]}
      i: {uses: join, when: "a.n > 3", with: {text: i}}
      j: {uses: join, inputs: {x: h.o}, with: {text: j, folder: true}, outputs: [o]}
      k: {uses: join, inputs: {x: j.o}, with: {text: k}, outputs: [o]}
      l: {uses: effect, inputs: {x: k.o}, outputs: [o]}
      m: {uses: join, inputs: {x: k.o, y: l.o}, with: {text: m}, outputs: [o]}
      n: {uses: join, when: always, with: {text: "n{{ m.status }}{{ i.status }}"}, outputs: [o]}
`
)

// TestMain makes the test program the child that is killed, when asked to.
func TestMain(m *testing.M) {
	if dir := os.Getenv(crashDirVariable); dir != "" {
		if err := crashChild(dir); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// crashOptions are those of the child. Each execution of a task is noted in a file.
func crashOptions(dir string) (Options, error) {
	f, err := pipeline.Parse("crash.yaml", []byte(crashTestPipeline))
	if err != nil {
		return Options{}, err
	}
	note := func(kind Kind) Kind {
		inner := kind.Decode
		kind.Decode = func(with []byte) (Task, error) {
			t, err := inner(with)
			if err != nil {
				return nil, err
			}
			return TaskFunc(func(ctx context.Context, c *Call) error {
				name := c.Task
				if c.Item != nil {
					name = fmt.Sprintf("%s[%v]", c.Task, c.Item)
				}
				log, err := os.OpenFile(filepath.Join(dir, "executed"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o666)
				if err != nil {
					return err
				}
				_, err = fmt.Fprintln(log, name)
				return errors.Join(err, log.Close(), t.Run(ctx, c))
			}), nil
		}
		return kind
	}
	effect := joinKind(&executed{})
	effect.Name, effect.Uncached = "effect", true
	return Options{Dir: filepath.Join(dir, "state"), Concurrency: 3, Pipelines: f, Kinds: []Kind{note(joinKind(&executed{})), note(effect)}}, nil
}

// crashChild starts the run, or goes on with it, and is killed or ends.
func crashChild(dir string) error {
	o, err := crashOptions(dir)
	if err != nil {
		return err
	}
	r, err := Open(context.Background(), o)
	if err != nil {
		return err
	}
	_, err = r.Run(context.Background(), "crash", RunOptions{Run: "run"})
	return errors.Join(err, r.Close())
}

// outcome is what a run came to: statuses and artifacts by task.
func outcome(run *RunStatus) map[string]string {
	all := map[string]string{"run": string(run.Status)}
	for i := range run.Tasks {
		t := &run.Tasks[i]
		status := t.Status
		if status == StatusCached { // an attempt was killed between its end and its record
			status = StatusSucceeded
		}
		text := string(status)
		for _, name := range slices.Sorted(maps.Keys(t.Outputs)) {
			text += " " + name + "=" + string(t.Outputs[name].Digest)
		}
		all[t.Name()] = text
	}
	return all
}

// executedLines are the executions that the child noted.
func executedLines(t testing.TB, dir string) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "executed"))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return strings.Fields(string(data))
}

// O1 to O4: however often it is killed, the run ends as one that was not, and what was
// recorded as ended is not executed again.
func TestKilledAtRandomPoints(t *testing.T) {
	kills := 100
	if testing.Short() {
		kills = 10
	}
	reference := t.TempDir()
	if err := crashChild(reference); err != nil {
		t.Fatal(err)
	}
	good, err := NewView(filepath.Join(reference, "state")).Status("run")
	if err != nil {
		t.Fatal(err)
	}
	wanted := outcome(good)
	lines := executedLines(t, reference)
	slices.Sort(lines)
	wantedExecuted := slices.Compact(lines)
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	span, killed, runs := 40*time.Millisecond, 0, 0
	for ; killed < kills; runs++ {
		dir := t.TempDir()
		for done := false; !done; {
			before, finished := len(executedLines(t, dir)), finishedTasks(t, dir)
			begin := time.Now()
			var out string
			done, out = runAndKill(t, dir, time.Duration(random.Int64N(int64(span))))
			if !done {
				killed++
			} else if out != "" {
				t.Fatalf("the child ended with %s", out)
			} else if took := time.Since(begin); took < span {
				span = max(took, 5*time.Millisecond)
			} else {
				span = min(2*span, time.Second)
			}
			added := executedLines(t, dir)[before:]
			if len(added) == 0 && !done { // the machine is slow now: without progress this would not end
				span = min(span*5/4, time.Minute)
			}
			for _, name := range added {
				if finished[name] {
					t.Fatalf("task %s had ended, and was executed again (seed %d)", name, seed)
				}
			}
		}
		checkOutcome(t, dir, wanted, wantedExecuted)
	}
	t.Logf("%d kills in %d runs", killed, runs)
}

// runAndKill starts the child and kills it after a while; done says that it ended before.
func runAndKill(t *testing.T, dir string, after time.Duration) (done bool, failure string) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), crashDirVariable+"="+dir)
	var out strings.Builder
	child.Stdout, child.Stderr = &out, &out
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(after, func() { _ = child.Process.Kill() }) // it may have ended
	err := child.Wait()
	timer.Stop()
	if err == nil {
		return true, ""
	}
	if child.ProcessState.ExitCode() == -1 { // killed
		return false, ""
	}
	return true, err.Error() + ": " + out.String()
}

// finishedTasks are those that the journal says have ended.
func finishedTasks(t *testing.T, dir string) map[string]bool {
	t.Helper()
	finished := map[string]bool{}
	run, err := NewView(filepath.Join(dir, "state")).Status("run")
	if errors.Is(err, ErrNotFound) {
		return finished
	}
	if err != nil {
		t.Fatal(err)
	}
	for i := range run.Tasks {
		if s := &run.Tasks[i]; s.Status.Ended() {
			finished[s.Name()] = true
		}
	}
	return finished
}

func checkOutcome(t *testing.T, dir string, wanted map[string]string, executed []string) {
	t.Helper()
	state := filepath.Join(dir, "state")
	run, err := NewView(state).Status("run")
	if err != nil {
		t.Fatal(err)
	}
	if got := outcome(run); !maps.Equal(got, wanted) {
		t.Fatalf("with kills\n%v\nwithout\n%v", got, wanted)
	}
	lines := executedLines(t, dir)
	slices.Sort(lines)
	if got := slices.Compact(lines); !slices.Equal(got, executed) {
		t.Fatalf("executed with kills %v, without %v", got, executed)
	}
	store, err := artifact.Open(state)
	if err != nil {
		t.Fatal(err)
	}
	all, err := store.List()
	for _, d := range all {
		err = errors.Join(err, store.Verify(t.Context(), d))
	}
	if left, _ := os.ReadDir(filepath.Join(state, "work")); err != nil || len(left) != 0 {
		t.Fatalf("%d things left in work, %v", len(left), err)
	}
}
