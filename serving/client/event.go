// SPDX-License-Identifier: Apache-2.0

package client

import (
	"slices"
	"time"

	millracev1 "github.com/millrace-ml/millrace/proto/millrace/v1"
)

// kind is how a value travels.
type kind uint8

const (
	kindNull kind = iota
	kindInteger
	kindNumber
	kindText
	kindBool
)

var kindNames = [...]string{"null", "integer", "number", "text", "bool"}

// Event is one event for a PushStream.
type Event struct {
	// ID names it, for a source without an id field.
	ID string

	fields []eventField
}

type eventField struct {
	name   string
	kind   kind
	number float64
	bits   int64 // an integer, or 1 for true
	text   string
}

// NewEvent returns an event without fields.
func NewEvent() *Event { return new(Event) }

// Int adds a field.
func (e *Event) Int(name string, v int64) *Event {
	return e.add(eventField{name: name, kind: kindInteger, bits: v})
}

// Float adds a field. NaN is null.
func (e *Event) Float(name string, v float64) *Event {
	if v != v {
		return e.Null(name)
	}
	return e.add(eventField{name: name, kind: kindNumber, number: v})
}

// Text adds a field.
func (e *Event) Text(name, v string) *Event {
	return e.add(eventField{name: name, kind: kindText, text: v})
}

// Bool adds a field.
func (e *Event) Bool(name string, v bool) *Event {
	f := eventField{name: name, kind: kindBool}
	if v {
		f.bits = 1
	}
	return e.add(f)
}

// Time adds a field of type timestamp, to the microsecond.
func (e *Event) Time(name string, v time.Time) *Event { return e.Int(name, v.UnixMicro()) }

// Null adds a field that is null, which is as if it were left out.
func (e *Event) Null(name string) *Event { return e.add(eventField{name: name}) }

func (e *Event) add(f eventField) *Event {
	e.fields = append(e.fields, f)
	return e
}

// field finds a field of an event; events of a source mostly have the same fields in the
// same places, so that is looked at first.
func (e *Event) field(name string, hint int) *eventField {
	if hint < len(e.fields) && e.fields[hint].name == name {
		return &e.fields[hint]
	}
	for i := range e.fields {
		if e.fields[i].name == name {
			return &e.fields[i]
		}
	}
	return nil
}

// check reports a field given twice.
func (e *Event) check() error {
	for i := range e.fields {
		for j := range i {
			if name := e.fields[i].name; name == e.fields[j].name {
				return invalidRequest("push", "columns."+name, "columns.%s: is given twice", name)
			}
		}
	}
	return nil
}

// identified reports whether an event has an id, in its own place or in a field.
func (e *Event) identified(idField string) bool {
	if e.ID != "" {
		return true
	}
	f := e.field(idField, 0)
	return idField != "" && f != nil && f.kind != kindNull
}

// encodeEvents makes columns of events. Those whose field is of another kind than it is in
// the events before are left out and returned with the reason.
func encodeEvents(source string, events []*Event, noWait bool) (*millracev1.PushRequest, []*Event, []badEvent) {
	kinds, good, bad := kindsOf(events)
	m := &millracev1.PushRequest{Source: source, NoWait: noWait}
	if slices.ContainsFunc(good, func(e *Event) bool { return e.ID != "" }) {
		for _, e := range good {
			m.Ids = append(m.Ids, e.ID)
		}
	}
	for i, f := range kinds {
		if c := encodeColumn(f.name, f.kind, i, good); len(c.Nulls) < len(good) {
			m.Columns = append(m.Columns, c)
		}
	}
	return m, good, bad
}

// badEvent is an event that does not fit its neighbours.
type badEvent struct {
	event *Event
	err   error
}

// kindsOf finds the fields of events and their kinds, in the order in which they appear.
func kindsOf(events []*Event) (fields []eventField, good []*Event, bad []badEvent) {
	for _, e := range events {
		if err := e.fit(&fields); err != nil {
			bad = append(bad, badEvent{e, err})
			continue
		}
		good = append(good, e)
	}
	return fields, good, bad
}

// fit joins the kinds of an event's fields with those before.
func (e *Event) fit(fields *[]eventField) error {
	for i := range e.fields {
		f := &e.fields[i]
		j := slices.IndexFunc(*fields, func(known eventField) bool { return known.name == f.name })
		if j < 0 {
			*fields = append(*fields, eventField{name: f.name, kind: f.kind})
			continue
		}
		known := &(*fields)[j]
		switch {
		case f.kind == kindNull || f.kind == known.kind:
		case known.kind == kindNull:
			known.kind = f.kind
		default:
			return invalidRequest("push", "columns."+f.name, "columns.%s: is a %s here and a %s in other events", f.name, kindNames[f.kind], kindNames[known.kind])
		}
	}
	return nil
}

func encodeColumn(name string, k kind, hint int, events []*Event) *millracev1.Column {
	c := &millracev1.Column{Name: name}
	for row, e := range events {
		f := e.field(name, hint)
		if f == nil {
			f = new(eventField)
		}
		if f.kind == kindNull {
			c.Nulls = append(c.Nulls, uint32(row))
		}
		switch k {
		case kindInteger:
			c.Integers = append(c.Integers, f.bits)
		case kindNumber:
			c.Numbers = append(c.Numbers, f.number)
		case kindText:
			c.Texts = append(c.Texts, f.text)
		case kindBool:
			c.Bools = append(c.Bools, f.bits == 1)
		}
	}
	return c
}
