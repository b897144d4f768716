// SPDX-License-Identifier: Apache-2.0

package frontend

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/millrace-ml/millrace/featurestore/latency"
	"github.com/millrace-ml/millrace/serving/frontend/policy"
)

// CanaryArm is the arm that decisions of a canary are logged with; in an experiment it is
// ARM/canary, see CanaryArmOf.
const CanaryArm = "canary"

// CanaryArmOf is what a canary's decisions are logged with in an arm; of no experiment the arm
// is empty.
func CanaryArmOf(arm string) string {
	if arm == "" {
		return CanaryArm
	}
	return arm + "/" + CanaryArm
}

// Rollout splits the model of a decision while it serves, beside its policy. The versions
// it names have to be loaded; who loads them unloads them after EndRollout.
type Rollout struct {
	Decision string `json:"decision"`
	// Model is the one that is split; empty is that of the first arm. Arms that name a version
	// of it themselves are left alone.
	Model string `json:"model"`
	// CanaryVersion answers a Share of the units, 0 for none. A unit that has it keeps it while
	// the share grows. Without a unit in the policy each request is one of its own.
	CanaryVersion int64   `json:"canary_version,omitempty"`
	Share         float64 `json:"share,omitempty"`
	// ShadowVersion runs beside on a ShadowShare of the requests and is only logged, 0 for none.
	ShadowVersion int64   `json:"shadow_version,omitempty"`
	ShadowShare   float64 `json:"shadow_share,omitempty"`
}

// RolloutState is a rollout and what came of it so far.
type RolloutState struct {
	Rollout
	// Since is when its canary began, on the clock of time.Now.
	Since time.Time
	// Names are the decision's answers. Canary and Rest count the decisions for which the model
	// was asked, of the units that have the canary and of those that could have it.
	Names        []string
	Canary, Rest RolloutSide
}

// RolloutSide counts decisions of one side.
type RolloutSide struct {
	Decisions, Degraded int64
	// Failed ones met a version that did not answer: of the canary, the current one did.
	Failed  int64
	Answers []int64
	// Scored decisions have a score; ScoreSum and ScoreSquares are sums over them.
	Scored                 int64
	ScoreSum, ScoreSquares float64
	Times                  latency.Snapshot
}

// rollout is a Rollout made ready to run. It is immutable but for its counts and states.
type rollout struct {
	Rollout
	version string
	split   policy.Split
	// arms has the names of the canary's arms, states what is known of its version in each; nil
	// for arms that are left alone.
	arms   []string
	states []*armModel
	shadow *shadow
	counts *rolloutCounts
}

type rolloutCounts struct {
	since        time.Time
	canary, rest rolloutSide
}

type rolloutSide struct {
	decisions, degraded, failed, scored atomic.Int64
	answers                             []atomic.Int64
	sum, squares                        atomicSum
	times                               latency.Histogram
}

// atomicSum adds up numbers.
type atomicSum struct{ bits atomic.Uint64 }

func (s *atomicSum) add(x float64) {
	for {
		was := s.bits.Load()
		if s.bits.CompareAndSwap(was, math.Float64bits(math.Float64frombits(was)+x)) {
			return
		}
	}
}

func (s *atomicSum) load() float64 { return math.Float64frombits(s.bits.Load()) }

// SetRollout splits a decision's model, in place of an earlier split of it. The canary's
// counts go on if its version stays. Nothing changes where it returns an error: ErrUnknown,
// ErrInvalid, ErrClosed, or that a version cannot be run.
func (f *Frontend) SetRollout(r Rollout) error {
	f.rolloutMu.Lock()
	defer f.rolloutMu.Unlock()
	f.inUse.RLock()
	defer f.inUse.RUnlock()
	d := f.decisions[r.Decision]
	switch {
	case f.closed:
		return ErrClosed
	case d == nil:
		return fmt.Errorf("decision %.128q: %w; there are %s", r.Decision, ErrUnknown, f.names)
	}
	if r.Model == "" {
		r.Model = d.policy.Arms[0].Model.Name
	}
	if err := r.validate(d.policy); err != nil {
		return fmt.Errorf("decision %s: %w: %w", r.Decision, ErrInvalid, err)
	}
	next, err := d.prepare(r)
	if err != nil {
		return fmt.Errorf("decision %s: %w", r.Decision, err)
	}
	d.rollout.Store(next)
	return nil
}

