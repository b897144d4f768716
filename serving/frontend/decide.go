// SPDX-License-Identifier: Apache-2.0

package frontend

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/serving/frontend/policy"
)

// Decide answers a request.
//
// Errors: ErrInvalid (the request can never be answered as it is), ErrUnavailable
// (nothing could answer, and the policy has no fallback), ErrClosed, or that of ctx.
func (f *Frontend) Decide(ctx context.Context, q *Request) (*Answer, error) {
	f.inUse.RLock()
	defer f.inUse.RUnlock()
	if f.closed {
		return nil, ErrClosed
	}
	q.started = time.Now()
	d := q.decision
	err := q.decide(ctx)
	switch {
	case err == nil:
		q.answer.TotalTime = time.Since(q.started)
		d.count(q)
		return &q.answer, nil
	case errors.Is(err, ErrInvalid):
		d.counts.refused.Add(1)
	default:
		d.counts.failed.Add(1)
	}
	return nil, err
}

func (d *decision) count(q *Request) {
	a := &q.answer
	if a.Repeated {
		d.counts.repeated.Add(1)
		return
	}
	d.counts.answers[q.arm*len(d.policy.Decisions)+q.outcome.Place].Add(1)
	if q.side != nil {
		q.side.count(a, q.outcome.Place)
	}
	d.counts.times.Observe(a.TotalTime)
	if a.Degraded {
		d.counts.degraded.Add(1)
	}
}

// decide answers from memory or anew.
func (q *Request) decide(ctx context.Context) error {
	if err := q.facts.Check(); err != nil {
		return invalid(err)
	}
	f, p := q.decision.frontend, q.decision.policy
	key := q.key
	if key == "" && p.Idempotency >= 0 {
		key, _ = q.textOf(p.Idempotency)
	}
	q.logFacts()
	if key == "" {
		return q.answerAnew(ctx, "")
	}
	var e *entry
	for mine := false; !mine; { // each turn but the last is the end of another request
		now := f.options.Store.Now()
		if e, mine = f.keys.claim(p.Name+"\x00"+key, q.factsHash(), now, now+p.TTL.Microseconds()); mine {
			break
		}
		if err := e.wait(ctx, q.factsHash(), &q.answer); !errors.Is(err, errOwnerGone) {
			return err
		}
	}
	settled := false
	defer func() { // a panic below must not leave others waiting
		if !settled {
			f.keys.settle(e, nil, ErrUnavailable)
		}
	}()
	err := q.answerAnew(ctx, key)
	settled = true
	f.keys.settle(e, &q.answer, err)
	return err
}

// answerAnew takes the whole way, then logs it.
func (q *Request) answerAnew(ctx context.Context, key string) error {
	f, p, a := q.decision.frontend, q.decision.policy, &q.answer
	now := f.options.Store.Now()
	a.PredictionID = f.ids.new(now / 1000)
	a.PolicyVersion, a.FeaturesVersion = p.Version(), q.decision.version
	q.fillTime(now)
	q.bindInputs(now)
	if err := q.pushEvent(ctx); err != nil {
		return err
	}
	arm := q.assign()
	if err := q.readFeatures(ctx); err != nil {
		if done, ladderErr := q.ladder(ctx, arm, err); !done {
			return ladderErr
		}
	} else if !p.Before(q.facts, &q.outcome) {
		if err := q.score(ctx, arm); err != nil {
			if done, ladderErr := q.ladder(ctx, arm, err); !done {
				return ladderErr
			}
		}
	}
	q.attribute(ctx)
	a.Decision, a.Rule, a.Segment = q.outcome.Decision, q.outcome.Rule, q.outcome.Segment
	a.Reasons = append(a.Reasons[:0], q.outcome.Reasons...)
	if q.Explain && q.features {
		a.Values, a.Statuses = q.vectors.Row(0), q.vectors.StatusRow(0)
	}
	q.logAnswer(ctx, key, now)
	f.shadows.run(q)
	return nil
}

// fillTime makes now the moment of a request that leaves it out, for features, rules and
// event alike. The facts that an idempotency key stands for do not have it.
func (q *Request) fillTime(now int64) {
	p := q.decision.policy
	t := p.Service.Time
	if t < 0 || !q.values[p.Keys+t].Null(0) {
		return
	}
	if err := q.facts.SetInt(p.Keys+t, now); err == nil { // a time always fits
		q.setValue(p.Keys+t, float64(now), now)
	}
}

