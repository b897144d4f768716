// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/expression"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// ErrFact says that a request gives a value that the policy does not take. The request
// is at fault; repeated as it is, it will fail again.
var ErrFact = errors.New("invalid fact")

// Facts are the values that one decision looks at. It belongs to the policy that made it
// and to one goroutine, and is made to be reused: Reset, set the facts of the request,
// Check, SetFeatures, decide.
type Facts struct {
	policy *Policy
	row    expression.Row
	// given tells facts that are null from facts that are not: an Int64 that expressions
	// cannot hold is null to them, but it was given.
	given []bool
}

// NewFacts returns facts that are all null.
func (p *Policy) NewFacts() *Facts {
	f := &Facts{policy: p, given: make([]bool, len(p.Facts)), row: expression.Row{
		Numbers: make([]float64, len(p.env)), Texts: make([]string, len(p.env)), NullTexts: make([]bool, len(p.env)),
	}}
	f.Reset()
	return f
}

// Reset makes all values null.
func (f *Facts) Reset() {
	p := f.policy
	for i := range p.Facts {
		f.SetNull(i)
	}
	f.ClearFeatures()
	p.setNumber(f, variableScore, math.NaN())
	p.setNull(f, variableDecision)
	p.setNull(f, variableSegment)
	p.setNull(f, variableArm)
}

// SetNumber sets a fact of type Float64, or of another numeric type to a whole number. NaN
// is null.
func (f *Facts) SetNumber(place int, v float64) error {
	field := &f.policy.Facts[place]
	switch {
	case math.IsNaN(v):
		f.SetNull(place)
		return nil
	case math.IsInf(v, 0):
		return wrong(field, "is infinite")
	case field.Type == column.Float64:
		return f.number(place, v)
	case field.Type == column.Bool && (v == 0 || v == 1):
		return f.number(place, v)
	case field.Type == column.Bool || !field.Type.Number():
		return wrong(field, fmt.Sprintf("is %v, it takes %s", v, aOrAn(field.Type)))
	case v != math.Trunc(v) || math.Abs(v) > column.IntegerMax:
		return wrong(field, fmt.Sprintf("is %v, it takes a whole number (beyond 2^53 give it as an integer)", v))
	}
	return f.number(place, v)
}

// SetInt sets a fact of type Int64, Timestamp (in microseconds since 1970 UTC) or Float64. A
// magnitude above column.IntegerMax is taken, but null to conditions: no float64 tells it
// from its neighbours.
func (f *Facts) SetInt(place int, v int64) error {
	field := &f.policy.Facts[place]
	switch field.Type {
	case column.Int64, column.Timestamp, column.Float64:
	default:
		return wrong(field, fmt.Sprintf("is %d, it takes %s", v, aOrAn(field.Type)))
	}
	if err := f.number(place, float64(v)); err != nil {
		return err
	}
	if field.Type != column.Float64 && (v > column.IntegerMax || v < -column.IntegerMax) {
		f.row.Numbers[place] = math.NaN()
	}
	return nil
}

// SetBool sets a fact of type Bool.
func (f *Facts) SetBool(place int, v bool) error {
	field := &f.policy.Facts[place]
	if field.Type != column.Bool {
		return wrong(field, fmt.Sprintf("is %t, it takes %s", v, aOrAn(field.Type)))
	}
	f.row.Numbers[place], f.given[place] = 0, true
	if v {
		f.row.Numbers[place] = 1
	}
	return nil
}

// SetText sets a fact of type String. The text is kept until the next Reset.
func (f *Facts) SetText(place int, v string) error {
	field := &f.policy.Facts[place]
	if field.Type != column.String {
		return wrong(field, fmt.Sprintf("is the text %.64q, it takes %s", v, aOrAn(field.Type)))
	}
	if !f.policy.checks[place].allows(v) {
		return wrong(field, fmt.Sprintf("is %.64q, it is one of %s", v, someOf(field.Values)))
	}
	f.row.Texts[place], f.row.NullTexts[place], f.given[place] = v, false, true
	return nil
}

// SetNull makes a fact null, as it is after Reset.
func (f *Facts) SetNull(place int) {
	f.row.Numbers[place] = math.NaN()
	f.row.Texts[place], f.row.NullTexts[place], f.given[place] = "", true, false
}

