// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"math"
	"slices"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/expression"
)

// service finds the feature service and begins the facts with what it asks for.
func (b *builder) service(s block) {
	p := b.p
	p.Service, b.blind = &definition.Service{}, true
	n, ok := s.need("service")
	if !ok {
		return
	}
	name, ok := b.r.text(n, textBytesMax)
	if !ok {
		return
	}
	known := make([]string, len(b.c.Services))
	for i, service := range b.c.Services {
		if known[i] = service.Name; service.Name == name {
			p.Service, b.blind = service, false
		}
	}
	if b.blind {
		b.r.fail(n, "unknown service %s%s", name, orOneOf(name, known))
		return
	}
	for _, e := range p.Service.Entities {
		p.Facts = append(p.Facts, definition.Field{Name: e.Key, Type: e.Type, Required: true, Min: math.NaN(), Max: math.NaN()})
	}
	p.Keys = len(p.Facts)
	p.Facts = append(p.Facts, p.Service.Request...)
	p.ServiceFacts = len(p.Facts)
	for _, f := range p.Facts {
		b.reserved(n, "field", f.Name)
	}
	for i := range p.Service.Features {
		b.reserved(n, "feature", p.Service.Features[i].Name)
	}
}

// reserved refuses names that conditions use for what the policy knows.
func (b *builder) reserved(n node, what, name string) {
	if slices.Contains(variableNames[:], name) {
		b.r.fail(n, "%s %s has a name that conditions use for the policy's own %s: name it otherwise", what, name, name)
	}
}

// request reads the fields that only the policy sees.
func (b *builder) request(s block) {
	p := b.p
	p.places = map[string]int{}
	for i, f := range p.Facts {
		p.places[f.Name] = i
	}
	n, ok := s.get("request")
	if !ok {
		return
	}
	for _, e := range b.r.entries(n, "fields", requestMax) {
		if !b.fieldName(e.keyAt, e.key) {
			continue
		}
		if _, twice := p.places[e.key]; twice {
			b.r.fail(e.keyAt, "service %s asks for %s already: leave it out here", p.Service.Name, e.key)
			continue
		}
		if slices.ContainsFunc(p.Service.Features, func(f definition.Feature) bool { return f.Name == e.key }) {
			b.r.fail(e.keyAt, "%s is a feature of service %s: take another name", e.key, p.Service.Name)
			continue
		}
		f := b.field(e.value)
		f.Name = e.key
		p.places[f.Name] = len(p.Facts)
		p.Facts = append(p.Facts, f)
	}
}

// fieldName reports names that a condition could not use.
func (b *builder) fieldName(n node, name string) bool {
	for i, c := range name {
		letter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || c < '0' || c > '9') {
			b.r.fail(n, "%.64q is no name of a field: it takes letters, digits and _, and no digit first", name)
			return false
		}
	}
	if len(name) > nameBytesMax {
		b.r.fail(n, "the name has %d bytes, at most %d are allowed", len(name), nameBytesMax)
		return false
	}
	if p, err := expression.Compile(name, []expression.Field{{Name: name, Type: column.Float64}}); err != nil || len(p.Fields()) != 1 {
		b.r.fail(n, "%s is a word of expressions: take another name", name)
		return false
	}
	b.reserved(n, "field", name)
	return true
}

// field reads a field's type and bounds; the type alone will do.
func (b *builder) field(n node) definition.Field {
	f := definition.Field{Min: math.NaN(), Max: math.NaN(), Type: column.String}
	if _, ok := scalar(n.ast); ok {
		f.Type = b.typeOf(n)
		return f
	}
	s, ok := b.r.block(n, "type", "required", "min", "max", "values", "description")
	if !ok {
		return f
	}
	at, ok := s.need("type")
	if !ok {
		return f
	}
	f.Type = b.typeOf(at)
	f.Description = s.text("description", textBytesMax)
	if at, ok := s.get("required"); ok {
		f.Required = b.r.boolean(at)
	}
	b.limits(s, &f)
	if at, ok := s.get("values"); ok {
		f.Values = b.values(at, f.Type)
	}
	return f
}

func (b *builder) typeOf(n node) column.Type {
	name, ok := b.r.text(n, nameBytesMax)
	if !ok {
		return column.Invalid
	}
	t, err := column.ParseType(name)
	if err != nil {
		b.r.fail(n, "%v", err)
	}
	return t
}

func (b *builder) limits(s block, f *definition.Field) {
	for _, key := range []string{"min", "max"} {
		at, ok := s.get(key)
		if !ok {
			continue
		}
		if f.Type != column.Int64 && f.Type != column.Float64 && f.Type != column.Invalid {
			b.r.fail(at, "is for int64 and float64, not for %s", aOrAn(f.Type))
			continue
		}
		v, ok := b.r.number(at)
		if !ok {
			continue
		}
		if key == "min" {
			f.Min = v
		} else if f.Max = v; f.Min > v {
			b.r.fail(at, "is %v, below the min of %v", v, f.Min)
		}
	}
}