// EndRollout has the policy alone decide again. It returns what there was, false for
// nothing. Requests under way may still meet the versions.
func (f *Frontend) EndRollout(decision string) (RolloutState, bool) {
	f.rolloutMu.Lock()
	defer f.rolloutMu.Unlock()
	d := f.decisions[decision]
	if d == nil {
		return RolloutState{}, false
	}
	r := d.rollout.Swap(nil)
	if r == nil {
		return RolloutState{}, false
	}
	return r.state(d.policy), true
}

// Rollouts are those that run, by name of the decision.
func (f *Frontend) Rollouts() []RolloutState {
	var all []RolloutState
	for _, p := range f.Policies() {
		if r := f.decisions[p.Name].rollout.Load(); r != nil {
			all = append(all, r.state(p))
		}
	}
	return all
}

// validate reports all that is wrong, Model being set.
func (r *Rollout) validate(p *policy.Policy) error {
	var faults []error
	refuse := func(bad bool, format string, args ...any) {
		if bad {
			faults = append(faults, fmt.Errorf(format, args...))
		}
	}
	refuse(r.CanaryVersion < 0 || r.ShadowVersion < 0, "versions are numbers from 1")
	refuse(r.CanaryVersion == 0 && r.ShadowVersion == 0, "it names neither a canary_version nor a shadow_version")
	for _, one := range []struct {
		name    string
		version int64
		share   float64
	}{{"share", r.CanaryVersion, r.Share}, {"shadow_share", r.ShadowVersion, r.ShadowShare}} {
		refuse(one.version == 0 && one.share != 0, "%s is for a version, and none is named", one.name)
		refuse(one.version > 0 && !(one.share >= 0.0001 && one.share <= 1), "%s is %v, it lies in 0.0001 to 1", one.name, one.share)
	}
	follows := func(a policy.Arm) bool { return a.Model.Name == r.Model && a.Model.Version == "" }
	refuse(!slices.ContainsFunc(p.Arms, follows), "no arm follows the current version of model %.128q: change the policy, or split another model", r.Model)
	return errors.Join(faults...)
}

// prepare makes a rollout ready, and sees that its versions can be run. The caller holds
// Frontend.rolloutMu and inUse.
func (d *decision) prepare(r Rollout) (*rollout, error) {
	f, p := d.frontend, d.policy
	next := &rollout{Rollout: r, arms: make([]string, len(p.Arms)), states: make([]*armModel, len(p.Arms)), counts: d.newCounts()}
	if was := d.rollout.Load(); was != nil && was.CanaryVersion == r.CanaryVersion && was.Model == r.Model {
		next.counts, next.states = was.counts, slices.Clone(was.states)
	}
	if r.CanaryVersion > 0 {
		next.version = strconv.FormatInt(r.CanaryVersion, 10)
		next.split = policy.NewSplit(strings.Join([]string{"canary", r.Decision, r.Model, next.version}, "\x00"), r.Share)
	}
	for i := range p.Arms {
		m := p.Arms[i].Model
		if m.Name != r.Model || m.Version != "" || r.CanaryVersion == 0 {
			next.states[i] = nil
			continue
		}
		next.arms[i] = CanaryArmOf(p.Arms[i].Name)
		b, err := d.try(m, next.version)
		if err != nil {
			return nil, err
		}
		if next.states[i] == nil {
			next.states[i] = new(armModel)
		}
		if next.states[i].current.CompareAndSwap(nil, b) && p.Attributions != nil {
			f.explainers.want(b)
		}
	}
	if r.ShadowVersion == 0 {
		return next, nil
	}
	m := p.Arms[0].Model
	for i := range p.Arms {
		if p.Arms[i].Model.Name == r.Model {
			m = p.Arms[i].Model
			break
		}
	}
	m.Version = strconv.FormatInt(r.ShadowVersion, 10)
	if _, err := d.try(m, m.Version); err != nil {
		return nil, err
	}
	next.shadow = &shadow{Shadow: policy.NewShadow(m, r.ShadowShare)}
	return next, f.shadows.start()
}

