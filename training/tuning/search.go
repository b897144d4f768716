// SPDX-License-Identifier: Apache-2.0

package tuning

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/c-bata/goptuna"

	"github.com/millrace-ml/millrace/training/learn"
)

// search is one call of Search. goptuna's storage hands out maps that it goes on writing
// to, so that all use of it is under mu.
type search struct {
	Options
	space   Space
	study   *goptuna.Study
	storage *goptuna.InMemoryStorage

	mu      sync.Mutex
	numbers map[int]int // of trials, by goptuna's ids
	done    []Trial
	tried   map[int]bool
	next    int // no number below it is free
	stopped error
	told    sync.Mutex // held while OnTrial runs
}

// Search tries parameters until a bound is reached. It returns an error if the options are
// wrong, OnTrial or ctx ended it, or every trial failed; the trials that were made are in
// the result all the same.
func Search(ctx context.Context, space Space, o Options, objective Objective) (*Result, error) {
	o.EnsureDefaults()
	if err := o.Validate(); err != nil {
		return nil, err
	}
	s := &search{Options: o, space: space, numbers: map[int]int{}, tried: map[int]bool{}}
	if err := s.prepare(); err != nil {
		return nil, err
	}
	within, cancel := context.WithCancel(ctx)
	if o.Time > 0 {
		within, cancel = context.WithTimeout(ctx, o.Time)
	}
	defer cancel()
	var workers sync.WaitGroup
	for range o.Parallel {
		workers.Go(func() {
			for within.Err() == nil && s.one(within, objective) {
			}
		})
	}
	workers.Wait()
	if err := ctx.Err(); err != nil {
		s.stop(err)
	}
	return s.result()
}

// prepare makes the study and puts the trials of before into it.
func (s *search) prepare() error {
	pruner, err := newPruner(s.Pruner)
	if err != nil {
		return err
	}
	s.storage = goptuna.NewInMemoryStorage()
	s.study, err = goptuna.CreateStudy("", goptuna.StudyOptionStorage(s.storage), goptuna.StudyOptionLogger(nil),
		goptuna.StudyOptionDirection(s.Direction.goptuna()), goptuna.StudyOptionSampler(&sampler{s, s.Sampler == TPE}), goptuna.StudyOptionPruner(pruner))
	if err != nil {
		return err
	}
	before := slices.Clone(s.Resume)
	slices.SortFunc(before, func(a, b Trial) int { return cmp.Compare(a.Number, b.Number) })
	for _, t := range before {
		if err := s.restore(t); err != nil {
			return fmt.Errorf("resume trial %d: %w", t.Number, err)
		}
	}
	return nil
}

// restore puts a trial into the study. One whose parameters the space has no more counts,
// and teaches nothing.
func (s *search) restore(t Trial) error {
	states := map[State]goptuna.TrialState{Complete: goptuna.TrialStateComplete, Pruned: goptuna.TrialStatePruned, Failed: goptuna.TrialStateFail}
	state, ok := states[t.State]
	if !ok {
		return fmt.Errorf("%w: no state %q", ErrOptions, t.State)
	}
	f := goptuna.FrozenTrial{
		State: state, Value: s.Direction.comparable(t.Value), IntermediateValues: map[int]float64{}, InternalParams: map[string]float64{},
		Params: map[string]any{}, Distributions: map[string]any{}, UserAttrs: map[string]string{}, SystemAttrs: rungs(t.Reports, s.Direction),
	}
	for _, r := range t.Reports {
		f.IntermediateValues[r.Step] = s.Direction.comparable(r.Value)
	}
	t.Parameters = maps.Clone(t.Parameters)
	for i := range s.space.dimensions {
		d := &s.space.dimensions[i]
		if x, ok := d.coordinate(t.Parameters[d.name]); ok {
			f.InternalParams[d.name], f.Distributions[d.name], t.Parameters[d.name] = x, d.distribution, d.value(x)
		}
	}
	id, err := s.storage.CloneTrial(s.study.ID, f)
	if err != nil {
		return err
	}
	s.numbers[id], s.tried[t.Number] = t.Number, true
	t.search = nil
	s.done = append(s.done, t)
	return nil
}

// one makes a trial and reports whether there may be another.
func (s *search) one(ctx context.Context, objective Objective) bool {
	t, err := s.begin()
	if err != nil {
		s.stop(err)
	}
	if t == nil {
		return false
	}
	began := time.Now()
	value, err := attempt(ctx, objective, t)
	if ctx.Err() != nil {
		return false // what it says may come from its being broken off
	}
	t.Duration = time.Since(began)
	switch {
	case errors.Is(err, ErrPruned):
		t.State, t.Value = Pruned, math.NaN()
		if n := len(t.Reports); n > 0 {
			t.Value = t.Reports[n-1].Value
		}
	case err != nil:
		t.State, t.Value, t.Error = Failed, math.NaN(), err.Error()
	case math.IsNaN(value):
		t.State, t.Value, t.Error = Failed, value, "the objective is NaN"
	default:
		t.State, t.Value = Complete, value
	}
	return s.end(t)
}