// bindInputs points the columns of the feature request at the facts.
func (q *Request) bindInputs(now int64) {
	p := q.decision.policy
	q.in.Rows, q.in.At, q.in.Now = 1, 0, now
	copy(q.in.Keys, q.values[:p.Keys])
	copy(q.in.Request, q.values[p.Keys:p.ServiceFacts])
	q.at = now
	if t := p.Service.Time; t >= 0 && !q.in.Request[t].Null(0) {
		q.at = q.in.Request[t].Ints[0]
	}
}

// pushEvent pushes the request as an event, so that the features count it. An event
// that is wrong is a request that is wrong; one that cannot be stored now makes the
// answer degraded.
func (q *Request) pushEvent(ctx context.Context) error {
	e := q.decision.policy.Event
	if e == nil {
		return nil
	}
	b := &q.events.Batch
	b.Rows = 1
	for i, fact := range e.Facts {
		switch {
		case fact >= 0 && !q.values[fact].Null(0):
			b.Columns[i] = q.values[fact]
		case i == e.Source.Timestamp: // the request has none: it is of the moment
			q.eventTime[0] = q.at
			b.Columns[i] = column.Column{Type: column.Timestamp, Ints: q.eventTime[:]}
		default:
			b.Columns[i] = column.Column{Type: e.Source.Fields[i].Type}
		}
	}
	if e.Source.ID < 0 {
		q.events.IDs = append(q.events.IDs[:0], q.answer.PredictionID)
	}
	err := q.decision.frontend.options.Store.Push(ctx, e.Source.Name, &q.events, &q.pushed)
	if err == nil && len(q.pushed.Errors) > 0 {
		fault := &q.pushed.Errors[0]
		if !fault.Retryable {
			return fmt.Errorf("%w: as an event of %s: %s %s", ErrInvalid, e.Source.Name, fault.Field, fault.Message)
		}
		err = errors.New(fault.Message)
	}
	if err != nil {
		q.degrade("event not counted", err)
	}
	return nil
}

// degrade notes the first thing that went wrong. The text is for messages and the log,
// which are UTF-8 whatever a backend says.
func (q *Request) degrade(what string, err error) {
	if !q.answer.Degraded {
		q.answer.Degraded, q.answer.DegradedReason = true, what+": "+strings.ToValidUTF8(err.Error(), "\ufffd")
	}
}

// readFeatures reads the vector within its budget.
func (q *Request) readFeatures(ctx context.Context) error {
	store, budget := q.decision.frontend.options.Store, q.decision.policy.Budget
	if store.Remote() {
		limit := budget.Features
		if limit == 0 || budget.Total > 0 && budget.Total < limit {
			limit = budget.Total
		}
		if limit > 0 { // states in memory never wait, and a timer is not free
			var cancel context.CancelFunc
			ctx, cancel = context.WithTimeout(ctx, limit)
			defer cancel()
		}
	}
	began := time.Now()
	err := store.Read(ctx, q.decision.service, &q.in, &q.vectors)
	q.answer.FeaturesTime = time.Since(began)
	if err == nil {
		err = q.facts.SetFeatures(q.vectors.Row(0), q.vectors.TextRow(0), q.vectors.StatusRow(0))
	}
	if err != nil {
		q.facts.ClearFeatures()
		if errors.Is(err, plan.ErrInputs) { // no fallback makes it right
			return fmt.Errorf("%w: %w", ErrInvalid, err)
		}
		return fmt.Errorf("features: %w", err)
	}
	q.features = true
	return nil
}

// assign draws the arm of the experiment.
func (q *Request) assign() int {
	p := q.decision.policy
	arm, propensity := 0, 1.0
	if p.Unit >= 0 {
		if c := &q.values[p.Unit]; c.Type == column.String {
			arm, propensity = p.Assign(c.Texts[0])
		} else {
			arm, propensity = p.AssignInt(c.Ints[0])
		}
	}
	q.arm, q.answer.Arm, q.answer.Propensity = arm, p.Arms[arm].Name, propensity
	if r := q.decision.rollout.Load(); r != nil {
		r.assign(q)
	}
	return arm
}

// score runs the arm's model and applies the policy.
func (q *Request) score(ctx context.Context, arm int) error {
	if r := q.rollout; r != nil && r.states[arm] != nil {
		return q.scoreSplit(ctx, arm, r)
	}
	return q.scoreBy(ctx, arm, q.decision.policy.Arms[arm].Model.Version, &q.decision.arms[arm])
}

