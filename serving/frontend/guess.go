// SPDX-License-Identifier: Apache-2.0

package frontend

import (
	"context"
	"fmt"
	"time"

	"github.com/millrace-ml/millrace/featurestore/column"
)

// Guess is what the model says of a request, and nothing more: nothing is decided, pushed,
// logged or counted, and no idempotency key is used. Numbers, one for each feature of the
// decision's service and NaN for a null, and texts, one for each text feature, are the
// vector; without numbers it is read from the store by the request's facts, as things are
// now. The answer has Score, Model, ModelVersion and Arm.
//
// Errors: ErrInvalid (facts or vector do not fit), ErrClosed, ErrUnavailable, or that of ctx.
func (f *Frontend) Guess(ctx context.Context, q *Request, numbers []float64, texts []string) (*Answer, error) {
	f.inUse.RLock()
	defer f.inUse.RUnlock()
	if f.closed {
		return nil, ErrClosed
	}
	q.started = time.Now()
	p, arm := q.decision.policy, 0
	if numbers == nil {
		if err := q.facts.Check(); err != nil {
			return nil, invalid(err)
		}
		now := f.options.Store.Now()
		q.fillTime(now)
		q.bindInputs(now)
		arm = q.armOf()
		if err := q.readFeatures(ctx); err != nil {
			return nil, err
		}
	} else if err := q.setVector(numbers, texts); err != nil {
		return nil, err
	}
	m := &p.Arms[arm].Model
	if err := q.runModel(ctx, m, m.Version, &q.decision.arms[arm].current); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return &q.answer, nil
}

// armOf is the arm of the experiment that a request is in; a canary is left aside.
func (q *Request) armOf() int {
	p := q.decision.policy
	if p.Unit < 0 {
		return 0
	}
	var arm int
	if c := &q.values[p.Unit]; c.Type == column.String {
		arm, _ = p.Assign(c.Texts[0])
	} else {
		arm, _ = p.AssignInt(c.Ints[0])
	}
	q.answer.Arm = p.Arms[arm].Name
	return arm
}

// setVector takes a vector as if it had been read.
func (q *Request) setVector(numbers []float64, texts []string) error {
	s := q.decision.policy.Service
	if len(numbers) != len(s.Features) || len(texts) != textsBefore(s, len(s.Features)) {
		return fmt.Errorf("%w: vector: %d numbers and %d texts, and service %s has %d features, %d of them texts", ErrInvalid,
			len(numbers), len(texts), s.Name, len(s.Features), textsBefore(s, len(s.Features)))
	}
	v := &q.vectors
	v.Rows, v.Width, v.TextWidth = 1, len(numbers), len(texts)
	v.Numbers, v.Texts = append(v.Numbers[:0], numbers...), append(v.Texts[:0], texts...)
	return nil
}
