// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/millrace-ml/millrace/orchestrator/pipeline"
)

// journalOf notes which tasks were executed, in order.
type executed struct {
	mu    sync.Mutex
	names []string
}

func (x *executed) note(name string) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.names = append(x.names, name)
}

// take returns what was executed since, sorted.
func (x *executed) take() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	names := slices.Sorted(slices.Values(x.names))
	x.names = nil
	return strings.Join(names, " ")
}

// joinWith is what the kind "join" of tests is given.
type joinWith struct {
	Text   string         `json:"text"`
	Set    map[string]any `json:"set"`
	Fail   int            `json:"fail"` // the attempts that fail
	Folder bool           `json:"folder"`
}

// joinKind writes its text and its inputs, in order of their names, to its outputs.
func joinKind(x *executed) Kind {
	return Kind{Name: "join", Version: "1", OpenInputs: true, OpenOutputs: true, Decode: func(with []byte) (Task, error) {
		var w joinWith
		if err := strict(with, &w); err != nil {
			return nil, err
		}
		return TaskFunc(func(ctx context.Context, c *Call) error { return join(ctx, c, w, x) }), nil
	}}
}

func strict(data []byte, v any) error {
	decoder := json.NewDecoder(strings.NewReader(string(data)))
	decoder.DisallowUnknownFields()
	decoder.UseNumber()
	return decoder.Decode(v)
}

func join(ctx context.Context, c *Call, w joinWith, x *executed) error {
	name := c.Task
	if c.Item != nil {
		name = fmt.Sprintf("%s[%v]", c.Task, c.Item)
	}
	x.note(name)
	fmt.Fprintf(c.Log, "joining for %s\n", name)
	if c.Attempt <= w.Fail {
		return fmt.Errorf("attempt %d is to fail", c.Attempt)
	}
	text := w.Text
	for _, in := range slices.Sorted(keys(c.Inputs)) {
		content, err := readAll(c.Inputs[in])
		if err != nil {
			return err
		}
		text += "(" + content + ")"
	}
	for k, v := range w.Set {
		if err := c.Set(k, v); err != nil {
			return err
		}
	}
	for _, out := range c.Outputs {
		if w.Folder {
			if err := os.Mkdir(out, 0o777); err != nil {
				return err
			}
			out = filepath.Join(out, "part")
		}
		if err := os.WriteFile(out, []byte(text), 0o666); err != nil {
			return err
		}
	}
	return ctx.Err()
}

func keys(m map[string]string) func(func(string) bool) {
	return func(yield func(string) bool) {
		for k := range m {
			if !yield(k) {
				return
			}
		}
	}
}

// readAll is the content of a file, or of the files of a folder.
func readAll(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if !info.IsDir() {
		data, err := os.ReadFile(path)
		return string(data), err
	}
	entries, err := os.ReadDir(path)
	all := ""
	for _, e := range entries {
		content, err := readAll(filepath.Join(path, e.Name()))
		if err != nil {
			return "", err
		}
		all += e.Name() + "=" + content + ";"
	}
	return all, err
}

// taskKind is a kind of tests that calls a function.
func taskKind(name string, f TaskFunc) Kind {
	return Kind{Name: name, OpenInputs: true, OpenOutputs: true, Uncached: true, Decode: func([]byte) (Task, error) { return f, nil }}
}

func parse(t testing.TB, text string) *pipeline.File {
	t.Helper()
	f, err := pipeline.Parse("pipeline.yaml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func openRunner(t testing.TB, o Options) *Runner {
	t.Helper()
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	r, err := Open(context.Background(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := r.Close(); err != nil && !errors.Is(err, os.ErrClosed) {
			t.Error(err)
		}
	})
	return r
}

// want compares the statuses of a run, written as "task:status ...".
func want(t testing.TB, run *RunStatus, statuses string) {
	t.Helper()
	if run == nil {
		t.Fatal("no run")
		return
	}
	var got []string
	for i := range run.Tasks {
		got = append(got, run.Tasks[i].Name()+":"+string(run.Tasks[i].Status))
	}
	slices.Sort(got)
	wanted := strings.Fields(statuses)
	slices.Sort(wanted)
	if !slices.Equal(got, wanted) {
		t.Errorf("run is\n%s\nwant\n%s\n(%s)", strings.Join(got, " "), strings.Join(wanted, " "), run.Error)
	}
}

// content is what an output of a run holds.
func content(t testing.TB, r *Runner, run *RunStatus, task, output string) string {
	t.Helper()
	s := run.Task(task)
	if s == nil {
		t.Fatalf("no task %s", task)
		return ""
	}
	text, err := readAll(r.Path(s.Outputs[output].Digest))
	if err != nil {
		t.Fatal(err)
	}
	return text
}
