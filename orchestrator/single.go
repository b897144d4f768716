// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/millrace-ml/millrace/orchestrator/pipeline"
)

// resultSuffix ends the names of files with results of single tasks.
const resultSuffix = ".task.json"

// TaskOptions name a task of a run that another orchestrator drives.
type TaskOptions struct {
	Pipeline, Task string
	// RunOptions are those of the run; Run is needed. The first task of a run settles the
	// parameters, the partition and the time for all.
	RunOptions
}

// RunTask runs one task of a run and records what it came to in the state folder, which
// several processes, and machines that share the folder, may use at once: this is what the
// exports for Airflow and Argo call. What the task waits for has to have been run before.
// A task of the run that succeeded before is not run again. The error is ErrFailed if the
// task failed, or was blocked.
func RunTask(ctx context.Context, o Options, task TaskOptions) (*TaskStatus, error) {
	e, err := newEngine(o)
	if err != nil {
		return nil, err
	}
	p, err := e.options.Pipelines.Find(task.Pipeline)
	if err != nil {
		return nil, err
	}
	t, err := p.Task(task.Task)
	if err != nil {
		return nil, err
	}
	if !runPattern.MatchString(task.Run) {
		return nil, fmt.Errorf("%w: run id %q, want letters, digits and . _ : + @ = -", ErrInvalid, task.Run)
	}
	if err := e.Check(p); err != nil {
		return nil, err
	}
	s := &single{e: e, p: p, t: t, dir: filepath.Join(e.options.Dir, "exported", pipeline.ItemName(task.Run))}
	status, err := s.do(ctx, task.RunOptions)
	return status, errors.Join(err, e.digests.Save())
}

type single struct {
	e   *engine
	p   *pipeline.Pipeline
	t   *pipeline.Task
	dir string
	run *RunStatus
}

func (s *single) do(ctx context.Context, o RunOptions) (status *TaskStatus, err error) {
	if err := os.MkdirAll(s.dir, 0o777); err != nil {
		return nil, err
	}
	held, err := lock(filepath.Join(s.dir, s.t.Name+".lock"))
	if err != nil {
		return nil, fmt.Errorf("task %s of run %s: %w", s.t.Name, o.Run, err)
	}
	defer func() { err = errors.Join(err, held.Close()) }()
	// Not where a runner of the same folder has its attempts: it empties that.
	s.e.work = filepath.Join(s.dir, s.t.Name+".work")
	if err := os.RemoveAll(s.e.work); err != nil { // of a process that was killed
		return nil, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(s.e.work)) }()
	if s.run, err = s.settle(o); err != nil {
		return nil, err
	}
	if done, ok := s.result(s.t.Name); ok && done.Status.Good() && !o.IgnoreCache {
		return &done, nil
	}
	ended := map[string]TaskStatus{}
	for _, name := range s.t.After {
		s.ended(name, ended)
	}
	w, end := s.e.prepare(s.run, s.p, s.t, ended)
	if end == nil {
		w.ignore = o.IgnoreCache
		if end, err = s.perform(ctx, w); err != nil {
			return nil, err
		}
	}
	if end.Status == StatusBlocked {
		end.Reason = cmp.Or(s.notRun(ended), end.Reason)
	}
	end.Ended = time.Now().UTC()
	data, err := json.Marshal(end)
	if err == nil {
		err = writeFile(filepath.Join(s.dir, s.t.Name+resultSuffix), data, true)
	}
	if err == nil && (end.Status == StatusFailed || end.Status == StatusBlocked) {
		err = fmt.Errorf("task %s of run %s %w: %s%s", s.t.Name, s.run.ID, ErrFailed, end.Error, end.Reason)
	}
	return end, err
}

