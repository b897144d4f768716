// SPDX-License-Identifier: Apache-2.0

package groundtruth

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/millrace-ml/millrace/featurestore/offline"
)

// Columns of PredictionStream that a Row has by itself.
const (
	preDecision = iota
	preAnswer
	preScore
	preModel
	preModelVersion
	prePolicyVersion
	preArm
	prePropensity
	preSegment
	preReasons
	preDegraded
	preFacts
	preColumns
)

var predictionColumns = [preColumns]offline.Column{
	preDecision:      {Name: "decision", Type: offline.TypeString},
	preAnswer:        {Name: "answer", Type: offline.TypeString},
	preScore:         {Name: "score", Type: offline.TypeFloat64},
	preModel:         {Name: "model", Type: offline.TypeString},
	preModelVersion:  {Name: "model_version", Type: offline.TypeInt64},
	prePolicyVersion: {Name: "policy_version", Type: offline.TypeString},
	preArm:           {Name: "arm", Type: offline.TypeString},
	prePropensity:    {Name: "propensity", Type: offline.TypeFloat64},
	preSegment:       {Name: "segment", Type: offline.TypeString},
	preReasons:       {Name: "reasons", Type: offline.TypeString},
	preDegraded:      {Name: "degraded", Type: offline.TypeString},
	preFacts:         {Name: "facts", Type: offline.TypeString},
}

// VectorColumns are the columns in which the front-end logs the vector that the model
// saw, for JoinOptions.Columns; package featurestore/plan says how to read them.
func VectorColumns() []string {
	return []string{"features_service", "features_version", "features_at", "features_keys", "features_inputs",
		"features_vector", "features_texts", "features_status", "features_sequences"}
}

// reader finds the values of rows in records whose columns are what a log happens to
// have.
type reader struct {
	wanted []string // names: predictionColumns, then extra ones
	place  []int    // in the record, -1 if it has none
	values []offline.Value
}

func newReader(extra []string) *reader {
	r := &reader{}
	for _, c := range predictionColumns {
		r.wanted = append(r.wanted, c.Name)
	}
	r.wanted = append(r.wanted, extra...)
	r.place, r.values = make([]int, len(r.wanted)), make([]offline.Value, len(r.wanted))
	return r
}

// columns are those of the wanted ones that the log has; a scan may ask for them.
func (r *reader) columns(log *offline.Log) ([]string, error) {
	have, err := streamColumns(log, PredictionStream)
	if err != nil {
		return nil, err
	}
	var names []string
	for i, name := range r.wanted {
		at := slices.IndexFunc(have, func(c offline.Column) bool { return c.Name == name })
		if at < 0 && i >= int(preColumns) {
			return nil, fmt.Errorf("%w: columns: stream %s has no %.80q", ErrInvalid, PredictionStream, name)
		}
		if at < 0 {
			continue
		}
		if i < int(preColumns) && have[at].Type != predictionColumns[i].Type {
			return nil, fmt.Errorf("%w: column %s of stream %s is a %v instead of a %v", ErrInvalid, name, PredictionStream, have[at].Type, predictionColumns[i].Type)
		}
		names = append(names, name)
	}
	return names, nil
}

func streamColumns(log *offline.Log, stream string) ([]offline.Column, error) {
	for _, s := range log.Streams() {
		if s.Stream == stream {
			return s.Columns, nil
		}
	}
	return nil, fmt.Errorf("%w: %s", offline.ErrUnknownStream, stream)
}

// bind says which columns the records to come have.
func (r *reader) bind(columns []offline.Column) {
	for i, name := range r.wanted {
		r.place[i] = slices.IndexFunc(columns, func(c offline.Column) bool {
			return c.Name == name && (i >= int(preColumns) || c.Type == predictionColumns[i].Type)
		})
	}
}

// nothing is the value of a column that a record lacks.
var nothing offline.Value

// of is one of the wanted values of a record.
func (r *reader) of(record *offline.Record, wanted int) *offline.Value {
	if at := r.place[wanted]; at >= 0 {
		return &record.Values[at]
	}
	return &nothing
}

// read puts the record's values in their places.
func (r *reader) read(record *offline.Record) {
	for i, at := range r.place {
		r.values[i] = offline.Value{}
		if at >= 0 {
			r.values[i] = record.Values[at]
		}
	}
}

// row fills a row from what was read. It refers to the record's memory.
func (r *reader) row(record *offline.Record, row *Row) {
	v := r.values
	*row = Row{PredictionID: record.ID, Time: record.EventTime, Arrival: record.ArrivalTime,
		Decision: v[preDecision].Text(), Answer: v[preAnswer].Text(), Model: v[preModel].Text(), PolicyVersion: v[prePolicyVersion].Text(),
		Arm: v[preArm].Text(), Segment: v[preSegment].Text(), Reason: v[preReasons].Text(), Degraded: !v[preDegraded].IsNull(),
		Facts: v[preFacts].Text(), Score: math.NaN(), Propensity: math.NaN(), Extra: v[preColumns:]}
	if !v[preScore].IsNull() {
		row.Score = v[preScore].Float64()
	}
	if !v[prePropensity].IsNull() {
		row.Propensity = v[prePropensity].Float64()
	}
	if !v[preModelVersion].IsNull() {
		row.ModelVersion = v[preModelVersion].Int64()
	}
}

// factsKey is the key of the entity that a prediction's facts name; empty if they lack a
// part of it.
func (d *Definition) factsKey(facts string) string {
	if len(d.Entity) == 0 || facts == "" {
		return ""
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(facts), &fields); err != nil {
		return "" // what the front-end writes is JSON; else there is nobody to match
	}
	var key []byte
	for _, name := range d.Entity {
		raw, ok := fields[name]
		if !ok || string(raw) == "null" {
			return ""
		}
		text := string(raw)
		if raw[0] == '"' {
			if err := json.Unmarshal(raw, &text); err != nil {
				return ""
			}
		}
		key = append(binary.AppendUvarint(key, uint64(len(text))), text...)
	}
	return string(key)
}

// entityKey is the same of feedback. Other keys that it has make no difference.
func (d *Definition) entityKey(entity map[string]string) string {
	if len(d.Entity) == 0 {
		return ""
	}
	var key []byte
	for _, name := range d.Entity {
		text, ok := entity[name]
		if !ok {
			return ""
		}
		key = append(binary.AppendUvarint(key, uint64(len(text))), text...)
	}
	return string(key)
}

// clone copies a row and all it refers to.
func (r *Row) clone() Row {
	c := *r
	for _, text := range []*string{&c.PredictionID, &c.Decision, &c.Answer, &c.Model, &c.PolicyVersion, &c.Arm, &c.Segment, &c.Reason, &c.Facts} {
		*text = strings.Clone(*text)
	}
	record := offline.Record{Values: r.Extra}
	c.Extra = record.Clone().Values
	return c
}

// Clone copies a row and all it refers to.
func (r *Row) Clone() Row { return r.clone() }

// ExtraColumns are the columns of the log's predictions that have these names, for a
// writer of Row.Extra.
func ExtraColumns(log *offline.Log, names []string) ([]offline.Column, error) {
	have, err := streamColumns(log, PredictionStream)
	if err != nil {
		return nil, err
	}
	columns := make([]offline.Column, len(names))
	for i, name := range names {
		at := slices.IndexFunc(have, func(c offline.Column) bool { return c.Name == name })
		if at < 0 {
			return nil, fmt.Errorf("%w: columns: stream %s has no %.80q", ErrInvalid, PredictionStream, name)
		}
		columns[i] = have[at]
	}
	return columns, nil
}
