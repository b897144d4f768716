// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"slices"
	"time"

	"github.com/millrace-ml/millrace/featurestore/expression"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// digest builds the canonical form that is hashed: a version, then values one after
// another, texts and lists with their length before them, so that no two meanings have
// the same bytes. It is part of stored formats and does not change.
type digest struct{ b []byte }

const digestVersion = 1

func newDigest(what string) *digest {
	d := &digest{}
	d.number(digestVersion)
	d.text(what)
	return d
}

func (d *digest) number(x int64) { d.b = binary.AppendVarint(d.b, x) }

func (d *digest) text(s string) {
	d.number(int64(len(s)))
	d.b = append(d.b, s...)
}

func (d *digest) truth(b bool) {
	if b {
		d.number(1)
		return
	}
	d.number(0)
}

func (d *digest) float(x float64) {
	if x != x {
		x = math.NaN() // one of the many
	}
	d.b = binary.BigEndian.AppendUint64(d.b, math.Float64bits(x))
}

func (d *digest) duration(x time.Duration) { d.number(x.Microseconds()) }

func (d *digest) program(p *expression.Program) {
	if p == nil {
		d.text("")
		return
	}
	d.text(p.Canonical())
}

func (d *digest) sum() [32]byte { return sha256.Sum256(d.b) }

func (d *digest) short() (f [16]byte) {
	sum := d.sum()
	copy(f[:], sum[:])
	return f
}

// sorted is the list by name: order in a file means nothing.
func sorted[T any](list []T, name func(T) string) []T {
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b T) int { return cmp.Compare(name(a), name(b)) })
	return list
}

// hash is Catalog.Hash.
func (c *Catalog) hash() [32]byte {
	d := newDigest("catalogue")
	for _, e := range sorted(c.Entities, func(e *Entity) string { return e.Name }) {
		d.text(e.Name)
		d.text(e.Key)
		d.number(int64(e.Type))
	}
	d.number(-1)
	for _, s := range sorted(c.Sources, func(s *Source) string { return s.Name }) {
		h := s.Hash()
		d.text(string(h[:]))
	}
	d.number(-1)
	for _, v := range sorted(c.Views, func(v *View) string { return v.Name }) {
		d.view(v)
	}
	d.number(-1)
	for _, l := range sorted(c.Lookups, func(l *Lookup) string { return l.Name }) {
		h := l.Fingerprint()
		d.text(l.Name)
		d.text(string(h[:]))
		d.duration(l.TTL)
	}
	d.number(-1)
	for _, s := range sorted(c.Services, func(s *Service) string { return s.Name }) {
		d.text(string(s.hash[:]))
	}
	return d.sum()
}

// view adds a view and the names and defaults of its features.
func (d *digest) view(v *View) {
	h := v.Fingerprint()
	d.text(v.Name)
	d.text(string(h[:]))
	w := v.Window.Definition()
	d.duration(w.MaxAge)
	d.number(int64(len(v.Features)))
	for i := range v.Features {
		d.text(v.Features[i].Name)
		d.float(w.Features[i].Default)
	}
	for _, x := range []int{w.HeadEventsMax, w.EntriesMax, w.BytesMax} {
		d.number(int64(x))
	}
}

// Hash depends on everything that decides which events the source has and what they
// mean, but not on where its inputs lie, nor on the order of its fields.
func (s *Source) Hash() [32]byte {
	d := newDigest("source")
	d.text(s.Name)
	for _, i := range []int{s.ID, s.Timestamp, s.Arrival} {
		d.text(s.fieldName(i))
	}
	d.truth(s.Push)
	d.duration(s.FutureMax)
	d.fields(s.Fields)
	d.number(int64(len(s.Inputs)))
	for i := range s.Inputs {
		in := &s.Inputs[i]
		d.number(int64(in.Format))
		d.text(in.Query)
		var names []string
		for name := range in.Columns {
			names = append(names, name)
		}
		slices.Sort(names)
		d.number(int64(len(names)))
		for _, name := range names {
			d.text(name)
			d.text(in.Columns[name])
		}
	}
	return d.sum()
}

func (s *Source) fieldName(i int) string {
	if i < 0 {
		return ""
	}
	return s.Fields[i].Name
}

func (d *digest) fields(fields []Field) {
	d.number(int64(len(fields)))
	for _, f := range sorted(fields, func(f Field) string { return f.Name }) {
		d.text(f.Name)
		d.number(int64(f.Type))
		d.truth(f.Required)
		d.truth(f.Late)
		d.duration(f.KnownAfter)
		d.float(f.Min)
		d.float(f.Max)
		d.number(int64(len(f.Values)))
		for _, v := range sorted(f.Values, func(v string) string { return v }) {
			d.text(v)
		}
	}
}

// origin adds entities, keys and the source, with the types that the bytes of keys and
// values depend on.
func (d *digest) origin(entities []*Entity, keys []int, s *Source) {
	d.number(int64(len(entities)))
	for i, e := range entities {
		d.text(e.Name)
		d.number(int64(e.Type))
		d.text(s.Fields[keys[i]].Name)
	}
	d.text(s.Name)
	d.text(s.fieldName(s.ID))
	d.text(s.fieldName(s.Timestamp))
	d.text(s.fieldName(s.Arrival))
}

