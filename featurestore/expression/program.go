// SPDX-License-Identifier: Apache-2.0

package expression

import (
	"math"
	"slices"

	"github.com/millrace-ml/millrace/featurestore/column"
)

// Program is a compiled expression.
type Program struct {
	text   string
	value  value
	fields []int
}

// Type is the type of its result.
func (p *Program) Type() column.Type { return p.value.typ }

// Fields are the places in the list that Compile got of the fields it reads, ascending.
// The caller does not change them.
func (p *Program) Fields() []int { return p.fields }

// String is the text as it was written.
func (p *Program) String() string { return p.text }

// Canonical is what the program means: the same for texts that differ in layout or in
// the spelling of operators and literals only. Fields are named with their types. It is
// hashed into stored things, so it does not change between releases.
func (p *Program) Canonical() string { return p.value.canon }

// Number is the result of anything but a string: NaN is null, a bool is 0 or 1, a
// timestamp is in microseconds since 1970 UTC. Of a string it is NaN. The row is only
// looked at; it needs values for Fields.
func (p *Program) Number(r *Row) float64 {
	if p.value.num == nil {
		return math.NaN()
	}
	return p.value.num(r)
}

// True reports whether the result is true; null is false.
func (p *Program) True(r *Row) bool {
	x := p.Number(r)
	return x == x && x != 0
}

// Text is the result of a string. Of anything else it is null.
func (p *Program) Text(r *Row) (text string, null bool) {
	if p.value.text == nil {
		return "", true
	}
	return p.value.text(r)
}

// Field is the place of the field that the program is, if it is nothing else, or -1.
func (p *Program) Field() int { return p.value.field }

// Presence is a program that is 1 where this one is not null, and null where it is.
func (p *Program) Presence() *Program {
	test, _ := isNull("is_null", []*value{&p.value}, 0) // never fails: it is null for no row
	absent := test.num
	v := value{typ: column.Int64, field: -1, canon: "(present " + p.value.canon + ")", num: func(r *Row) float64 {
		if absent(r) == 1 {
			return math.NaN()
		}
		return 1
	}}
	return &Program{text: p.text, value: v, fields: p.fields}
}

// Constant reports whether the result is the same for all rows.
func (p *Program) Constant() bool { return p.value.constant }

type numberFunc func(*Row) float64

type textFunc func(*Row) (text string, null bool)

// value is a part of an expression, compiled.
type value struct {
	typ column.Type // Invalid is the null literal
	// One of them is set, as the type says.
	num  numberFunc
	text textFunc
	// field is the place of the field that it is, or -1.
	field    int
	constant bool
	number   float64 // of a constant
	word     string  // of a constant string
	canon    string
	at       int
}

func (v *value) null() bool { return v.typ == column.Invalid }

// number-like types of which arithmetic is done; a timestamp is none of them.
func (v *value) numeric() bool {
	return v.typ == column.Bool || v.typ == column.Int64 || v.typ == column.Float64
}

func (v *value) whole() bool { return v.typ == column.Bool || v.typ == column.Int64 }

// name is the value's type for messages.
func (v *value) name() string {
	if v.null() {
		return "nil"
	}
	return v.typ.String()
}

func sortedSet(m map[int]bool) []int {
	set := make([]int, 0, len(m))
	for i := range m {
		set = append(set, i)
	}
	slices.Sort(set)
	return set
}
