// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"fmt"
	"slices"
	"strings"
)

// Entity returns the entity of that name, nil if there is none.
func (c *Catalog) Entity(name string) *Entity {
	return named(c.Entities, func(e *Entity) bool { return e.Name == name })
}

// Source returns the source of that name, nil if there is none.
func (c *Catalog) Source(name string) *Source {
	return named(c.Sources, func(s *Source) bool { return s.Name == name })
}

// View returns the view of that name, nil if there is none.
func (c *Catalog) View(name string) *View {
	return named(c.Views, func(v *View) bool { return v.Name == name })
}

// Lookup returns the lookup of that name, nil if there is none.
func (c *Catalog) Lookup(name string) *Lookup {
	return named(c.Lookups, func(l *Lookup) bool { return l.Name == name })
}

// Service returns the service of that name, nil if there is none.
func (c *Catalog) Service(name string) *Service {
	return named(c.Services, func(s *Service) bool { return s.Name == name })
}

func named[T any](list []*T, is func(*T) bool) *T {
	if i := slices.IndexFunc(list, is); i >= 0 {
		return list[i]
	}
	return nil
}

// Feature returns the feature that a value of the view's row belongs to, and which of
// its values it is; nil if the row is shorter.
func (v *View) Feature(offset int) (f *ViewFeature, k int) {
	i := slices.IndexFunc(v.Features, func(f ViewFeature) bool { return offset >= f.Offset && offset < f.Offset+f.Width })
	if i < 0 {
		return nil, 0
	}
	return &v.Features[i], offset - v.Features[i].Offset
}

// Origin says for people where a feature of a service comes from: view:feature,
// view:feature[2], lookup:field, request, key, or the text of its expression.
func (c *Catalog) Origin(s *Service, f *Feature) string {
	switch f.Kind {
	case FromView:
		v := c.Views[f.View]
		g, k := v.Feature(f.Offset)
		if g.Width > 1 {
			return fmt.Sprintf("%s:%s[%d]", v.Name, g.Name, k)
		}
		return v.Name + ":" + g.Name
	case FromLookup:
		l := c.Lookups[f.Lookup]
		return l.Name + ":" + l.Source.Fields[l.Fields[f.Offset]].Name
	case FromRequest:
		return "request"
	case FromKey:
		return "key"
	}
	return f.Expression.String()
}

// Check reports why the input cannot be read here: a variable of its connection string
// that is not set.
func (in *Input) Check() error {
	if len(in.Unset) == 0 {
		return nil
	}
	return fmt.Errorf("%s:%d: the environment has no %s, which the url of this input needs", in.File, in.Line, strings.Join(in.Unset, ", "))
}
