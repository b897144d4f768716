// SPDX-License-Identifier: Apache-2.0

// Package split divides rows into those that a model learns from, those that stop and
// calibrate it, and those that judge it.
//
// The methods of a Plan:
//
//   - time: windows one after another, train, valid, calibrate, gap, test, from each of
//     several starts; or the last share of the rows as test.
//   - prequential: test windows one after another, each behind the window that is learnt
//     from for it, which rolls on or grows (Dawid 1984; Gama et al. 2013, "On evaluating
//     stream learning algorithms").
//   - group: all rows of a group, such as a customer, are on one side.
//   - random: at random, with each class on both sides in its share.
//   - column: a column says which.
//
// Windows include their start and not their end; dates are UTC. Rows that are taken from
// the train window for valid and calibrate are its last ones in time, whole groups, or
// random ones, as the method has it.
//
// Invariants:
//
//	S1  No row is in two parts of a fold, and every part that was asked for has rows.
//	S2  With time and prequential every row of test is later than what is learnt from by
//	    the gap at least.
//	S3  Equal plans and rows give equal folds; chance comes from the seed alone.
//
// A Plan is plain data. Split may be called from many goroutines.
package split

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
)

// ErrPlan means that a plan is not sound, or asks for what the rows do not have.
var ErrPlan = errors.New("invalid split")

// ErrEmpty means that a part of a fold that the plan asks for has no rows.
var ErrEmpty = errors.New("empty part")

// The methods.
const (
	MethodTime        = "time"
	MethodPrequential = "prequential"
	MethodGroup       = "group"
	MethodRandom      = "random"
	MethodColumn      = "column"
)

// The windows of the method prequential.
const (
	WindowRolling = "rolling"
	WindowGrowing = "growing"
)

const (
	// FoldsMax bounds the folds of a plan.
	FoldsMax = 10_000
	// excludedMax bounds how often rows are looked at for exclude_known: folds x rows.
	excludedMax = 1 << 31
	// heldMax bounds the row numbers that the folds of group and random hold, 4 bytes each.
	heldMax = 1 << 28
)

// Plan says how rows are divided.
type Plan struct {
	Method string `yaml:"method" json:"method"`
	// Start is where the train window of each fold begins (time), or the first (prequential).
	Start Dates `yaml:"start" json:"start,omitempty"`
	// Train is the length of the train window. Without it train is all that is before.
	Train Size `yaml:"train" json:"train,omitzero"`
	// Valid and Calibrate are windows behind the train window, or shares of its rows.
	Valid     Size `yaml:"valid" json:"valid,omitzero"`
	Calibrate Size `yaml:"calibrate" json:"calibrate,omitzero"`
	// Gap lies before test: labels that are not known yet when the model is made.
	Gap Size `yaml:"gap" json:"gap,omitzero"`
	// Test is a window, or a share of the rows: 20 % if not given.
	Test Size `yaml:"test" json:"test,omitzero"`
	// Window is rolling (the default) or growing; Step is from one test window to the next,
	// the length of test if not given (prequential).
	Window string `yaml:"window" json:"window,omitempty"`
	Step   Size   `yaml:"step" json:"step,omitzero"`
	// Folds is how many parts are test in turn (group, random), or how many test windows,
	// the last ones, there are at most (prequential). 0 is one, and all.
	Folds int `yaml:"folds" json:"folds,omitempty"`
	// Column has train, valid, calibrate, test, or nothing for rows that are left out.
	Column string `yaml:"column" json:"column,omitempty"`
	// Seed makes the chance of group and random, and of shares of column.
	Seed         uint64        `yaml:"seed" json:"seed,omitempty"`
	ExcludeKnown *ExcludeKnown `yaml:"exclude_known" json:"exclude_known,omitempty"`
}

