// SPDX-License-Identifier: Apache-2.0

// Package tuning searches for the parameters of a method that do best, within a number of
// trials and a time.
//
// Trials, their states and the rule of the median are those of goptuna. Samplers and
// successive halving plug into it and are written here, since goptuna's own draw from the
// process's random numbers, never propose the greatest whole number of a range, and judge
// each step of a trial as if it were the first rung:
//
//   - random: uniform, or uniform in the logarithm.
//   - tpe: the tree-structured Parzen estimator (Bergstra, Bardenet, Bengio, Kégl:
//     Algorithms for Hyper-Parameter Optimization, NIPS 2011), parameter by parameter.
//   - asha: asynchronous successive halving (Li et al.: A System for Massively Parallel
//     Hyperparameter Tuning, MLSys 2020).
//
// Invariants:
//
//	S1  what a trial proposes depends on the seed, its number and the trials that had ended
//	    before it began, and on nothing else. With Parallel 1 a search that is broken off
//	    after any trial and resumed therefore does what it would have done.
//	S2  a trial that fails counts as one of the budget and does not end the search, unless
//	    the first FailuresMax trials all fail.
//
// Concurrency: the objective is called from Parallel goroutines; OnTrial from one at a time.
package tuning

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/c-bata/goptuna"

	"github.com/millrace-ml/millrace/training/learn"
)

var (
	// ErrPruned means that a trial does worse than others and is to be given up: objectives
	// return it as they got it.
	ErrPruned = errors.New("the trial is pruned")
	// ErrOptions means that a search was asked for what it cannot do.
	ErrOptions = errors.New("invalid search")
	// ErrAllFailed means that no trial gave a value.
	ErrAllFailed = errors.New("every trial failed")
)

// Direction says which values are better.
type Direction uint8

// The directions.
const (
	Minimize Direction = iota
	Maximize
)

// State is how a trial ended.
type State string

// The states.
const (
	Complete State = "complete"
	Pruned   State = "pruned"
	Failed   State = "failed"
)

// Samplers and pruners by name. Empty names are TPE and None.
const (
	TPE    = "tpe"
	Random = "random"
	None   = "none"
	Median = "median"
	ASHA   = "asha"
)

// Bounds of a search.
const (
	TrialsMax   = 100_000
	ParallelMax = 64
	// FailuresMax is after how many failures, with nothing else, a search ends.
	FailuresMax = 10
	// ReportsMax bounds the steps that a trial reports; later ones are not judged.
	ReportsMax = 10_000
)

// Report is an intermediate value of a trial.
type Report struct {
	Step int
	// Value may be NaN.
	Value float64
}

// reportJSON has null for NaN, which JSON has not.
type reportJSON struct {
	Step  int      `json:"step"`
	Value *float64 `json:"value"`
}

// MarshalJSON writes numbers that JSON has not as null.
func (r Report) MarshalJSON() ([]byte, error) {
	j := reportJSON{Step: r.Step}
	if !math.IsNaN(r.Value) && !math.IsInf(r.Value, 0) {
		j.Value = &r.Value
	}
	return json.Marshal(j)
}

// UnmarshalJSON reads what MarshalJSON wrote; null is NaN.
func (r *Report) UnmarshalJSON(data []byte) error {
	var j reportJSON
	if err := json.Unmarshal(data, &j); err != nil {
		return err
	}
	*r = Report{j.Step, math.NaN()}
	if j.Value != nil {
		r.Value = *j.Value
	}
	return nil
}

// Trial is an attempt with some parameters.
type Trial struct {
	// Number counts from 0 and makes, with the seed of the search, all chance of the trial.
	Number     int
	Parameters learn.Values
	State      State
	// Value is the objective's; that of the last report of a pruned trial, NaN for none.
	Value   float64
	Reports []Report
	// Error is why it failed.
	Error    string
	Duration time.Duration

	search *search
	id     int // goptuna's
}

