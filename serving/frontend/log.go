// SPDX-License-Identifier: Apache-2.0

package frontend

import (
	"context"
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/featurestore/window"
	"github.com/millrace-ml/millrace/serving/frontend/policy"
)

// The streams of the event log that the front-end writes.
const (
	// DecisionStream has a record for each answer that was not repeated. Its id is the
	// prediction id, its event time the moment that the features were asked for.
	DecisionStream = "decisions"
	// ShadowStream has a record for each run of a shadow model, by prediction id.
	ShadowStream = "shadows"
)

// Columns of DecisionStream before those of plan.VectorColumns.
const (
	columnPolicy = iota
	columnAnswer
	columnScore
	columnRule
	columnSegment
	columnReasons
	columnModel
	columnModelVersion
	columnPolicyVersion
	columnArm
	columnPropensity
	columnDegraded
	columnFallback
	columnKey
	columnFacts
	columnNanos
	columnVector
)

func decisionSchema() offline.Schema {
	return offline.Schema{Stream: DecisionStream, Columns: append([]offline.Column{
		columnPolicy:        {Name: "decision", Type: offline.TypeString},
		columnAnswer:        {Name: "answer", Type: offline.TypeString},
		columnScore:         {Name: "score", Type: offline.TypeFloat64},
		columnRule:          {Name: "rule", Type: offline.TypeString},
		columnSegment:       {Name: "segment", Type: offline.TypeString},
		columnReasons:       {Name: "reasons", Type: offline.TypeString},
		columnModel:         {Name: "model", Type: offline.TypeString},
		columnModelVersion:  {Name: "model_version", Type: offline.TypeInt64},
		columnPolicyVersion: {Name: "policy_version", Type: offline.TypeString},
		columnArm:           {Name: "arm", Type: offline.TypeString},
		columnPropensity:    {Name: "propensity", Type: offline.TypeFloat64},
		columnDegraded:      {Name: "degraded", Type: offline.TypeString},
		columnFallback:      {Name: "fallback", Type: offline.TypeString},
		columnKey:           {Name: "idempotency_key", Type: offline.TypeString},
		columnFacts:         {Name: "facts", Type: offline.TypeString},
		columnNanos:         {Name: "duration_ns", Type: offline.TypeInt64},
	}, plan.VectorColumns()...)}
}

func shadowSchema() offline.Schema {
	return offline.Schema{Stream: ShadowStream, Columns: []offline.Column{
		{Name: "decision", Type: offline.TypeString}, {Name: "model", Type: offline.TypeString},
		{Name: "model_version", Type: offline.TypeInt64}, {Name: "score", Type: offline.TypeFloat64},
		{Name: "error", Type: offline.TypeString},
	}}
}

// logFacts writes the facts as a JSON object, which the log keeps and which tells
// whether an idempotency key is used for the same request.
func (q *Request) logFacts() {
	b := append(q.factsText[:0], '{')
	for i := range q.values {
		c := &q.values[i]
		if c.Null(0) {
			continue
		}
		if len(b) > 1 {
			b = append(b, ',')
		}
		b = append(strconv.AppendQuote(b, c.Name), ':')
		switch c.Type {
		case column.String:
			b = appendJSON(b, c.Texts[0])
		case column.Bool:
			b = strconv.AppendBool(b, c.Numbers[0] != 0)
		case column.Float64:
			b = strconv.AppendFloat(b, c.Numbers[0], 'g', -1, 64)
		default:
			b = strconv.AppendInt(b, c.Ints[0], 10)
		}
	}
	q.factsText = append(b, '}')
}

// appendJSON appends a text as a JSON string.
func appendJSON(b []byte, text string) []byte {
	for i := range len(text) {
		if c := text[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			quoted, err := json.Marshal(text)
			if err != nil {
				return append(b, `""`...) // a string always marshals
			}
			return append(b, quoted...)
		}
	}
	b = append(append(b, '"'), text...)
	return append(b, '"')
}

func (q *Request) factsHash() uint64 { return window.KeyOf(q.factsJSON()) }

// factsJSON is what logFacts wrote; it is good until the next request.
func (q *Request) factsJSON() string {
	return unsafe.String(unsafe.SliceData(q.factsText), len(q.factsText))
}

