// SPDX-License-Identifier: Apache-2.0

package labeling

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"unicode/utf8"
)

// Kind is what an annotation is.
type Kind string

// The kinds of label sets.
const (
	// Single is one label of the set.
	Single Kind = "single"
	// Multiple is any number of labels of the set.
	Multiple Kind = "multiple"
	// Number is a number between bounds.
	Number Kind = "number"
	// Spans are labelled parts of a text.
	Spans Kind = "spans"
)

// Bounds of label sets and values.
const (
	// LabelsMax is the largest number of labels of a set.
	LabelsMax = 1000
	// LabelBytesMax is the longest label.
	LabelBytesMax = 200
	// SpansMax is the largest number of spans of a value.
	SpansMax = 2000
)

// Label is one label of a set.
type Label struct {
	// Name is the label: 1 to LabelBytesMax bytes of UTF-8.
	Name string `json:"name"`
	// Title is what people read; empty is Name.
	Title string `json:"title,omitempty"`
	// Key is the key that gives it: one character, unique in the set; empty leaves it to
	// the page.
	Key string `json:"key,omitempty"`
}

// LabelSet says what an annotation may be.
type LabelSet struct {
	Kind Kind `json:"kind"`
	// Labels are the labels of all kinds but Number.
	Labels []Label `json:"labels,omitempty"`
	// Min and Max bound a Number, both included; both 0 is no bound.
	Min float64 `json:"min,omitempty"`
	Max float64 `json:"max,omitempty"`
	// Tolerance is how far Numbers may lie apart and still agree.
	Tolerance float64 `json:"tolerance,omitempty"`
	// Text is the field of a task's data that Spans are in. It must be given for them.
	Text string `json:"text,omitempty"`
}

// Span is a labelled part of a text.
type Span struct {
	// Start and End count code points, not bytes, from the start of the text; End is the
	// first behind the span.
	Start int    `json:"start"`
	End   int    `json:"end"`
	Label string `json:"label"`
}

// Value is an annotation's content, or a prediction's: that of one kind of label set.
type Value struct {
	// Choices are the labels of Single (one) and Multiple (in the order of the set).
	Choices []string `json:"choices,omitempty"`
	// Number is the number of Number.
	Number *float64 `json:"number,omitempty"`
	// Spans are those of Spans, in the order of their places.
	Spans []Span `json:"spans,omitempty"`
}

// Choose is the value of a Single or Multiple label set.
func Choose(labels ...string) Value { return Value{Choices: labels} }

// Num is the value of a Number label set.
func Num(v float64) Value { return Value{Number: &v} }

// Validate reports everything that is wrong with the set. The error wraps ErrInvalid.
func (l *LabelSet) Validate() error {
	var problems []error
	bad := func(format string, args ...any) { problems = append(problems, fmt.Errorf(format, args...)) }
	switch l.Kind {
	case Single, Multiple, Spans:
		if len(l.Labels) == 0 || len(l.Labels) > LabelsMax {
			bad("labels: %d given, want 1 to %d", len(l.Labels), LabelsMax)
		}
		if l.Min != 0 || l.Max != 0 || l.Tolerance != 0 {
			bad("min, max and tolerance are for kind %s", Number)
		}
	case Number:
		if len(l.Labels) > 0 {
			bad("labels: kind %s has none", Number)
		}
		if !(l.Min <= l.Max) || math.IsInf(l.Min, 0) || math.IsInf(l.Max, 0) {
			bad("min %v and max %v: want finite numbers in this order", l.Min, l.Max)
		}
		if !(l.Tolerance >= 0) || math.IsInf(l.Tolerance, 0) {
			bad("tolerance: %v is below 0 or not finite", l.Tolerance)
		}
	default:
		bad("kind: %q is none of %s, %s, %s, %s", l.Kind, Single, Multiple, Number, Spans)
	}
	if (l.Kind == Spans) != (l.Text != "") {
		bad("text: the field with the text is for kind %s, and must be given there", Spans)
	}
	problems = append(problems, l.validateLabels()...)
	if err := errors.Join(problems...); err != nil {
		return fmt.Errorf("%w label set: %w", ErrInvalid, err)
	}
	return nil
}

func (l *LabelSet) validateLabels() (problems []error) {
	names, keys := map[string]int{}, map[string]int{}
	for i, label := range l.Labels[:min(len(l.Labels), LabelsMax)] {
		if label.Name == "" || len(label.Name) > LabelBytesMax || !utf8.ValidString(label.Name) {
			problems = append(problems, fmt.Errorf("labels[%d].name: want 1 to %d bytes of UTF-8", i, LabelBytesMax))
		}
		if before, twice := names[label.Name]; twice {
			problems = append(problems, fmt.Errorf("labels[%d].name: %q is that of labels[%d]", i, label.Name, before))
		}
		if len(label.Title) > LabelBytesMax || !utf8.ValidString(label.Title) {
			problems = append(problems, fmt.Errorf("labels[%d].title: want at most %d bytes of UTF-8", i, LabelBytesMax))
		}
		names[label.Name] = i
		if label.Key == "" {
			continue
		}
		if utf8.RuneCountInString(label.Key) != 1 || !utf8.ValidString(label.Key) {
			problems = append(problems, fmt.Errorf("labels[%d].key: %q is not one character", i, label.Key))
		}
		if before, twice := keys[label.Key]; twice {
			problems = append(problems, fmt.Errorf("labels[%d].key: %q is that of labels[%d]", i, label.Key, before))
		}
		keys[label.Key] = i
	}
	return problems
}

