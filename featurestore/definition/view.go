// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/expression"
	"github.com/millrace-ml/millrace/featurestore/window"
)

// viewWindowsMax bounds a list of windows; it is what a window.View takes.
const viewWindowsMax = 64

// viewFeaturesMax bounds the features of a view, each counted once for every window; it
// is what a window.View takes.
const viewFeaturesMax = 1024

// span is a window of a list, and how it was written: the suffix of features' names.
type span struct {
	length time.Duration
	suffix string
}

// viewReader makes one view.
type viewReader struct {
	*loader
	o          *object
	view       *View
	env        []expression.Field
	windows    []span
	hop, delay time.Duration
	def        window.Definition
	// objects has for each feature of def where it is defined.
	objects []*object
	at      map[string]place // of features' names
}

func (l *loader) view(d *definition, path string) {
	o := l.object(d.value, path, d.at, vocabulary["view"]...)
	r := &viewReader{loader: l, o: o, at: map[string]place{},
		view: &View{Name: d.name, Index: len(l.catalog.Views), Description: o.text("description")}}
	before := l.total
	l.catalog.Views = append(l.catalog.Views, r.view)
	r.settings()
	g, ok := l.origin(o)
	r.view.Entities, r.view.Keys, r.view.Source = g.entities, g.keys, g.source
	features := o.need("features", "{payments: {function: count, window: 7d}}")
	if !ok || features == nil {
		return
	}
	r.env = g.source.Env()
	r.def.FutureMax = g.source.FutureMax
	r.view.Filter = r.filter(o, "filter")
	if r.view.Filter != nil {
		r.checkNoLate(o, "filter", r.view.Filter.Fields())
	}
	entries := l.mapping(features, path+".features")
	if len(entries) == 0 && features.kind == mappingKind {
		l.add(features.at, path+".features", "there are no features")
	}
	for _, e := range entries {
		r.feature(e, join(path+".features", e.key.text))
	}
	if l.total == before {
		r.finish()
	}
}

// settings reads what holds for the whole view.
func (r *viewReader) settings() {
	o := r.o
	r.windows = r.spans(o, "windows")
	r.hop, _ = o.duration("hop", time.Microsecond)
	r.delay, _ = o.duration("delay", 0)
	r.def.MaxAge, _ = o.duration("max_age", time.Microsecond)
	r.def.LatenessMax, _ = o.duration("lateness_max", time.Microsecond)
	r.def.DuplicateHorizon, _ = o.duration("duplicate_horizon", time.Microsecond)
	r.def.HeadEventsMax = o.integer("head_events_max", 16, 1<<20)
	r.def.EntriesMax = o.integer("entries_max", 256, 1<<20)
	r.def.BytesMax = o.integer("bytes_max", 1, 1<<30)
}

// spans reads a list of windows.
func (r *viewReader) spans(o *object, key string) (list []span) {
	for i, n := range o.list(key) {
		path := index(o.path+"."+key, i)
		d, ok := r.duration(n, path, time.Microsecond)
		switch {
		case !ok:
		case slices.ContainsFunc(list, func(s span) bool { return s.suffix == n.text }):
			r.add(n.at, path, "the window %s is there twice", n.text)
		case len(list) == viewWindowsMax:
			r.add(n.at, o.path+"."+key, "more than %d windows", viewWindowsMax)
			return list
		default:
			list = append(list, span{d, n.text})
		}
	}
	return list
}

// filter compiles a condition on events.
func (r *viewReader) filter(o *object, key string) *expression.Program {
	p := o.program(key, r.env)
	if p == nil {
		return nil
	}
	if p.Type() != column.Bool {
		o.bad(key, "a filter is a condition, of type bool; this is %s", p.Type())
		return nil
	}
	r.checkArrival(o, key, p.Fields())
	return p
}

// checkArrival keeps to D3.
func (r *viewReader) checkArrival(o *object, key string, fields []int) {
	if s := r.view.Source; s.Arrival >= 0 && slices.Contains(fields, s.Arrival) {
		o.bad(key, "the field %s is the arrival of events and no value of theirs", s.Fields[s.Arrival].Name)
	}
}

// checkNoLate refuses late fields where nothing can be amended.
func (r *viewReader) checkNoLate(o *object, key string, fields []int) {
	for _, i := range fields {
		if f := r.view.Source.Fields[i]; f.Late {
			o.bad(key, "the field %s is late and cannot decide here: it is not known when the event comes", f.Name)
		}
	}
}

// feature reads a feature and adds it once for each of its windows.
func (r *viewReader) feature(e entry, path string) {
	if !r.checkName(e.key, path, "the name of a feature", fieldNameMax) {
		return
	}
	o := r.object(e.value, path, e.key.at, vocabulary["view feature"]...)
	f := window.Feature{Hop: r.hop, Delay: r.delay}
	n := r.word(o.need("function", "mean"), path+".function")
	if n == nil {
		return
	}
	fn, err := window.ParseFunc(n.text)
	if err != nil {
		r.add(n.at, path+".function", "no function %s%s", shown(n), functionHint(n.text))
		return
	}
	f.Func = fn
	if hop, ok := o.duration("hop", time.Microsecond); ok {
		f.Hop = hop
	}
	if delay, ok := o.duration("delay", 0); ok {
		f.Delay = delay
	}
	r.parameters(o, &f)
	t, ok := r.target(o, &f)
	r.spread(o, e.key, f, t, ok)
}

func functionNames() (names []string) {
	for f := window.Count; f <= window.DecayedSum; f++ {
		names = append(names, f.String())
	}
	return names
}

