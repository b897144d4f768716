// SPDX-License-Identifier: Apache-2.0

package groundtruth

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// jsonFeedback is feedback as JSON.
type jsonFeedback struct {
	FeedbackID   string                     `json:"feedback_id,omitempty"`
	PredictionID string                     `json:"prediction_id,omitempty"`
	Entity       map[string]json.RawMessage `json:"entity,omitempty"`
	Name         string                     `json:"name,omitempty"`
	Kind         string                     `json:"kind,omitempty"`
	Value        json.RawMessage            `json:"value,omitempty"`
	ValueType    string                     `json:"value_type,omitempty"`
	Source       string                     `json:"source,omitempty"`
	EventTime    json.RawMessage            `json:"event_time,omitempty"`
	Weight       *float64                   `json:"weight,omitempty"`
	Reason       string                     `json:"reason,omitempty"`
}

// ParseJSON reads one piece of feedback:
//
//	{"feedback_id": "...", "prediction_id": "...", "entity": {"customer_id": 7},
//	 "name": "is_fraud", "kind": "outcome", "value": true, "value_type": "bool",
//	 "source": "chargeback", "event_time": "2026-01-31T12:00:00Z", "weight": 1, "reason": "..."}
//
// A text is the name of a class unless value_type is text. An event time is RFC 3339, or
// a number: microseconds since 1970. Fields that are not known are refused. Whether the
// feedback makes sense is for Submit to say.
func ParseJSON(text []byte) (Feedback, error) {
	var j jsonFeedback
	if err := decodeStrict(text, &j); err != nil {
		return Feedback{}, err
	}
	return j.feedback()
}

// decodeStrict reads exactly one JSON value.
func decodeStrict(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	var other *json.UnmarshalTypeError
	if err := d.Decode(into); errors.As(err, &other) {
		return fmt.Errorf("%w: %s: is a JSON %s, which does not fit there", ErrInvalid, cmp.Or(other.Field, "item"), other.Value)
	} else if err != nil {
		return fmt.Errorf("%w: JSON: %w", ErrInvalid, err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: JSON: more than one value", ErrInvalid)
	}
	return nil
}

func (j *jsonFeedback) feedback() (Feedback, error) {
	f := Feedback{ID: j.FeedbackID, PredictionID: j.PredictionID, Name: j.Name, Source: j.Source, Reason: j.Reason}
	var err error
	if j.Kind != "" {
		if f.Kind, err = ParseKind(j.Kind); err != nil {
			return f, err
		}
	}
	if j.Weight != nil {
		f.Weight, f.Weighted = *j.Weight, true
	}
	if f.Value, err = parseValue(j.Value, j.ValueType); err != nil {
		return f, err
	}
	if f.EventTime, err = parseTime(j.EventTime); err != nil {
		return f, err
	}
	if len(j.Entity) > EntityKeysMax {
		return f, fmt.Errorf("%w: entity: has %d keys, at most %d", ErrInvalid, len(j.Entity), EntityKeysMax)
	}
	for key, raw := range j.Entity {
		if f.Entity == nil {
			f.Entity = map[string]string{}
		}
		if f.Entity[key], err = scalarText(raw); err != nil {
			return f, fmt.Errorf("%w: entity.%.80s: %w", ErrInvalid, key, err)
		}
	}
	return f, nil
}

// scalarText is a text, or a number or bool as JSON has it: so it is in facts.
func scalarText(raw json.RawMessage) (string, error) {
	switch text := string(bytes.TrimSpace(raw)); text[0] {
	case '"':
		var value string
		err := json.Unmarshal(raw, &value)
		return value, err
	case '{', '[', 'n':
		return "", errors.New("is no text, number or bool")
	default:
		return text, nil
	}
}

// parseValue reads a value; wanted is the name of its type, or empty.
func parseValue(raw json.RawMessage, wanted string) (Value, error) {
	v, err := plainValue(bytes.TrimSpace(raw))
	if err != nil || wanted == "" {
		return v, err
	}
	t, err := ParseValueType(wanted)
	if err != nil {
		return v, fmt.Errorf("value_type: %w", err)
	}
	if v.Type == TypeClass && t == TypeText {
		return Text(v.Text), nil
	}
	if v.Type != t {
		return v, fmt.Errorf("%w: value: is a %v and not a %v", ErrInvalid, v.Type, t)
	}
	return v, nil
}

func plainValue(raw []byte) (Value, error) {
	switch text := string(raw); {
	case text == "" || text == "null":
		return Value{}, nil
	case text == "true" || text == "false":
		return Bool(text == "true"), nil
	case text[0] == '"':
		var value string
		err := json.Unmarshal(raw, &value)
		return Class(value), err
	default:
		x, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return Value{}, fmt.Errorf("%w: value: %.64s is no bool, number, text or null", ErrInvalid, text)
		}
		return Number(x), nil
	}
}

// parseTime reads RFC 3339 or microseconds; 0 is none.
func parseTime(raw json.RawMessage) (int64, error) {
	text := string(bytes.TrimSpace(raw))
	if text == "" || text == "null" {
		return 0, nil
	}
	return timeOf(strings.Trim(text, `"`))
}

func timeOf(text string) (int64, error) {
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n, nil
	}
	t, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return 0, fmt.Errorf("%w: event_time: %.64q is neither RFC 3339, such as 2026-01-31T12:00:00Z, nor microseconds", ErrInvalid, text)
	}
	return t.UnixMicro(), nil
}

// AppendJSON appends feedback as ParseJSON reads it.
func AppendJSON(b []byte, f *Feedback) ([]byte, error) {
	j := jsonFeedback{FeedbackID: f.ID, PredictionID: f.PredictionID, Name: f.Name, Source: f.Source, Reason: f.Reason, ValueType: f.Value.Type.String()}
	if f.Kind != 0 {
		j.Kind = f.Kind.String()
	}
	for key, value := range f.Entity {
		if j.Entity == nil {
			j.Entity = map[string]json.RawMessage{}
		}
		raw, err := json.Marshal(value)
		if err != nil {
			return b, err
		}
		j.Entity[key] = raw
	}
	value := any(nil)
	switch f.Value.Type {
	case TypeBool:
		value = f.Value.Number != 0
	case TypeNumber:
		value = f.Value.Number
	case TypeText, TypeClass:
		value = f.Value.Text
	}
	var err error
	if j.Value, err = json.Marshal(value); err != nil {
		return b, fmt.Errorf("%w: value: %w", ErrInvalid, err)
	}
	if f.EventTime != 0 {
		j.EventTime = strconv.AppendInt(nil, f.EventTime, 10)
	}
	if f.Weighted {
		j.Weight = &f.Weight
	}
	text, err := json.Marshal(&j)
	if err != nil {
		return b, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return append(b, text...), nil
}
