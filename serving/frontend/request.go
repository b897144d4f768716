// SPDX-License-Identifier: Apache-2.0

package frontend

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/millrace-ml/millrace/featurestore"
	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
	"github.com/millrace-ml/millrace/serving/frontend/policy"
)

// Errors that callers branch on.
var (
	// ErrUnknown says that no decision of that name is defined.
	ErrUnknown = errors.New("no such decision")
	// ErrInvalid says that the request can never be answered as it is.
	ErrInvalid = errors.New("invalid request")
	// ErrUnavailable says that neither features and model nor a fallback could answer.
	ErrUnavailable = errors.New("decision is unavailable")
	// ErrClosed is returned after Close.
	ErrClosed = errors.New("front-end is closed")
)

// KeyBytesMax is the longest idempotency key.
const KeyBytesMax = 256

// Request is one request, and the memory that answering it needs. It belongs to one
// goroutine: NewRequest, set the facts, Decide, read the Answer, Release.
type Request struct {
	decision *decision
	facts    *policy.Facts
	// values are the facts as given: integers exactly, which conditions may not see.
	values []column.Column
	key    string
	// Explain keeps the vector in the answer, and adds what its features contributed to the
	// score if the policy has attributions.
	Explain bool

	in      plan.Inputs
	vectors plan.Vectors
	log     *plan.VectorLog
	call    Call
	events  featurestore.Events
	pushed  featurestore.PushResult
	// eventTime is the time of an event whose request has none.
	eventTime [1]int64
	texts     []string
	text      []byte
	outcome   policy.Outcome
	answer    Answer
	reasons   []byte
	// factsText are the facts as JSON, logged the values of the log's record.
	factsText []byte
	logged    [columnVector + plan.VectorWidth]offline.Value
	started   time.Time
	at        int64 // the moment asked for, in microseconds
	features  bool  // the features were read
	arm       int   // a place in Policy.Arms
	// rollout is the split of the decision's model that the request met, canary whether it is
	// the canary's. side counts it, once a model that is split was asked.
	rollout *rollout
	canary  bool
	side    *rolloutSide
	// scored is the model that the score is of, nil without a score. row is what was
	// attributed, in parts by its columns and contributions by the service's features.
	scored        *binding
	row           []float32
	parts         []float64
	contributions []float64
}

// Answer is what was decided. It is the request's memory: good until its Release.
type Answer struct {
	PredictionID, Decision string
	// Score is NaN when no model answered.
	Score         float64
	Reasons       []policy.Reason
	Segment, Rule string
	Model         string
	ModelVersion  int64
	// PolicyVersion and FeaturesVersion are short hashes of what decided.
	PolicyVersion, FeaturesVersion string
	Arm                            string
	Propensity                     float64
	// Degraded: it did not take the whole way; DegradedReason says why, Fallback which step of
	// the ladder answered, if one did.
	Degraded                 bool
	DegradedReason, Fallback string
	// Repeated: it is that of an earlier request with the same key.
	Repeated bool
	// Unlogged: the log was full, the decision is not in it.
	Unlogged bool
	// Names, Values and Statuses are the vector, if the request explains and the features
	// were read.
	Values   []float64
	Statuses []window.Status
	// Contributions are what each feature added to the model's raw score, if the request
	// explains and they were computed; with Base they sum to it. Unattributed says why they
	// were not, where policy and request want them.
	Contributions []float64
	Base          float64
	Unattributed  string
	// FeaturesTime, ModelTime and TotalTime were spent.
	FeaturesTime, ModelTime, TotalTime time.Duration
}

// NewRequest returns an empty request for a decision.
func (f *Frontend) NewRequest(decision string) (*Request, error) {
	d := f.decisions[decision]
	if d == nil {
		return nil, fmt.Errorf("decision %.128q: %w; there are %s", decision, ErrUnknown, f.names)
	}
	return d.requests.Get().(*Request), nil
}

func (d *decision) newRequest() *Request {
	p := d.policy
	q := &Request{decision: d, facts: p.NewFacts(), call: d.frontend.options.Models.NewCall(), log: d.service.NewVectorLog()}
	for i := range p.Facts {
		q.values = append(q.values, column.Column{Name: p.Facts[i].Name, Type: p.Facts[i].Type})
	}
	q.in.Keys, q.in.Request = make([]column.Column, p.Keys), make([]column.Column, p.ServiceFacts-p.Keys)
	q.vectors.WantSequences = true
	if p.Event != nil {
		q.events.Batch.Columns = make([]column.Column, len(p.Event.Facts))
		q.events.NoWait = true
	}
	q.reset()
	return q
}