// attempt calls the objective. Libraries that it uses panic on odd parameters, which is to
// cost a trial and not the search.
func attempt(ctx context.Context, objective Objective, t *Trial) (value float64, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	return objective(ctx, t)
}

// begin makes a trial with parameters; nil if the search is over.
func (s *search) begin() (*Trial, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for s.tried[s.next] {
		s.next++
	}
	if s.stopped != nil || s.next >= s.Trials || s.allFailedLocked() {
		return nil, nil
	}
	t := &Trial{Number: s.next, Parameters: learn.Values{}, search: s}
	s.tried[t.Number] = true
	id, err := s.storage.CreateNewTrial(s.study.ID)
	if err != nil {
		return nil, err
	}
	t.id, s.numbers[id] = id, t.Number
	for i := range s.space.dimensions {
		d := &s.space.dimensions[i]
		frozen, err := s.storage.GetTrial(id)
		if err != nil {
			return nil, err
		}
		x, err := s.study.Sampler.Sample(s.study, frozen, d.name, d.distribution)
		if err != nil {
			return nil, err
		}
		if err := s.storage.SetTrialParam(id, d.name, x, d.distribution); err != nil {
			return nil, err
		}
		t.Parameters[d.name] = d.value(x)
	}
	return t, nil
}

// allFailedLocked: s.mu is held.
func (s *search) allFailedLocked() bool {
	return len(s.done) >= FailuresMax && !slices.ContainsFunc(s.done, func(t Trial) bool { return t.State != Failed })
}

// ended lists goptuna's trials that have ended, by number. s.mu is held.
func (s *search) ended() []goptuna.FrozenTrial {
	all, _ := s.storage.GetAllTrials(s.study.ID) // the study is there
	all = slices.DeleteFunc(all, func(t goptuna.FrozenTrial) bool { return !t.State.IsFinished() })
	slices.SortFunc(all, func(a, b goptuna.FrozenTrial) int { return cmp.Compare(s.numbers[a.ID], s.numbers[b.ID]) })
	return all
}

// judge tells goptuna of a report and asks its pruner.
func (s *search) judge(id, step int, value float64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.storage.SetTrialIntermediateValue(id, step, s.Direction.comparable(value)); err != nil {
		return err
	}
	if s.study.Pruner == nil {
		return nil
	}
	frozen, err := s.storage.GetTrial(id)
	if err != nil {
		return err
	}
	prune, err := s.study.Pruner.Prune(s.study, frozen)
	if err == nil && prune {
		err = ErrPruned
	}
	return err
}

// end records a trial, and reports whether the search goes on.
func (s *search) end(t *Trial) bool {
	err := s.finish(t)
	if err == nil && s.OnTrial != nil {
		s.told.Lock()
		err = s.OnTrial(s.copyOf(t))
		s.told.Unlock()
	}
	if err != nil {
		s.stop(err)
		return false
	}
	return true
}

func (s *search) copyOf(t *Trial) Trial {
	c := *t
	c.search = nil
	return c
}

func (s *search) finish(t *Trial) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := map[State]goptuna.TrialState{Complete: goptuna.TrialStateComplete, Pruned: goptuna.TrialStatePruned, Failed: goptuna.TrialStateFail}[t.State]
	if err := s.storage.SetTrialValue(t.id, s.Direction.comparable(t.Value)); err != nil {
		return err
	}
	s.done = append(s.done, s.copyOf(t))
	return s.storage.SetTrialState(t.id, state)
}

func (s *search) stop(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopped == nil {
		s.stopped = err
	}
}

func (s *search) result() (*Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r := &Result{Trials: s.done}
	slices.SortFunc(r.Trials, func(a, b Trial) int { return cmp.Compare(a.Number, b.Number) })
	best := -1
	for i, t := range r.Trials {
		if t.State == Complete && (best < 0 || s.Direction.better(t.Value, r.Trials[best].Value)) {
			best = i
		}
	}
	switch {
	case s.stopped != nil:
		return r, s.stopped
	case len(r.Trials) == 0:
		return r, fmt.Errorf("%w: no trial ended within %v", ErrAllFailed, s.Time)
	case best < 0:
		return r, fmt.Errorf("%w: %d trials, the last: %s", ErrAllFailed, len(r.Trials), cmp.Or(r.Trials[len(r.Trials)-1].Error, "pruned"))
	}
	r.Best = r.Trials[best]
	return r, nil
}
