// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/millrace-ml/millrace/orchestrator/pipeline"
)

// driver takes a run from where it stands to its end. Its goroutine alone has its fields.
type driver struct {
	r       *Runner
	p       *pipeline.Pipeline
	run     *RunStatus
	order   []*pipeline.Task
	limit   int
	ignored map[string]bool
	ended   map[string]TaskStatus
	before  map[string]TaskStatus // what earlier processes did, by the name with item
	open    map[string]*openTask
	running int
	results chan result
}

// openTask is a task whose parts are being done.
type openTask struct {
	*work
	waiting []part
	running int
	ends    map[string]TaskStatus
}

type result struct {
	task string
	part part
	end  TaskStatus
	err  error
}

// drive makes a run the caller's: it registers it, watches for a cancel, and works it off.
func (r *Runner) drive(ctx context.Context, p *pipeline.Pipeline, run *RunStatus, begin func() error) (*RunStatus, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r.mu.Lock()
	busy, closed := r.mu.active[run.ID] != nil, r.mu.closed
	if !busy && !closed {
		r.mu.active[run.ID] = cancel
	}
	r.mu.Unlock()
	if busy || closed {
		return nil, fmt.Errorf("%w: run %s goes on already, or the runner is closed", ErrInvalid, run.ID)
	}
	defer func() {
		r.mu.Lock()
		delete(r.mu.active, run.ID)
		r.mu.Unlock()
	}()
	if err := begin(); err != nil {
		return nil, err
	}
	var watch sync.WaitGroup
	done := make(chan struct{})
	watch.Go(func() { r.watch(run.ID, cancel, done) })
	err := newDriver(r, p, run).loop(ctx)
	close(done)
	watch.Wait()
	err = errors.Join(err, os.RemoveAll(filepath.Join(r.runDir(run.ID), "progress")))
	r.mu.Lock()
	status := r.mu.runs[run.ID].clone()
	if status.Status == StatusRunning {
		status.Status = StatusInterrupted
	}
	r.mu.Unlock()
	if err == nil {
		err = status.err()
	}
	return status, err
}

// watch looks for a request of another process to cancel the run.
func (r *Runner) watch(run string, cancel context.CancelCauseFunc, done <-chan struct{}) {
	ticker := time.NewTicker(r.options.Look)
	defer ticker.Stop()
	for {
		if exists(r.cancelPath(run)) {
			cancel(ErrCancelled)
			return
		}
		select {
		case <-ticker.C:
		case <-done:
			return
		}
	}
}

func newDriver(r *Runner, p *pipeline.Pipeline, run *RunStatus) *driver {
	limit := r.options.Concurrency
	if p.Concurrency > 0 {
		limit = min(limit, p.Concurrency)
	}
	d := &driver{
		r: r, p: p, run: run, order: p.Order(), limit: limit,
		ignored: map[string]bool{}, ended: map[string]TaskStatus{}, before: map[string]TaskStatus{},
		open: map[string]*openTask{}, results: make(chan result, limit),
	}
	if len(run.From) > 0 {
		d.ignored = p.Downstream(run.From...)
	}
	if len(run.Only) > 0 {
		wanted := p.Upstream(run.Only...)
		d.order = nil
		for _, t := range p.Order() {
			if wanted[t.Name] {
				d.order = append(d.order, t)
			}
		}
	}
	for _, s := range run.Tasks {
		if s.Item == "" && s.Status.Ended() {
			d.ended[s.Task] = s
		} else {
			d.before[s.Name()] = s
		}
	}
	return d
}

func (d *driver) loop(ctx context.Context) error {
	var broken error // the state folder cannot be written: no more work is begun
	for {
		if ctx.Err() == nil && broken == nil {
			broken = d.advance(ctx)
		}
		if d.running == 0 {
			break
		}
		if err := d.take(ctx, <-d.results); err != nil && broken == nil {
			broken = err
		}
	}
	switch {
	case broken != nil:
		return fmt.Errorf("run %s: %w", d.run.ID, broken)
	case len(d.ended) == len(d.order):
		return d.finish()
	case errors.Is(context.Cause(ctx), ErrCancelled):
		return d.cancelled()
	}
	return fmt.Errorf("run %s: %w: %w", d.run.ID, ErrInterrupted, context.Cause(ctx))
}

// advance decides on all tasks that can be decided on, and begins what there is room for.
func (d *driver) advance(ctx context.Context) error {
	for again := true; again; {
		again = false
		for _, t := range d.order {
			if _, ended := d.ended[t.Name]; ended || d.open[t.Name] != nil || !d.ready(t) {
				continue
			}
			w, end := d.r.prepare(d.run, d.p, t, d.ended)
			if end != nil {
				end.Ended = time.Now().UTC()
				if err := d.end(*end); err != nil {
					return err
				}
				again = true
				continue
			}
			w.ignore = d.run.Ignore || d.ignored[t.Name]
			d.begin(w)
			if len(d.open[t.Name].waiting) == 0 { // all parts ended in an earlier process
				if err := d.whole(ctx, d.open[t.Name]); err != nil {
					return err
				}
				again = true
			}
		}
		d.launch(ctx)
	}
	return nil
}

