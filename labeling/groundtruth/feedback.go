// SPDX-License-Identifier: Apache-2.0

package groundtruth

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// Kind says what a piece of feedback is.
type Kind uint8

const (
	// KindOutcome is what became of it: a chargeback, a click, a repaid loan.
	KindOutcome Kind = iota + 1
	// KindReward is the gain of a decision, for policies that learn from it.
	KindReward
	// KindCorrection replaces feedback of the same id, or withdraws it with a null value.
	// It counts for labels of every kind.
	KindCorrection
	// KindLabel is what an annotator says.
	KindLabel
	// KindUser is what the user says: thumbs up or down, a reason.
	KindUser
)

var kindNames = [...]string{KindOutcome: "outcome", KindReward: "reward", KindCorrection: "correction", KindLabel: "label", KindUser: "user"}

// String is the name of the kind, as files and JSON have it.
func (k Kind) String() string { return nameOf(kindNames[:], int(k)) }

// ParseKind reads the name of a kind.
func ParseKind(text string) (Kind, error) {
	i, err := parseName("kind", kindNames[:], text)
	return Kind(i), asInvalid(err)
}

// ValueType is the type of a value.
type ValueType uint8

const (
	// TypeNull is no value: it withdraws what a correction corrects.
	TypeNull ValueType = iota
	// TypeBool is true or false.
	TypeBool
	// TypeNumber is a finite number.
	TypeNumber
	// TypeText is free text.
	TypeText
	// TypeClass is the name of a class.
	TypeClass
)

var typeNames = [...]string{TypeNull: "null", TypeBool: "bool", TypeNumber: "number", TypeText: "text", TypeClass: "class"}

// String is the name of the type.
func (t ValueType) String() string { return nameOf(typeNames[:], int(t)) }

// ParseValueType reads the name of a type.
func ParseValueType(text string) (ValueType, error) {
	i, err := parseName("type", typeNames[:], text)
	return ValueType(i), asInvalid(err)
}

func nameOf(names []string, i int) string {
	if i < len(names) && names[i] != "" {
		return names[i]
	}
	return fmt.Sprintf("unknown(%d)", i)
}

func parseName(what string, names []string, text string) (int, error) {
	for i, name := range names {
		if name != "" && name == text {
			return i, nil
		}
	}
	known := slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == "" })
	return 0, fmt.Errorf("%s: %.40q is none of %s", what, text, strings.Join(known, ", "))
}

func asInvalid(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%w: %w", ErrInvalid, err)
}

// Value is the value of feedback. Values are equal if they are ==.
type Value struct {
	Type ValueType
	// Number is that of TypeNumber, and 0 or 1 of TypeBool.
	Number float64
	// Text is that of TypeText and TypeClass.
	Text string
}

// Bool is a value of TypeBool.
func Bool(v bool) Value {
	if v {
		return Value{Type: TypeBool, Number: 1}
	}
	return Value{Type: TypeBool}
}

// Number is a value of TypeNumber.
func Number(v float64) Value { return Value{Type: TypeNumber, Number: v} }

// Text is a value of TypeText.
func Text(v string) Value { return Value{Type: TypeText, Text: v} }

// Class is a value of TypeClass.
func Class(v string) Value { return Value{Type: TypeClass, Text: v} }

// String is the value for people.
func (v Value) String() string {
	switch v.Type {
	case TypeBool:
		return fmt.Sprint(v.Number != 0)
	case TypeNumber:
		return fmt.Sprint(v.Number)
	case TypeText, TypeClass:
		return v.Text
	}
	return "null"
}

// Limits of feedback.
const (
	// FeedbackIDBytesMax is the longest feedback id.
	FeedbackIDBytesMax = 200
	// PredictionIDBytesMax is the longest prediction id.
	PredictionIDBytesMax = 256
	// NameBytesMax is the longest name, source, class, entity key and entity value.
	NameBytesMax = 256
	// TextBytesMax is the longest text and reason.
	TextBytesMax = 16 << 10
	// EntityKeysMax is how many keys name an entity at most.
	EntityKeysMax = 16
)

// Feedback is what somebody says became of a prediction.
type Feedback struct {
	// ID makes it idempotent: the same again counts once. Empty takes a hash of the content.
	ID string
	// PredictionID or Entity names what it is about, one of them. Entity, by key, is of the
	// nearest prediction before EventTime, see Definition.Match, and needs an EventTime.
	PredictionID string
	Entity       map[string]string
	// Name of the outcome, for example is_fraud.
	Name string
	// Kind; 0 is KindOutcome.
	Kind  Kind
	Value Value
	// Source is who says so; sources have priorities in a Definition.
	Source string
	// EventTime is when it happened, in microseconds since 1970; 0 is when it arrives.
	EventTime int64
	// Weight is finite and not negative. It is 1 if Weighted is false.
	Weight   float64
	Weighted bool
	// Reason is a text for people.
	Reason string
}

// Check says what is wrong with feedback as far as it can be told without a collector:
// what Submit would refuse whatever the labels, the clock and the ids that it knows.
func (f *Feedback) Check() error {
	c := *f
	return c.check()
}

