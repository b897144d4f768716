// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/millrace-ml/millrace/orchestrator/artifact"
	"github.com/millrace-ml/millrace/orchestrator/pipeline"
)

// engine is what executes single tasks in a state folder: what a Runner and RunTask have
// in common. It needs no lock of the folder.
type engine struct {
	options Options
	kinds   map[string]*Kind
	store   *artifact.Store
	digests *artifact.Digests
	slots   chan struct{} // bounds the attempts that go on
	work    string        // where attempts have their folders
}

func newEngine(o Options) (*engine, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	var err error
	if o.Dir, err = filepath.Abs(o.Dir); err != nil { // tasks may work in other folders
		return nil, err
	}
	e := &engine{options: o, work: filepath.Join(o.Dir, "work"), kinds: map[string]*Kind{}, slots: make(chan struct{}, o.Concurrency)}
	for i := range o.Kinds {
		e.kinds[o.Kinds[i].Name] = &o.Kinds[i]
	}
	if e.store, err = artifact.Open(o.Dir); err != nil {
		return nil, err
	}
	for _, d := range []string{"cache", "runs", "cancel", "exported"} {
		if err := os.MkdirAll(filepath.Join(o.Dir, d), 0o777); err != nil {
			return nil, fmt.Errorf("open state folder: %w", err)
		}
	}
	e.digests = artifact.OpenDigests(filepath.Join(o.Dir, "digests.json"))
	return e, nil
}

func (e *engine) runDir(run string) string { return runDir(e.options.Dir, run) }

func runDir(dir, run string) string { return filepath.Join(dir, "runs", pipeline.ItemName(run)) }

func (e *engine) cancelPath(run string) string { return cancelPath(e.options.Dir, run) }

func cancelPath(dir, run string) string {
	return filepath.Join(dir, "cancel", pipeline.ItemName(run))
}

func (e *engine) event(run *RunStatus, t *TaskStatus) {
	if e.options.Observe != nil {
		e.options.Observe(Event{Run: run.ID, Pipeline: run.Pipeline, Task: t.Name(), Status: t.Status, Attempt: t.Attempt, Error: t.Error})
	}
}

// part is what a task does for one item, or all of it.
type part struct {
	item any
	name string // empty for a task without foreach
}

// work is a task that is ready.
type work struct {
	run     *RunStatus // not changed
	task    *pipeline.Task
	kind    *Kind
	parts   []part
	env     pipeline.Env
	inputs  map[string]artifact.Digest
	files   map[string]string // names of the inputs' files
	ignore  bool              // the cache
	outputs []pipeline.Output
}

// prepare decides on a task whose upstream tasks have ended. end is set if it does not run.
func (e *engine) prepare(run *RunStatus, p *pipeline.Pipeline, t *pipeline.Task, ended map[string]TaskStatus) (w *work, end *TaskStatus) {
	w = &work{run: run, task: t, kind: e.kinds[t.Uses], inputs: map[string]artifact.Digest{}, files: map[string]string{}}
	w.outputs = effectiveOutputs(t, w.kind)
	w.env = environment(run, t, ended)
	verdict, err := t.Decide(w.env, func(name string) pipeline.End { return ended[name].Status.end() })
	switch {
	case err != nil:
		return nil, &TaskStatus{Task: t.Name, Status: StatusFailed, Error: "when: " + err.Error()}
	case verdict.End == pipeline.EndFailed:
		return nil, &TaskStatus{Task: t.Name, Status: StatusBlocked, Reason: verdict.Reason}
	case verdict.End == pipeline.EndSkipped:
		return nil, &TaskStatus{Task: t.Name, Status: StatusSkipped, Reason: verdict.Reason}
	}
	for _, in := range t.Inputs {
		out, ok := ended[in.Task].Outputs[in.Output]
		port := w.kind.input(in.Name)
		if !ok && port.Optional {
			continue
		}
		if !ok {
			return nil, &TaskStatus{Task: t.Name, Status: StatusBlocked, Reason: fmt.Sprintf("input %s: task %s made no %s", in.Name, in.Task, in.Output)}
		}
		w.inputs[in.Name] = out.Digest
		w.files[in.Name] = inputFile(e, p, in, port)
	}
	w.parts = []part{{}}
	if t.Foreach != nil {
		items, err := t.Foreach.List(w.env)
		if err != nil {
			return nil, &TaskStatus{Task: t.Name, Status: StatusFailed, Error: "foreach: " + err.Error()}
		}
		if len(items) == 0 {
			return nil, &TaskStatus{Task: t.Name, Status: StatusSkipped, Reason: "foreach has no items"}
		}
		w.parts = w.parts[:0]
		for _, item := range items {
			w.parts = append(w.parts, part{item, pipeline.ItemName(item)})
		}
	}
	return w, nil
}

