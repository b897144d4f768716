// SPDX-License-Identifier: Apache-2.0

package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/millrace-ml/millrace/orchestrator/pipeline"
	"github.com/millrace-ml/millrace/orchestrator/schedule"
)

const (
	// queueMax bounds the runs of a pipeline that wait; what is due beyond it is skipped.
	queueMax = schedule.CatchUpMaxMax
	// idle is how long Serve sleeps at most, so that a clock that was set is noticed.
	idle = time.Minute
	// collectEvery is how often Serve collects garbage.
	collectEvery = time.Hour
	// scheduleGrace is how late a run may begin without having been missed.
	scheduleGrace = time.Minute
)

// server is Serve's state; its goroutine alone has it.
type server struct {
	r       *Runner
	lanes   map[string]*lane
	files   map[firedKey]string // what was there at the last look
	ended   chan *lane
	running int
	collect time.Time
}

// lane is a pipeline whose runs come one after the other.
type lane struct {
	p       *pipeline.Pipeline
	last    time.Time // of the schedule, that was put into the queue
	queue   []job
	asked   map[firedKey]string     // ids of runs that triggers asked for, that were put into the queue
	running string                  // a run's id
	cancel  context.CancelCauseFunc // ends it
}

type job struct {
	o      RunOptions
	resume *RunStatus
}

// Serve runs pipelines when they are due or triggered, until the context ends; then what
// goes on is interrupted, and the next Serve goes on with it. It begins with the runs that
// were interrupted. What runs come to is in their statuses and told to Options.Observe;
// the error says that the state folder cannot be used.
func (r *Runner) Serve(ctx context.Context) error {
	s := &server{r: r, lanes: map[string]*lane{}, files: map[firedKey]string{}, ended: make(chan *lane), collect: time.Now().Add(collectEvery)}
	for _, p := range r.options.Pipelines.Pipelines {
		s.lanes[p.Name] = &lane{p: p, asked: map[firedKey]string{}}
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	err := s.begin()
	for err == nil && ctx.Err() == nil {
		var next time.Time
		if next, err = s.step(ctx, time.Now()); err != nil {
			break
		}
		timer := time.NewTimer(time.Until(next))
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-r.wake:
		case l := <-s.ended:
			s.end(l)
		}
		timer.Stop()
	}
	cancel()
	for s.running > 0 {
		s.end(<-s.ended)
	}
	return err
}

// begin takes up what an earlier process left, and notes since when schedules count.
func (s *server) begin() error {
	for _, run := range s.r.Runs("") {
		if run.Status != StatusInterrupted {
			continue
		}
		if l := s.lanes[run.Pipeline]; l != nil {
			l.queue = append(l.queue, job{resume: run})
			continue
		}
		if _, err := s.r.resume(context.Background(), run); err != nil && !errors.Is(err, pipeline.ErrNotFound) {
			return err
		}
	}
	for _, l := range s.lanes {
		if l.p.Schedule == nil {
			continue
		}
		key := firedKey{pipeline: l.p.Name}
		if l.last = s.r.firedOf(key).time; l.last.IsZero() {
			l.last = time.Now()
			if err := s.r.record(fired{time: l.last}.record(key), true); err != nil {
				return err
			}
		}
	}
	return nil
}

// step does what is due and returns when to look again.
func (s *server) step(ctx context.Context, now time.Time) (next time.Time, err error) {
	next = now.Add(idle)
	sooner := func(t time.Time) {
		if !t.IsZero() && t.Before(next) {
			next = t
		}
	}
	for _, l := range s.lanes {
		if l.p.Schedule != nil {
			if err := s.due(l, now); err != nil {
				return next, err
			}
			sooner(l.p.Schedule.Next(now))
		}
		for _, t := range l.p.Triggers {
			if t.On == "file" {
				if err := s.r.lookForFiles(l.p, t, s.files); err != nil {
					return next, err
				}
				sooner(now.Add(s.r.options.Look))
			}
			at, err := s.asked(l, t, now)
			if err != nil {
				return next, err
			}
			sooner(at)
		}
		held, err := s.held(l)
		if err != nil {
			return next, err
		}
		if held {
			sooner(now.Add(s.r.options.Look))
			continue
		}
		s.start(ctx, l)
	}
	if now.After(s.collect) && s.running == 0 {
		s.collect = now.Add(collectEvery)
		if _, err := s.r.Collect(ctx, CollectOptions{}); err != nil && ctx.Err() == nil {
			return next, err
		}
	}
	return next, nil
}

