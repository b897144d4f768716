// SPDX-License-Identifier: Apache-2.0

package groundtruth

import (
	"encoding/json"
	"strings"

	"github.com/millrace-ml/millrace/featurestore/offline"
)

// Streams of the event log.
const (
	// OutcomeStream has a record for each version of each piece of feedback.
	OutcomeStream = "outcomes"
	// PredictionStream is what feedback is joined to: what the front-end logs.
	PredictionStream = "decisions"
)

// Columns of OutcomeStream.
const (
	outFeedback = iota
	outPrediction
	outEntity
	outName
	outKind
	outSource
	outType
	outNumber
	outText
	outWeight
	outReason
	outTimed
	outColumns
)

var outcomeColumns = [outColumns]offline.Column{
	outFeedback:   {Name: "feedback_id", Type: offline.TypeString},
	outPrediction: {Name: "prediction_id", Type: offline.TypeString},
	outEntity:     {Name: "entity", Type: offline.TypeString},
	outName:       {Name: "name", Type: offline.TypeString},
	outKind:       {Name: "kind", Type: offline.TypeString},
	outSource:     {Name: "source", Type: offline.TypeString},
	outType:       {Name: "value_type", Type: offline.TypeString},
	outNumber:     {Name: "value_number", Type: offline.TypeFloat64},
	outText:       {Name: "value_text", Type: offline.TypeString},
	outWeight:     {Name: "weight", Type: offline.TypeFloat64},
	outReason:     {Name: "reason", Type: offline.TypeString},
	outTimed:      {Name: "timed", Type: offline.TypeBool},
}

// OutcomeSchema is the schema of OutcomeStream. The id of a record is the feedback id,
// a slash, and a hash of what it is about; a record with the id of an earlier one is a
// new version.
func OutcomeSchema() offline.Schema {
	return offline.Schema{Stream: OutcomeStream, Columns: outcomeColumns[:]}
}

func outcomeNames() []string {
	names := make([]string, outColumns)
	for i, c := range outcomeColumns {
		names[i] = c.Name
	}
	return names
}

// record is feedback that was checked, for the log.
func (f *Feedback) record(target [8]byte, timed bool, arrival int64) offline.Record {
	v := make([]offline.Value, outColumns)
	text := func(column int, value string) {
		if value != "" {
			v[column] = offline.String(value)
		}
	}
	text(outFeedback, f.ID)
	text(outPrediction, f.PredictionID)
	text(outEntity, entityJSON(f.Entity))
	text(outName, f.Name)
	text(outKind, f.Kind.String())
	text(outSource, f.Source)
	text(outType, f.Value.Type.String())
	if f.Value.Type == TypeBool || f.Value.Type == TypeNumber {
		v[outNumber] = offline.Float64(f.Value.Number)
	}
	text(outText, f.Value.Text)
	v[outWeight] = offline.Float64(f.Weight)
	text(outReason, f.Reason)
	v[outTimed] = offline.Bool(timed)
	return offline.Record{ID: recordID(f.ID, target), EventTime: f.EventTime, ArrivalTime: arrival, Values: v}
}

// Outcome is a version of feedback as the log has it.
type Outcome struct {
	Feedback
	// Arrival is when the log learned of it, in microseconds; Sequence its place there.
	Arrival  int64
	Sequence uint64
	// Timed says that the event time was given, and is not just the arrival.
	Timed bool

	record string // id in the log
	entity string // JSON
}

// decodeOutcome reads a record with outcomeColumns. What it yields is the caller's.
func decodeOutcome(r *offline.Record, into *Outcome) error {
	v := r.Values
	text := func(column int) string { return strings.Clone(v[column].Text()) }
	kind, err := ParseKind(v[outKind].Text())
	if err != nil {
		return err
	}
	kinds, err := ParseValueType(v[outType].Text())
	if err != nil {
		return err
	}
	*into = Outcome{Arrival: r.ArrivalTime, Sequence: r.Sequence, record: strings.Clone(r.ID), entity: text(outEntity),
		Timed: !v[outTimed].IsNull() && v[outTimed].Bool(),
		Feedback: Feedback{ID: text(outFeedback), PredictionID: text(outPrediction), Name: text(outName), Kind: kind, Source: text(outSource),
			Value: Value{Type: kinds, Text: text(outText)}, EventTime: r.EventTime, Weight: 1, Weighted: true, Reason: text(outReason)}}
	if !v[outNumber].IsNull() {
		into.Value.Number = v[outNumber].Float64()
	}
	if !v[outWeight].IsNull() {
		into.Weight = v[outWeight].Float64()
	}
	if into.entity != "" {
		return json.Unmarshal([]byte(into.entity), &into.Entity)
	}
	return nil
}
