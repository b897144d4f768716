// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/millrace-ml/millrace/featurestore/dataset"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/offline"
	"github.com/millrace-ml/millrace/featurestore/plan"
	"github.com/millrace-ml/millrace/labeling/groundtruth"
	"github.com/millrace-ml/millrace/labeling/groundtruth/table"
	"github.com/millrace-ml/millrace/serving/frontend/policy"
	"github.com/millrace-ml/millrace/training"
	"github.com/millrace-ml/millrace/training/split"
)

// outcomesSet asks an outcomes task for a training set in place of the plain table.
type outcomesSet struct {
	// EarlyFrom are sources that say yes and no alike before the window is over, see
	// groundtruth.JoinOptions.
	EarlyFrom []string `json:"early_from"`
	// Carry are facts that become columns.
	Carry []string `json:"carry"`
	// Test are the newest mature days, which judge; what is within Gap of them is in no part.
	Test split.Duration `json:"test"`
	Gap  split.Duration `json:"gap"`
}

func (s *outcomesSet) validate() error {
	if s.Test < 0 || s.Gap < 0 || s.Gap > 0 && s.Test == 0 {
		return errors.New("with.dataset: give test, and no more than that a gap, as durations such as 3d")
	}
	return nil
}

// setRows adds to the rows of a joined table what makes them a training set: the label and
// the time by the names that the project has for them, facts, and the part that a row is in.
type setRows struct {
	asked   *outcomesSet
	label   *groundtruth.Definition
	columns []offline.Column
	// first and end bound the test days, in microseconds.
	first, end int64
	values     []offline.Value
	// history is the file of a training set to learn from besides, empty for none.
	history string
	// parts and sources count rows by part and by who gave the label, early those whose window
	// is not over, left those without a vector to learn from.
	parts, sources map[string]int64
	early, left    int64
}

// partColumn says which part a row is in, for a split by column.
const partColumn = "part"

// partNone is the part of rows that are close to the test days.
const partNone = ""

func newSetRows(asked *outcomesSet, label *groundtruth.Definition, p *policy.Policy, asOf int64) (*setRows, error) {
	s := &setRows{asked: asked, label: label, parts: map[string]int64{}, sources: map[string]int64{}}
	s.end = asOf - label.Window.Microseconds()
	s.first = s.end - int64(asked.Test)/1000
	s.columns = []offline.Column{{Name: label.Outcome, Type: labelType(label.Type)}, {Name: timeColumn(p.Service), Type: offline.TypeTimestamp}, {Name: partColumn, Type: offline.TypeString}}
	for _, name := range asked.Carry {
		at := slices.IndexFunc(p.Facts, func(f definition.Field) bool { return f.Name == name })
		if at < 0 {
			return nil, fmt.Errorf("with.dataset.carry: decision %s has no fact %q", p.Name, name)
		}
		s.columns = append(s.columns, offline.Column{Name: name, Type: plan.LogType(p.Facts[at].Type)})
	}
	s.values = make([]offline.Value, len(s.columns))
	return s, nil
}

// timeColumn is what the service calls the moment that a row is of.
func timeColumn(s *definition.Service) string {
	if s.Time >= 0 {
		return s.Request[s.Time].Name
	}
	return "event_timestamp"
}

func labelType(t groundtruth.ValueType) offline.Type {
	switch t {
	case groundtruth.TypeBool:
		return offline.TypeBool
	case groundtruth.TypeNumber:
		return offline.TypeFloat64
	}
	return offline.TypeString
}

// part is where a row belongs. A row whose window is not over cannot judge: only some of
// these have a label, and who chose them went by the score.
func (s *setRows) part(r *groundtruth.Row) string {
	switch gap := int64(s.asked.Gap) / 1000; {
	case s.asked.Test == 0:
		return training.PartTrain
	case r.Label.Mature && r.Time >= s.first:
		return training.PartTest
	case r.Time >= s.first-gap && r.Time < s.end+gap:
		return partNone
	}
	return training.PartTrain
}