// try binds a version without running it.
func (d *decision) try(m policy.Model, version string) (*binding, error) {
	call := d.frontend.options.Models.NewCall()
	if err := call.Begin(m.Name, version); err != nil {
		return nil, fmt.Errorf("model %s version %s: %w", m.Name, version, err)
	}
	defer call.Release()
	return newBinding(d.policy.Service, &m, call)
}

func (d *decision) newCounts() *rolloutCounts {
	c := &rolloutCounts{since: time.Now()}
	c.canary.answers, c.rest.answers = make([]atomic.Int64, len(d.policy.Decisions)), make([]atomic.Int64, len(d.policy.Decisions))
	return c
}

// assign puts a request into the canary, or notes that it might have been. The arm and its
// propensity are those of the policy so far.
func (r *rollout) assign(q *Request) {
	q.rollout = r
	if r.states[q.arm] == nil {
		return
	}
	switch unit := q.decision.policy.Unit; {
	case unit < 0:
		q.canary = r.split.Takes(q.answer.PredictionID)
	case len(q.values[unit].Texts) > 0:
		q.canary = r.split.Takes(q.values[unit].Texts[0])
	default:
		q.canary = r.split.TakesInt(q.values[unit].Ints[0])
	}
	if q.canary {
		q.answer.Arm = r.arms[q.arm]
		q.answer.Propensity *= r.split.Share()
	} else {
		q.answer.Propensity *= 1 - r.split.Share()
	}
}

// scoreSplit asks the version that the request drew. Where the canary's cannot answer, the
// current one does, and the answer is degraded.
func (q *Request) scoreSplit(ctx context.Context, arm int, r *rollout) error {
	q.side = &r.counts.rest
	if q.canary {
		q.side = &r.counts.canary
		err := q.scoreBy(ctx, arm, r.version, r.states[arm])
		if err == nil || ctx.Err() != nil {
			return err
		}
		if q.decision.rollout.Load() == r { // else it ended meanwhile, and may be unloaded
			q.side.failed.Add(1)
			q.degrade(CanaryArm, err)
		}
	}
	err := q.scoreBy(ctx, arm, "", &q.decision.arms[arm])
	if err != nil && ctx.Err() == nil && !q.canary {
		q.side.failed.Add(1)
	}
	return err
}

// count notes an answer.
func (s *rolloutSide) count(a *Answer, place int) {
	s.decisions.Add(1)
	s.answers[place].Add(1)
	s.times.Observe(a.TotalTime)
	if a.Degraded {
		s.degraded.Add(1)
	}
	if !math.IsNaN(a.Score) {
		s.scored.Add(1)
		s.sum.add(a.Score)
		s.squares.add(a.Score * a.Score)
	}
}

func (r *rollout) state(p *policy.Policy) RolloutState {
	return RolloutState{Rollout: r.Rollout, Since: r.counts.since, Names: p.Decisions, Canary: r.counts.canary.state(), Rest: r.counts.rest.state()}
}

func (s *rolloutSide) state() RolloutSide {
	one := RolloutSide{
		Decisions: s.decisions.Load(), Degraded: s.degraded.Load(), Failed: s.failed.Load(),
		Scored: s.scored.Load(), ScoreSum: s.sum.load(), ScoreSquares: s.squares.load(), Times: s.times.Snapshot(),
	}
	for i := range s.answers {
		one.Answers = append(one.Answers, s.answers[i].Load())
	}
	return one
}
