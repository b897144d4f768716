// SPDX-License-Identifier: Apache-2.0

package labeling

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"
	"unicode/utf8"
)

// Bounds of tasks.
const (
	// DataBytesMax is the largest data of a task.
	DataBytesMax = 256 << 10
	// ReasonsMax is the largest number of reasons of a prediction.
	ReasonsMax = 50
	// ReasonBytesMax is the longest reason or comment.
	ReasonBytesMax = 2000
)

// Task is something to label.
type Task struct {
	// ID names it in its project: 1 to TaskIDBytesMax bytes of UTF-8, such as a
	// prediction id.
	ID string `json:"id"`
	// Data is what people see: a JSON object of at most DataBytesMax, kept as it came.
	Data json.RawMessage `json:"data"`
	// At is when what it shows happened; zero is when the task is added.
	At time.Time `json:"at,omitzero"`
	// Gold is the known answer of a gold task.
	Gold *Value `json:"gold,omitempty"`
	// Suggestion is the priority and prediction that it begins with.
	Suggestion
}

// Suggestion is what a model and a selection say of a task. The newest one counts.
type Suggestion struct {
	// Priority orders tasks: higher ones are handed out first. It is finite.
	Priority float64 `json:"priority,omitempty"`
	// Chosen says why the task was chosen.
	Chosen *Chosen `json:"chosen,omitempty"`
	// Prediction is the model's guess.
	Prediction *Prediction `json:"prediction,omitempty"`
}

// Chosen says why a task was chosen to be labelled.
type Chosen struct {
	// Strategy is the rule that chose it, as "random" or "margin".
	Strategy string `json:"strategy"`
	// Score is what the rule gave it.
	Score float64 `json:"score"`
	// Propensity is the probability with which the random slice had it, in (0, 1]; 0 if it
	// is not of the random slice. Estimates weigh by its inverse.
	Propensity float64 `json:"propensity,omitempty"`
	// Why is a sentence for people.
	Why string `json:"why,omitempty"`
	// Slice is the slice of the data that it belongs to.
	Slice string `json:"slice,omitempty"`
}

// Prediction is a model's guess at the label: a pre-label.
type Prediction struct {
	Model   string `json:"model"`
	Version string `json:"version,omitempty"`
	Value   Value  `json:"value"`
	// Score is the model's confidence, 0 to 1.
	Score float64 `json:"score"`
	// Reasons say what the guess rests on, most important first.
	Reasons []string `json:"reasons,omitempty"`
}

// check validates the task for a project and brings its values into their one form.
func (t *Task) check(p *Project) error {
	if t.ID == "" || len(t.ID) > TaskIDBytesMax || !utf8.ValidString(t.ID) {
		return fmt.Errorf("id: want 1 to %d bytes of UTF-8", TaskIDBytesMax)
	}
	if len(t.Data) > DataBytesMax {
		return fmt.Errorf("data: %d bytes, at most %d are taken", len(t.Data), DataBytesMax)
	}
	if b := bytes.TrimLeft(t.Data, " \t\r\n"); len(b) == 0 || b[0] != '{' || !json.Valid(b) || !utf8.Valid(b) {
		return errors.New("data: want a JSON object")
	}
	if !t.At.IsZero() && (t.At.Year() < 1970 || t.At.Year() > 9999) {
		return fmt.Errorf("at: %v is not in 1970 to 9999", t.At)
	}
	text, err := taskText(p, t.Data)
	if err != nil {
		return err
	}
	if t.Gold != nil {
		gold, err := p.Labels.Check(*t.Gold, text)
		if err != nil {
			return fmt.Errorf("gold: %w", err)
		}
		t.Gold = &gold
	}
	return t.Suggestion.check(p, text)
}

// check validates a suggestion and brings its values into their one form.
func (s *Suggestion) check(p *Project, text string) error {
	if math.IsNaN(s.Priority) || math.IsInf(s.Priority, 0) {
		return fmt.Errorf("priority: %v is not finite", s.Priority)
	}
	if c := s.Chosen; c != nil {
		if math.IsNaN(c.Score) || math.IsInf(c.Score, 0) {
			return fmt.Errorf("chosen.score: %v is not finite", c.Score)
		}
		if !(c.Propensity >= 0 && c.Propensity <= 1) {
			return fmt.Errorf("chosen.propensity: %v is not in 0 to 1", c.Propensity)
		}
		if len(c.Strategy) > LabelBytesMax || len(c.Slice) > ReasonBytesMax || len(c.Why) > ReasonBytesMax ||
			!utf8.ValidString(c.Strategy) || !utf8.ValidString(c.Slice) || !utf8.ValidString(c.Why) {
			return fmt.Errorf("chosen: want texts of at most %d bytes of UTF-8", ReasonBytesMax)
		}
	}
	if s.Prediction == nil {
		return nil
	}
	g := *s.Prediction
	if !(g.Score >= 0 && g.Score <= 1) {
		return fmt.Errorf("prediction.score: %v is not in 0 to 1", g.Score)
	}
	if len(g.Model) > LabelBytesMax || len(g.Version) > LabelBytesMax || len(g.Reasons) > ReasonsMax {
		return fmt.Errorf("prediction: want model and version of at most %d bytes and at most %d reasons", LabelBytesMax, ReasonsMax)
	}
	for i, r := range g.Reasons {
		if len(r) > ReasonBytesMax || !utf8.ValidString(r) {
			return fmt.Errorf("prediction.reasons[%d]: want at most %d bytes of UTF-8", i, ReasonBytesMax)
		}
	}
	var err error
	if g.Value, err = p.Labels.Check(g.Value, text); err != nil {
		return fmt.Errorf("prediction: %w", err)
	}
	s.Prediction = &g
	return nil
}

// taskText is the text that spans of a task are in, empty for other kinds.
func taskText(p *Project, data json.RawMessage) (string, error) {
	if p.Labels.Kind != Spans {
		return "", nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(data, &fields); err != nil {
		return "", fmt.Errorf("data: %w", err)
	}
	var text string
	if err := json.Unmarshal(fields[p.Labels.Text], &text); err != nil || fields[p.Labels.Text] == nil {
		return "", fmt.Errorf("data.%s: want the text that spans are in", p.Labels.Text)
	}
	return text, nil
}

// empty tells whether there is nothing to store.
func (s *Suggestion) empty() bool {
	return s.Priority == 0 && s.Chosen == nil && s.Prediction == nil
}

// bytes is about what a task takes in memory.
func (t *Task) bytes() int64 {
	return taskBytes + int64(len(t.ID)+len(t.Data)) + t.Suggestion.bytes()
}

// bytes is about what a suggestion takes in memory.
func (s *Suggestion) bytes() int64 {
	size := 100
	if c := s.Chosen; c != nil {
		size += 100 + len(c.Strategy) + len(c.Why) + len(c.Slice)
	}
	if g := s.Prediction; g != nil {
		size += 200 + len(g.Model) + len(g.Version) + g.Value.bytes()
		for _, r := range g.Reasons {
			size += 16 + len(r)
		}
	}
	return int64(size)
}

// bytes is about what a value takes in memory; labels are counted, though they are shared.
func (v *Value) bytes() int {
	size := 60 + 40*len(v.Spans)
	for _, c := range v.Choices {
		size += 16 + len(c)
	}
	return size
}
