// SPDX-License-Identifier: Apache-2.0

package client

import (
	"context"
	"crypto/rand"
	"time"

	"google.golang.org/grpc/codes"

	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

// Keys says which idempotency key a decision is asked with.
type Keys uint8

const (
	// KeyMade makes a key for each call, unless DecideRequest.Key is set.
	KeyMade Keys = iota
	// KeyOfPolicy sends none and leaves it to the fact that the policy names, which has to
	// be there for a repeat to be safe.
	KeyOfPolicy
	// KeyNone sends none; the call is never repeated.
	KeyNone
)

// DecideRequest asks for a decision.
type DecideRequest struct {
	// Decision as the policy file names it.
	Decision string
	// Key is the idempotency key, at most 256 bytes: the same key answers the same decision
	// while the server remembers it. Keys says what to do without one.
	Key  string
	Keys Keys
	// RequestID is returned; it may be empty.
	RequestID string
	// Explain also answers the features that the model saw.
	Explain bool

	facts []*millracev1.Fact
}

// NewDecide returns a request without facts.
func NewDecide(decision string) *DecideRequest { return &DecideRequest{Decision: decision} }

// Int adds a fact or the key of an entity.
func (q *DecideRequest) Int(name string, v int64) *DecideRequest {
	return q.add(name, &millracev1.Value{Kind: &millracev1.Value_Integer{Integer: v}})
}

// Float adds a fact. NaN is null.
func (q *DecideRequest) Float(name string, v float64) *DecideRequest {
	if v != v {
		return q.Null(name)
	}
	return q.add(name, &millracev1.Value{Kind: &millracev1.Value_Number{Number: v}})
}

// Text adds a fact or the key of an entity.
func (q *DecideRequest) Text(name, v string) *DecideRequest {
	return q.add(name, &millracev1.Value{Kind: &millracev1.Value_Text{Text: v}})
}

// Bool adds a fact.
func (q *DecideRequest) Bool(name string, v bool) *DecideRequest {
	return q.add(name, &millracev1.Value{Kind: &millracev1.Value_Bool{Bool: v}})
}

// Time adds a fact of type timestamp, to the microsecond.
func (q *DecideRequest) Time(name string, v time.Time) *DecideRequest {
	return q.Int(name, v.UnixMicro())
}

// Null adds a fact that is null, which is as if it were left out.
func (q *DecideRequest) Null(name string) *DecideRequest { return q.add(name, nil) }

func (q *DecideRequest) add(name string, v *millracev1.Value) *DecideRequest {
	q.facts = append(q.facts, &millracev1.Fact{Name: name, Value: v})
	return q
}

// message is the request as it is sent, with its key. Attempts share it.
func (q *DecideRequest) message() *millracev1.DecideRequest {
	m := &millracev1.DecideRequest{
		Decision: q.Decision, Facts: q.facts, IdempotencyKey: q.Key, RequestId: q.RequestID, Explain: q.Explain,
	}
	if q.Key == "" && q.Keys == KeyMade {
		m.IdempotencyKey = rand.Text()
	}
	return m
}

func (q *DecideRequest) plan(c *Client) callPlan {
	safe := q.Key != "" || q.Keys != KeyNone
	return callPlan{name: "decide", timeout: c.options.DecideTimeout, repeat: safe, hedge: safe}
}

// Reason is why it was decided so.
type Reason struct{ Code, Text string }

// Decision is what was decided.
type Decision struct {
	// PredictionID names this decision in feedback and in the log.
	PredictionID, RequestID, Decision string
	// Score is NaN when no model answered.
	Score   float64
	Reasons []Reason
	// Segment and Rule of the policy that applied, empty for none.
	Segment, Rule string
	Model         string
	ModelVersion  int64
	// PolicyVersion and FeaturesVersion are short hashes of what decided.
	PolicyVersion, FeaturesVersion string
	// Arm of the experiment, and the probability with which it was drawn.
	Arm        string
	Propensity float64
	// Degraded: it did not take the whole way; DegradedReason says why, Fallback which step of
	// the fallback answered, if one did.
	Degraded                 bool
	DegradedReason, Fallback string
	// Repeated: it is that of an earlier request with the same key.
	Repeated bool
	// Features are there if asked for; texts have no value here.
	Features []Feature
	// Contributions are what each of Features added to the model's raw score, where the policy
	// has attributions; with ContributionBase they sum to it. Unattributed says why there are
	// none though they were asked for.
	Contributions    []float64
	ContributionBase float64
	Unattributed     string
	// The server's times.
	FeaturesTime, ModelTime, TotalTime time.Duration
	// Key is the idempotency key that was sent, Attempts how often.
	Key      string
	Attempts int
}

// Feature is a value that a model saw.
type Feature struct {
	Name string
	// Value is NaN for nulls and texts.
	Value  float64
	Status Status
}

// Decide asks for a decision. It is repeated, or hedged, only with a key: see Keys.
func (c *Client) Decide(ctx context.Context, q *DecideRequest) (*Decision, error) {
	message := q.message()
	answer, attempts, err := call(ctx, c, q.plan(c), func(ctx context.Context, l *lane) (*Decision, error) {
		m, err := l.decisions.Decide(ctx, message)
		if err != nil {
			return nil, err
		}
		return newDecision(m)
	})
	if err != nil {
		return nil, err
	}
	answer.Key, answer.Attempts = message.IdempotencyKey, attempts
	return answer, nil
}

// newDecision takes over an answer, or the error that stands in place of one on a stream.
func newDecision(m *millracev1.DecideResponse) (*Decision, error) {
	if m.Error != "" || m.ErrorCode != 0 {
		code := codes.Code(m.ErrorCode)
		if code == codes.OK {
			code = codes.Unknown
		}
		return nil, errorOf("decide", code, m.Error)
	}
	if m.Decision == "" {
		return nil, malformed("decide", "it has no decision")
	}
	n := len(m.FeatureNames)
	if len(m.FeatureValues) != n || len(m.FeatureStatuses) != n {
		return nil, malformed("decide", "%d names, %d values and %d statuses of features", n, len(m.FeatureValues), len(m.FeatureStatuses))
	}
	if len(m.Contributions) != n && len(m.Contributions) != 0 {
		return nil, malformed("decide", "%d names and %d contributions of features", n, len(m.Contributions))
	}
	d := &Decision{
		PredictionID: m.PredictionId, RequestID: m.RequestId, Decision: m.Decision, Score: m.Score,
		Segment: m.Segment, Rule: m.Rule, Model: m.Model, ModelVersion: m.ModelVersion,
		PolicyVersion: m.PolicyVersion, FeaturesVersion: m.FeaturesVersion, Arm: m.Arm, Propensity: m.Propensity,
		Degraded: m.Degraded, DegradedReason: m.DegradedReason, Fallback: m.Fallback, Repeated: m.Repeated,
		FeaturesTime: time.Duration(m.FeaturesNanos), ModelTime: time.Duration(m.ModelNanos), TotalTime: time.Duration(m.TotalNanos),
		Contributions: m.Contributions, ContributionBase: m.ContributionBase, Unattributed: m.Unattributed,
	}
	if len(m.Reasons) > 0 {
		d.Reasons = make([]Reason, len(m.Reasons))
		for i, r := range m.Reasons {
			d.Reasons[i] = Reason{Code: r.GetCode(), Text: r.GetText()}
		}
	}
	if n > 0 {
		d.Features = make([]Feature, n)
		for i, name := range m.FeatureNames {
			d.Features[i] = Feature{Name: name, Value: m.FeatureValues[i], Status: Status(m.FeatureStatuses[i])}
		}
	}
	return d, nil
}