// Release gives the request back. Nothing of it may be used after that.
func (q *Request) Release() {
	q.reset()
	q.decision.requests.Put(q)
}

func (q *Request) reset() {
	q.facts.Reset()
	for i := range q.values {
		q.values[i].Reset()
		q.values[i].AppendNull()
	}
	q.key, q.Explain, q.features, q.scored, q.rollout, q.canary, q.side = "", false, false, nil, nil, false, nil
	q.answer = Answer{Score: math.NaN(), Reasons: q.answer.Reasons[:0]}
}

// Policy is the policy of the decision asked for; its Facts are what can be set.
func (q *Request) Policy() *policy.Policy { return q.decision.policy }

// SetKey sets the idempotency key, at most KeyBytesMax bytes; empty is none.
func (q *Request) SetKey(key string) error {
	if len(key) > KeyBytesMax {
		return fmt.Errorf("%w: idempotency_key: %d bytes, at most %d", ErrInvalid, len(key), KeyBytesMax)
	}
	q.key = key
	return nil
}

// place finds a fact.
func (q *Request) place(fact string) (int, error) {
	i := q.decision.policy.Place(fact)
	if i < 0 || i >= len(q.values) {
		return 0, fmt.Errorf("%w: facts.%.128s: the decision %s takes no such fact", ErrInvalid, fact, q.decision.policy.Name)
	}
	if q.facts.Given(i) {
		return 0, fmt.Errorf("%w: facts.%s: given twice", ErrInvalid, fact)
	}
	return i, nil
}

// SetNumber sets a fact to a number; see policy.Facts.
func (q *Request) SetNumber(fact string, v float64) error {
	i, err := q.place(fact)
	if err != nil {
		return err
	}
	if err := q.facts.SetNumber(i, v); err != nil {
		return invalid(err)
	}
	if !math.IsNaN(v) {
		q.setValue(i, v, int64(v))
	}
	return nil
}

// SetInt sets a fact to an integer.
func (q *Request) SetInt(fact string, v int64) error {
	i, err := q.place(fact)
	if err != nil {
		return err
	}
	if err := q.facts.SetInt(i, v); err != nil {
		return invalid(err)
	}
	q.setValue(i, float64(v), v)
	return nil
}

// SetBool sets a fact to a truth value.
func (q *Request) SetBool(fact string, v bool) error {
	i, err := q.place(fact)
	if err != nil {
		return err
	}
	if err := q.facts.SetBool(i, v); err != nil {
		return invalid(err)
	}
	q.setValue(i, q.facts.Number(i), 0)
	return nil
}

// SetText sets a fact to a text, which is kept until Release.
func (q *Request) SetText(fact, v string) error {
	i, err := q.place(fact)
	if err != nil {
		return err
	}
	if err := q.facts.SetText(i, v); err != nil {
		return invalid(err)
	}
	q.values[i].Reset()
	q.values[i].AppendText(v)
	return nil
}

func (q *Request) setValue(i int, number float64, integer int64) {
	c := &q.values[i]
	c.Reset()
	if c.Type == column.Int64 || c.Type == column.Timestamp {
		c.AppendInt(integer)
	} else {
		c.AppendNumber(number)
	}
}

// textOf is a fact as a text, for keys and units; the bytes are the request's.
func (q *Request) textOf(fact int) (string, bool) {
	c := &q.values[fact]
	switch {
	case c.Null(0):
		return "", false
	case c.Type == column.String:
		return c.Texts[0], true
	}
	q.text = strconv.AppendInt(q.text[:0], c.Ints[0], 10)
	return string(q.text), true
}

func invalid(err error) error { return fmt.Errorf("%w: facts: %w", ErrInvalid, err) }

// SetNull leaves a fact null, which it is at first; it must exist.
func (q *Request) SetNull(fact string) error {
	_, err := q.place(fact)
	return err
}

// SetTextOrTime is SetText, and for a fact of type timestamp takes RFC 3339.
func (q *Request) SetTextOrTime(fact, v string) error {
	i := q.decision.policy.Place(fact)
	if i < 0 || i >= len(q.values) || q.values[i].Type != column.Timestamp {
		return q.SetText(fact, v)
	}
	t, err := time.Parse(time.RFC3339Nano, v)
	if err != nil {
		return fmt.Errorf("%w: facts.%s: %.64q is not a time; write 2006-01-02T15:04:05Z or microseconds since 1970", ErrInvalid, fact, v)
	}
	return q.SetInt(fact, t.UnixMicro())
}
