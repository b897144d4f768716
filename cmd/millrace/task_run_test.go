// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"
)

// Tasks b, c and d wait for a and kill the process that runs them, the first time.
const killedTasks = `
  diamond:
    tasks:
      a: {uses: command, outputs: [o], with: {shell: 'i=0; while [ $i -lt 500 ]; do echo line $i; i=$((i+1)); done > "$MILLRACE_OUTPUT_O"; echo "{\"n\": 3}" > "$MILLRACE_VALUES"'}}
      b: {uses: command, inputs: {x: a.o}, outputs: [o], with: {shell: &killed '[ -e "$MILLRACE_TASK.killed" ] || { touch "$MILLRACE_TASK.killed"; echo half > "$MILLRACE_OUTPUT_O"; kill -9 $PPID; sleep 60; }; (cat "$MILLRACE_INPUT_X"; echo "$NAME") > "$MILLRACE_OUTPUT_O"', env: {NAME: b}}}
      c: {uses: command, inputs: {x: a.o}, outputs: [o], with: {shell: *killed, env: {NAME: c}}}
      d: {uses: command, inputs: {x: a.o}, outputs: [o], with: {shell: *killed, env: {NAME: d}}}
      e: {uses: command, foreach: "1..a.n", parallel: 2, inputs: {x: b.o}, outputs: [o], with: {shell: '(cat "$MILLRACE_INPUT_X"; echo "$MILLRACE_ITEM") > "$MILLRACE_OUTPUT_O"'}}
      f: {uses: command, inputs: {c: c.o, d: d.o, e: e.o}, outputs: [o], with: {shell: 'cat "$MILLRACE_INPUT_C" "$MILLRACE_INPUT_D" "$MILLRACE_INPUT_E"/* > "$MILLRACE_OUTPUT_O"; wc -l < "$MILLRACE_OUTPUT_O"'}}
      g: {uses: command, when: "a.n > 3", needs: [f], with: {shell: exit 1}}
`

// TestTaskRunKilled runs the tasks of a run in processes that share a folder, several at
// once, and kills each a few times at any moment: the run comes to what it comes to
// without that.
func TestTaskRunKilled(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("the tasks are shell scripts")
	}
	here := pipelineWorld(t, killedTasks)
	for _, task := range []string{"b", "c", "d"} {
		writeText(t, task+".killed", "")
	}
	saying(t, exitOK, "pipeline", "run", "diamond", "--run", "here")

	there := pipelineWorld(t, killedTasks)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	full := time.Duration(0) // how long a process takes that is left alone
	run := func(task string, deadline time.Duration) (string, error) {
		ctx, cancel := context.WithTimeout(t.Context(), deadline)
		defer cancel()
		var said bytes.Buffer
		cmd := exec.CommandContext(ctx, program, "task", "run", task, "--pipeline", "diamond", "--run", "killed", "--time", "")
		cmd.Env, cmd.Stdout, cmd.Stderr = append(os.Environ(), asCommand+"=1"), &said, &said
		cmd.WaitDelay = time.Minute
		err := cmd.Run()
		return said.String(), err
	}
	for i, wave := range [][]string{{"a"}, {"b", "c", "d"}, {"e"}, {"f"}, {"g"}} {
		if i == 0 {
			began := time.Now()
			if said, err := run("a", time.Minute); err != nil {
				t.Fatalf("%v: %s", err, said)
			}
			full = time.Since(began)
		}
		var tasks sync.WaitGroup
		for j, task := range wave {
			tasks.Go(func() {
				moments := rand.New(rand.NewPCG(seed, uint64(10*i+j)))
				for range 4 {
					_, _ = run(task, time.Duration(1+moments.Int64N(int64(full*3/2)))) // killed, mostly
				}
				said, err := run(task, time.Minute)
				if err != nil && i == 1 { // its task killed it only now
					said, err = run(task, time.Minute)
				}
				if err != nil {
					t.Errorf("%s: %v: %s", task, err, said)
				}
			})
		}
		tasks.Wait()
	}
	sameAsHere(t, here, "here", there, "diamond")
	if left, err := filepath.Glob(filepath.Join(there, ".millrace", "state", "pipelines", "exported", "*", "*.work")); len(left) > 0 || err != nil {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
