// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/expression"
)

// object reads a mapping with known keys. All its methods may be called on what turned
// out to be no mapping: they find nothing.
type object struct {
	l    *loader
	path string
	at   place
	keys map[string]*node
	none bool // it is no mapping, and that was told
}

// object checks that a node is a mapping with these keys only. at is for what is
// missing from it.
func (l *loader) object(n *node, path string, at place, keys ...string) *object {
	o := &object{l: l, path: path, at: at, keys: map[string]*node{}, none: n.kind != mappingKind}
	for _, e := range l.mapping(n, path) {
		key := e.key.text
		switch {
		case !slices.Contains(keys, key):
			l.add(e.key.at, join(path, key), "unknown key%s", suggest(key, keys))
		case e.value.kind == nullKind && key != "default":
			l.add(e.key.at, join(path, key), "has no value: give one or leave the key out")
		default:
			o.keys[key] = e.value
		}
	}
	return o
}

// mapping returns the entries of a node without those that come again.
func (l *loader) mapping(n *node, path string) []entry {
	if n.kind != mappingKind {
		l.add(n.at, path, "needs a mapping of keys to values, this is %s", kindNames[n.kind])
		return nil
	}
	seen := make(map[string]place, len(n.entries))
	kept := make([]entry, 0, len(n.entries))
	for _, e := range n.entries {
		if before, again := seen[e.key.text]; again {
			l.add(e.key.at, join(path, e.key.text), "the key is there twice, first at %v", before)
			continue
		}
		seen[e.key.text] = e.key.at
		kept = append(kept, e)
	}
	return kept
}

func join(path, key string) string {
	if path == "" {
		return clip(key)
	}
	return path + "." + clip(key)
}

// get is the value of a key, nil if it is not there.
func (o *object) get(key string) *node { return o.keys[key] }

// has reports whether one of the keys is there.
func (o *object) has(keys ...string) bool {
	return slices.ContainsFunc(keys, func(k string) bool { return o.keys[k] != nil })
}

// bad reports a mistake at a key, or at the object if it is not there.
func (o *object) bad(key, format string, args ...any) {
	at := o.at
	if n := o.keys[key]; n != nil {
		at = n.at
	}
	o.l.add(at, join(o.path, key), format, args...)
}

// need is get for a key that must be there.
func (o *object) need(key, example string) *node {
	n := o.keys[key]
	if n == nil && !o.none {
		o.l.add(o.at, o.path, "%s is missing, such as %s: %s", key, key, example)
	}
	return n
}

// word reads a text that is a single word or name.
func (o *object) word(key string) *node { return o.l.word(o.keys[key], join(o.path, key)) }

// word returns nil for what is no text.
func (l *loader) word(n *node, path string) *node {
	if n == nil {
		return nil
	}
	if n.kind != textKind {
		l.add(n.at, path, "needs a name, this is %s", kindNames[n.kind])
		return nil
	}
	return n
}

// text reads any scalar as it was written.
func (o *object) text(key string) string {
	n := o.keys[key]
	if n == nil {
		return ""
	}
	if n.kind == listKind || n.kind == mappingKind {
		o.bad(key, "needs a text, this is %s", kindNames[n.kind])
		return ""
	}
	return n.text
}

func (o *object) truth(key string) bool {
	n := o.keys[key]
	if n == nil {
		return false
	}
	if n.kind != boolKind {
		o.bad(key, "needs true or false, not %s", shown(n))
		return false
	}
	return strings.EqualFold(n.text, "true")
}

// number reads a number, of whatever spelling YAML allows; ok is false if there is none.
func (o *object) number(key string) (x float64, ok bool) {
	n := o.keys[key]
	if n == nil {
		return 0, false
	}
	if x, ok = n.number(); !ok {
		o.bad(key, "needs a number, not %s", shown(n))
	}
	return x, ok
}

var numberPattern = regexp.MustCompile(`^[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?$`)

// number is false for what is no finite number.
func (n *node) number() (float64, bool) {
	text := strings.ReplaceAll(n.text, "_", "")
	switch n.kind {
	case integerKind:
		if i, err := strconv.ParseInt(text, 0, 64); err == nil {
			return float64(i), true
		}
		fallthrough
	case floatKind, textKind: // the parser takes 1e3 for a text
		if n.kind == textKind && !(n.origin == n.text && numberPattern.MatchString(text)) {
			return 0, false
		}
		x, err := strconv.ParseFloat(text, 64)
		return x, err == nil && !math.IsInf(x, 0) && !math.IsNaN(x)
	}
	return 0, false
}

