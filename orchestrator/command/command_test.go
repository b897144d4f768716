// SPDX-License-Identifier: Apache-2.0

//go:build unix

package command

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/millrace-ml/millrace/orchestrator"
	"github.com/millrace-ml/millrace/orchestrator/pipeline"
)

func runner(t *testing.T, dir, text string) *orchestrator.Runner {
	t.Helper()
	f, err := pipeline.Parse("pipeline.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	r, err := orchestrator.Open(t.Context(), orchestrator.Options{Dir: t.TempDir(), Pipelines: f, Kinds: []orchestrator.Kind{Kind(dir)}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close() })
	return r
}

func TestInputsOutputsAndValues(t *testing.T) {
	dir := t.TempDir()
	script := filepath.Join(dir, "script.sh")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(script, []byte(text), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	write(`cat "$1" > "$2"; echo '{"lines": 1, "ok": true}' > "$MILLRACE_VALUES"; echo said`)
	r := runner(t, dir, `
pipelines:
  p:
    tasks:
      a: {uses: command, with: {shell: "echo $GREETING $MILLRACE_TASK > $MILLRACE_OUTPUT_TEXT", env: {GREETING: hello}}, outputs: {text: a.txt}}
      b: {uses: command, inputs: {in: a.text}, with: {command: [sh, script.sh, "{{ inputs.in }}", "{{ outputs.copy }}"]}, outputs: [copy]}
      c: {uses: command, with: {shell: "echo {{ b.lines + 1 }} $MILLRACE_ITEM > $MILLRACE_OUTPUT_O"}, when: b.ok, foreach: [x, y], outputs: [o]}
`)
	run, err := r.Run(t.Context(), "p", orchestrator.RunOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for task, wanted := range map[string]string{"b": "hello a\n", "c[y]": "2 y\n"} {
		for _, out := range run.Task(task).Outputs {
			if data, err := os.ReadFile(r.Path(out.Digest)); err != nil || string(data) != wanted {
				t.Errorf("%s: %q, %v", task, data, err)
			}
		}
	}
	var log strings.Builder
	if err := r.Logs(run.ID, "b", "", &log); err != nil || !strings.Contains(log.String(), "\nsaid\n") {
		t.Errorf("%q, %v", log.String(), err)
	}
	// The script is an argument: a change of it counts.
	write(`cat "$1" "$1" > "$2"`)
	if run, err = r.Run(t.Context(), "p", orchestrator.RunOptions{}); err != nil {
		t.Fatal(err)
	}
	if run.Task("a").Status != orchestrator.StatusCached || run.Task("b").Status != orchestrator.StatusSucceeded {
		t.Errorf("a is %s, b is %s", run.Task("a").Status, run.Task("b").Status)
	}
}

func TestFailuresAreExplained(t *testing.T) {
	r := runner(t, "", `
pipelines:
  exit: {tasks: {a: {uses: command, retries: 1, backoff: 1ms, with: {shell: "echo no room >&2; exit 3"}}}}
  once: {tasks: {a: {uses: command, retries: 1, with: {shell: "exit 4", retry_exit: [3]}}}}
  none: {tasks: {a: {uses: command, retries: 1, with: {command: [/no/such/program]}}}}
  values: {tasks: {a: {uses: command, with: {shell: "echo [1] > $MILLRACE_VALUES"}}}}
  killed: {tasks: {a: {uses: command, with: {shell: "kill -9 $$"}}}}
`)
	for name, c := range map[string]struct {
		text     string
		attempts int
	}{"exit": {"exit status 3: no room", 2}, "once": {"exit status 4", 1}, "none": {"no such file", 1}, "values": {"not a JSON object", 1}, "killed": {"killed", 1}} {
		run, err := r.Run(t.Context(), name, orchestrator.RunOptions{})
		if !errors.Is(err, orchestrator.ErrFailed) || !strings.Contains(run.Error, c.text) || run.Tasks[0].Attempt != c.attempts {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What a program said is taken though something it left behind has the pipe open, and though
// the copy had no time to read it.
func TestEndCopyTakesTheRest(t *testing.T) {
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = errors.Join(read.Close(), write.Close()) }() // nothing is read after it
	if _, err := write.WriteString("the last words"); err != nil {
		t.Fatal(err)
	}
	copied := make(chan struct{})
	close(copied)
	var output strings.Builder
	for range 2 { // the second finds nothing, and does not wait
		endCopy(read, &output, copied)
	}
	if output.String() != "the last words" {
		t.Errorf("%q", output.String())
	}
	reads := make(chan struct{})
	go func() {
		_, _ = io.Copy(io.Discard, read)
		close(reads)
	}()
	endCopy(read, io.Discard, reads) // ends a copy that waits
}

func TestBadWith(t *testing.T) {
	for text, wanted := range map[string]string{
		`{}`: "either command", `{"command": ["a"], "shell": "b"}`: "either command", `{"comand": ["a"]}`: "unknown field",
		`{"command": [""]}`: "a program", `{"shell": "x", "env": {"A=B": "c"}}`: "env has the name",
	} {
		if _, err := Kind("").Decode([]byte(text)); err == nil || !strings.Contains(err.Error(), wanted) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// A cancel ends all that the program started, also what hides from the program's own end.
func TestCancelKillsTheGroup(t *testing.T) {
	dir := t.TempDir()
	pid := filepath.Join(dir, "pid")
	r := runner(t, dir, `
pipelines:
  p: {tasks: {a: {uses: command, with: {shell: "(trap '' TERM HUP; sh -c 'echo $PPID' > `+pid+`; while :; do sleep 1; done) & wait"}}}}
`)
	done := make(chan error, 1)
	go func() {
		_, err := r.Run(context.Background(), "p", orchestrator.RunOptions{Run: "x"})
		done <- err
	}()
	process := awaitNumber(t, pid)
	if err := r.Cancel("x"); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, orchestrator.ErrCancelled) {
		t.Error(err)
	}
	awaitEnd(process)
}

// awaitEnd waits until a process has ended, whether anybody has taken note of it or not.
func awaitEnd(pid int) {
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for range ticker.C {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err == nil && strings.Contains(string(stat), ") Z ") || errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			return
		}
	}
}

// killedVariable makes the test program one that runs a command and waits to be killed.
const killedVariable = "MILLRACE_COMMAND_KILLED_DIR"

func TestMain(m *testing.M) {
	if dir := os.Getenv(killedVariable); dir != "" {
		f, err := pipeline.Parse("p", []byte("pipelines: {p: {tasks: {a: {uses: command, with: {shell: \"echo $$ > "+dir+"/pid; exec sleep 1000\"}}}}}"))
		if err == nil {
			var r *orchestrator.Runner
			if r, err = orchestrator.Open(context.Background(), orchestrator.Options{Dir: dir + "/state", Pipelines: f, Kinds: []orchestrator.Kind{Kind("")}}); err == nil {
				_, err = r.Run(context.Background(), "p", orchestrator.RunOptions{})
			}
		}
		fmt.Println(err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// The program does not outlive us, even if we are killed.
func TestProgramIsKilledWithUs(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux does this")
	}
	dir := t.TempDir()
	us := exec.Command(os.Args[0])
	us.Env = append(os.Environ(), killedVariable+"="+dir)
	if err := us.Start(); err != nil {
		t.Fatal(err)
	}
	pid := awaitNumber(t, filepath.Join(dir, "pid"))
	if err := us.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = us.Wait() // it was killed
	awaitEnd(pid)
}

// awaitNumber waits until a file has a line with a number.
func awaitNumber(t *testing.T, path string) int {
	t.Helper()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	for range ticker.C {
		data, err := os.ReadFile(path)
		if text, whole := strings.CutSuffix(string(data), "\n"); err == nil && whole {
			n, err := strconv.Atoi(text)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
	}
	return 0
}

func TestArgumentsThatAreNoTexts(t *testing.T) {
	w, err := decode([]byte(`{"command": ["program", 12, 0.25, true, 9007199254740993, "a b"], "env": {"N": 3}}`))
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(w.arguments(), "|"); got != "program|12|0.25|true|9007199254740993|a b" || w.Env["N"] != "3" {
		t.Errorf("%s, %v", got, w.Env)
	}
	for _, bad := range []string{`{"command": ["a", null]}`, `{"command": ["a", ["b"]]}`, `{"command": ["a", {}]}`} {
		if _, err := decode([]byte(bad)); err == nil {
			t.Errorf("%s is taken", bad)
		}
	}
}
