// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"math"
	"sync"
	"time"

	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/labeling/groundtruth"
	"github.com/millrace-ml/millrace/serving/frontend"
	"github.com/millrace-ml/millrace/serving/frontend/policy"
)

// Outcomes are joined while somebody asks, no more often than every outcomesEvery, and so
// that joining takes at most a tenth of the time.
const (
	outcomesEvery = 2 * time.Second
	outcomesAsked = time.Minute
	outcomesRest  = 9
)

// rolloutOutcomes is what became of the decisions of a rollout whose window is over.
type rolloutOutcomes struct {
	Label  string      `json:"label"`
	Canary outcomeSide `json:"canary"`
	Rest   outcomeSide `json:"rest"`
}

// outcomeSide counts decisions of one side that have a score and a mature label.
type outcomeSide struct {
	Known    int64 `json:"known"`
	Positive int64 `json:"positive"`
	// Brier is the mean squared difference of score and label, over Known.
	Brier       float64 `json:"brier"`
	BrierStdDev float64 `json:"brier_std_dev"`

	sum, squares float64
}

func (s *outcomeSide) add(score, label float64) {
	s.Known++
	s.Positive += int64(label)
	loss := (score - label) * (score - label)
	s.sum, s.squares = s.sum+loss, s.squares+loss*loss
}

func (s *outcomeSide) close() {
	if n := float64(s.Known); n > 0 {
		s.Brier = s.sum / n
		s.BrierStdDev = math.Sqrt(max(0, s.squares/n-s.Brier*s.Brier))
	}
}

// outcomeJoins keep the last join of each rollout.
type outcomeJoins struct {
	log    *offline.Log
	labels []*groundtruth.Definition
	now    func() time.Time // of the project
	mu     sync.Mutex
	last   map[string]*outcomeJoin
}

type outcomeJoin struct {
	asked, done time.Time
	cost        time.Duration
	version     int64
	result      *rolloutOutcomes
}

// label is the first of a decision that is true or false, nil for none.
func (j *outcomeJoins) label(decision string) *groundtruth.Definition {
	for _, d := range j.labels {
		if d.Decision == decision && d.Type == groundtruth.TypeBool {
			return d
		}
	}
	return nil
}

// of is the last join of a rollout, nil before there was one; it has it made again.
func (j *outcomeJoins) of(one *savedRollout) *rolloutOutcomes {
	if one.CanaryVersion == 0 || j.label(one.Decision) == nil {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.last == nil {
		j.last = map[string]*outcomeJoin{}
	}
	last := j.last[one.Decision]
	if last == nil || last.version != one.CanaryVersion {
		last = &outcomeJoin{version: one.CanaryVersion}
		j.last[one.Decision] = last // bounded by the decisions there are
	}
	last.asked = time.Now()
	return last.result
}

// isDue says whether somebody waits for a join, and enough time is over since the last.
func (j *outcomeJoins) isDue(one *savedRollout) bool {
	j.mu.Lock()
	defer j.mu.Unlock()
	last := j.last[one.Decision]
	return last != nil && last.version == one.CanaryVersion && time.Since(last.asked) < outcomesAsked &&
		time.Since(last.done) >= max(outcomesEvery, outcomesRest*last.cost)
}

// followOutcomes joins what is asked for until ctx ends.
func (r *rollouts) followOutcomes(ctx context.Context) {
	tick := time.NewTicker(settleEvery)
	defer tick.Stop()
	for {
		for _, one := range r.list() {
			if !r.outcomes.isDue(&one) {
				continue
			}
			began := time.Now()
			result, err := r.outcomes.join(ctx, &one, r.sidesOf(&one))
			if err != nil && ctx.Err() == nil {
				r.log.Error("outcomes of a canary could not be joined; it is tried again", "decision", one.Decision, "error", err)
			}
			r.outcomes.keep(&one, result, time.Since(began))
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

func (j *outcomeJoins) keep(one *savedRollout, result *rolloutOutcomes, cost time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if last := j.last[one.Decision]; last != nil && last.version == one.CanaryVersion {
		last.done, last.cost = time.Now(), cost
		if result != nil {
			last.result = result
		}
	}
}

// sidesOf are the arms whose decisions are compared, and whether they are the canary's.
func (r *rollouts) sidesOf(one *savedRollout) map[string]bool {
	for _, p := range r.front.Policies() {
		if p.Name == one.Decision {
			return canarySides(p, one.Model)
		}
	}
	return nil
}

// canarySides leaves arms out that name a version themselves: no unit of theirs could have the
// canary.
func canarySides(p *policy.Policy, model string) map[string]bool {
	sides := map[string]bool{}
	for _, arm := range p.Arms {
		if arm.Model.Name == model && arm.Model.Version == "" {
			sides[arm.Name] = false
			sides[frontend.CanaryArmOf(arm.Name)] = true
		}
	}
	return sides
}

// join reads decisions since the canary began whose labels are mature: those that came early
// are mostly of one kind. Degraded ones say nothing of the version that was drawn.
func (j *outcomeJoins) join(ctx context.Context, one *savedRollout, sides map[string]bool) (_ *rolloutOutcomes, err error) {
	label := j.label(one.Decision)
	rows, err := groundtruth.Join(ctx, groundtruth.JoinOptions{Log: j.log, Label: label, From: one.From, Model: one.Model, MatureOnly: true, LabelledOnly: true, Now: j.now})
	if err != nil {
		return nil, err
	}
	defer closing(&err, rows.Close)
	out := &rolloutOutcomes{Label: label.Name}
	for rows.Next() {
		r := rows.Row()
		if r.Degraded || math.IsNaN(r.Score) || r.Label.Value.Type != groundtruth.TypeBool {
			continue
		}
		switch canary, compared := sides[r.Arm]; {
		case !compared:
		case !canary:
			out.Rest.add(r.Score, r.Label.Value.Number)
		case r.ModelVersion == one.CanaryVersion:
			out.Canary.add(r.Score, r.Label.Value.Number)
		}
	}
	out.Canary.close()
	out.Rest.close()
	return out, rows.Err()
}

// outcomes compares losses; the interval of their difference is Welch's, by the normal
// distribution.
func (v *canaryVerdict) outcomes(w *canaryWith) {
	o := v.Outcomes
	if o == nil || o.Canary.Known == 0 || o.Rest.Known == 0 {
		return
	}
	c, r := &o.Canary, &o.Rest
	v.BrierRise = c.Brier - r.Brier
	reach := 1.96 * math.Sqrt(c.BrierStdDev*c.BrierStdDev/float64(c.Known)+r.BrierStdDev*r.BrierStdDev/float64(r.Known))
	v.Lines = append(v.Lines, fmt.Sprintf("Brier score by %s: %.4g over %d, of the rest %.4g over %d: %+.4g (%+.4g to %+.4g)",
		o.Label, c.Brier, c.Known, r.Brier, r.Known, v.BrierRise, v.BrierRise-reach, v.BrierRise+reach))
	if w.MaxBrierRise != nil && v.BrierRise > *w.MaxBrierRise {
		v.Reasons = append(v.Reasons, fmt.Sprintf("its Brier score by %s is %.4g, of the rest %.4g: more than max_brier_rise %.4g above", o.Label, c.Brier, r.Brier, *w.MaxBrierRise))
	}
}
