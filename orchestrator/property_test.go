// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// randomTask is a task of a random pipeline.
type randomTask struct {
	name    string
	after   []int
	when    string // empty, always, failed, succeeded, or task.status == 'x'
	looksAt int    // the task of the last form
	fails   bool
}

// randomTasks makes tasks each of which waits for some before it.
func randomTasks(random *rand.Rand) []randomTask {
	tasks := make([]randomTask, 1+random.IntN(12))
	for i := range tasks {
		t := &tasks[i]
		t.name, t.fails = fmt.Sprintf("t%d", i), random.IntN(5) == 0
		for j := range i {
			if random.IntN(3) == 0 {
				t.after = append(t.after, j)
			}
		}
		if len(t.after) == 0 {
			continue
		}
		switch random.IntN(6) {
		case 0:
			t.when = "always"
		case 1:
			t.when = "failed"
		case 2:
			t.when = "succeeded"
		case 3:
			t.looksAt = t.after[random.IntN(len(t.after))]
			t.when = fmt.Sprintf("t%d.status == 'failed'", t.looksAt)
		}
	}
	return tasks
}

// source writes the tasks as a pipeline, in a random order.
func source(tasks []randomTask, random *rand.Rand) string {
	var b strings.Builder
	fmt.Fprintf(&b, "pipelines:\n  p:\n    concurrency: %d\n    tasks:\n", 1+random.IntN(4))
	for _, i := range random.Perm(len(tasks)) {
		t := tasks[i]
		var needs []string
		for _, j := range t.after {
			needs = append(needs, fmt.Sprintf("t%d", j))
		}
		fmt.Fprintf(&b, "      %s: {uses: random, needs: [%s]", t.name, strings.Join(needs, ", "))
		if t.when != "" {
			fmt.Fprintf(&b, ", when: %q", t.when)
		}
		b.WriteString("}\n")
	}
	return b.String()
}

// slowly is the obvious scheduler: one task after the other, in the order of their numbers.
func slowly(tasks []randomTask) map[string]Status {
	status := map[string]Status{}
	for _, t := range tasks {
		bad, skipped := false, false
		for _, j := range t.after {
			s := status[fmt.Sprintf("t%d", j)]
			bad = bad || s == StatusFailed || s == StatusBlocked
			skipped = skipped || s == StatusSkipped
		}
		runs := false
		switch t.when {
		case "":
			runs = !bad && !skipped
		case "always":
			runs = true
		case "failed":
			runs = bad
		case "succeeded":
			runs = !bad && !skipped
		default:
			runs = status[fmt.Sprintf("t%d", t.looksAt)] == StatusFailed
		}
		switch {
		case runs && t.fails:
			status[t.name] = StatusFailed
		case runs:
			status[t.name] = StatusSucceeded
		case t.when == "" && bad:
			status[t.name] = StatusBlocked
		default:
			status[t.name] = StatusSkipped
		}
	}
	return status
}

// Random pipelines, with tasks that take random times, come to what the obvious scheduler
// says; no task begins before what it waits for has ended.
func TestRandomPipelines(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 2))
	for range 25 {
		tasks := randomTasks(random)
		text := source(tasks, random)
		takes := map[string]time.Duration{}
		for i := range tasks {
			takes[tasks[i].name] = time.Duration(random.IntN(1000)) * time.Millisecond
		}
		synctest.Test(t, func(t *testing.T) {
			fails := map[string]bool{}
			for i := range tasks {
				fails[tasks[i].name] = tasks[i].fails
			}
			r := openRunner(t, Options{Concurrency: 3, Pipelines: parse(t, text), Kinds: []Kind{taskKind("random", func(ctx context.Context, c *Call) error {
				if err := wait(ctx, takes[c.Task]); err != nil {
					return err
				}
				if fails[c.Task] {
					return fmt.Errorf("%w: is to fail", ErrPermanent)
				}
				return nil
			})}})
			run, err := r.Run(t.Context(), "p", RunOptions{})
			if err != nil && !errors.Is(err, ErrFailed) {
				t.Fatal(err)
			}
			got := map[string]Status{}
			for i := range run.Tasks {
				got[run.Tasks[i].Task] = run.Tasks[i].Status
			}
			if want := slowly(tasks); !maps.Equal(got, want) {
				t.Fatalf("seed %d\n%s\ncomes to %v\nwant %v", seed, text, got, want)
			}
			for i := range tasks {
				for _, j := range tasks[i].after {
					a, b := run.Task(fmt.Sprintf("t%d", j)), run.Task(tasks[i].name)
					if !b.Started.IsZero() && b.Started.Before(a.Ended) {
						t.Fatalf("seed %d: %s began before %s had ended", seed, b.Task, a.Task)
					}
				}
			}
		})
	}
}

// O5: a disk that is full ends the run with an error; what was recorded stays, and the run
// goes on when there is room.
func TestFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := mountSmall(dir, 512<<10); err != nil {
		t.Skipf("no small file system can be made here: %v", err)
	}
	defer func() {
		if err := unmount(dir); err != nil {
			t.Error(err)
		}
	}()
	x := &executed{}
	big := strings.Repeat("x", 64<<10)
	o := Options{Dir: dir, Kinds: []Kind{joinKind(x)}, Pipelines: parse(t, `
pipelines:
  p: {concurrency: 1, tasks: {each: {uses: join, foreach: "1..5", with: {text: "{{ item }}`+big[:4096]+`"}, outputs: [o]}, last: {uses: join, inputs: {x: each.o}, outputs: [o]}}}
`)}
	ballast := dir + "/ballast"
	fill := func(bytes int) {
		t.Helper()
		f, err := os.Create(ballast)
		if err != nil {
			t.Fatal(err)
		}
		for n := 0; n < bytes && err == nil; n += 4096 {
			_, err = f.WriteString(big[:4096])
		}
		_ = f.Close() // it may be full
	}
	fullRuns := 0
	for room := 8 << 10; room <= 512<<10; room += 40 << 10 {
		fill(512<<10 - room)
		r, err := Open(context.Background(), o)
		if err != nil {
			fullRuns++
			continue
		}
		run, err := r.Run(t.Context(), "p", RunOptions{Run: "run"})
		_ = r.Close() // the digests may not fit
		if err != nil {
			fullRuns++
			if run != nil && run.Status.Ended() {
				break // a task failed of it, and that could be written down
			}
			continue
		}
		break
	}
	if err := os.Remove(ballast); err != nil {
		t.Fatal(err)
	}
	if fullRuns == 0 {
		t.Fatal("the disk was never full")
	}
	r := openRunner(t, o)
	run, err := r.Run(t.Context(), "p", RunOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, known := range r.Runs("") {
		if err := r.Verify(t.Context(), known.ID); err != nil {
			t.Error(err)
		}
	}
	want(t, run, statuses(run))
	if got := content(t, r, run, "last", "o"); !strings.HasPrefix(got, "(1=1xxx") {
		t.Errorf("%.20q", got)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
}

// statuses are those of a run that succeeded, cached or not.
func statuses(run *RunStatus) string {
	text := ""
	for i := range run.Tasks {
		status := run.Tasks[i].Status
		if !status.Good() {
			status = StatusSucceeded
		}
		text += run.Tasks[i].Name() + ":" + string(status) + " "
	}
	return text
}
