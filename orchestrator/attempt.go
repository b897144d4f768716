// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"time"

	"github.com/millrace-ml/millrace/orchestrator/artifact"
	"github.com/millrace-ml/millrace/orchestrator/pipeline"
)

// abandonedMax bounds how often a task is begun again because the process ended during it.
const abandonedMax = 100

// errorBytesMax bounds the text of an error in a status; the log has all.
const errorBytesMax = 8 << 10

// perform does a part of a task: it looks into the cache, then makes attempts. before is
// what earlier processes did. started is called before each attempt. The error says that
// the part has not ended: the context did, or the state folder cannot be written.
func (e *engine) perform(ctx context.Context, w *work, p part, before TaskStatus, started func(TaskStatus) error) (TaskStatus, error) {
	s := TaskStatus{Task: w.task.Name, Item: p.name, Status: StatusRunning, Attempt: before.Attempt, Failures: before.Failures, Started: time.Now().UTC()}
	fail := func(err error) (TaskStatus, error) {
		s.Status, s.Error, s.Ended = StatusFailed, clip(err.Error()), time.Now().UTC()
		return s, nil
	}
	key, err := e.key(ctx, w, p)
	if err != nil {
		if ctx.Err() != nil {
			return s, context.Cause(ctx)
		}
		return fail(err)
	}
	s.Key = key
	cacheable := !w.kind.Uncached && !w.task.NoCache
	if cacheable && !w.ignore {
		if found, ok := e.lookup(ctx, key); ok {
			s.Status, s.Outputs, s.Values, s.Ended = StatusCached, found.Outputs, found.Values, time.Now().UTC()
			return s, nil
		}
	}
	for {
		if s.Attempt-s.Failures >= abandonedMax {
			return fail(fmt.Errorf("the process ended during %d attempts", abandonedMax))
		}
		s.Attempt++
		err := e.inSlot(ctx, func() error {
			if err := started(s); err != nil {
				return &stateError{err}
			}
			return e.attempt(ctx, w, p, &s)
		})
		var broken *stateError
		switch {
		case err == nil:
			s.Status, s.Error, s.Ended = StatusSucceeded, "", time.Now().UTC()
			if cacheable {
				err = e.remember(key, entry{w.task.Name, w.run.ID, s.Ended, s.Outputs, s.Values})
			}
			return s, err
		case errors.As(err, &broken):
			return s, broken.err
		case ctx.Err() != nil:
			return s, context.Cause(ctx)
		}
		if s.Failures++; s.Failures > w.task.Retries || errors.Is(err, ErrPermanent) {
			return fail(err)
		}
		s.Error = clip(err.Error())
		if err := wait(ctx, backoff(w.task, s.Failures)); err != nil {
			return s, err
		}
	}
}

// stateError is an error of the state folder, which is no fault of the task.
type stateError struct{ err error }

func (s *stateError) Error() string { return s.err.Error() }

func clip(text string) string {
	if len(text) > errorBytesMax {
		return text[:errorBytesMax] + " ..."
	}
	return text
}