// integer reads a whole number within bounds; 0 if there is none.
func (o *object) integer(key string, least, most int) int {
	n := o.keys[key]
	if n == nil {
		return 0
	}
	x, ok := n.number()
	if !ok || x != math.Trunc(x) || x < float64(least) || x > float64(most) {
		o.bad(key, "needs a whole number from %d to %d, not %s", least, most, shown(n))
		return 0
	}
	return int(x)
}

// list reads a list, or a single value as a list of one.
func (o *object) list(key string) []*node {
	n := o.keys[key]
	switch {
	case n == nil:
		return nil
	case n.kind == mappingKind:
		o.bad(key, "needs a list, this is %s", kindNames[n.kind])
		return nil
	case n.kind != listKind:
		return []*node{n}
	case len(n.items) == 0:
		o.bad(key, "the list is empty")
	}
	return n.items
}

func shown(n *node) string {
	switch n.kind {
	case listKind, mappingKind, nullKind:
		return kindNames[n.kind]
	case textKind:
		return strconv.Quote(clip(n.text))
	}
	return clip(n.text)
}

// durationMax is the longest duration, 20 years as in package window.
const durationMax = 20 * 366 * 24 * time.Hour

var (
	durationPattern = regexp.MustCompile(`^([0-9]{1,18})(us|ms|s|m|h|d|w)$`)
	durationUnits   = map[string]time.Duration{"us": time.Microsecond, "ms": time.Millisecond, "s": time.Second,
		"m": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour}
)

// duration reads a duration; ok is false if there is none.
func (o *object) duration(key string, least time.Duration) (d time.Duration, ok bool) {
	if o.keys[key] == nil {
		return 0, false
	}
	return o.l.duration(o.keys[key], join(o.path, key), least)
}

func (l *loader) duration(n *node, path string, least time.Duration) (time.Duration, bool) {
	d, ok := time.Duration(0), n.text == "0" && n.kind == integerKind
	if m := durationPattern.FindStringSubmatch(n.text); m != nil && n.kind == textKind {
		count, _ := strconv.ParseInt(m[1], 10, 64) // at most 18 digits
		if unit := durationUnits[m[2]]; count <= int64(durationMax/unit) {
			d, ok = time.Duration(count)*unit, true
		}
	}
	if !ok || d < least {
		l.add(n.at, path, "needs a duration from %s to %s such as 90s, 15m, 6h, 7d or 4w, not %s",
			FormatDuration(least), FormatDuration(durationMax), shown(n))
		return 0, false
	}
	return d, true
}

// FormatDuration writes a duration as definitions do, in the largest unit that makes it
// whole.
func FormatDuration(d time.Duration) string {
	if d <= 0 {
		return "0s"
	}
	for _, unit := range []string{"d", "h", "m", "s", "ms", "us"} {
		if d%durationUnits[unit] == 0 {
			return strconv.FormatInt(int64(d/durationUnits[unit]), 10) + unit
		}
	}
	return d.String()
}

// fieldType reads a type.
func (l *loader) fieldType(n *node, path string) column.Type {
	if n == nil {
		return column.Invalid
	}
	t, err := column.ParseType(n.text)
	if err != nil || n.kind != textKind {
		names := make([]string, 0, 5)
		for t := column.Bool; t <= column.Timestamp; t++ {
			names = append(names, t.String())
		}
		hint := "; it is one of " + strings.Join(names, ", ")
		if c := expression.Closest(n.text, names); c != "" {
			hint = "; did you mean " + c + "?"
		}
		l.add(n.at, path, "%s is no type%s", shown(n), hint)
		return column.Invalid
	}
	return t
}

// program compiles the expression of a key; nil if there is none or it is wrong.
func (o *object) program(key string, env []expression.Field) *expression.Program {
	n := o.keys[key]
	if n == nil {
		return nil
	}
	text := o.text(key)
	if text == "" && n.kind != textKind {
		return nil
	}
	p, err := expression.Compile(text, env)
	if err == nil {
		return p
	}
	o.l.expressionError(n, join(o.path, key), err)
	return nil
}

// expressionError points into the text of an expression.
func (l *loader) expressionError(n *node, path string, err error) {
	bad, ok := err.(*expression.Error)
	if !ok {
		l.add(n.at, path, "%v", err)
		return
	}
	at, ok := n.within(bad.Offset)
	if ok {
		l.add(at, path, "%s", bad.Message)
		return
	}
	l.add(at, path, "%s", fmt.Sprintf("at character %d: %s", bad.Offset+1, bad.Message))
}