// Options are how to search. The zero value of a field is sensible, except for Trials.
type Options struct {
	// Trials bounds how many are made, those of Resume included: 1 to TrialsMax.
	Trials int
	// Time bounds the search, 0 is no bound. Trials that run then are ended by their
	// context and are not recorded.
	Time            time.Duration
	Sampler, Pruner string
	// Parallel trials run at a time; 0 is 1, which alone is reproducible.
	Parallel  int
	Seed      uint64
	Direction Direction
	// Resume are trials of before. What they lack of the numbers is tried first.
	Resume []Trial
	// OnTrial is told of each trial that has ended; may be nil. Its error ends the search.
	OnTrial func(Trial) error
}

// Result is what a search found.
type Result struct {
	Best Trial
	// Trials are all, by number, those of Resume included.
	Trials []Trial
}

// EnsureDefaults replaces zero values by what they stand for.
func (o *Options) EnsureDefaults() {
	if o.Sampler == "" {
		o.Sampler = TPE
	}
	if o.Pruner == "" {
		o.Pruner = None
	}
	if o.Parallel == 0 {
		o.Parallel = 1
	}
}

// Validate reports everything that is wrong, after EnsureDefaults.
func (o *Options) Validate() error {
	var wrong []error
	bad := func(format string, values ...any) {
		wrong = append(wrong, fmt.Errorf("%w: "+format, append([]any{ErrOptions}, values...)...))
	}
	if o.Trials < 1 || o.Trials > TrialsMax {
		bad("%d trials: 1 to %d", o.Trials, TrialsMax)
	}
	if o.Parallel < 1 || o.Parallel > ParallelMax {
		bad("%d trials in parallel: 1 to %d", o.Parallel, ParallelMax)
	}
	if o.Time < 0 {
		bad("a time of %v", o.Time)
	}
	if o.Sampler != TPE && o.Sampler != Random {
		bad("no sampler %q: there are %s and %s", o.Sampler, TPE, Random)
	}
	if o.Pruner != None && o.Pruner != Median && o.Pruner != ASHA {
		bad("no pruner %q: there are %s, %s and %s", o.Pruner, None, Median, ASHA)
	}
	seen := map[int]bool{}
	for _, t := range o.Resume {
		if t.Number < 0 || t.Number >= TrialsMax || seen[t.Number] {
			bad("trial %d to resume from: it is there twice, or out of 0 to %d", t.Number, TrialsMax-1)
		}
		seen[t.Number] = true
	}
	return errors.Join(wrong...)
}

// Objective measures parameters. Errors other than ErrPruned fail the trial.
type Objective func(ctx context.Context, t *Trial) (float64, error)

// Report says how the trial does so far. Steps rise. It returns ErrPruned if the trial is
// to end, which learn.Progress may return. NaN is worse than any value.
func (t *Trial) Report(step int, value float64) error {
	if step < 0 || len(t.Reports) > 0 && step <= t.Reports[len(t.Reports)-1].Step {
		return fmt.Errorf("%w: trial %d: step %d after %v", ErrOptions, t.Number, step, t.Reports)
	}
	if len(t.Reports) == ReportsMax {
		return nil
	}
	t.Reports = append(t.Reports, Report{step, value})
	if t.search == nil {
		return nil
	}
	return t.search.judge(t.id, step, value)
}

// worst stands for NaN where values are compared.
func (d Direction) worst() float64 {
	if d == Maximize {
		return -math.MaxFloat64
	}
	return math.MaxFloat64
}

func (d Direction) comparable(value float64) float64 {
	if math.IsNaN(value) || math.IsInf(value, 0) {
		if math.IsInf(value, 1) && d == Maximize || math.IsInf(value, -1) && d == Minimize {
			return -d.worst()
		}
		return d.worst()
	}
	return value
}

func (d Direction) better(a, b float64) bool {
	if d == Maximize {
		return a > b
	}
	return a < b
}

func (d Direction) goptuna() goptuna.StudyDirection {
	if d == Maximize {
		return goptuna.StudyDirectionMaximize
	}
	return goptuna.StudyDirectionMinimize
}
