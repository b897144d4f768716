// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"time"
)

// object reads the fields of a mapping and notes which it was asked for.
type object struct {
	r     *reader
	v     *value
	asked []string
}

// object is empty after a mistake, so that its fields are just not there.
func (r *reader) object(v *value) *object {
	if v.kind != mappingKind {
		r.bad(v, "want a mapping, not %s", describe(v))
		return &object{r, &value{line: v.line, column: v.column, path: v.path, kind: mappingKind}, nil}
	}
	return &object{r: r, v: v}
}

func describe(v *value) string {
	switch v.kind {
	case listKind:
		return "a list"
	case mappingKind:
		return "a mapping"
	}
	if v.scalar == nil {
		return "nothing"
	}
	return fmt.Sprintf("%q", Text(v.scalar))
}

// get returns a field, nil if it is not there or empty.
func (o *object) get(name string) *value {
	o.asked = append(o.asked, name)
	for i, k := range o.v.keys {
		if k.name == name {
			if v := o.v.items[i]; v.kind != scalarKind || v.scalar != nil {
				return v
			}
		}
	}
	return nil
}

// done reports the keys that nobody asked for.
func (o *object) done() {
	for _, k := range o.v.keys {
		if !slices.Contains(o.asked, k.name) {
			o.r.fail(k.line, k.column, o.v.path, "unknown key %q%s", k.name, hint(k.name, o.asked))
		}
	}
}

func (o *object) text(name string) string {
	v := o.get(name)
	if v == nil {
		return ""
	}
	s, ok := v.scalar.(string)
	if !ok {
		o.r.bad(v, "want a text, not %s", describe(v))
	}
	return s
}

func (o *object) required(name string) string {
	s := o.text(name)
	if s == "" {
		o.r.bad(o.v, "%s is missing", name)
	}
	return s
}

func (o *object) integer(name string, low, high int) int {
	v := o.get(name)
	if v == nil {
		return 0
	}
	n, ok := v.scalar.(int64)
	if !ok || n < int64(low) || n > int64(high) {
		o.r.bad(v, "want an integer from %d to %d, not %s", low, high, describe(v))
		return 0
	}
	return int(n)
}

func (o *object) duration(name string, high time.Duration) time.Duration {
	v := o.get(name)
	if v == nil {
		return 0
	}
	s, ok := v.scalar.(string)
	d, err := time.ParseDuration(s)
	if !ok || err != nil || d < 0 || d > high {
		o.r.bad(v, "want a time such as 30s or 10m, at most %s, not %s", high, describe(v))
		return 0
	}
	return d
}

func (o *object) boolean(name string, unset bool) bool {
	v := o.get(name)
	if v == nil {
		return unset
	}
	b, ok := v.scalar.(bool)
	if !ok {
		o.r.bad(v, "want true or false, not %s", describe(v))
	}
	return b
}

// texts is a list of texts, or one alone.
func (o *object) texts(name string) (all []string, at []*value) {
	v := o.get(name)
	if v == nil {
		return nil, nil
	}
	items := v.items
	if v.kind != listKind {
		items = []*value{v}
	}
	for _, item := range items {
		s, ok := item.scalar.(string)
		if !ok {
			o.r.bad(item, "want a text, not %s", describe(item))
			continue
		}
		all, at = append(all, s), append(at, item)
	}
	return all, at
}

var (
	namePattern = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	portPattern = regexp.MustCompile(`^[a-zA-Z_][a-zA-Z0-9_]*$`)
	filePattern = regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9_.-]*$`)
)

// reservedNames are those that expressions use otherwise.
var reservedNames = []string{"params", "run", "partition", "trigger", "item", "inputs", "outputs", "always", "failed", "succeeded",
	"let", "if", "else", "not", "in", "and", "or", "nil", "true", "false", "matches", "contains", "env"}

// name checks the name of a task or pipeline.
func (r *reader) name(k key, path string) bool {
	switch {
	case len(k.name) > NameLengthMax || !namePattern.MatchString(k.name):
		r.fail(k.line, k.column, path, "name %q: want a small letter, then small letters, digits and _, at most %d", k.name, NameLengthMax)
	case slices.Contains(reservedNames, k.name):
		r.fail(k.line, k.column, path, "the name %q has a meaning in expressions: choose another one", k.name)
	default:
		return true
	}
	return false
}

// scalarValue checks a value of a parameter.
func (r *reader) scalarValue(v *value) any {
	f, isFloat := v.scalar.(float64)
	if v.kind != scalarKind || isFloat && (math.IsNaN(f) || math.IsInf(f, 0)) {
		r.bad(v, "want a text, a number, true or false, not %s", describe(v))
		return nil
	}
	return v.scalar
}