func (d *driver) ready(t *pipeline.Task) bool {
	for _, n := range t.After {
		if _, ok := d.ended[n]; !ok {
			return false
		}
	}
	return true
}

// begin opens a task, its parts that ended in an earlier process aside.
func (d *driver) begin(w *work) {
	o := &openTask{work: w, ends: map[string]TaskStatus{}}
	for _, p := range w.parts {
		if s, ok := d.before[instanceName(w.task.Name, p.name)]; ok && p.name != "" && s.Status.Ended() {
			o.ends[p.name] = s
			continue
		}
		o.waiting = append(o.waiting, p)
	}
	d.open[w.task.Name] = o
}

// launch starts parts in the order of the tasks while there is room.
func (d *driver) launch(ctx context.Context) {
	for _, t := range d.order {
		o := d.open[t.Name]
		for o != nil && len(o.waiting) > 0 && d.running < d.limit && (t.Parallel == 0 || o.running < t.Parallel) {
			p := o.waiting[0]
			o.waiting = o.waiting[1:]
			o.running++
			d.running++
			before := d.before[instanceName(t.Name, p.name)]
			go func() {
				end, err := d.r.perform(ctx, o.work, p, before, func(s TaskStatus) error {
					d.r.event(d.run, &s)
					return d.r.record(record{Kind: recordStart, Run: d.run.ID, Time: s.Started, Task: &s}, false)
				})
				d.results <- result{t.Name, p, end, err}
			}()
		}
	}
}

// take notes how a part ended.
func (d *driver) take(ctx context.Context, r result) error {
	o := d.open[r.task]
	o.running--
	d.running--
	if r.err != nil {
		if ctx.Err() != nil {
			return nil // the run stops, and the part has not ended
		}
		return r.err
	}
	o.ends[r.part.name] = r.end
	if r.part.name != "" {
		d.r.event(d.run, &r.end)
		err := d.r.record(record{Kind: recordEnd, Run: d.run.ID, Time: r.end.Ended, Task: &r.end}, r.end.Status != StatusCached)
		if err != nil {
			return err
		}
	}
	if len(o.ends) < len(o.parts) {
		return nil
	}
	return d.whole(ctx, o)
}

// whole ends a task whose parts have all ended. It is not disturbed by the end of the
// context: what was done is done.
func (d *driver) whole(ctx context.Context, o *openTask) error {
	temp := filepath.Join(d.r.work, pipeline.ItemName(d.run.ID), o.task.Name+".gather")
	if o.task.Foreach != nil {
		if err := errors.Join(os.RemoveAll(temp), os.MkdirAll(temp, 0o777)); err != nil {
			return err
		}
	}
	end := d.r.gather(context.WithoutCancel(ctx), o.work, o.ends, temp)
	delete(d.open, o.task.Name)
	if o.task.Foreach != nil {
		if err := os.RemoveAll(temp); err != nil {
			return err
		}
	}
	return d.end(end)
}

// end records how a task ended. What is not work done need not be durable: it is decided
// in the same way again.
func (d *driver) end(s TaskStatus) error {
	d.ended[s.Task] = s
	d.r.event(d.run, &s)
	durable := s.Status == StatusSucceeded || s.Status == StatusFailed
	return d.r.record(record{Kind: recordEnd, Run: d.run.ID, Time: s.Ended, Task: &s}, durable)
}

// finish ends a run all of whose tasks have ended.
func (d *driver) finish() error {
	status, message := StatusSucceeded, ""
	for _, t := range d.order {
		s := d.ended[t.Name]
		if s.Status == StatusFailed && message == "" {
			status, message = StatusFailed, fmt.Sprintf("task %s: %s", t.Name, s.Error)
		}
		if s.Status == StatusBlocked && status == StatusSucceeded {
			status = StatusFailed
		}
	}
	if status == StatusFailed && message == "" {
		message = "a task was blocked"
	}
	return d.close(status, message)
}

func (d *driver) cancelled() error {
	for _, t := range d.order {
		if _, ok := d.ended[t.Name]; ok {
			continue
		}
		if err := d.end(TaskStatus{Task: t.Name, Status: StatusCancelled, Ended: time.Now().UTC()}); err != nil {
			return err
		}
	}
	return d.close(StatusCancelled, ErrCancelled.Error())
}

func (d *driver) close(status Status, message string) error {
	run := d.run.clone()
	err := d.r.close(run, status, message)
	if d.r.options.Observe != nil {
		d.r.options.Observe(Event{Run: run.ID, Pipeline: run.Pipeline, Status: status, Error: message})
	}
	return errors.Join(err, os.RemoveAll(filepath.Join(d.r.work, pipeline.ItemName(run.ID))))
}
