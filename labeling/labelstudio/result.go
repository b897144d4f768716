// SPDX-License-Identifier: Apache-2.0

package labelstudio

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"unicode/utf16"

	"github.com/millrace-ml/millrace/labeling"
)

// result is one result of an annotation or prediction.
type result struct {
	ID       string      `json:"id,omitempty"`
	FromName string      `json:"from_name"`
	ToName   string      `json:"to_name"`
	Type     string      `json:"type"`
	Value    resultValue `json:"value"`
}

type resultValue struct {
	Choices []string `json:"choices,omitempty"`
	Rating  *float64 `json:"rating,omitempty"`
	Number  *float64 `json:"number,omitempty"`
	Labels  []string `json:"labels,omitempty"`
	Start   *int     `json:"start,omitempty"`
	End     *int     `json:"end,omitempty"`
	Text    *string  `json:"text,omitempty"`
}

// encode is a value as results; text is what spans are in.
func (c *Config) encode(v *labeling.Value, text string) []result {
	out := []result{}
	add := func(value resultValue) {
		out = append(out, result{ID: fmt.Sprintf("r%d", len(out)), FromName: c.From, ToName: c.To, Type: c.kind(), Value: value})
	}
	switch c.kind() {
	case "choices":
		if len(v.Choices) > 0 {
			add(resultValue{Choices: v.Choices})
		}
	case "rating":
		add(resultValue{Rating: v.Number})
	case "number":
		add(resultValue{Number: v.Number})
	default:
		letters := []rune(text)
		for _, s := range v.Spans {
			part := string(letters[max(0, min(s.Start, len(letters))):max(0, min(s.End, len(letters)))])
			add(resultValue{Labels: []string{s.Label}, Start: &s.Start, End: &s.End, Text: &part})
		}
	}
	return out
}

// decode is the value of results, checked against the label set.
func (c *Config) decode(results []result, text string) (labeling.Value, error) {
	var v labeling.Value
	for i := range results {
		r := &results[i]
		if c.From != "" && r.FromName != c.From {
			continue
		}
		if r.Type != c.kind() {
			return v, fmt.Errorf("result[%d]: type %.50q, want %q", i, r.Type, c.kind())
		}
		switch r.Type {
		case "choices":
			v.Choices = append(v.Choices, r.Value.Choices...)
		case "rating":
			v.Number = r.Value.Rating
		case "number":
			v.Number = r.Value.Number
		default:
			start, end, err := r.Value.place(text)
			if err != nil {
				return v, fmt.Errorf("result[%d].value: %w", i, err)
			}
			for _, l := range r.Value.Labels {
				v.Spans = append(v.Spans, labeling.Span{Start: start, End: end, Label: l})
			}
		}
	}
	v, err := c.Labels.Check(v, text)
	if err != nil {
		return v, fmt.Errorf("result: %w", err)
	}
	return v, nil
}

// place is where a span is, in characters.
func (v *resultValue) place(text string) (start, end int, err error) {
	if v.Start == nil || v.End == nil {
		return 0, 0, errors.New("start and end are missing")
	}
	start, end = *v.Start, *v.End
	letters := []rune(text)
	inside := start >= 0 && start < end
	if v.Text == nil || inside && end <= len(letters) && string(letters[start:end]) == *v.Text {
		return start, end, nil
	}
	units := utf16.Encode(letters)
	if inside && end <= len(units) && string(utf16.Decode(units[start:end])) == *v.Text {
		before := len(utf16.Decode(units[:start]))
		return before, before + len(utf16.Decode(units[start:end])), nil
	}
	return 0, 0, fmt.Errorf("text %.60q is not what the task has from %d to %d", *v.Text, start, end)
}

// textOf is the text that spans of a task are in, empty for other kinds.
func (c *Config) textOf(data json.RawMessage) string {
	if c.Labels.Kind != labeling.Spans {
		return ""
	}
	var fields map[string]json.RawMessage
	var text string
	if json.Unmarshal(data, &fields) != nil || json.Unmarshal(fields[c.Labels.Text], &text) != nil {
		return "" // the store says what is wrong with the data
	}
	return text
}

// fits tells whether a configuration may be used for a project.
func (c *Config) fits(p *labeling.Project) error {
	same := slices.EqualFunc(c.Labels.Labels, p.Labels.Labels, func(a, b labeling.Label) bool { return a.Name == b.Name })
	if c.Labels.Kind != p.Labels.Kind || !same {
		return fmt.Errorf("%w: the configuration's labels are not those of project %q", ErrFormat, p.Name)
	}
	return nil
}