// ExcludeKnown leaves rows out of test whose group was known to be positive: it had a
// positive label, since the start of the fold's train window, that was known by the start
// of the row's day (UTC). Users have acted on such a group; finding it again is no merit.
type ExcludeKnown struct {
	// Group is the column that names groups.
	Group string `yaml:"group" json:"group"`
	// Delay is from a row to when its label is known.
	Delay Duration `yaml:"delay" json:"delay"`
}

// Parse reads a plan from YAML and checks it. Errors wrap ErrPlan.
func Parse(data []byte) (p *Plan, err error) {
	defer func() { // the parser is not ours: a fault in it is a refused text, no crash
		if fault := recover(); fault != nil {
			p, err = nil, fmt.Errorf("%w: the text cannot be parsed: %v", ErrPlan, fault)
		}
	}()
	p = &Plan{}
	if err := yaml.UnmarshalWithOptions(data, p, yaml.Strict()); err != nil {
		return nil, fmt.Errorf("%w: %s", ErrPlan, yaml.FormatError(err, false, true))
	}
	return p, p.Validate()
}

// Validate reports all that is wrong with the plan by itself. Errors wrap ErrPlan.
func (p *Plan) Validate() error {
	var problems []error
	bad := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("%w: %w", ErrPlan, fmt.Errorf(format, args...)))
	}
	use, known := uses[p.Method]
	if !known {
		bad("method %q: it is one of time, prequential, group, random, column", p.Method)
		return errors.Join(problems...)
	}
	for _, f := range p.fields() {
		switch {
		case !f.given:
		case !strings.Contains(use, " "+f.name+" "):
			bad("%s has no meaning for the method %s", f.name, p.Method)
		case f.size != nil && !f.size.sound():
			bad("%s is neither a duration, a share below 1, rows nor dates", f.name)
		case f.size != nil && f.size.Share > 0 && !strings.Contains(shares[p.Method], " "+f.name+" "):
			bad("%s: a share has no meaning here; give a duration such as 7d", f.name)
		case f.size != nil && f.size.Share == 0 && !p.timed():
			bad("%s: %s is no share such as 20%%", f.name, f.size)
		}
	}
	if p.Folds < 0 || p.Folds > FoldsMax || (p.Folds == 1 && p.Method != MethodPrequential) {
		bad("folds is %d; give 2 to %d", p.Folds, FoldsMax)
	}
	if len(p.Start) > FoldsMax {
		bad("start has %d dates, at most %d are allowed", len(p.Start), FoldsMax)
	}
	if p.Valid.Share+p.Calibrate.Share >= 1 {
		bad("valid and calibrate take all rows")
	}
	if p.ExcludeKnown != nil {
		if p.ExcludeKnown.Group == "" {
			bad("exclude_known.group is missing: the column that names groups")
		}
		if p.ExcludeKnown.Delay < 0 {
			bad("exclude_known.delay is negative")
		}
	}
	problems = append(problems, p.validateMethod()...)
	return errors.Join(problems...)
}

// uses are the fields that a method takes, and shares those that may be shares.
var (
	uses = map[string]string{
		MethodTime:        " start train valid calibrate gap test exclude_known ",
		MethodPrequential: " start train valid calibrate gap test window step folds exclude_known ",
		MethodGroup:       " valid calibrate test folds seed ",
		MethodRandom:      " valid calibrate test folds seed ",
		MethodColumn:      " column valid calibrate seed ",
	}
	shares = map[string]string{
		MethodTime:        " valid calibrate test ",
		MethodPrequential: " valid calibrate ",
		MethodGroup:       " valid calibrate test ",
		MethodRandom:      " valid calibrate test ",
		MethodColumn:      " valid calibrate ",
	}
)

// field is a field of a plan by name.
type field struct {
	name  string
	given bool
	size  *Size
}