// scoreBy runs a version of the arm's model, whose state is given, and applies the policy.
func (q *Request) scoreBy(ctx context.Context, arm int, version string, state *armModel) error {
	m := &q.decision.policy.Arms[arm].Model
	if !state.breaker.allows(q.started) {
		return fmt.Errorf("model %s: failed %d times in a row; it is tried again every %v", m.Name, state.breaker.failures.Load(), breakerPause)
	}
	err := q.runModel(ctx, m, version, &state.current)
	if err == nil && !q.decision.policy.Decide(q.facts, arm, q.answer.Score, &q.outcome) {
		err = fmt.Errorf("model %s: the score is %v", m.Name, q.answer.Score)
		q.answer.Score = math.NaN()
	}
	switch {
	case err == nil:
		state.breaker.succeeded()
	case ctx.Err() == nil: // a client that gave up says nothing of the model
		state.breaker.failed(time.Now())
	}
	return err
}

// runModel runs a version of a model on the vector.
func (q *Request) runModel(ctx context.Context, m *policy.Model, version string, bound *atomic.Pointer[binding]) error {
	began := time.Now()
	defer func() { q.answer.ModelTime += time.Since(began) }()
	deadline := q.modelDeadline(began)
	if !deadline.IsZero() && !began.Before(deadline) {
		return fmt.Errorf("model %s: %w: no time left of the budget", m.Name, context.DeadlineExceeded)
	}
	if err := q.call.Begin(m.Name, version); err != nil {
		return fmt.Errorf("model %s: %w", m.Name, err)
	}
	defer q.call.Release()
	b := bound.Load()
	if b == nil || !b.fits(q.call) {
		var err error
		if b, err = newBinding(q.decision.policy.Service, m, q.call); err != nil {
			return err
		}
		bound.Store(b)
		if q.decision.policy.Attributions != nil {
			q.decision.frontend.explainers.want(b)
		}
	}
	score, err := q.run(ctx, b, deadline)
	if err != nil {
		return fmt.Errorf("model %s version %d: %w", m.Name, b.version, err)
	}
	q.answer.Score, q.answer.Model, q.answer.ModelVersion, q.scored = score, m.Name, b.version, b
	return nil
}

func (q *Request) run(ctx context.Context, b *binding, deadline time.Time) (float64, error) {
	if err := b.fill(q.call, q.decision.policy.Service, &q.vectors, q.texts); err != nil {
		return math.NaN(), err
	}
	if err := q.call.Run(ctx, deadline); err != nil {
		return math.NaN(), err
	}
	return b.read(q.call)
}

// modelDeadline is when the model has to be done; zero for never.
func (q *Request) modelDeadline(now time.Time) time.Time {
	var deadline time.Time
	budget := q.decision.policy.Budget
	if budget.Total > 0 {
		deadline = q.started.Add(budget.Total)
	}
	if budget.Model > 0 {
		if d := now.Add(budget.Model); deadline.IsZero() || d.Before(deadline) {
			deadline = d
		}
	}
	return deadline
}

// ladder answers in place of features or model; done is false if no step could.
func (q *Request) ladder(ctx context.Context, arm int, cause error) (done bool, err error) {
	if errors.Is(cause, ErrInvalid) {
		return false, cause
	}
	if err := ctx.Err(); err != nil {
		return false, err // nobody waits for the answer
	}
	q.degrade("fallback", cause)
	p := q.decision.policy
	for i := range p.Ladder {
		step := &p.Ladder[i]
		q.answer.Score, q.answer.Model, q.answer.ModelVersion, q.scored = math.NaN(), "", 0, nil // a score that did not decide
		if step.Kind == policy.PreviousVersion {
			done = q.previousVersion(ctx, arm)
		} else {
			done = p.Fallback(i, q.facts, &q.outcome)
		}
		if done {
			q.answer.Fallback = step.Kind.String()
			return true, nil
		}
	}
	return false, fmt.Errorf("%w: %w", ErrUnavailable, cause)
}

// previousVersion decides with the version that served before.
func (q *Request) previousVersion(ctx context.Context, arm int) bool {
	m, state := &q.decision.policy.Arms[arm].Model, &q.decision.arms[arm]
	number := q.decision.frontend.options.Models.Previous(m.Name)
	if !q.features || number == 0 {
		return false
	}
	if err := q.runModel(ctx, m, strconv.FormatInt(number, 10), &state.previous); err != nil {
		return false
	}
	return q.decision.policy.Decide(q.facts, arm, q.answer.Score, &q.outcome)
}
