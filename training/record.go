// SPDX-License-Identifier: Apache-2.0

package training

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"time"

	"github.com/millrace-ml/millrace/training/learn"
	"github.com/millrace-ml/millrace/training/runs"
	"github.com/millrace-ml/millrace/training/tuning"
)

// A build is a run in the log of experiments; its candidates and trials are runs below it.

// Tags of runs.
const (
	tagKind      = "kind"
	tagCandidate = "candidate"
	tagTrial     = "trial"
	kindBuild    = "build"
	kindTrial    = "trial"
)

func (b *builder) startRun(ctx context.Context) (*runs.Recorder, error) {
	if b.Runs == nil {
		return nil, nil
	}
	run := b.run()
	run.Name, run.Tags = b.Spec.Name, map[string]string{tagKind: kindBuild}
	recorder, err := b.Runs.Start(ctx, run)
	if err != nil {
		return nil, err
	}
	b.runID = recorder.ID()
	return recorder, nil
}

// run is what all runs of a build share.
func (b *builder) run() runs.Run {
	versions := versionsOf(b.Version)
	return runs.Run{
		Experiment: b.Spec.Name, Seed: b.Spec.Seed, DataHash: "sha256:" + b.data.SHA256,
		CodeHash: versions["vcs.revision"], GitCommit: versions["vcs.revision"], Versions: versions, Parent: b.runID,
	}
}

func (b *builder) endRun(ctx context.Context, recorder *runs.Recorder, r *Result, problem error) error {
	if recorder == nil {
		return nil
	}
	ctx = context.WithoutCancel(ctx) // a build that was given up is recorded as such
	if problem != nil {
		return recorder.Fail(ctx, problem, runs.Result{})
	}
	r.Run = recorder.ID()
	end := runs.Result{
		Parameters: maps.Clone(r.Parameters), Tags: map[string]string{tagCandidate: r.Chosen},
		Artifact: runs.Artifact{Path: r.Path, Digest: "sha256:" + r.SHA256}, Metrics: map[string]runs.Metric{},
	}
	for _, c := range r.Candidates {
		if c.Name == r.Chosen {
			end.Metrics = metricsOf(c.Metrics)
		}
	}
	return recorder.Finish(ctx, end)
}

func metricsOf(scores Scores) map[string]runs.Metric {
	metrics := make(map[string]runs.Metric, len(scores))
	for name, v := range scores {
		metrics[name] = runs.Metric{Value: v}
	}
	return metrics
}

// recordCandidate logs a candidate that was judged.
func (b *builder) recordCandidate(ctx context.Context, c *CandidateScore) error {
	if b.Runs == nil {
		return nil
	}
	run := b.run()
	run.Name, run.Method, run.Parameters = c.Name, c.Method, c.Parameters
	run.Tags = map[string]string{tagKind: "candidate"}
	recorder, err := b.Runs.Start(ctx, run)
	if err != nil {
		return err
	}
	for _, curve := range c.curves {
		for i, step := range curve.steps {
			if err := recorder.LogMetrics(ctx, step, map[string]float64{curve.name: curve.values[i]}); err != nil {
				return recorder.Fail(ctx, err, runs.Result{})
			}
		}
	}
	if c.Error != "" {
		return recorder.Fail(ctx, errors.New(c.Error), runs.Result{})
	}
	return recorder.Finish(ctx, runs.Result{Metrics: metricsOf(c.Metrics)})
}

// trialKey tells the trials that a search may take up again: those of the same data,
// folds and candidate.
func (b *builder) trialKey(c Candidate) string {
	spec := *b.Spec
	spec.Candidates = nil
	data, err := json.Marshal(struct {
		Spec      *Spec
		Candidate Candidate
		Data      string
	}{&spec, withoutBudget(c), b.data.SHA256})
	if err != nil {
		return ""
	}
	return digestOf(data)
}

// withoutBudget lets a search go on with more trials than before.
func withoutBudget(c Candidate) Candidate {
	search := *c.Search
	search.Trials, search.Time = 0, 0
	c.Search = &search
	return c
}

// finishedTrials are those of an earlier search that was broken off, or had fewer trials.
func (b *builder) finishedTrials(ctx context.Context, c Candidate, method *learn.Method) ([]tuning.Trial, error) {
	if b.Runs == nil {
		return nil, nil
	}
	key := b.trialKey(c)
	var trials []tuning.Trial
	seen := make(map[int]bool)
	query := runs.Query{Experiment: b.Spec.Name, Tag: tagTrial + "=" + key, Limit: runs.LimitMax}
	for {
		page, err := b.Runs.List(ctx, query)
		if err != nil {
			return nil, err
		}
		for _, run := range page {
			t, ok, err := b.trialOf(ctx, run.ID, method)
			if err != nil {
				return nil, err
			}
			if ok && !seen[t.Number] && len(trials) < c.Search.Trials {
				seen[t.Number] = true
				trials = append(trials, t)
			}
		}
		if len(page) < query.Limit || len(trials) == c.Search.Trials {
			return trials, nil
		}
		query.After = page[len(page)-1].ID
	}
}

// recordTrial logs a trial that has ended.
func (b *builder) recordTrial(ctx context.Context, c Candidate, t tuning.Trial) error {
	if b.Runs == nil {
		return nil
	}
	text, err := json.Marshal(trialRecord{t.Number, t.Parameters, t.State, finiteOrNil(t.Value), t.Reports})
	if err != nil {
		return err
	}
	run := b.run()
	run.Name, run.Method, run.Parameters = fmt.Sprintf("%s trial %d", c.Name, t.Number), c.Method, t.Parameters
	run.Started, run.Manifest = time.Now().Add(-t.Duration), text
	run.Tags = map[string]string{tagKind: kindTrial, tagTrial: b.trialKey(c)}
	recorder, err := b.Runs.Start(ctx, run)
	if err != nil {
		return err
	}
	if t.State == tuning.Failed {
		return recorder.Fail(ctx, errors.New(t.Error), runs.Result{})
	}
	return recorder.Finish(ctx, runs.Result{Metrics: map[string]runs.Metric{b.Spec.Metric: {Value: t.Value}}})
}

// trialRecord is a trial in the log, as the manifest of its run.
type trialRecord struct {
	Number     int             `json:"number"`
	Parameters learn.Values    `json:"parameters"`
	State      tuning.State    `json:"state"`
	Value      *float64        `json:"value"`
	Reports    []tuning.Report `json:"reports,omitempty"`
}

func finiteOrNil(v float64) *float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil
	}
	return &v
}

// trialOf reads a trial back; false if the run is none that ended.
func (b *builder) trialOf(ctx context.Context, id string, method *learn.Method) (tuning.Trial, bool, error) {
	run, err := b.Runs.Get(ctx, id)
	if err != nil {
		return tuning.Trial{}, false, err
	}
	var r trialRecord
	if run.Status == runs.Running || run.Status == runs.Killed || json.Unmarshal(run.Manifest, &r) != nil {
		return tuning.Trial{}, false, nil
	}
	complete, err := method.Complete(r.Parameters) // JSON has but one kind of number
	if err != nil {
		return tuning.Trial{}, false, nil
	}
	t := tuning.Trial{Number: r.Number, Parameters: learn.Values{}, State: r.State, Value: math.NaN(), Reports: r.Reports, Error: run.Error}
	for name := range r.Parameters {
		t.Parameters[name] = complete[name]
	}
	if r.Value != nil {
		t.Value = *r.Value
	}
	return t, true, nil
}
