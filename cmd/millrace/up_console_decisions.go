// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/console"
	"github.com/millrace-ml/millrace/serving/frontend"
)

// choicesMax bounds the versions that a form offers.
const choicesMax = 100

// showDecisions gives the console the arms, canaries and shadows of decisions.
func (u *up) showDecisions(o *console.Options, parts *upParts) {
	if parts.rollouts != nil {
		o.Decisions = &shownDecisions{rollouts: parts.rollouts, models: u.project.Models}
	}
}

// shownDecisions are decisions as the console shows and changes them.
type shownDecisions struct {
	rollouts *rollouts
	models   string // folder of the repository
}

// Decisions implements console.Decisions.
func (s *shownDecisions) Decisions() []console.DecisionState {
	stats, now := s.rollouts.front.Stats().Decisions, time.Now()
	running := map[string]frontend.RolloutState{}
	for _, r := range s.rollouts.front.Rollouts() {
		running[r.Decision] = r
	}
	var all []console.DecisionState
	for i, p := range s.rollouts.front.Policies() { // both are by name
		d := console.DecisionState{Policy: p, Stats: stats[i], Model: p.Arms[0].Model.Name}
		d.PerSecond, d.Window = s.rollouts.recent.rates(now, &stats[i])
		if one := s.rollouts.of(p.Name); one != nil {
			d.Model, d.Rollout, d.By, d.Run, d.Fault = one.Model, &one.Rollout, one.By, one.Run, one.fault
		}
		d.Current, d.Previous = s.rollouts.current(d.Model), s.rollouts.models.Previous(d.Model)
		d.Versions = s.choices(d.Model, d.Current)
		if r, ok := running[p.Name]; ok && r.CanaryVersion > 0 {
			d.Comparison = compareSides(&r)
			if one := s.rollouts.of(p.Name); one != nil {
				d.Comparison = append(d.Comparison, compareOutcomes(s.rollouts.outcomes.of(one))...)
			}
		}
		all = append(all, d)
	}
	return all
}

// choices are the versions on disk that do not serve, the highest first.
func (s *shownDecisions) choices(model string, current int64) []int64 {
	if checkModelName(model) != nil {
		return nil
	}
	all, err := modelVersions(filepath.Join(s.models, model))
	if err != nil {
		return nil // what cannot be read cannot be loaded either
	}
	all = slices.DeleteFunc(all, func(number int64) bool { return number == current })
	slices.Sort(all)
	slices.Reverse(all)
	return all[:min(len(all), choicesMax)]
}

// SetRollout implements console.Decisions; the console writes the audit trail.
func (s *shownDecisions) SetRollout(ctx context.Context, r frontend.Rollout, who string) error {
	return s.rollouts.set(ctx, savedRollout{Rollout: r, By: who})
}

// EndRollout implements console.Decisions.
func (s *shownDecisions) EndRollout(ctx context.Context, decision string) error {
	_, err := s.rollouts.end(ctx, decision)
	return err
}

// PromoteCanary implements console.Decisions.
func (s *shownDecisions) PromoteCanary(ctx context.Context, decision string) (from, to int64, err error) {
	return s.rollouts.promote(ctx, decision)
}

var _ console.Decisions = (*shownDecisions)(nil)

// compareOutcomes is nil where nothing is known yet.
func compareOutcomes(o *rolloutOutcomes) []console.ComparisonRow {
	if o == nil || o.Canary.Known == 0 || o.Rest.Known == 0 {
		return nil
	}
	c, r := &o.Canary, &o.Rest
	d := c.Brier - r.Brier
	reach := 1.96 * math.Sqrt(c.BrierStdDev*c.BrierStdDev/float64(c.Known)+r.BrierStdDev*r.BrierStdDev/float64(r.Known))
	of := func(s *outcomeSide) string { return fmt.Sprintf("%d of %d", s.Positive, s.Known) }
	return []console.ComparisonRow{
		{What: o.Label + ", of decisions whose window is over", Canary: of(c), Rest: of(r)},
		{What: "Brier score by " + o.Label, Canary: fmt.Sprintf("%.4g", c.Brier), Rest: fmt.Sprintf("%.4g", r.Brier), Difference: fmt.Sprintf("%+.3g (%+.3g to %+.3g)", d, d-reach, d+reach)},
	}
}

// compareSides writes a comparison for people.
func compareSides(s *frontend.RolloutState) []console.ComparisonRow {
	v := canaryVerdict{Canary: newRolloutSide(s.Names, &s.Canary), Rest: newRolloutSide(s.Names, &s.Rest)}
	v.answers()
	c, r := &v.Canary, &v.Rest
	count := func(n int64) string { return fmt.Sprint(n) }
	micros := func(x float64, side *rolloutSide) string {
		if side.Decisions == 0 {
			return "–"
		}
		return fmt.Sprintf("%.0f µs", x)
	}
	score := func(side *rolloutSide) string {
		if side.Scored == 0 {
			return "–"
		}
		return fmt.Sprintf("%.4g", side.ScoreMean)
	}
	shift := ""
	if c.Scored > 0 && r.Scored > 0 {
		d := c.ScoreMean - r.ScoreMean
		reach := 1.96 * math.Sqrt(c.ScoreStdDev*c.ScoreStdDev/float64(c.Scored)+r.ScoreStdDev*r.ScoreStdDev/float64(r.Scored))
		shift = fmt.Sprintf("%+.3g (%+.3g to %+.3g)", d, d-reach, d+reach)
	}
	rows := []console.ComparisonRow{
		{What: "decisions, the model being asked", Canary: count(c.Decisions), Rest: count(r.Decisions)},
		{What: "degraded", Canary: count(c.Degraded), Rest: count(r.Degraded), Difference: fmt.Sprintf("%+.2f points", 100*(c.DegradedRate-r.DegradedRate))},
		{What: "the version did not answer", Canary: count(c.Failed), Rest: count(r.Failed)},
		{What: "mean score", Canary: score(c), Rest: score(r), Difference: shift},
		{What: "time, median", Canary: micros(c.P50Micros, c), Rest: micros(r.P50Micros, r)},
		{What: "time, 95 %", Canary: micros(c.P95Micros, c), Rest: micros(r.P95Micros, r)},
		{What: "time, 99 %", Canary: micros(c.P99Micros, c), Rest: micros(r.P99Micros, r)},
	}
	for _, a := range v.Answers {
		rows = append(rows, console.ComparisonRow{What: a.Answer, Canary: fmt.Sprintf("%.2f %%", 100*a.Canary), Rest: fmt.Sprintf("%.2f %%", 100*a.Rest),
			Difference: fmt.Sprintf("%+.2f points (%+.2f to %+.2f)", 100*a.Difference, 100*a.Low, 100*a.High)})
	}
	return rows
}