// settle reads what the run is to work with, or writes it down if this task is the first.
func (s *single) settle(o RunOptions) (*RunStatus, error) {
	path := filepath.Join(s.dir, "run.json")
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		run, err := newRun(s.p, o)
		if err != nil {
			return nil, err
		}
		if data, err = json.Marshal(run); err != nil {
			return nil, err
		}
		temp := filepath.Join(s.dir, s.t.Name+".run.new")
		if err := writeFile(temp, data, true); err != nil {
			return nil, err
		}
		// Of several first tasks one settles it: a link does not replace what is there.
		err = os.Link(temp, path)
		if errors.Is(err, fs.ErrExist) {
			err = nil
		}
		if err = errors.Join(err, os.Remove(temp), syncDir(s.dir)); err != nil {
			return nil, err
		}
		if data, err = os.ReadFile(path); err != nil {
			return nil, err
		}
	} else if err != nil {
		return nil, err
	}
	run := &RunStatus{}
	if err := decodeJSON(data, run); err != nil {
		return nil, fmt.Errorf("read %s: %w", path, err)
	}
	run.Params, run.Trigger = numbers(run.Params), numbers(run.Trigger)
	if run.Pipeline != s.p.Name {
		return nil, fmt.Errorf("%w: run %s is one of pipeline %q", ErrInvalid, run.ID, run.Pipeline)
	}
	if run.Hash != s.p.Hash {
		return nil, fmt.Errorf("run %s: %w", run.ID, ErrChanged)
	}
	return run, nil
}

func decodeJSON(data []byte, v any) error {
	decoder := json.NewDecoder(bytes.NewReader(data))
	decoder.UseNumber()
	return decoder.Decode(v)
}

// result reads how a task of the run ended.
func (s *single) result(task string) (r TaskStatus, ok bool) {
	data, err := os.ReadFile(filepath.Join(s.dir, task+resultSuffix))
	if err != nil || decodeJSON(data, &r) != nil {
		return TaskStatus{}, false
	}
	r.Values = numbers(r.Values)
	return r, true
}

// errNotRun is the error of a task that has no result, though nothing kept it from running.
const errNotRun = "it has not been run"

// notRun says which of the known tasks was left out, the first in the file, empty if none.
func (s *single) notRun(known map[string]TaskStatus) string {
	for _, t := range s.p.Tasks {
		if known[t.Name].Error == errNotRun {
			return fmt.Sprintf("task %s was not run in run %s: run it first", t.Name, s.run.ID)
		}
	}
	return ""
}

// ended finds how a task that this one waits for ended, and notes it in known. Other
// orchestrators do not begin a task behind one that failed, so that it has no result: it
// was blocked.
func (s *single) ended(task string, known map[string]TaskStatus) TaskStatus {
	r, ok := known[task]
	if ok {
		return r
	}
	if r, ok = s.result(task); !ok { // its process ended before it could say so, or it was never begun
		r = TaskStatus{Task: task, Status: StatusFailed, Error: errNotRun}
		t, err := s.p.Task(task)
		if err == nil && !t.LooksAtEnds() {
			for _, before := range t.After {
				if s.ended(before, known).Status.end() == pipeline.EndFailed {
					r = TaskStatus{Task: task, Status: StatusBlocked, Reason: "task " + before + " failed"}
				}
			}
		}
	}
	known[task] = r
	return r
}

// perform does all parts of the task, as many at once as it and the options allow.
func (s *single) perform(ctx context.Context, w *work) (*TaskStatus, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	parallel := s.e.options.Concurrency
	if s.t.Parallel > 0 {
		parallel = min(parallel, s.t.Parallel)
	}
	ends := map[string]TaskStatus{}
	var mu sync.Mutex
	var broken error
	var group sync.WaitGroup
	free := make(chan struct{}, parallel)
	for _, p := range w.parts {
		free <- struct{}{}
		group.Go(func() {
			defer func() { <-free }()
			end, err := s.e.perform(ctx, w, p, TaskStatus{}, func(t TaskStatus) error { s.e.event(s.run, &t); return nil })
			mu.Lock()
			defer mu.Unlock()
			if ends[p.name] = end; err != nil && broken == nil {
				broken = err
				cancel(err)
			}
		})
	}
	group.Wait()
	if broken != nil {
		return nil, fmt.Errorf("task %s of run %s: %w: %w", s.t.Name, s.run.ID, ErrInterrupted, broken)
	}
	temp := filepath.Join(s.e.work, "gather")
	if err := os.MkdirAll(temp, 0o777); err != nil {
		return nil, err
	}
	end := s.e.gather(ctx, w, ends, temp)
	return &end, nil
}