func (f *Facts) number(place int, v float64) error {
	c := &f.policy.checks[place]
	// NaN bounds compare false: no bound.
	if v < c.min || v > c.max {
		field := &f.policy.Facts[place]
		return wrong(field, fmt.Sprintf("is %v, it lies %s", v, bounds(field)))
	}
	f.row.Numbers[place], f.given[place] = v, true
	return nil
}

// Check reports the required facts that are null.
func (f *Facts) Check() error {
	for i := range f.given {
		if !f.given[i] && f.policy.Facts[i].Required {
			return f.missing()
		}
	}
	return nil
}

func (f *Facts) missing() error {
	var names []string
	for i, given := range f.given {
		if !given && f.policy.Facts[i].Required {
			names = append(names, f.policy.Facts[i].Name)
		}
	}
	if len(names) == 1 {
		return fmt.Errorf("%w: %s is required", ErrFact, names[0])
	}
	return fmt.Errorf("%w: %s are required", ErrFact, strings.Join(names, ", "))
}

// Given reports whether the fact is not null.
func (f *Facts) Given(place int) bool { return f.given[place] }

// Number returns what conditions see of a place that is not a text: NaN is null.
func (f *Facts) Number(place int) float64 { return f.row.Numbers[place] }

// Text returns what conditions see of a text.
func (f *Facts) Text(place int) (text string, null bool) {
	return f.row.Texts[place], f.row.NullTexts[place]
}

// SetFeatures sets the features of the service, as a row of plan.Vectors has them: a
// number of each, NaN for nulls and texts; the texts alone, in order; a status of each.
// The texts are kept until the next Reset.
func (f *Facts) SetFeatures(numbers []float64, texts []string, status []window.Status) error {
	p := f.policy
	if len(numbers) != len(p.Service.Features) || len(status) != len(numbers) || len(texts) != len(p.nulls) {
		return fmt.Errorf("decision %s: %d numbers, %d texts and %d statuses for the %d features, of them %d texts, of service %s",
			p.Name, len(numbers), len(texts), len(status), len(p.Service.Features), len(p.nulls), p.Service.Name)
	}
	copy(f.row.Numbers[p.features:], numbers)
	for i := range p.nulls {
		n := &p.nulls[i]
		place := p.features + n.feature
		f.row.Texts[place] = texts[i]
		f.row.NullTexts[place] = !n.hasDefault && status[n.feature] != window.Present
	}
	return nil
}

// ClearFeatures makes the features null, for the fallback of a request whose features
// came too late.
func (f *Facts) ClearFeatures() {
	p := f.policy
	numbers := f.row.Numbers[p.features : p.features+len(p.Service.Features)]
	for i := range numbers {
		numbers[i] = math.NaN()
	}
	for i := range p.nulls {
		place := p.features + p.nulls[i].feature
		f.row.Texts[place], f.row.NullTexts[place] = "", true
	}
}

// nullText is a feature that is a text; where it has a default it is never null.
type nullText struct {
	feature    int
	hasDefault bool
}

// check is a fact's bounds, made ready.
type check struct {
	min, max float64
	values   map[string]struct{}
}

func newCheck(f *definition.Field) check {
	c := check{min: f.Min, max: f.Max}
	if len(f.Values) > 0 {
		c.values = make(map[string]struct{}, len(f.Values))
		for _, v := range f.Values {
			c.values[v] = struct{}{}
		}
	}
	return c
}

func (c *check) allows(v string) bool {
	if c.values == nil {
		return true
	}
	_, ok := c.values[v]
	return ok
}

// aOrAn is a type with its article.
func aOrAn(t column.Type) string {
	if t == column.Int64 {
		return "an " + t.String()
	}
	return "a " + t.String()
}

func wrong(f *definition.Field, what string) error {
	return fmt.Errorf("%w: %s %s", ErrFact, f.Name, what)
}

func bounds(f *definition.Field) string {
	switch {
	case math.IsNaN(f.Max):
		return fmt.Sprintf("at %v or above", f.Min)
	case math.IsNaN(f.Min):
		return fmt.Sprintf("at %v or below", f.Max)
	}
	return fmt.Sprintf("in %v to %v", f.Min, f.Max)
}

// someOf lists names for a message, not all of a long list.
func someOf(names []string) string {
	const most = 12
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return strings.Join(slices.Clone(names[:most]), ", ") + fmt.Sprintf(" and %d more", len(names)-most)
}
