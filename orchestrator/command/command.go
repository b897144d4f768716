// SPDX-License-Identifier: Apache-2.0

// Package command is the kind of task that runs a program.
//
// The program gets MILLRACE_INPUT_NAME and MILLRACE_OUTPUT_NAME (the port's name in
// capitals) with paths, MILLRACE_PIPELINE, MILLRACE_RUN, MILLRACE_TASK, MILLRACE_ATTEMPT,
// MILLRACE_ITEM, MILLRACE_PARTITION, _START and _END, MILLRACE_WORK (a folder of its own),
// and MILLRACE_VALUES: a file to which it may write a JSON object of values that other
// tasks can use. Its output goes to the task's log; an exit status other than 0 is a
// failure, and the last lines of the output are part of the error.
//
// When the context ends the program and all that it started (its process group) are asked
// to end, and killed GraceDefault later. What it leaves running when it ends is killed too.
// On Linux the program itself is also killed when this process is.
//
// The cache key has, beside the command, the content of the files that are listed, and of
// those that the command names as arguments.
package command

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"sort"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/millrace-ml/millrace/orchestrator"
)

// GraceDefault is how long a program may take to end after it was asked to.
const GraceDefault = 5 * time.Second

const (
	argumentsMax   = 1_000
	valuesBytesMax = 64 << 10
	tailBytes      = 2 << 10 // of the output, in an error
)

// with is what a pipeline says of the task.
type with struct {
	Command []text          `json:"command"`
	Shell   string          `json:"shell"` // instead of a command: a script for sh -e
	Dir     string          `json:"dir"`
	Env     map[string]text `json:"env"`
	// Files are files and folders that the result depends on.
	Files []string `json:"files"`
	// RetryExit are the exit statuses after which another attempt is made; all if it is empty.
	RetryExit []int `json:"retry_exit"`
}

// Kind is the kind, for programs that begin in a folder; it is the current one if empty.
func Kind(dir string) orchestrator.Kind {
	return orchestrator.Kind{
		Name: "command", Version: "1", Doc: "runs a program", OpenInputs: true, OpenOutputs: true,
		Decode: func(data []byte) (orchestrator.Task, error) {
			w, err := decode(data)
			if err != nil {
				return nil, err
			}
			return &task{w, folder(dir, w.Dir)}, nil
		},
		Fingerprint: func(ctx context.Context, f *orchestrator.Fingerprint) (string, error) {
			return fingerprint(ctx, dir, f)
		},
	}
}

func folder(base, dir string) string {
	if filepath.IsAbs(dir) {
		return dir
	}
	return filepath.Join(base, dir)
}

// text is an argument: a template that is a parameter gives a number or a truth value, too,
// which are written as YAML writes them.
type text string

// UnmarshalJSON reads a text, a number, true or false.
func (t *text) UnmarshalJSON(data []byte) error {
	var v any
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber()
	if err := d.Decode(&v); err != nil {
		return err
	}
	switch v := v.(type) {
	case string:
		*t = text(v)
	case json.Number:
		*t = text(v.String())
	case bool:
		*t = text(strconv.FormatBool(v))
	default:
		return fmt.Errorf("%s is not a text, a number, true or false", data)
	}
	return nil
}

// arguments are the program and what it is called with.
func (w *with) arguments() []string {
	all := make([]string, len(w.Command))
	for i, argument := range w.Command {
		all[i] = string(argument)
	}
	return all
}

func decode(data []byte) (w with, err error) {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&w); err != nil {
		return w, err
	}
	switch {
	case (len(w.Command) == 0) == (w.Shell == ""):
		return w, errors.New("want either command, a list of a program and its arguments, or shell, a script")
	case len(w.Command) > argumentsMax:
		return w, fmt.Errorf("command has %d parts, at most %d are allowed", len(w.Command), argumentsMax)
	case len(w.Command) > 0 && w.Command[0] == "":
		return w, errors.New("command begins with an empty text, want a program")
	}
	for name := range w.Env {
		if name == "" || strings.ContainsAny(name, "=\x00") {
			return w, fmt.Errorf("env has the name %q", name)
		}
	}
	if w.Shell != "" {
		w.Command = []text{"sh", "-e", "-c", text(w.Shell)}
	}
	return w, nil
}

