// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"slices"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/expression"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// target is what a feature aggregates.
type target struct {
	column string      // of the window, empty for a count of events
	late   int         // the late field it depends on, or -1
	typ    column.Type // of the feature's values
}

// operand is a field or an expression before it has a column.
type operand struct {
	key     string // field, expression, or function for neither
	field   int
	program *expression.Program
	typ     column.Type
}

// target reads field, expression and filter of a feature and finds or makes the column.
func (r *viewReader) target(o *object, f *window.Feature) (target, bool) {
	filter := r.filter(o, "filter")
	if filter == nil && o.has("filter") {
		return target{}, false
	}
	x, ok := r.operand(o, f.Func)
	if !ok {
		return target{}, false
	}
	t := target{late: -1, typ: column.Float64}
	if x.key == "function" && filter == nil {
		t.typ = column.Int64
		return t, true
	}
	if !r.fits(o, x, f.Func) {
		return t, false
	}
	switch f.Func {
	case window.Count, window.Distinct:
		t.typ = column.Int64
	case window.Min, window.Max, window.First, window.Last, window.LastK:
		t.typ = x.typ
	}
	if f.Func == window.Distinct && x.field >= 0 && (x.typ == column.String || x.typ == column.Int64) &&
		!r.view.Source.Fields[x.field].Late {
		return r.keyColumn(o, x, filter, t)
	}
	return r.column(o, x, filter, t)
}

// operand reads field or expression.
func (r *viewReader) operand(o *object, fn window.Func) (operand, bool) {
	x := operand{key: "function", field: -1}
	switch {
	case o.has("field") && o.has("expression"):
		o.bad("expression", "give field or expression, not both")
		return x, false
	case o.has("field"):
		x.key = "field"
		n := o.word("field")
		if n == nil {
			return x, false
		}
		if x.field = r.fieldNamed(r.view.Source, n, o.path+".field"); x.field < 0 {
			return x, false
		}
		r.checkArrival(o, "field", []int{x.field})
		x.typ = r.view.Source.Fields[x.field].Type
	case o.has("expression"):
		x.key = "expression"
		if x.program = o.program("expression", r.env); x.program == nil {
			return x, false
		}
		r.checkArrival(o, "expression", x.program.Fields())
		x.typ = x.program.Type()
		if x.field = x.program.Field(); x.field >= 0 {
			x.program = nil // a name alone is that field
		}
	case fn == window.Count:
		x.program, x.typ = constantOne, column.Int64
	default:
		r.add(o.at, o.path, "%s needs a field or an expression", fn)
		return x, false
	}
	return x, true
}

var constantOne = mustCompile("1", nil)

// mustCompile compiles a text of our own.
func mustCompile(text string, env []expression.Field) *expression.Program {
	p, err := expression.Compile(text, env)
	if err != nil {
		panic(err)
	}
	return p
}

// fits checks the function against the type of what it aggregates.
func (r *viewReader) fits(o *object, x operand, fn window.Func) bool {
	switch fn {
	case window.Count:
		return true
	case window.Distinct:
		late := x.field >= 0 && r.view.Source.Fields[x.field].Late
		if x.typ != column.String || x.field >= 0 && !late {
			return true
		}
		if late {
			o.bad(x.key, "distinct values of a late string cannot be counted: only numbers can be filled in later")
			return false
		}
		o.bad(x.key, "distinct values of a string can be counted of a field only, not of an expression")
		return false
	case window.Min, window.Max, window.First, window.Last, window.LastK:
		if x.typ.Number() {
			return true
		}
	default:
		if x.typ.Number() && x.typ != column.Timestamp {
			return true
		}
	}
	o.bad(x.key, "%s needs numbers, this is %s", fn, x.typ)
	return false
}

// keyColumn finds or makes a column of which distinct values are counted.
func (r *viewReader) keyColumn(o *object, x operand, filter *expression.Program, t target) (target, bool) {
	name := r.view.Source.Fields[x.field].Name + "#"
	if filter != nil {
		r.checkNoLate(o, "filter", filter.Fields())
		name += " if " + filter.Canonical()
	}
	if !slices.Contains(r.def.Keys, name) {
		r.def.Keys = append(r.def.Keys, name)
		r.view.KeyColumns = append(r.view.KeyColumns, KeyColumn{Field: x.field, Filter: filter})
	}
	t.column = name
	return t, true
}

// column finds or makes a numeric column. Its name says what it is, so that features
// that aggregate the same share it.
func (r *viewReader) column(o *object, x operand, filter *expression.Program, t target) (target, bool) {
	c := Column{Field: x.field, Program: x.program, Filter: filter, LateField: -1}
	var name string
	switch {
	case x.typ == column.String: // of a count: a text has no number, but it is there or not
		if c.Program == nil {
			c.Program = mustCompile(r.view.Source.Fields[x.field].Name, r.env)
		}
		c.Field, c.Program = -1, c.Program.Presence()
		name = c.Program.Canonical()
	case x.field >= 0:
		name = r.view.Source.Fields[x.field].Name
	default:
		name = x.program.Canonical()
	}
	if filter != nil {
		name += " if " + filter.Canonical()
	}
	var ok bool
	if c.LateField, ok = r.lateness(o, x.key, c); !ok {
		return t, false
	}
	t.column, t.late = name, c.LateField
	if !slices.Contains(r.def.Columns, name) {
		r.def.Columns = append(r.def.Columns, name)
		r.view.Columns = append(r.view.Columns, c)
	}
	return t, true
}

// lateness finds the late field that a column depends on, and keeps to D2.
func (r *viewReader) lateness(o *object, key string, c Column) (late int, ok bool) {
	s := r.view.Source
	var reads []int
	if c.Field >= 0 {
		reads = append(reads, c.Field)
	}
	for _, p := range []*expression.Program{c.Program, c.Filter} {
		if p != nil {
			reads = append(reads, p.Fields()...)
		}
	}
	late = -1
	for _, i := range reads {
		switch {
		case !s.Fields[i].Late || i == late:
		case late >= 0:
			o.bad(key, "reads two late fields, %s and %s: at most one can be filled in later", s.Fields[late].Name, s.Fields[i].Name)
			return late, false
		default:
			late = i
		}
	}
	if late < 0 {
		return late, true
	}
	for _, i := range reads {
		if i != late && i != s.ID && i != s.Timestamp && !slices.Contains(r.view.Keys, i) {
			o.bad(key, "reads the late field %s together with %s: when %s becomes known only id, time and keys of the event are at hand",
				s.Fields[late].Name, s.Fields[i].Name, s.Fields[late].Name)
			return late, false
		}
	}
	return late, true
}
