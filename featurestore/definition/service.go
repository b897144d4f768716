// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/expression"
)

// modelNameMax is the longest name of a model.
const modelNameMax = 256

// serviceReader makes one service.
type serviceReader struct {
	*loader
	o        *object
	service  *Service
	items    []item
	explicit bool               // the entities were listed
	at       map[string]place   // of features' names
	env      []expression.Field // service.Env so far
}

// item is an entry of a service's features, resolved.
type item struct {
	o        *object // nil for a text alone
	at       place
	path     string
	features []Feature
	natural  column.Type
	node     *node // of the expression
}

func (l *loader) service(d *definition, path string) {
	o := l.object(d.value, path, d.at, vocabulary["service"]...)
	before := l.total
	s := &Service{Name: d.name, Index: len(l.catalog.Services), Time: -1, Model: o.text("model"), Description: o.text("description")}
	l.catalog.Services = append(l.catalog.Services, s)
	if len(s.Model) > modelNameMax {
		o.bad("model", "the name has %d bytes, at most %d are allowed", len(s.Model), modelNameMax)
	}
	r := &serviceReader{loader: l, o: o, service: s, explicit: o.has("entities"), at: map[string]place{}}
	for i, n := range o.list("entities") {
		r.listed(n, index(path+".entities", i))
	}
	if n := o.get("request"); n != nil {
		s.Request = l.fields(n, path+".request", false)
	}
	r.time()
	if o.need("features", "[view.feature]") == nil {
		return
	}
	for i, n := range o.list("features") {
		r.item(n, index(path+".features", i))
	}
	r.checkKeys()
	r.env = s.Env()
	for i := range r.items {
		if !r.finish(&r.items[i]) {
			return
		}
	}
	if l.total == before {
		s.hash = l.catalog.serviceHash(s)
	}
}

// listed adds an entity that the service names itself.
func (r *serviceReader) listed(n *node, path string) {
	if n = r.word(n, path); n == nil {
		return
	}
	e := r.catalog.Entity(n.text)
	switch {
	case e == nil || r.broken["entity "+n.text]:
		r.unknown(&r.entities, n, path)
	case slices.Contains(r.service.Entities, e):
		r.add(n.at, path, "the entity %s is there twice", n.text)
	default:
		r.service.Entities = append(r.service.Entities, e)
	}
}

func (r *serviceReader) time() {
	n := r.o.word("time")
	if n == nil {
		return
	}
	i := slices.IndexFunc(r.service.Request, func(f Field) bool { return f.Name == n.text })
	switch {
	case i < 0:
		r.o.bad("time", "the request has no field %q%s", clip(n.text), suggest(n.text, fieldNames(r.service.Request)))
	case r.service.Request[i].Type != column.Timestamp && r.service.Request[i].Type != column.Invalid:
		r.o.bad("time", "the field %s is %s, it needs to be timestamp", n.text, r.service.Request[i].Type)
	}
	r.service.Time = i
}

func fieldNames(fields []Field) []string { return (&Source{Fields: fields}).fieldNames() }

// item reads an entry of the features: a text, or a mapping.
func (r *serviceReader) item(n *node, path string) {
	it := item{at: n.at, path: path}
	if n.kind != mappingKind {
		if n = r.word(n, path); n != nil && r.resolve(&it, n, path) {
			r.items = append(r.items, it)
		}
		return
	}
	it.o = r.object(n, path, n.at, vocabulary["service feature"]...)
	var ok bool
	switch from := it.o.word("from"); {
	case it.o.has("from", "expression") && it.o.has("from") && it.o.has("expression"):
		it.o.bad("expression", "give from or expression, not both")
	case from != nil:
		ok = r.resolve(&it, from, path+".from")
	case it.o.has("from"):
	case it.o.has("expression"):
		it.features, it.node = []Feature{{Kind: FromExpression}}, it.o.get("expression")
		ok = it.o.need("name", "ratio") != nil
	default:
		ok = r.fromName(&it)
	}
	if ok && r.named(&it) {
		r.items = append(r.items, it)
	}
}

// fromName resolves an entry that has a name only: a field of the request or a key.
func (r *serviceReader) fromName(it *item) bool {
	n := it.o.need("name", "amount")
	if n = r.word(n, it.path+".name"); n == nil {
		return false
	}
	if r.requestOrKey(it, n.text) {
		return true
	}
	r.add(n.at, it.path, "%q is no field of the request and no key: the feature needs from or expression", clip(n.text))
	return false
}

// named gives the features of an entry the name that it states.
func (r *serviceReader) named(it *item) bool {
	n := it.o.word("name")
	if n == nil {
		return !it.o.has("name")
	}
	if !r.checkName(n, it.path+".name", "the name of a feature", featureNameMax) {
		return false
	}
	for i := range it.features {
		it.features[i].Name = n.text
		if len(it.features) > 1 {
			it.features[i].Name = fmt.Sprintf("%s_%d", n.text, i)
		}
	}
	return true
}