// index is the place of a label in the set, -1 if it has none.
func (l *LabelSet) index(name string) int {
	return slices.IndexFunc(l.Labels, func(x Label) bool { return x.Name == name })
}

// Check brings a value into its one form (the order of choices and spans), or says why
// it does not fit: the error wraps ErrInvalidValue. Text is what spans are in.
func (l *LabelSet) Check(v Value, text string) (Value, error) {
	out, err := l.check(v, text)
	if err != nil {
		return Value{}, fmt.Errorf("%w: %w", ErrInvalidValue, err)
	}
	return out, nil
}

func (l *LabelSet) check(v Value, text string) (Value, error) {
	choices := l.Kind == Single || l.Kind == Multiple
	switch {
	case len(v.Choices) > 0 && !choices:
		return v, fmt.Errorf("choices are not for kind %s", l.Kind)
	case v.Number != nil && l.Kind != Number:
		return v, fmt.Errorf("number is not for kind %s", l.Kind)
	case len(v.Spans) > 0 && l.Kind != Spans:
		return v, fmt.Errorf("spans are not for kind %s", l.Kind)
	case choices:
		return l.checkChoices(v)
	case l.Kind == Spans:
		return l.checkSpans(v, text)
	case v.Number == nil:
		return v, errors.New("number is missing")
	}
	x := *v.Number
	if math.IsNaN(x) || math.IsInf(x, 0) {
		return v, fmt.Errorf("number: %v is not finite", x)
	}
	if (l.Min != 0 || l.Max != 0) && (x < l.Min || x > l.Max) {
		return v, fmt.Errorf("number: %v is not in %v to %v", x, l.Min, l.Max)
	}
	return Num(x), nil
}

func (l *LabelSet) checkChoices(v Value) (Value, error) {
	if l.Kind == Single && len(v.Choices) != 1 {
		return v, fmt.Errorf("choices: %d given, want one", len(v.Choices))
	}
	if len(v.Choices) > len(l.Labels) {
		return v, fmt.Errorf("choices: %d given of %d labels", len(v.Choices), len(l.Labels))
	}
	places := make([]int, len(v.Choices))
	for i, c := range v.Choices {
		if places[i] = l.index(c); places[i] < 0 {
			return v, fmt.Errorf("choices[%d]: label %.100q is not in the set", i, c)
		}
	}
	slices.Sort(places)
	out := Value{Choices: make([]string, len(places))}
	for i, p := range places {
		if i > 0 && p == places[i-1] {
			return v, fmt.Errorf("choices: label %q is given twice", l.Labels[p].Name)
		}
		out.Choices[i] = l.Labels[p].Name
	}
	return out, nil
}

func (l *LabelSet) checkSpans(v Value, text string) (Value, error) {
	if len(v.Spans) > SpansMax {
		return v, fmt.Errorf("spans: %d given, at most %d are taken", len(v.Spans), SpansMax)
	}
	length := utf8.RuneCountInString(text)
	for i, s := range v.Spans {
		if l.index(s.Label) < 0 {
			return v, fmt.Errorf("spans[%d]: label %.100q is not in the set", i, s.Label)
		}
		if s.Start < 0 || s.End <= s.Start || s.End > length {
			return v, fmt.Errorf("spans[%d]: %d to %d is not a part of a text of %d characters", i, s.Start, s.End, length)
		}
	}
	out := Value{Spans: slices.Clone(v.Spans)}
	slices.SortFunc(out.Spans, func(a, b Span) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.End, b.End), cmp.Compare(a.Label, b.Label))
	})
	for i := range out.Spans {
		if i > 0 && out.Spans[i] == out.Spans[i-1] {
			return v, fmt.Errorf("spans: %d to %d is labelled %q twice", out.Spans[i].Start, out.Spans[i].End, out.Spans[i].Label)
		}
	}
	return out, nil
}

// Key is a text that two checked values share if and only if they are equal.
func (v Value) Key() string {
	b, err := json.Marshal(v)
	if err != nil {
		return "" // numbers are finite, so a checked value always marshals
	}
	return string(b)
}

// parseValue reads a stored value.
func parseValue(text string) (Value, error) {
	var v Value
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.DisallowUnknownFields()
	err := d.Decode(&v)
	return v, err
}

// empty tells whether there is nothing in the value, which is a valid value of Multiple
// and Spans.
func (v *Value) empty() bool {
	return len(v.Choices) == 0 && v.Number == nil && len(v.Spans) == 0
}