// logAnswer appends the answer to the log. It does not wait for the disk.
func (q *Request) logAnswer(ctx context.Context, key string, now int64) {
	a, f := &q.answer, q.decision.frontend
	v := &q.logged
	for i := range v {
		v[i] = offline.Value{}
	}
	text := func(column int, value string) {
		if value != "" {
			v[column] = offline.String(value)
		}
	}
	text(columnPolicy, q.decision.policy.Name)
	text(columnAnswer, a.Decision)
	if !math.IsNaN(a.Score) {
		v[columnScore] = offline.Float64(a.Score)
		v[columnModelVersion] = offline.Int64(a.ModelVersion)
	}
	text(columnRule, a.Rule)
	text(columnSegment, a.Segment)
	text(columnReasons, q.codes())
	text(columnModel, a.Model)
	text(columnPolicyVersion, a.PolicyVersion)
	text(columnArm, a.Arm)
	v[columnPropensity] = offline.Float64(a.Propensity)
	text(columnDegraded, a.DegradedReason)
	text(columnFallback, a.Fallback)
	text(columnKey, key)
	text(columnFacts, q.factsJSON()) // the log copies it
	if q.features {
		copy(v[columnVector:], q.log.Values(&q.in, &q.vectors, 0))
	}
	record := offline.Record{ID: a.PredictionID, EventTime: max(q.at, 0), ArrivalTime: now, Values: v[:]}
	if err := f.stream.Append(ctx, &record); err != nil {
		a.Unlogged = true
		if f.counts.unlogged.Add(1) == 1 {
			f.options.Logger.Error("a decision could not be logged; others are counted as unlogged", "error", err)
		}
	}
}

// codes joins the reason codes with commas.
func (q *Request) codes() string {
	switch r := q.answer.Reasons; len(r) {
	case 0:
		return ""
	case 1:
		return r[0].Code
	}
	q.reasons = q.reasons[:0]
	for i, r := range q.answer.Reasons {
		if i > 0 {
			q.reasons = append(q.reasons, ',')
		}
		q.reasons = append(q.reasons, r.Code...)
	}
	return string(q.reasons)
}

// rememberSlack is how much older than its arrival a request may be for its key to
// survive a restart.
const rememberSlack = 24 * time.Hour

// remember reads the answers whose keys still count back from the log.
func (f *Frontend) remember(ctx context.Context) error {
	now, reach := f.options.Store.Now(), int64(0)
	for _, p := range f.options.Policies {
		reach = max(reach, p.TTL.Microseconds())
	}
	// Keys expire by arrival and the log is read by event time: requests for a moment that
	// lay more than rememberSlack before they came are not found again.
	scan, err := f.options.Store.Log().Scan(ctx, offline.Query{Stream: DecisionStream, Versions: offline.LatestPerEvent,
		From:    max(0, now-reach-rememberSlack.Microseconds()),
		Columns: []string{"decision", "answer", "score", "rule", "segment", "reasons", "model", "model_version", "policy_version", "arm", "propensity", "degraded", "fallback", "idempotency_key", "facts", "features_version"}})
	if err != nil {
		return err
	}
	defer scan.Close()
	for scan.Next() {
		r := scan.Record()
		d := f.decisions[r.Values[columnPolicy].Text()]
		if d == nil || r.Values[columnKey].IsNull() || r.ArrivalTime+d.policy.TTL.Microseconds() <= now {
			continue
		}
		f.keys.restore(strings.Clone(d.policy.Name+"\x00"+r.Values[columnKey].Text()), window.KeyOf(r.Values[columnFacts].Text()),
			now, r.ArrivalTime+d.policy.TTL.Microseconds(), d.answerOf(r))
	}
	return scan.Err()
}

// answerOf is the answer that a record of the log tells of.
func (d *decision) answerOf(r *offline.Record) Answer {
	text := func(column int) string { return strings.Clone(r.Values[column].Text()) }
	a := Answer{
		PredictionID: strings.Clone(r.ID), Decision: text(columnAnswer), Score: math.NaN(),
		Segment: text(columnSegment), Rule: text(columnRule), Model: text(columnModel),
		PolicyVersion: text(columnPolicyVersion), FeaturesVersion: text(columnFacts + 1), Arm: text(columnArm),
		DegradedReason: text(columnDegraded), Fallback: text(columnFallback),
		Degraded: !r.Values[columnDegraded].IsNull(),
	}
	if s := r.Values[columnScore]; !s.IsNull() {
		a.Score, a.ModelVersion = s.Float64(), r.Values[columnModelVersion].Int64()
	}
	if p := r.Values[columnPropensity]; !p.IsNull() {
		a.Propensity = p.Float64()
	}
	if a.FeaturesVersion == "" {
		a.FeaturesVersion = d.version // it was answered without features
	}
	known := map[string]policy.Reason{}
	for _, reason := range d.policy.Reasons() {
		known[reason.Code] = reason
	}
	for code := range strings.SplitSeq(text(columnReasons), ",") {
		if reason, ok := known[code]; ok {
			a.Reasons = append(a.Reasons, reason)
		} else if code != "" {
			a.Reasons = append(a.Reasons, policy.Reason{Code: code})
		}
	}
	return a
}