// requestOrKey resolves a name without a dot.
func (r *serviceReader) requestOrKey(it *item, name string) bool {
	if i := slices.IndexFunc(r.service.Request, func(f Field) bool { return f.Name == name }); i >= 0 {
		it.natural = r.service.Request[i].Type
		it.features = []Feature{{Name: name, Kind: FromRequest, Offset: i}}
		return true
	}
	for _, entities := range [][]*Entity{r.service.Entities, r.catalog.Entities} {
		for _, e := range entities {
			if e.Key == name {
				it.natural = e.Type
				it.features = []Feature{{Name: name, Kind: FromKey, Offset: r.use(e, it.at, it.path)}}
				return true
			}
		}
	}
	return false
}

// use is the place of an entity among those of the service.
func (r *serviceReader) use(e *Entity, at place, path string) int {
	i := slices.Index(r.service.Entities, e)
	if i >= 0 {
		return i
	}
	if r.explicit {
		r.add(at, path, "needs the entity %s, which the service's entities leave out", e.Name)
	}
	r.service.Entities = append(r.service.Entities, e)
	return len(r.service.Entities) - 1
}

// reference is view.feature, view.feature[2] or lookup.field.
var reference = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*)\.([A-Za-z_][A-Za-z0-9_]*)(?:\[([0-9]{1,3})\])?$`)

// resolve finds what a text refers to.
func (r *serviceReader) resolve(it *item, n *node, path string) bool {
	if namePattern.MatchString(n.text) {
		if r.requestOrKey(it, n.text) {
			return true
		}
		r.add(n.at, path, "%q is no field of the request and no key%s; features are written view.feature or lookup.field",
			clip(n.text), suggest(n.text, fieldNames(r.service.Request)))
		return false
	}
	m := reference.FindStringSubmatch(n.text)
	if m == nil {
		r.add(n.at, path, "%q is no feature: write view.feature, view.feature[0], lookup.field, or a field of the request", clip(n.text))
		return false
	}
	if r.broken["view "+m[1]] || r.broken["lookup "+m[1]] {
		r.total++
		return false
	}
	if v := r.catalog.View(m[1]); v != nil {
		return r.fromView(it, v, n, m, path)
	}
	if l := r.catalog.Lookup(m[1]); l != nil {
		return r.fromLookup(it, l, n, m, path)
	}
	var known []string
	for _, d := range slices.Concat(r.views.list, r.lookups.list) {
		known = append(known, d.name)
	}
	r.add(n.at, path, "no view or lookup %q%s", m[1], suggest(m[1], known))
	return false
}

func (r *serviceReader) fromView(it *item, v *View, n *node, m []string, path string) bool {
	i := slices.IndexFunc(v.Features, func(f ViewFeature) bool { return f.Name == m[2] })
	if i < 0 {
		known := make([]string, len(v.Features))
		for i, f := range v.Features {
			known[i] = f.Name
		}
		r.add(n.at, path, "the view %s has no feature %q%s", v.Name, m[2], suggest(m[2], known))
		return false
	}
	f := v.Features[i]
	first, last := 0, f.Width-1
	if m[3] != "" {
		k, _ := strconv.Atoi(m[3]) // at most three digits
		if f.Width == 1 {
			r.add(n.at, path, "the feature %s is a single value: leave [%d] out", f.Name, k)
			return false
		}
		if k >= f.Width {
			r.add(n.at, path, "the feature %s has %d values: there is no [%d]", f.Name, f.Width, k)
			return false
		}
		first, last = k, k
	}
	for _, e := range v.Entities {
		r.use(e, n.at, path)
	}
	it.natural = f.Type
	for k := first; k <= last; k++ {
		name := v.Name + "__" + f.Name
		if f.Width > 1 {
			name = fmt.Sprintf("%s_%d", name, k)
		}
		it.features = append(it.features, Feature{Name: name, Kind: FromView, View: v.Index, Offset: f.Offset + k,
			Type: column.Float64, Description: f.Description})
	}
	return true
}

func (r *serviceReader) fromLookup(it *item, l *Lookup, n *node, m []string, path string) bool {
	known := make([]string, len(l.Fields))
	for i, f := range l.Fields {
		known[i] = l.Source.Fields[f].Name
	}
	i := slices.Index(known, m[2])
	if i < 0 || m[3] != "" {
		r.add(n.at, path, "the lookup %s has no field %q%s", l.Name, strings.TrimPrefix(n.text, m[1]+"."), suggest(m[2], known))
		return false
	}
	for _, e := range l.Entities {
		r.use(e, n.at, path)
	}
	field := l.Source.Fields[l.Fields[i]]
	it.natural = field.Type
	it.features = []Feature{{Name: l.Name + "__" + m[2], Kind: FromLookup, Lookup: l.Index, Offset: i, Description: field.Description}}
	return true
}

// checkKeys reports keys that could be taken for one another or for fields of the request.
func (r *serviceReader) checkKeys() {
	names := map[string]string{}
	for _, e := range r.service.Entities {
		if other, taken := names[e.Key]; taken {
			r.add(r.o.at, r.o.path, "the entities %s and %s have the same key %s: one request cannot have both", other, e.Name, e.Key)
		}
		names[e.Key] = e.Name
	}
	request := r.o.get("request")
	if request == nil {
		return
	}
	for _, e := range request.entries {
		if entity, taken := names[e.key.text]; taken {
			r.add(e.key.at, join(r.o.path+".request", e.key.text), "this is the key of the entity %s, which every request has: leave it out", entity)
		}
	}
}