// check completes feedback and says what is wrong with it.
func (f *Feedback) check() error {
	if f.Kind == 0 {
		f.Kind = KindOutcome
	}
	if !f.Weighted {
		f.Weight = 1
	}
	for _, part := range []struct {
		name, text string
		limit      int
		required   bool
	}{
		{"feedback_id", f.ID, FeedbackIDBytesMax, false}, {"prediction_id", f.PredictionID, PredictionIDBytesMax, false},
		{"name", f.Name, NameBytesMax, true}, {"source", f.Source, NameBytesMax, false}, {"reason", f.Reason, TextBytesMax, false},
	} {
		if err := checkText(part.name, part.text, part.limit, part.required); err != nil {
			return err
		}
	}
	switch {
	case int(f.Kind) >= len(kindNames):
		return fmt.Errorf("%w: kind: %d is none", ErrInvalid, f.Kind)
	case math.IsNaN(f.Weight) || math.IsInf(f.Weight, 0) || f.Weight < 0:
		return fmt.Errorf("%w: weight: %v is not a finite number >= 0", ErrInvalid, f.Weight)
	case f.EventTime < 0:
		return fmt.Errorf("%w: event_time: is before 1970", ErrInvalid)
	}
	if err := f.checkTarget(); err != nil {
		return err
	}
	return f.checkValue()
}

func checkText(name, text string, limit int, required bool) error {
	switch {
	case required && text == "":
		return fmt.Errorf("%w: %s: is required", ErrInvalid, name)
	case len(text) > limit:
		return fmt.Errorf("%w: %s: has %d bytes, at most %d", ErrInvalid, name, len(text), limit)
	case !utf8.ValidString(text):
		return fmt.Errorf("%w: %s: is not UTF-8", ErrInvalid, name)
	}
	return nil
}

func (f *Feedback) checkTarget() error {
	switch {
	case f.PredictionID == "" && len(f.Entity) == 0:
		return fmt.Errorf("%w: prediction_id: is required, or an entity and an event_time", ErrInvalid)
	case f.PredictionID != "" && len(f.Entity) > 0:
		return fmt.Errorf("%w: prediction_id and entity: give one of them", ErrInvalid)
	case len(f.Entity) > EntityKeysMax:
		return fmt.Errorf("%w: entity: has %d keys, at most %d", ErrInvalid, len(f.Entity), EntityKeysMax)
	case len(f.Entity) > 0 && f.EventTime == 0:
		return fmt.Errorf("%w: event_time: is required with an entity, to find the prediction", ErrInvalid)
	}
	for key, value := range f.Entity {
		if err := checkText("entity key", key, NameBytesMax, true); err != nil {
			return err
		}
		if err := checkText("entity."+key, value, NameBytesMax, true); err != nil {
			return err
		}
	}
	return nil
}

func (f *Feedback) checkValue() error {
	v := &f.Value
	switch v.Type {
	case TypeNull:
		if f.Kind != KindCorrection {
			return fmt.Errorf("%w: value: is required; only a correction may be null, to withdraw feedback", ErrInvalid)
		}
		if f.ID == "" {
			return fmt.Errorf("%w: feedback_id: is required to withdraw feedback", ErrInvalid)
		}
		*v = Value{}
	case TypeBool:
		*v = Bool(v.Number != 0)
	case TypeNumber:
		if math.IsNaN(v.Number) || math.IsInf(v.Number, 0) {
			return fmt.Errorf("%w: value: %v is not a finite number", ErrInvalid, v.Number)
		}
		*v = Number(v.Number + 0) // -0 is 0
	case TypeText:
		*v = Text(v.Text)
		return checkText("value", v.Text, TextBytesMax, true)
	case TypeClass:
		*v = Class(v.Text)
		return checkText("value", v.Text, NameBytesMax, true)
	default:
		return fmt.Errorf("%w: value: has the unknown type %d", ErrInvalid, v.Type)
	}
	return nil
}

// entityJSON is the entity in one form: keys in order.
func entityJSON(entity map[string]string) string {
	if len(entity) == 0 {
		return ""
	}
	text, err := json.Marshal(entity) // sorts the keys
	if err != nil {
		return "" // a map of strings always marshals
	}
	return string(text)
}

// fingerprints stand for feedback in the memory of what was seen.
type fingerprints struct {
	id, content [16]byte
	target      [8]byte
}

// fingerprint takes feedback that was checked, and gives it an id if it has none. timed
// says that the client gave the event time.
func (f *Feedback) fingerprint(timed bool) fingerprints {
	var p fingerprints
	event := f.EventTime
	if !timed {
		event = 0
	}
	p.target = targetHash(f.PredictionID, entityJSON(f.Entity), f.Name, event)
	content := sumOf(string(p.target[:]), f.Kind.String(), f.Value.Type.String(), number(f.Value.Number), f.Value.Text, f.Source,
		number(float64(event)), number(f.Weight), f.Reason)
	if f.ID == "" {
		f.ID = "hash-" + hex.EncodeToString(content[:16])
	}
	id := sumOf(f.ID)
	copy(p.id[:], id[:])
	copy(p.content[:], content[:])
	return p
}

// targetHash stands for what feedback is about: versions of one id count as such only
// if they agree in it. It is part of ids in the log, so it never changes.
func targetHash(predictionID, entity, name string, event int64) (h [8]byte) {
	at := ""
	if entity != "" {
		at = number(float64(event))
	}
	sum := sumOf(predictionID, entity, name, at)
	copy(h[:], sum[:])
	return h
}

func sumOf(parts ...string) [sha256.Size]byte {
	var buffer [256]byte
	b := buffer[:0]
	for _, p := range parts {
		b = append(binary.AppendUvarint(b, uint64(len(p))), p...)
	}
	return sha256.Sum256(b)
}

func number(x float64) string {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], math.Float64bits(x))
	return string(b[:])
}

// recordID is the id of feedback in the log.
func recordID(feedbackID string, target [8]byte) string {
	return feedbackID + "/" + hex.EncodeToString(target[:])
}

// micros is a time as this package has it.
func micros(t time.Time) int64 { return t.UnixMicro() }

func compareInts(pairs ...int64) int {
	for i := 0; i+1 < len(pairs); i += 2 {
		if c := cmp.Compare(pairs[i], pairs[i+1]); c != 0 {
			return c
		}
	}
	return 0
}