// field adds a field's name and type.
func (d *digest) field(s *Source, i int) {
	d.text(s.fieldName(i))
	if i >= 0 {
		d.number(int64(s.Fields[i].Type))
	}
}

// Fingerprint tells states of the view apart from those of another meaning: it depends
// on the entities and their keys, on filters and columns, and on the windows, but not
// on names, defaults, the maximum age, or bounds on memory. A state that was stored with
// another fingerprint is to be rebuilt from the events.
func (v *View) Fingerprint() [16]byte {
	d := newDigest("view")
	d.origin(v.Entities, v.Keys, v.Source)
	d.program(v.Filter)
	d.number(int64(len(v.Columns)))
	for _, c := range v.Columns {
		d.field(v.Source, c.Field)
		d.program(c.Program)
		d.program(c.Filter)
		d.field(v.Source, c.LateField)
	}
	d.number(int64(len(v.KeyColumns)))
	for _, c := range v.KeyColumns {
		d.field(v.Source, c.Field)
		d.program(c.Filter)
	}
	w := v.Window.Definition()
	d.duration(w.LatenessMax)
	d.duration(w.FutureMax)
	d.duration(w.DuplicateHorizon)
	d.number(int64(len(w.Features)))
	for i := range w.Features {
		d.windowFeature(&w.Features[i])
	}
	return d.short()
}

// windowFeature adds what a feature computes, its name and default apart.
func (d *digest) windowFeature(f *window.Feature) {
	d.text(f.Func.String())
	d.text(f.Column)
	d.duration(f.Window)
	d.duration(f.Hop)
	d.duration(f.Delay)
	d.number(int64(f.K))
	d.float(f.Quantile)
	d.duration(f.HalfLife)
	d.number(int64(f.ExactMax))
}

// Fingerprint tells rows of the lookup apart from those of another meaning: it depends
// on the entities and their keys, and on the fields and their types and order, but not
// on the time to live, which is applied when a row is read.
func (l *Lookup) Fingerprint() [16]byte {
	d := newDigest("lookup")
	d.origin(l.Entities, l.Keys, l.Source)
	d.number(int64(len(l.Fields)))
	for _, i := range l.Fields {
		d.field(l.Source, i)
	}
	return d.short()
}

// Hash depends on everything that the values of the service's vectors depend on: the
// request, the features in order, and what each is computed from. Two services of equal
// hash give equal vectors for equal events.
func (s *Service) Hash() [32]byte { return s.hash }

func (c *Catalog) serviceHash(s *Service) [32]byte {
	d := newDigest("service")
	d.text(s.Name)
	d.text(s.Model)
	for _, e := range sorted(s.Entities, func(e *Entity) string { return e.Name }) {
		d.text(e.Name)
		d.text(e.Key)
		d.number(int64(e.Type))
	}
	d.number(-1)
	d.fields(s.Request)
	if s.Time >= 0 {
		d.text(s.Request[s.Time].Name)
	}
	d.number(int64(len(s.Features)))
	for i := range s.Features {
		f := &s.Features[i]
		d.text(f.Name)
		c.meaning(d, s, f)
	}
	return d.sum()
}

// meaning adds everything that a feature's values depend on, its name apart.
func (c *Catalog) meaning(d *digest, s *Service, f *Feature) {
	d.number(int64(f.Kind))
	d.number(int64(f.Type))
	d.truth(f.HasDefault)
	if f.HasDefault {
		d.float(f.Default)
		d.text(f.DefaultText)
	}
	switch f.Kind {
	case FromView:
		c.viewMeaning(d, c.Views[f.View], f.Offset)
	case FromLookup:
		l := c.Lookups[f.Lookup]
		d.origin(l.Entities, l.Keys, l.Source)
		d.field(l.Source, l.Fields[f.Offset])
		d.duration(l.TTL)
	case FromRequest:
		d.text(s.Request[f.Offset].Name)
	case FromKey:
		d.text(s.Entities[f.Offset].Name)
	default:
		d.program(f.Expression)
	}
}

// viewMeaning adds what one value of a view depends on, whatever else the view has.
func (c *Catalog) viewMeaning(d *digest, v *View, offset int) {
	d.origin(v.Entities, v.Keys, v.Source)
	d.program(v.Filter)
	w := v.Window.Definition()
	i := slices.IndexFunc(v.Features, func(f ViewFeature) bool { return offset >= f.Offset && offset < f.Offset+f.Width })
	f := w.Features[i]
	d.windowFeature(&f)
	d.number(int64(offset - v.Features[i].Offset))
	d.float(f.Default)
	d.duration(w.MaxAge)
	d.duration(w.LatenessMax)
	d.duration(w.FutureMax)
	if j := slices.Index(w.Columns, f.Column); j >= 0 {
		k := v.Columns[j]
		d.field(v.Source, k.Field)
		d.program(k.Program)
		d.program(k.Filter)
	} else if j := slices.Index(w.Keys, f.Column); j >= 0 {
		d.field(v.Source, v.KeyColumns[j].Field)
		d.program(v.KeyColumns[j].Filter)
	}
}
