// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"strings"

	"github.com/millrace-ml/millrace/featurestore/window"
)

// finish compiles the windows and puts complaints where they belong.
func (r *viewReader) finish() {
	if len(r.def.Features) == 0 {
		return
	}
	v, err := window.NewView(r.def)
	if err == nil {
		r.view.Window = v
		return
	}
	for _, problem := range leaves(err) {
		r.complain(strings.TrimPrefix(problem.Error(), window.ErrDefinition.Error()+": "))
	}
}

// leaves are the single errors that an error is made of.
func leaves(err error) (all []error) {
	several, ok := err.(interface{ Unwrap() []error })
	if !ok {
		return []error{err}
	}
	for _, e := range several.Unwrap() {
		if e == window.ErrDefinition {
			continue
		}
		all = append(all, leaves(e)...)
	}
	if len(all) == 1 && !strings.Contains(err.Error(), "\n") { // the wrapping has words of its own
		return []error{err}
	}
	return all
}

// parameterKeys are the keys that package window's complaints begin with.
var parameterKeys = []struct{ words, key string }{
	{"max age", "max_age"}, {"lateness max", "lateness_max"}, {"duplicate horizon", "duplicate_horizon"},
	{"entries max", "entries_max"}, {"head events max", "head_events_max"}, {"bytes max", "bytes_max"},
	{"window", "window"}, {"hop", "hop"}, {"delay", "delay"}, {"k ", "k"}, {"quantile", "quantile"},
	{"exact max", "exact_max"}, {"half-life", "half_life"}, {"default", "default"},
}

// complain reports a complaint of package window at the feature and key it is about.
func (r *viewReader) complain(message string) {
	o := r.o
	for i, f := range r.def.Features {
		if rest, ok := strings.CutPrefix(message, "feature \""+f.Name+"\": "); ok {
			o, message = r.objects[i], rest
			break
		}
	}
	for _, p := range parameterKeys {
		if !strings.HasPrefix(message, p.words) {
			continue
		}
		switch {
		case o.has(p.key):
			o.bad(p.key, "%s", message)
			return
		case p.key == "window" && o.has("windows"):
			o.bad("windows", "%s", message)
			return
		}
	}
	r.add(o.at, o.path, "%s", message)
}