// backoff is the wait before the attempt after some failures.
func backoff(t *pipeline.Task, failures int) time.Duration {
	d := t.Backoff
	for range failures - 1 {
		if d >= t.BackoffMax {
			break
		}
		d *= 2
	}
	return min(d, t.BackoffMax)
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// inSlot does something when fewer than the runner's concurrency of attempts go on.
func (e *engine) inSlot(ctx context.Context, do func() error) error {
	select {
	case e.slots <- struct{}{}:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer func() { <-e.slots }()
	if ctx.Err() != nil { // a slot may be free as the context ends
		return context.Cause(ctx)
	}
	return do()
}

// attempt runs a part of a task once, and on success puts its outputs into the store.
func (e *engine) attempt(ctx context.Context, w *work, p part, s *TaskStatus) (err error) {
	dir := filepath.Join(e.work, pipeline.ItemName(w.run.ID), fmt.Sprintf("%s.%d", s.Name(), s.Attempt))
	call, err := e.stage(w, p, s, dir)
	if err != nil {
		return &stateError{fmt.Errorf("stage task %s: %w", s.Name(), err)}
	}
	abandoned := false
	defer func() {
		if !abandoned { // a task that did not return may still write there
			err = errors.Join(err, os.RemoveAll(dir))
		}
	}()
	log, err := openLog(logPath(e.options.Dir, w.run.ID, s.Task, s.Item), e.options.LogBytesMax)
	if err != nil {
		return &stateError{err}
	}
	defer func() { err = errors.Join(err, log.Close()) }()
	call.Log, call.progress = log, e.progress(w.run, s)
	log.mark("attempt %d begins", s.Attempt)
	err, abandoned = e.call(ctx, w, p, call)
	if err != nil {
		log.mark("attempt %d failed: %v", s.Attempt, err)
		return err
	}
	if s.Outputs, err = e.collect(ctx, w, call); err != nil {
		log.mark("attempt %d failed: %v", s.Attempt, err)
		return err
	}
	call.values.Lock()
	s.Values = call.values.set
	call.values.Unlock()
	log.mark("attempt %d succeeded", s.Attempt)
	return nil
}

// stage makes the folder of an attempt: in/NAME/FILE leads to the inputs, out/ waits for
// the outputs, tmp/ is for the task.
func (e *engine) stage(w *work, p part, s *TaskStatus, dir string) (*Call, error) {
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	c := &Call{
		Pipeline: w.run.Pipeline, Run: w.run.ID, Task: w.task.Name, Attempt: s.Attempt, Item: p.item, Partition: w.run.Partition, Trigger: w.run.Trigger, Key: s.Key,
		Inputs: map[string]string{}, InputDigests: map[string]string{}, Outputs: map[string]string{}, Work: filepath.Join(dir, "tmp"),
	}
	for _, d := range []string{"out", "tmp"} {
		if err := os.MkdirAll(filepath.Join(dir, d), 0o777); err != nil {
			return nil, err
		}
	}
	for name, digest := range w.inputs {
		c.Inputs[name], c.InputDigests[name] = filepath.Join(dir, "in", name, w.files[name]), string(digest)
		if err := os.MkdirAll(filepath.Dir(c.Inputs[name]), 0o777); err != nil {
			return nil, err
		}
		if err := os.Symlink(e.store.Path(digest), c.Inputs[name]); err != nil {
			return nil, err
		}
	}
	for _, o := range w.outputs {
		c.Outputs[o.Name] = filepath.Join(dir, "out", o.File)
	}
	return c, nil
}

// call calls the task and waits for it, or for StopWait after the context or the time of
// the attempt ended.
func (e *engine) call(ctx context.Context, w *work, p part, c *Call) (err error, abandoned bool) { //nolint:revive // the error is not the last word here
	with, err := w.expand(p, anyMap(c.Inputs), anyMap(c.Outputs))
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPermanent, err), false
	}
	task, err := decode(w.kind, with)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPermanent, err), false
	}
	if w.task.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeoutCause(ctx, w.task.Timeout, fmt.Errorf("%w after %s", ErrTimeout, w.task.Timeout))
		defer cancel()
	}
	returned := make(chan error, 1)
	go func() {
		defer func() {
			if fault := recover(); fault != nil {
				fmt.Fprintf(c.Log, "panic: %v\n%s", fault, debug.Stack())
				returned <- fmt.Errorf("%w: the task panicked: %v", ErrPermanent, fault)
			}
		}()
		returned <- task.Run(ctx, c)
	}()
	select {
	case err = <-returned:
	case <-ctx.Done():
		timer := time.NewTimer(e.options.StopWait)
		defer timer.Stop()
		select {
		case err = <-returned:
		case <-timer.C:
			return fmt.Errorf("%w: %w, and the task did not return within %s", ErrPermanent, context.Cause(ctx), e.options.StopWait), true
		}
	}
	if ctx.Err() != nil && err != nil {
		return fmt.Errorf("%w (%w)", context.Cause(ctx), err), false
	}
	return err, false
}

// decode makes the task; a fault of a decoder is an error.
func decode(k *Kind, with []byte) (t Task, err error) {
	defer func() {
		if fault := recover(); fault != nil {
			err = fmt.Errorf("with: the decoder of %s panicked: %v", k.Name, fault)
		}
	}()
	if t, err = k.Decode(with); err != nil {
		return nil, fmt.Errorf("with: %w", err)
	}
	return t, nil
}

func anyMap(m map[string]string) map[string]any {
	out := make(map[string]any, len(m))
	for k, v := range m {
		out[k] = v
	}
	return out
}

// collect puts the outputs into the store.
func (e *engine) collect(ctx context.Context, w *work, c *Call) (map[string]artifact.Info, error) {
	outputs := map[string]artifact.Info{}
	for _, o := range w.outputs {
		info, err := e.store.Put(ctx, c.Outputs[o.Name])
		switch {
		case errors.Is(err, fs.ErrNotExist) && w.kind.output(o.Name).Optional:
			continue
		case errors.Is(err, fs.ErrNotExist) && !exists(c.Outputs[o.Name]):
			return nil, fmt.Errorf("output %s: the task did not write %s", o.Name, o.File)
		case err != nil:
			return nil, fmt.Errorf("output %s: %w", o.Name, err)
		}
		outputs[o.Name] = info
	}
	return outputs, nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return err == nil
}