func functionHint(name string) string {
	names := functionNames()
	if c := expression.Closest(name, names); c != "" {
		return "; did you mean " + c + "?"
	}
	return "; it is one of " + strings.Join(names, ", ")
}

// parameters reads what only some functions take.
func (r *viewReader) parameters(o *object, f *window.Feature) {
	for _, p := range []struct {
		key, example string
		fn           window.Func
		needed       bool
	}{
		{"k", "5", window.LastK, true}, {"quantile", "0.9", window.Quantile, true},
		{"half_life", "6h", window.DecayedSum, true}, {"exact_max", "128", window.Distinct, false},
	} {
		if p.fn != f.Func && o.has(p.key) {
			o.bad(p.key, "is for %s only, not for %s", p.fn, f.Func)
		} else if p.fn == f.Func && p.needed {
			o.need(p.key, p.example)
		}
	}
	switch f.Func {
	case window.LastK:
		f.K = o.integer("k", 1, 64)
	case window.Distinct:
		f.ExactMax = o.integer("exact_max", 1, 4096)
	case window.DecayedSum:
		f.HalfLife, _ = o.duration("half_life", time.Microsecond)
	case window.Quantile:
		x, ok := o.number("quantile")
		if ok && !(x >= 0 && x <= 1) {
			o.bad("quantile", "a quantile is a share from 0 to 1, such as 0.9")
		}
		f.Quantile = x
	}
	f.Default = r.defaultValue(o, f.Func)
}

// defaultValue is what stands for a value that there is none of: zero for sums and
// counts, else null.
func (r *viewReader) defaultValue(o *object, fn window.Func) float64 {
	n := o.get("default")
	switch {
	case n == nil && (fn == window.Count || fn == window.Sum || fn == window.Distinct || fn == window.DecayedSum):
		return 0
	case n == nil || n.kind == nullKind:
		return math.NaN()
	case n.kind == boolKind:
		if strings.EqualFold(n.text, "true") {
			return 1
		}
		return 0
	}
	x, _ := o.number("default")
	return x
}

// spread adds the feature once for each window; without a target only names are checked.
func (r *viewReader) spread(o *object, key *node, f window.Feature, t target, ok bool) {
	spans := r.windows
	switch {
	case o.has("window") && o.has("windows"):
		o.bad("windows", "give window or windows, not both")
		return
	case o.has("window"):
		n := o.get("window")
		d, valid := r.duration(n, o.path+".window", time.Microsecond)
		if !valid {
			return
		}
		spans = []span{{length: d}}
	case o.has("windows"):
		spans = r.spans(o, "windows")
	case !r.o.has("windows"):
		r.add(o.at, o.path, "the feature has no window: give it one, or give the view windows for all its features")
		return
	}
	for _, s := range spans {
		g := f
		g.Name, g.Window = key.text, s.length
		if s.suffix != "" {
			g.Name += "_" + s.suffix
		}
		if before, taken := r.at[g.Name]; taken {
			r.add(key.at, o.path, "the name %s is taken by the feature at %v", g.Name, before)
			continue
		}
		if len(r.at) == viewFeaturesMax {
			r.add(r.o.at, r.o.path+".features", "more than %d features, each counted once for every window", viewFeaturesMax)
			return
		}
		r.at[g.Name] = key.at
		if ok && r.checkSpan(o, &g) {
			r.append(o, g, t)
		}
	}
}

// checkSpan checks what has to fit the window.
func (r *viewReader) checkSpan(o *object, f *window.Feature) bool {
	if f.Hop > f.Window {
		r.near(o, "hop").bad("hop", "a hop of %s is longer than the window of %s", FormatDuration(f.Hop), FormatDuration(f.Window))
		return false
	}
	hop := f.Hop
	if hop == 0 {
		hop = window.DefaultHop(f.Window)
	}
	if least := (f.Window+hop)/512 + time.Microsecond; f.HalfLife > 0 && f.HalfLife < least {
		if least > time.Second {
			least = (least + time.Second - 1).Truncate(time.Second)
		}
		o.bad("half_life", "is too short for a window of %s: give at least %s", FormatDuration(f.Window), FormatDuration(least))
		return false
	}
	return true
}

// near is the feature, or the view if only that has the key.
func (r *viewReader) near(o *object, key string) *object {
	if !o.has(key) && r.o.has(key) {
		return r.o
	}
	return o
}

// append adds one feature.
func (r *viewReader) append(o *object, f window.Feature, t target) {
	if late := r.view.Source.lateField(t.late); late != nil && f.Delay < late.KnownAfter {
		r.near(o, "delay").bad("delay", "the field %s is known %s after the event: a delay of %s would leak it; give delay: %s or more",
			late.Name, FormatDuration(late.KnownAfter), FormatDuration(f.Delay), FormatDuration(late.KnownAfter))
		return
	}
	f.Column = t.column
	v := ViewFeature{Name: f.Name, Width: 1, Type: t.typ, Description: o.text("description")}
	if f.Func == window.LastK {
		v.Width = f.K
	}
	if n := len(r.view.Features); n > 0 {
		v.Offset = r.view.Features[n-1].Offset + r.view.Features[n-1].Width
	}
	r.view.Features = append(r.view.Features, v)
	r.def.Features = append(r.def.Features, f)
	r.objects = append(r.objects, o)
}

// lateField is the late field of that place, nil for -1.
func (s *Source) lateField(i int) *Field {
	if i < 0 {
		return nil
	}
	return &s.Fields[i]
}