func (b *builder) values(n node, t column.Type) []string {
	if t != column.String && t != column.Invalid {
		b.r.fail(n, "is for strings, not for %s", aOrAn(t))
		return nil
	}
	var list []string
	for _, item := range b.r.items(n, "values", 1, valuesMax) {
		v, ok := b.r.text(item, textBytesMax)
		if !ok {
			continue
		}
		if slices.Contains(list, v) {
			b.r.fail(item, "%q is given twice", v)
			continue
		}
		list = append(list, v)
	}
	return list
}

func (b *builder) factNames() []string {
	list := make([]string, len(b.p.Facts))
	for i := range b.p.Facts {
		list[i] = b.p.Facts[i].Name
	}
	return list
}

// event maps the request to the fields of a push source.
func (b *builder) event(s block) {
	n, ok := s.get("event")
	if !ok {
		return
	}
	name, ok := b.r.text(n, textBytesMax)
	if !ok {
		return
	}
	source := b.pushSource(n, name)
	if source == nil || b.blind {
		return
	}
	e := &Event{Source: source, Facts: make([]int, len(source.Fields))}
	b.p.Event = e
	for i := range source.Fields {
		f := &source.Fields[i]
		e.Facts[i] = b.p.Place(f.Name)
		switch {
		case i == source.Arrival:
			// The event arrives now, whatever the request says.
			e.Facts[i] = -1
		case e.Facts[i] >= 0:
			b.demand(n, source, i, &b.p.Facts[e.Facts[i]])
		case i == source.ID:
			b.r.fail(n, "%s is the id of source %s: ask for it under request", f.Name, source.Name)
		case f.Required && !f.Late && i != source.Timestamp:
			b.r.fail(n, "source %s requires %s: ask for it under request", source.Name, f.Name)
		}
	}
}

func (b *builder) pushSource(n node, name string) *definition.Source {
	var known []string
	for _, source := range b.c.Sources {
		if source.Name == name && source.Push {
			return source
		}
		if source.Name == name {
			b.r.fail(n, "source %s takes no events: give it push: true", name)
			return nil
		}
		if source.Push {
			known = append(known, source.Name)
		}
	}
	b.r.fail(n, "unknown source %s%s", name, orOneOf(name, known))
	return nil
}

// demand makes a fact as narrow as the field of the event that it fills.
func (b *builder) demand(n node, source *definition.Source, place int, fact *definition.Field) {
	f := &source.Fields[place]
	switch {
	case f.Late:
		b.r.fail(n, "%s of source %s becomes known after the event: a request cannot have it", f.Name, source.Name)
		return
	case f.Type != fact.Type:
		b.r.fail(n, "%s is %s in source %s, %s in the request", f.Name, aOrAn(f.Type), source.Name, aOrAn(fact.Type))
		return
	}
	fact.Required = fact.Required || place == source.ID || f.Required && place != source.Timestamp
	if math.IsNaN(fact.Min) || f.Min > fact.Min {
		fact.Min = f.Min
	}
	if math.IsNaN(fact.Max) || f.Max < fact.Max {
		fact.Max = f.Max
	}
	if fact.Min > fact.Max {
		b.r.fail(n, "no %s fits both source %s and the request", f.Name, source.Name)
	}
	if len(f.Values) == 0 {
		return
	}
	if len(fact.Values) == 0 {
		fact.Values = f.Values
		return
	}
	var both []string
	for _, v := range fact.Values {
		if slices.Contains(f.Values, v) {
			both = append(both, v)
		}
	}
	if fact.Values = both; len(both) == 0 {
		b.r.fail(n, "no %s fits both source %s and the request", f.Name, source.Name)
	}
}

// environment lays out what conditions see.
func (b *builder) environment() {
	p := b.p
	for _, f := range p.Facts {
		p.env = append(p.env, expression.Field{Name: f.Name, Type: f.Type})
		p.checks = append(p.checks, newCheck(&f))
	}
	p.features = len(p.env)
	for i := range p.Service.Features {
		f := &p.Service.Features[i]
		field := expression.Field{Name: f.Name, Type: f.Type}
		if p.Place(f.Name) >= 0 {
			// The fact is known even where features are not.
			field.Name = ""
		}
		p.env = append(p.env, field)
		if f.Type == column.String {
			p.nulls = append(p.nulls, nullText{feature: i, hasDefault: f.HasDefault})
		}
	}
	for i, name := range variableNames {
		t := column.String
		if i == variableScore {
			t = column.Float64
		}
		p.env = append(p.env, expression.Field{Name: name, Type: t})
	}
}
