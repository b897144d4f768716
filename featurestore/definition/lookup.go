// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"fmt"
	"slices"
	"time"
)

// index is the path of an item of a list.
func index(path string, i int) string { return fmt.Sprintf("%s[%d]", path, i) }

// origin is what views and lookups have in common: whose values they hold, and where
// these come from.
type origin struct {
	entities []*Entity
	keys     []int
	source   *Source
}

// origin reads entity or entities, keys, and source; ok is false if the rest cannot be
// checked for lack of a source.
func (l *loader) origin(o *object) (g origin, ok bool) {
	if o.has("entity") && o.has("entities") {
		o.bad("entities", "give entity or entities, not both")
	}
	names := append(o.list("entity"), o.list("entities")...)
	if len(names) == 0 && !o.has("entity", "entities") {
		o.need("entity", "customer")
	}
	if n := l.word(o.need("source", "payments"), o.path+".source"); n != nil {
		if g.source = l.catalog.Source(n.text); g.source == nil || l.broken["source "+n.text] {
			l.unknown(&l.sources, n, o.path+".source")
			g.source = nil
		}
	}
	columns := map[string]*node{}
	if n := o.get("keys"); n != nil {
		for _, e := range l.mapping(n, o.path+".keys") {
			columns[e.key.text] = l.word(e.value, join(o.path+".keys", e.key.text))
		}
	}
	for _, n := range names {
		l.originEntity(o, &g, n, columns)
	}
	for name, n := range columns {
		if n != nil && !slices.ContainsFunc(g.entities, func(e *Entity) bool { return e.Name == name }) {
			l.add(n.at, join(o.path+".keys", name), "%q is none of the entities here", clip(name))
		}
	}
	return g, g.source != nil
}

// originEntity adds an entity and finds the field that holds its key.
func (l *loader) originEntity(o *object, g *origin, n *node, columns map[string]*node) {
	path := o.path + ".entity"
	if o.has("entities") {
		path = o.path + ".entities"
	}
	if n = l.word(n, path); n == nil {
		return
	}
	e := l.catalog.Entity(n.text)
	switch {
	case e == nil || l.broken["entity "+n.text]:
		l.unknown(&l.entities, n, path)
		return
	case slices.Contains(g.entities, e):
		l.add(n.at, path, "the entity %s is there twice", e.Name)
		return
	}
	g.entities = append(g.entities, e)
	if g.source == nil {
		return
	}
	at, field := n, e.Key
	if c := columns[e.Name]; c != nil {
		at, field, path = c, c.text, join(o.path+".keys", e.Name)
	}
	i := g.source.Field(field)
	switch {
	case i < 0:
		l.add(at.at, path, "the source %s has no field %q for the key of %s%s", g.source.Name, clip(field), e.Name,
			suggest(field, g.source.fieldNames()))
	case g.source.Fields[i].Type != e.Type:
		l.add(at.at, path, "the field %s of the source %s is %s, the key of %s is %s", field, g.source.Name,
			g.source.Fields[i].Type, e.Name, e.Type)
	case g.source.Fields[i].Late || i == g.source.Arrival:
		l.add(at.at, path, "the field %s is late or the arrival and cannot be a key", field)
	case slices.Contains(g.keys, i):
		l.add(at.at, path, "the field %s is the key of another entity here", field)
	}
	g.keys = append(g.keys, i)
}

func (l *loader) lookup(d *definition, path string) {
	o := l.object(d.value, path, d.at, vocabulary["lookup"]...)
	p := &Lookup{Name: d.name, Index: len(l.catalog.Lookups)}
	g, ok := l.origin(o)
	p.Entities, p.Keys, p.Source = g.entities, g.keys, g.source
	p.Description = o.text("description")
	p.TTL, _ = o.duration("ttl", time.Microsecond)
	if o.need("fields", "[country, age]") != nil && ok {
		for i, n := range o.list("fields") {
			l.lookupField(p, n, index(path+".fields", i))
		}
	}
	l.catalog.Lookups = append(l.catalog.Lookups, p)
}

func (l *loader) lookupField(p *Lookup, n *node, path string) {
	if n = l.word(n, path); n == nil {
		return
	}
	i := l.fieldNamed(p.Source, n, path)
	switch {
	case i < 0:
	case slices.Contains(p.Fields, i):
		l.add(n.at, path, "the field %s is there twice", n.text)
	case p.Source.Fields[i].Late:
		l.add(n.at, path, "the field %s is late: only views with a delay may use it", n.text)
	case i == p.Source.Arrival:
		l.add(n.at, path, "the field %s is the arrival of events and no value of theirs", n.text)
	default:
		p.Fields = append(p.Fields, i)
	}
}
