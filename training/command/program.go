// SPDX-License-Identifier: Apache-2.0

package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"sync"
	"time"

	"github.com/millrace-ml/millrace/training/learn"
)

// program is a run of the user's program.
type program struct {
	argv     []string
	task     string
	timeout  time.Duration
	progress learn.Progress
	log      tail
	total    int // of the last progress
}

// pipesAfter is how long what the program has started may hold its output after its end.
// What is not read by then is lost, so it is longer than machines stall.
const pipesAfter = 5 * time.Second

var errTimeout = errors.New("it did not end in time")

func workers(n int) int {
	if n == 0 {
		return runtime.GOMAXPROCS(0)
	}
	return n
}

// run runs the program to its end. The whole process group is ended with ctx, the time-out,
// and an error of progress.
func (p *program) run(ctx context.Context) error {
	within, cancel := context.WithTimeoutCause(ctx, p.timeout, errTimeout)
	defer cancel()
	within, end := context.WithCancelCause(within)
	defer end(nil)
	cmd := exec.CommandContext(within, p.argv[0], p.argv[1:]...)
	cmd.Env = append(os.Environ(), TaskVariable+"="+p.task)
	lines := &lineWriter{p: p, fail: end}
	cmd.Stdout, cmd.Stderr = lines, &p.log
	cmd.WaitDelay = pipesAfter
	group(cmd)
	err := cmd.Start()
	if err == nil {
		err = cmd.Wait()
		endGroup(cmd)
	}
	lines.flush()
	switch cause := context.Cause(within); {
	case ctx.Err() != nil:
		return ctx.Err()
	case errors.Is(cause, errTimeout):
		return p.fault(fmt.Errorf("%w: it was ended after %v", errTimeout, p.timeout))
	case cause != nil:
		return cause // of progress, as it came
	case err != nil && !errors.Is(err, exec.ErrWaitDelay):
		return p.fault(err)
	}
	return nil
}

// fault names the program and has the end of what it wrote.
func (p *program) fault(err error) error {
	log := strings.TrimSpace(p.log.text())
	if log != "" {
		log = "; the end of its output:\n" + log
	}
	return fmt.Errorf("%w %q: %w%s", ErrProgram, strings.Join(p.argv, " "), err, log)
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	kept []byte
	cut  bool
}

func (t *tail) Write(b []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := len(b)
	if n > LogMax {
		b, t.cut = b[n-LogMax:], true
	}
	t.kept = append(t.kept, b...)
	if over := len(t.kept) - LogMax; over > 0 {
		t.kept, t.cut = append(t.kept[:0], t.kept[over:]...), true
	}
	return n, nil
}

func (t *tail) text() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	text := strings.ToValidUTF8(string(t.kept), "?")
	if t.cut {
		text = "... " + text
	}
	return text
}

// lineWriter finds lines of progress in the standard output.
type lineWriter struct {
	p    *program
	fail context.CancelCauseFunc
	line []byte
	long bool // the line has been too long for progress
	// ended says that progress has ended the run, and is told no more.
	ended bool
}

func (w *lineWriter) Write(b []byte) (int, error) {
	n := len(b)
	for len(b) > 0 {
		end := bytes.IndexByte(b, '\n')
		part := b
		if end >= 0 {
			part = b[:end+1]
		}
		b = b[len(part):]
		if len(w.line)+len(part) > lineMax {
			_, _ = w.p.log.Write(append(w.line, part...)) // it never fails
			w.line, w.long = w.line[:0], end < 0
			continue
		}
		w.line = append(w.line, part...)
		if end >= 0 {
			w.flush()
		}
	}
	return n, nil
}

// flush takes a line. A line that is no progress, or goes on one that was too long, is
// output.
func (w *lineWriter) flush() {
	line := w.line
	w.line = w.line[:0]
	long := w.long
	w.long = false
	if len(line) == 0 {
		return
	}
	if long || !w.report(line) {
		_, _ = w.p.log.Write(line) // it never fails
	}
}

// report tells of progress, if the line is that.
func (w *lineWriter) report(line []byte) bool {
	if line = bytes.TrimSpace(line); len(line) == 0 || line[0] != '{' {
		return false
	}
	var said struct {
		Step    *int                `json:"step"`
		Total   int                 `json:"total"`
		Metrics map[string]*float64 `json:"metrics"`
	}
	if err := json.Unmarshal(line, &said); err != nil || said.Step == nil {
		return false
	}
	if w.ended {
		return true
	}
	w.p.total = max(said.Total, *said.Step)
	metrics, err := numbers(said.Metrics)
	if err != nil {
		err = w.p.fault(fmt.Errorf("progress at step %d: %w", *said.Step, err))
	} else if w.p.progress != nil {
		err = w.p.progress(*said.Step, w.p.total, metrics)
	}
	if err != nil {
		w.ended = true
		w.fail(err)
	}
	return true
}