// fill adds the columns to a row with its features; false leaves the row out.
func (s *setRows) fill(r *groundtruth.Row, known bool) (bool, error) {
	if !known || !slices.ContainsFunc(r.Extra, func(v offline.Value) bool { return !v.IsNull() }) {
		s.left++
		return false, nil
	}
	part := s.part(r)
	s.parts[part]++
	s.values[0], s.values[1], s.values[2] = labelValue(r.Label.Value), offline.Timestamp(r.Time), offline.Value{}
	if part != partNone {
		s.values[2] = offline.String(part)
		s.sources[r.Label.Source]++
		if !r.Label.Mature {
			s.early++
		}
	}
	if err := s.carry(r.Facts); err != nil {
		return false, fmt.Errorf("prediction %s: %w", r.PredictionID, err)
	}
	r.Extra = append(slices.Clip(r.Extra), s.values...)
	return true, nil
}

func (s *setRows) carry(facts string) error {
	if len(s.asked.Carry) == 0 {
		return nil
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal([]byte(facts), &fields); err != nil {
		return fmt.Errorf("facts: %w", err)
	}
	for i, name := range s.asked.Carry {
		v, err := factValue(s.columns[3+i].Type, fields[name])
		if err != nil {
			return fmt.Errorf("fact %s: %w", name, err)
		}
		s.values[3+i] = v
	}
	return nil
}

// factValue reads a fact as the log has it; nothing and null are null.
func factValue(t offline.Type, raw json.RawMessage) (v offline.Value, err error) {
	if len(raw) == 0 || string(raw) == "null" {
		return v, nil
	}
	read := func(to any) { err = json.Unmarshal(raw, to) }
	var text string
	var number float64
	var whole int64
	var yes bool
	switch t {
	case offline.TypeString:
		read(&text)
		return offline.String(text), err
	case offline.TypeBool:
		read(&yes)
		return offline.Bool(yes), err
	case offline.TypeFloat64:
		read(&number)
		return offline.Float64(number), err
	case offline.TypeTimestamp:
		read(&whole)
		return offline.Timestamp(whole), err
	}
	read(&whole)
	return offline.Int64(whole), err
}

func labelValue(v groundtruth.Value) offline.Value {
	switch v.Type {
	case groundtruth.TypeBool:
		return offline.Bool(v.Number != 0)
	case groundtruth.TypeNumber:
		return offline.Float64(v.Number)
	}
	return offline.String(v.Text)
}

// write writes the manifest beside the table, so that training and judging take the rows as
// they take those of features.
func (s *setRows) write(ctx context.Context, c *definition.Catalog, v *vectorColumns, f *joinFlags, rows int64) error {
	service := v.service.Hash()
	m := &dataset.Manifest{
		Version: version, Service: v.service.Name, ServiceHash: hex.EncodeToString(service[:]), DefinitionsHash: hex.EncodeToString(c.Hash[:]),
		Labels: dataset.LabelsAsked{Labels: dataset.Labels{Names: []string{s.label.Outcome}, Time: s.columns[1].Name, Carry: s.asked.Carry}},
		AsOf:   formatMicros(f.options.AsOf), Rows: dataset.Rows{In: rows + s.left},
	}
	if f.options.From > 0 {
		m.From = formatMicros(f.options.From)
	}
	if s.left > 0 {
		m.Rows.Dropped = map[string]int64{"no vector of these definitions": s.left}
	}
	add := func(name, role string, t offline.Type) {
		m.Columns = append(m.Columns, dataset.Column{Name: name, Type: t.String(), Role: role})
	}
	for i, one := range s.columns {
		role := "carried"
		if i == 0 {
			role = "label"
		}
		add(one.Name, role, one.Type)
	}
	for _, one := range v.columns {
		add(one.Name, "feature", one.Type)
	}
	for _, name := range table.Names() {
		m.Columns = append(m.Columns, dataset.Column{Name: name, Role: "outcome"})
	}
	return m.WriteOther(ctx, f.output, rows)
}

// sourcesMax bounds the sources that are told apart in a task's values.
const sourcesMax = 16

// fromPrefix is before the names of values that count labels by who gave them.
const fromPrefix = "from_"

// setValues are what the task says of the training set: how many rows judge, how many are
// early, and who gave the labels that are learnt from or judge; silence is nobody.
func (s *setRows) setValues(values map[string]any) {
	values["test_rows"], values["train_rows"], values["early"] = s.parts[training.PartTest], s.parts[training.PartTrain], s.early
	for name, n := range s.sources {
		name = fromPrefix + strings.Trim(notInNames.ReplaceAllString(strings.ToLower(name), "_"), "_")
		if name == fromPrefix {
			name += "silence"
		}
		if before, ok := values[name].(int64); ok {
			n += before
		} else if len(values) >= sourcesMax {
			continue
		}
		values[name] = n
	}
}