// fingerprint hashes the files that the command reads.
func fingerprint(ctx context.Context, dir string, f *orchestrator.Fingerprint) (string, error) {
	w, err := decode(f.With)
	if err != nil {
		return "", err
	}
	base := folder(dir, w.Dir)
	paths := slices.Clone(w.Files)
	if w.Shell == "" {
		for _, argument := range w.arguments() {
			// A program of the system, found by its name, is not part of the key: give its version
			// as a parameter if it counts.
			if info, err := os.Stat(folder(base, argument)); err == nil && info.Mode().IsRegular() {
				paths = append(paths, argument)
			}
		}
	}
	sort.Strings(paths)
	var b strings.Builder
	for _, path := range slices.Compact(paths) {
		digest, err := f.Hash(ctx, folder(base, path))
		if err != nil {
			return "", fmt.Errorf("files: %w", err)
		}
		fmt.Fprintf(&b, "%q %s\n", path, digest)
	}
	return b.String(), nil
}

type task struct {
	with with
	dir  string
}

// Run starts the program and waits for it.
func (t *task) Run(ctx context.Context, c *orchestrator.Call) error {
	values := filepath.Join(c.Work, "values.json")
	last := &tail{}
	arguments := t.with.arguments()
	cmd := exec.CommandContext(ctx, arguments[0], arguments[1:]...)
	cmd.Dir = t.dir
	cmd.Env = t.environment(c, values)
	cmd.WaitDelay = GraceDefault + time.Second
	err := runGroup(cmd, io.MultiWriter(c.Log, last))
	if err != nil {
		return t.explain(ctx, err, last)
	}
	return setValues(c, values)
}

// runGroup runs the program and ends what it leaves behind. The program writes to a pipe of
// ours, as exec would wait with one of its own for all that have it open.
func runGroup(cmd *exec.Cmd, output io.Writer) error {
	read, write, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = write, write
	runtime.LockOSThread() // see endWithUs
	defer runtime.UnlockOSThread()
	stop := group(cmd, GraceDefault)
	err = cmd.Start()
	_ = write.Close() // the program has its own
	copied := make(chan struct{})
	go func() {
		_, _ = io.Copy(output, read) // ends with the last writer, or when read is closed
		close(copied)
	}()
	if err == nil {
		err = cmd.Wait()
		killGroup(cmd)
	}
	stop()
	timer := time.NewTimer(time.Second)
	defer timer.Stop()
	select {
	case <-copied:
	case <-timer.C: // something left the group and writes on, or the copy had no time
		endCopy(read, output, copied)
	}
	_ = read.Close()
	<-copied
	return err
}

func (t *task) explain(ctx context.Context, err error, last *tail) error {
	var exit *exec.ExitError
	text := last.String()
	if text != "" {
		text = ": " + text
	}
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case !errors.As(err, &exit):
		return fmt.Errorf("%w: program %s: %w", orchestrator.ErrPermanent, t.with.Command[0], err)
	case len(t.with.RetryExit) > 0 && !slices.Contains(t.with.RetryExit, exit.ExitCode()):
		return fmt.Errorf("%w: program %s: %w%s", orchestrator.ErrPermanent, t.with.Command[0], err, text)
	}
	return fmt.Errorf("program %s: %w%s", t.with.Command[0], err, text)
}

func (t *task) environment(c *orchestrator.Call, values string) []string {
	env := os.Environ()
	add := func(name, value string) { env = append(env, "MILLRACE_"+name+"="+value) }
	for name, path := range c.Inputs {
		add("INPUT_"+strings.ToUpper(name), path)
	}
	for name, path := range c.Outputs {
		add("OUTPUT_"+strings.ToUpper(name), path)
	}
	add("PIPELINE", c.Pipeline)
	add("RUN", c.Run)
	add("TASK", c.Task)
	add("ATTEMPT", fmt.Sprint(c.Attempt))
	if c.Item != nil {
		add("ITEM", fmt.Sprint(c.Item))
	}
	add("PARTITION", c.Partition.Key)
	add("PARTITION_START", c.Partition.Start)
	add("PARTITION_END", c.Partition.End)
	add("WORK", c.Work)
	add("VALUES", values)
	for name, value := range t.with.Env {
		env = append(env, name+"="+string(value))
	}
	return env
}

// setValues hands on what the program wrote.
func setValues(c *orchestrator.Call, path string) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // only read
	data, err := io.ReadAll(io.LimitReader(f, valuesBytesMax+1))
	if err != nil {
		return err
	}
	if len(data) > valuesBytesMax {
		return fmt.Errorf("the values have more than %d bytes: write an output", valuesBytesMax)
	}
	var values map[string]any
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	if err := decoder.Decode(&values); err != nil {
		return fmt.Errorf("the values are not a JSON object: %w", err)
	}
	for name, value := range values {
		if err := c.Set(name, value); err != nil {
			return err
		}
	}
	return nil
}

// tail keeps the end of what is written to it.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text = append(t.text, p[max(0, len(p)-tailBytes):]...)
	if over := len(t.text) - tailBytes; over > 0 {
		t.text = append(t.text[:0], t.text[over:]...)
	}
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(strings.ToValidUTF8(string(t.text), "?"))
}
