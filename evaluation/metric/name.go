// SPDX-License-Identifier: Apache-2.0

package metric

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/millrace-ml/millrace/featurestore/expression"
)

// A metric's name is, without spaces,
//
//	NAME [":" CLASS] ["@" ARGUMENT {"," ARGUMENT}]
//
// where an ARGUMENT is a value or KEY=VALUE. CLASS ends at the last "@" and may be in
// double quotes. What a value without a key means is up to the metric. Of precision and
// recall it is the number k of highest rows if it is a whole number without a point, and
// else the threshold: precision@100 and precision@0.7, or precision@k=100 and
// precision@threshold=0.7.

// nameMax bounds a name, in bytes.
const nameMax = 256

// name is a metric's name cut in parts.
type name struct {
	text     string
	base     string
	class    string
	hasClass bool
	args     map[string]string // with "" for the value without a key
	used     map[string]bool
	err      error
}

func cutName(text string) (*name, error) {
	n := &name{text: strings.TrimSpace(text), args: map[string]string{}, used: map[string]bool{}}
	if n.text == "" {
		return nil, fmt.Errorf("the name is empty")
	}
	if len(n.text) > nameMax {
		return nil, fmt.Errorf("the name has %d bytes, at most %d are allowed", len(n.text), nameMax)
	}
	head, tail, hasArgs := cutLast(n.text, "@")
	if hasArgs {
		for arg := range strings.SplitSeq(tail, ",") {
			if err := n.addArgument(arg); err != nil {
				return nil, err
			}
		}
	}
	n.base, n.class, n.hasClass = strings.Cut(head, ":")
	if !n.hasClass {
		return n, nil
	}
	if strings.HasPrefix(n.class, `"`) {
		class, err := strconv.Unquote(n.class)
		if err != nil {
			return nil, fmt.Errorf("the quoted name of the class %s is malformed", n.class)
		}
		n.class = class
	}
	if n.class == "" {
		return nil, fmt.Errorf("the name of the class after : is empty")
	}
	return n, nil
}

// cutLast cuts at the last separator that is not inside of quotes.
func cutLast(text, separator string) (before, after string, found bool) {
	from := strings.LastIndexByte(text, '"') + 1
	if from < len(text) && from > 0 && text[from] != '@' {
		from = 0 // no quoted class, but a quote somewhere
	}
	i := strings.LastIndex(text[from:], separator)
	if i < 0 {
		return text, "", false
	}
	return text[:from+i], text[from+i+1:], true
}

func (n *name) addArgument(arg string) error {
	key, value, keyed := strings.Cut(strings.TrimSpace(arg), "=")
	if !keyed {
		key, value = "", key
	}
	key, value = strings.TrimSpace(key), strings.TrimSpace(value)
	if value == "" {
		return fmt.Errorf("an argument after @ is empty")
	}
	if keyed && key == "" {
		return fmt.Errorf("the argument =%s has no name", value)
	}
	if _, twice := n.args[key]; twice {
		if key == "" {
			return fmt.Errorf("more than one value without a name after @")
		}
		return fmt.Errorf("%s is given twice", key)
	}
	n.args[key] = value
	return nil
}

// bound is an interval; open leaves its ends out.
type bound struct {
	low, high float64
	open      bool
	words     string
}

var (
	anyNumber    = bound{math.Inf(-1), math.Inf(1), true, "a number"}
	positive     = bound{0, math.Inf(1), true, "a number above 0"}
	share        = bound{0, 1, true, "between 0 and 1"}
	shareOrWhole = bound{0, 1, false, "from 0 to 1"}
)

// binsMax bounds numbers of bins, placesMax the k of the k highest.
const (
	binsMax   = 10_000
	placesMax = math.MaxInt32
)

// take is an argument by its key, or without a key if that is allowed.
func (n *name) take(key string, bare bool) (string, bool) {
	if v, ok := n.args[key]; ok && key != "" {
		n.used[key] = true
		return v, true
	}
	if v, ok := n.args[""]; ok && bare && !n.used[""] {
		n.used[""] = true
		return v, true
	}
	return "", false
}

// number is a numeric argument, or the default.
func (n *name) number(key string, bare bool, otherwise float64, within bound) float64 {
	text, ok := n.take(key, bare)
	if !ok {
		return otherwise
	}
	v, err := strconv.ParseFloat(text, 64)
	if err != nil || !finite(v) || v < within.low || v > within.high || within.open && (v == within.low || v == within.high) {
		n.fail("%s is %s, it must be %s", key, text, within.words)
	}
	return v
}

// count is a whole argument from 1, or the default.
func (n *name) count(key string, bare bool, otherwise, most int) int {
	text, ok := n.take(key, bare)
	if !ok {
		return otherwise
	}
	v, err := strconv.Atoi(text)
	if err != nil || v < 1 || v > most {
		n.fail("%s is %s, it must be a whole number from 1 to %d", key, text, most)
	}
	return v
}

// whole reports whether an argument is given and is written as a whole number.
func (n *name) whole(key string) bool {
	v, ok := n.args[key]
	return ok && strings.Trim(v, "+-0123456789") == ""
}

// choice is an argument that is one of some words.
func (n *name) choice(key string, words ...string) string {
	text, ok := n.take(key, false)
	if !ok {
		return words[0]
	}
	if !slices.Contains(words, text) {
		n.fail("%s is %s, it must be %s", key, text, strings.Join(words, " or "))
	}
	return text
}

// need reports that an argument is missing.
func (n *name) need(what string) { n.fail("it needs %s", what) }

func (n *name) fail(format string, args ...any) {
	if n.err == nil {
		n.err = fmt.Errorf(format, args...)
	}
}

// finish reports what was wrong with the arguments, or what was left over.
func (n *name) finish(f *family) error {
	if n.err != nil {
		return n.err
	}
	if n.hasClass && !f.perClass {
		return fmt.Errorf("it is not of one class; leave :%s out", n.class)
	}
	for _, key := range slices.Sorted(maps.Keys(n.args)) {
		switch {
		case n.used[key]:
		case key == "":
			return fmt.Errorf("there is no place for the value %s; it is written %s", n.args[key], f.usage())
		default:
			hint := ""
			if c := expression.Closest(key, f.keys); c != "" {
				hint = "; did you mean " + c + "?"
			}
			return fmt.Errorf("unknown argument %s%s; it is written %s", key, hint, f.usage())
		}
	}
	return nil
}