// inputFile is the name that an input has for the task: the one its kind wants, else the
// one under which it was made.
func inputFile(e *engine, p *pipeline.Pipeline, in pipeline.Input, port Port) string {
	if port.File != "" {
		return port.File
	}
	if source, err := p.Task(in.Task); err == nil && source.Foreach == nil {
		for _, o := range effectiveOutputs(source, e.kinds[source.Uses]) {
			if o.Name == in.Output {
				return o.File
			}
		}
	}
	return in.Name
}

// environment is what expressions of a task know, but for its item and paths.
func environment(run *RunStatus, t *pipeline.Task, ended map[string]TaskStatus) pipeline.Env {
	env := pipeline.Env{
		"params": run.Params, "trigger": run.Trigger,
		"run":       map[string]any{"id": run.ID, "pipeline": run.Pipeline, "time": run.Time.Format("2006-01-02T15:04:05Z07:00")},
		"partition": map[string]any{"key": run.Partition.Key, "start": run.Partition.Start, "end": run.Partition.End},
	}
	for _, name := range t.After {
		s := ended[name]
		values := make(map[string]any, len(s.Values)+2)
		for k, v := range s.Values {
			values[k] = v
		}
		// Whether a result came from the cache must not change what is done with it.
		status := s.Status
		if status == StatusCached {
			status = StatusSucceeded
		}
		values["status"] = string(status)
		env[name] = values
	}
	return env
}

// gather makes the end of a task of those of its parts: a folder of each output, with an
// entry per item, and lists of values, in the order of the items.
func (e *engine) gather(ctx context.Context, w *work, ends map[string]TaskStatus, temp string) TaskStatus {
	if w.task.Foreach == nil {
		return ends[""]
	}
	all := TaskStatus{Task: w.task.Name, Status: StatusCached}
	entries := map[string]map[string]artifact.Digest{}
	values := map[string][]any{}
	for _, p := range w.parts {
		end := ends[p.name]
		if all.Started.IsZero() || end.Started.Before(all.Started) {
			all.Started = end.Started
		}
		if end.Ended.After(all.Ended) {
			all.Ended = end.Ended
		}
		switch {
		case !end.Status.Good():
			if all.Status.Good() {
				all.Status, all.Error = StatusFailed, fmt.Sprintf("item %s: %s", p.name, end.Error)
			}
		case end.Status == StatusSucceeded && all.Status == StatusCached:
			all.Status = StatusSucceeded
		}
		for name, out := range end.Outputs {
			if entries[name] == nil {
				entries[name] = map[string]artifact.Digest{}
			}
			entries[name][p.name] = out.Digest
		}
		for name, v := range end.Values {
			values[name] = append(values[name], v)
		}
	}
	if !all.Status.Good() {
		return all
	}
	all.Values = map[string]any{}
	for name, list := range values {
		all.Values[name] = list
	}
	all.Outputs = map[string]artifact.Info{}
	for name, parts := range entries {
		info, err := e.store.Compose(ctx, filepath.Join(temp, name), parts)
		if err != nil {
			return TaskStatus{Task: w.task.Name, Status: StatusFailed, Error: fmt.Sprintf("output %s: %v", name, err), Started: all.Started, Ended: all.Ended}
		}
		all.Outputs[name] = info
	}
	return all
}

// expand fills in the templates of a task's with.
func (w *work) expand(p part, inputs, outputs map[string]any) ([]byte, error) {
	env := make(pipeline.Env, len(w.env)+3)
	for k, v := range w.env {
		env[k] = v
	}
	env["item"], env["inputs"], env["outputs"] = p.item, inputs, outputs
	with := w.task.With
	if with == nil {
		with = map[string]any{}
	}
	expanded, err := pipeline.Expand(with, env)
	if err != nil {
		return nil, fmt.Errorf("with: %w", err)
	}
	data, err := json.Marshal(expanded)
	if err != nil {
		return nil, fmt.Errorf("with: %w", err)
	}
	return data, nil
}
