// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/millrace-ml/millrace/featurestore/column"
)

// Change is something that a new catalogue would break for those who use the old one.
type Change struct {
	// Path names what changes, such as services.fraud.features.risk_7d.
	Path string
	// Message says how.
	Message string
	// Service and Model are whose vectors change; empty for a change of a source, which
	// those who push notice.
	Service, Model string
}

func (c Change) String() string { return c.Path + ": " + c.Message }

// Compare lists what a new catalogue would break: for a model that is served with
// vectors of a service (features removed, renamed, retyped, moved, added, or computed in
// another way), for those who ask a service (keys and fields of the request), and for
// those who push to a source (fields removed, retyped or newly required). What is only
// new is no change. The order is that of the old catalogue.
func Compare(old, new *Catalog) []Change {
	var all []Change
	for _, a := range old.Sources {
		all = append(all, compareSources(a, new.Source(a.Name))...)
	}
	for _, a := range old.Services {
		c := comparison{old: old, new: new, a: a, b: new.Service(a.Name)}
		c.service()
		all = append(all, c.changes...)
	}
	return all
}

func compareSources(a, b *Source) (all []Change) {
	path := "sources." + a.Name
	add := func(path, format string, args ...any) {
		all = append(all, Change{Path: path, Message: fmt.Sprintf(format, args...)})
	}
	if b == nil {
		add(path, "removed")
		return all
	}
	if a.Push && !b.Push {
		add(path+".push", "events can no longer be pushed")
	}
	for _, role := range []struct {
		key      string
		old, now string
	}{{"id", a.fieldName(a.ID), b.fieldName(b.ID)}, {"timestamp", a.fieldName(a.Timestamp), b.fieldName(b.Timestamp)}} {
		if role.old != role.now {
			add(path+"."+role.key, "was %q, is %q", role.old, role.now)
		}
	}
	compareFields(path+".fields.", a.Fields, b.Fields, add)
	return all
}

// compareFields reports what makes values wrong that were right.
func compareFields(path string, a, b []Field, add func(path, format string, args ...any)) {
	find := func(list []Field, name string) *Field {
		if i := slices.IndexFunc(list, func(f Field) bool { return f.Name == name }); i >= 0 {
			return &list[i]
		}
		return nil
	}
	for i := range a {
		f, g := &a[i], find(b, a[i].Name)
		switch {
		case g == nil:
			add(path+f.Name, "removed")
			continue
		case f.Type != g.Type:
			add(path+f.Name, "was %s, is %s", f.Type, g.Type)
			continue
		case !f.Required && g.Required:
			add(path+f.Name, "became required")
		}
		if narrower(f, g) {
			add(path+f.Name, "takes fewer values than before")
		}
	}
	for i := range b {
		if b[i].Required && find(a, b[i].Name) == nil {
			add(path+b[i].Name, "is new and required")
		}
	}
}

// narrower reports whether g refuses values that f takes.
func narrower(f, g *Field) bool {
	if g.Min == g.Min && !(f.Min >= g.Min) || g.Max == g.Max && !(f.Max <= g.Max) {
		return true
	}
	if len(g.Values) == 0 {
		return false
	}
	return len(f.Values) == 0 || slices.ContainsFunc(f.Values, func(v string) bool { return !slices.Contains(g.Values, v) })
}

// comparison compares a service of two catalogues.
type comparison struct {
	old, new *Catalog
	a, b     *Service
	changes  []Change
}

func (c *comparison) add(path, format string, args ...any) {
	c.changes = append(c.changes, Change{Path: path, Message: fmt.Sprintf(format, args...), Service: c.a.Name, Model: c.a.Model})
}

func (c *comparison) service() {
	path := "services." + c.a.Name
	if c.b == nil {
		c.add(path, "removed")
		return
	}
	c.keys(path)
	compareFields(path+".request.", c.a.Request, c.b.Request, c.add)
	if was, is := c.a.timeName(), c.b.timeName(); was != is {
		c.add(path+".time", "was %q, is %q", was, is)
	}
	if c.a.Model != c.b.Model {
		c.add(path+".model", "was %q, is %q", c.a.Model, c.b.Model)
	}
	c.features(path + ".features")
}