func (p *Plan) fields() []field {
	list := []field{
		{"start", len(p.Start) > 0, nil}, {"window", p.Window != "", nil}, {"folds", p.Folds != 0, nil},
		{"column", p.Column != "", nil}, {"seed", p.Seed != 0, nil}, {"exclude_known", p.ExcludeKnown != nil, nil},
	}
	for name, size := range map[string]*Size{"train": &p.Train, "valid": &p.Valid, "calibrate": &p.Calibrate, "gap": &p.Gap, "test": &p.Test, "step": &p.Step} {
		list = append(list, field{name, !size.IsZero(), size})
	}
	return list
}

// timed reports whether the method goes by time.
func (p *Plan) timed() bool { return p.Method == MethodTime || p.Method == MethodPrequential }

func (p *Plan) validateMethod() (problems []error) {
	bad := func(format string, args ...any) {
		problems = append(problems, fmt.Errorf("%w: %w", ErrPlan, fmt.Errorf(format, args...)))
	}
	switch p.Method {
	case MethodTime:
		p.validateTime(bad)
	case MethodPrequential:
		p.validatePrequential(bad)
	case MethodColumn:
		if p.Column == "" {
			bad("column is missing: the column that says which part a row is in")
		}
	default:
		if p.Folds > 0 && !p.Test.IsZero() {
			bad("folds and test say both how large test is: leave one out")
		}
		if p.Test.Share+p.Valid.Share+p.Calibrate.Share >= 1 {
			bad("test, valid and calibrate take all rows")
		}
	}
	return problems
}

type badFunc = func(format string, args ...any)

func (p *Plan) validateTime(bad badFunc) {
	for _, s := range []Size{p.Train, p.Valid, p.Calibrate, p.Gap, p.Test} {
		if s.Rows > 0 {
			bad("%s: windows of the method time are durations or dates", s)
		}
	}
	if !p.Gap.IsZero() && p.Gap.Duration == 0 {
		bad("gap: %s is no duration such as 7d", p.Gap)
	}
	windows := p.Train.Duration > 0 || p.Test.Duration > 0 || p.Valid.Duration > 0 || p.Calibrate.Duration > 0
	switch {
	case p.Train.Range != nil || p.Test.Range != nil:
		if p.Train.Range == nil || p.Test.Range == nil {
			bad("train and test are both given by dates, or none of them")
		}
		if len(p.Start) > 0 || windows {
			bad("parts given by dates need no start and have no durations beside them")
		}
		if !p.Gap.IsZero() {
			bad("gap: with dates for train and test, it is what lies between")
		}
	case len(p.Start) > 0:
		if p.Train.Duration <= 0 {
			bad("train is missing: with start, give its length, such as 7d")
		}
		if p.Test.Share > 0 {
			bad("test: with start, give its length, such as 7d")
		}
	case windows:
		bad("start is missing: where the train window begins")
	}
	for name, s := range map[string]Size{"valid": p.Valid, "calibrate": p.Calibrate} {
		if s.Range != nil && p.Train.Range == nil {
			bad("%s is given by dates, so train and test have to be", name)
		}
	}
}

func (p *Plan) validatePrequential(bad badFunc) {
	if p.Window != "" && p.Window != WindowRolling && p.Window != WindowGrowing {
		bad("window %q: it is rolling or growing", p.Window)
	}
	if len(p.Start) > 1 {
		bad("start: prequential folds have one")
	}
	if p.Train.IsZero() {
		bad("train is missing: how much is learnt from before the first test window")
	}
	if p.Test.IsZero() {
		bad("test is missing: the length of each test window")
	}
	byRows := p.Test.Rows > 0
	for name, s := range map[string]Size{"train": p.Train, "valid": p.Valid, "calibrate": p.Calibrate, "gap": p.Gap, "test": p.Test, "step": p.Step} {
		switch {
		case s.Range != nil:
			bad("%s: prequential windows have a length, no dates", name)
		case s.IsZero() || s.Share > 0:
		case byRows != (s.Rows > 0):
			bad("%s is %s and test %s: windows are all durations or all rows", name, s, p.Test)
		}
	}
	if byRows && len(p.Start) > 0 {
		bad("start: windows of rows begin with the first row")
	}
}