// due puts the times of a schedule into the queue, as its catch-up and overlap say.
func (s *server) due(l *lane, now time.Time) error {
	times, _ := l.p.Schedule.Due(l.last, now, scheduleGrace)
	first := l.p.Schedule.Next(l.last)
	if first.IsZero() || first.After(now) {
		return nil
	}
	l.last = now
	busy := l.running != "" || len(l.queue) > 0
	switch {
	case busy && l.p.Schedule.Spec.Overlap == schedule.OverlapSkip:
		times = nil
	case busy && l.p.Schedule.Spec.Overlap == schedule.OverlapCancel && len(times) > 0:
		l.queue = l.queue[:0]
		clear(l.asked)
		if l.running != "" {
			l.cancel(ErrCancelled) // Runner.Cancel knows it only once it is written down
		}
		times = times[len(times)-1:]
	}
	key := firedKey{pipeline: l.p.Name}
	if len(times) == 0 && len(l.queue) > 0 {
		return nil // what waits must not be forgotten; what is left out may be caught up with
	}
	if len(times) == 0 { // what was left out is not to be caught up with
		return s.r.record(fired{time: now}.record(key), true)
	}
	for _, t := range times {
		if len(l.queue) == queueMax {
			break
		}
		l.queue = append(l.queue, job{o: RunOptions{
			// The id makes a time run once, even if the process ends before fired is recorded.
			Run: fmt.Sprintf("%s.schedule.%s", l.p.Name, t.UTC().Format("20060102T150405Z")), Time: t,
			Trigger: map[string]any{"on": "schedule", "time": t.Format(time.RFC3339)},
			begun: func() {
				_ = s.r.record(fired{time: t}.record(key), true) // if not, the time is due again, and its run is known
			},
		}})
	}
	return nil
}

// asked puts the run that a trigger asked for into the queue, once it may. at is when to
// look again.
func (s *server) asked(l *lane, t pipeline.Trigger, now time.Time) (at time.Time, err error) {
	key := triggerKey(l.p, t)
	f := s.r.firedOf(key)
	if f.pending == "" || len(l.queue) >= queueMax {
		return at, nil
	}
	if wait := f.time.Add(t.AtMost); !f.time.IsZero() && now.Before(wait) {
		return wait, nil
	}
	run, err := f.run()
	if err != nil {
		return at, fmt.Errorf("trigger of pipeline %s: %w", l.p.Name, err)
	}
	id := askedID(l.p, t.On, run.Time)
	if l.asked[key] == id {
		return at, nil
	}
	l.asked[key] = id
	l.queue = append(l.queue, job{o: RunOptions{Run: id, Time: run.Time, asked: &key}})
	return at, nil
}

// held says whether the next run of a lane has to wait.
func (s *server) held(l *lane) (bool, error) {
	if s.r.options.Hold == nil || l.running != "" || len(l.queue) == 0 || l.queue[0].o.asked == nil {
		return false, nil
	}
	asked, err := s.r.firedOf(*l.queue[0].o.asked).run()
	if err != nil || asked == nil { // withdrawn: it is not begun
		return false, err
	}
	return s.r.options.Hold(asked.trigger()), nil
}

// start begins the next run of a lane, if none goes on.
func (s *server) start(ctx context.Context, l *lane) {
	if l.running != "" || len(l.queue) == 0 || ctx.Err() != nil {
		return
	}
	j := l.queue[0]
	l.queue = l.queue[1:]
	l.running = j.o.Run
	if j.resume != nil {
		l.running = j.resume.ID
	}
	s.running++
	ctx, l.cancel = context.WithCancelCause(ctx)
	go func() {
		var err error
		if j.resume != nil {
			_, err = s.r.resume(ctx, j.resume)
		} else {
			_, err = s.r.Run(ctx, l.p.Name, j.o)
		}
		if err != nil && !errors.Is(err, errWithdrawn) && s.r.options.Observe != nil {
			s.r.options.Observe(Event{Run: l.running, Pipeline: l.p.Name, Error: err.Error()})
		}
		s.ended <- l
	}()
}

func (s *server) end(l *lane) {
	l.cancel(nil)
	l.running = ""
	s.running--
}