func (s *Service) timeName() string {
	if s.Time < 0 {
		return ""
	}
	return s.Request[s.Time].Name
}

func (c *comparison) keys(path string) {
	type key struct {
		name string
		typ  column.Type
	}
	keys := func(s *Service) (list []key) {
		for _, e := range s.Entities {
			list = append(list, key{e.Key, e.Type})
		}
		return list
	}
	was, is := keys(c.a), keys(c.b)
	for _, k := range is {
		if !slices.Contains(was, k) {
			c.add(path+".entities", "requests now need the key %s of type %s", k.name, k.typ)
		}
	}
	for _, k := range was {
		if !slices.Contains(is, k) {
			c.add(path+".entities", "the key %s of type %s is no longer taken", k.name, k.typ)
		}
	}
}

func (s *Service) feature(name string) int {
	return slices.IndexFunc(s.Features, func(f Feature) bool { return f.Name == name })
}

func (c *comparison) features(path string) {
	renamed := map[string]bool{} // new names that stand for old ones
	var was []int                // places in the new service of features that stayed
	for i := range c.a.Features {
		f := &c.a.Features[i]
		j := c.b.feature(f.Name)
		if j >= 0 {
			was = append(was, j)
			c.feature(path+"."+f.Name, f, &c.b.Features[j])
			continue
		}
		if j = c.sameMeaning(f, renamed); j >= 0 {
			name := c.b.Features[j].Name
			renamed[name] = true
			was = append(was, j)
			c.add(path+"."+f.Name, "renamed to %s", name)
			continue
		}
		c.add(path+"."+f.Name, "removed")
	}
	for i := 1; i < len(was); i++ {
		if was[i] < was[i-1] {
			c.add(path, "the order changed: %s now comes before %s", c.b.Features[was[i]].Name, c.b.Features[was[i-1]].Name)
			break
		}
	}
	for j := range c.b.Features {
		if g := &c.b.Features[j]; c.a.feature(g.Name) < 0 && !renamed[g.Name] {
			c.add(path+"."+g.Name, "added at place %d: vectors have %d values where they had %d", j+1, len(c.b.Features), len(c.a.Features))
		}
	}
}

// feature compares a feature that stayed by its name.
func (c *comparison) feature(path string, f, g *Feature) {
	if f.Type != g.Type {
		c.add(path, "was %s, is %s", f.Type, g.Type)
	}
	if f.HasDefault != g.HasDefault || f.HasDefault && (f.Default != g.Default && f.Type != column.String || f.DefaultText != g.DefaultText) {
		c.add(path, "its default was %s, is %s", defaultText(f), defaultText(g))
	}
	if bytes.Equal(c.old.computed(c.a, f), c.new.computed(c.b, g)) {
		return
	}
	was, is := c.old.Origin(c.a, f), c.new.Origin(c.b, g)
	if was == is {
		c.add(path, "%s is computed in another way", was)
		return
	}
	c.add(path, "was %s, is %s", was, is)
}

func defaultText(f *Feature) string {
	switch {
	case !f.HasDefault:
		return "none"
	case f.Type == column.String:
		return fmt.Sprintf("%q", f.DefaultText)
	}
	return fmt.Sprint(f.Default)
}

// computed is what a feature's values come from; type and default apart.
func (c *Catalog) computed(s *Service, f *Feature) []byte {
	g := *f
	g.HasDefault, g.Type = false, column.Invalid
	d := newDigest("feature")
	c.meaning(d, s, &g)
	return d.b
}

// sameMeaning finds a new feature that an old one may have been renamed to.
func (c *comparison) sameMeaning(f *Feature, taken map[string]bool) int {
	meaning := c.old.computed(c.a, f)
	return slices.IndexFunc(c.b.Features, func(g Feature) bool {
		return g.Type == f.Type && !taken[g.Name] && c.a.feature(g.Name) < 0 && bytes.Equal(meaning, c.new.computed(c.b, &g))
	})
}
