// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/token"

	"github.com/millrace-ml/millrace/featurestore/definition"
)

// text reads a text of one key, empty if it is left out.
func (b block) text(key string, most int) string {
	n, ok := b.get(key)
	if !ok {
		return ""
	}
	s, _ := b.r.text(n, most)
	return s
}

// text reads a scalar as it is written.
func (r *reader) text(n node, most int) (string, bool) {
	s, ok := scalar(n.ast)
	switch {
	case !ok:
		r.fail(n, "is %s, it takes a text", kindOf(n.ast))
	case strings.TrimSpace(s) == "":
		r.fail(n, "is empty")
		return "", false
	case len(s) > most:
		r.fail(n, "has %d bytes, at most %d are allowed", len(s), most)
		return "", false
	}
	return s, ok
}

// name reads a name: letters, digits, and _ - . after the first.
func (r *reader) name(n node) (string, bool) {
	s, ok := r.text(n, nameBytesMax)
	if !ok || !r.checkName(n, s) {
		return "", false
	}
	return s, true
}

func (r *reader) checkName(n node, s string) bool {
	if len(s) > nameBytesMax {
		r.fail(n, "the name has %d bytes, at most %d are allowed", len(s), nameBytesMax)
		return false
	}
	for i, c := range s {
		letter := c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && (i == 0 || c != '-' && c != '.') {
			r.fail(n, "%q is no name: it takes letters, digits and _, after the first also - and .", s)
			return false
		}
	}
	return s != ""
}

// number reads a finite number.
func (r *reader) number(n node) (float64, bool) {
	s, ok := scalar(n.ast)
	if !ok || quoted(n.ast) {
		r.fail(n, "is %s, it takes a number", kindOf(n.ast))
		return 0, false
	}
	v, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(v, 0) || math.IsNaN(v) {
		r.fail(n, "is %.64q, it takes a finite number", s)
		return 0, false
	}
	return v, true
}

// whole reads a whole number of a range.
func (r *reader) whole(n node, least, most int) (int, bool) {
	s, ok := scalar(n.ast)
	if ok && !quoted(n.ast) {
		if v, err := strconv.Atoi(s); err == nil && v >= least && v <= most {
			return v, true
		}
	}
	if !ok {
		s = kindOf(n.ast)
	}
	r.fail(n, "is %.64s, it takes a whole number in %d to %d", s, least, most)
	return 0, false
}

// boolean reads true or false.
func (r *reader) boolean(n node) bool {
	b, ok := n.ast.(*ast.BoolNode)
	if !ok {
		r.fail(n, "is %s, it takes true or false", kindOf(n.ast))
		return false
	}
	return b.Value
}

// duration reads a duration of a range; 0 if the key is left out or wrong.
func (b block) duration(key string, least, most time.Duration) time.Duration {
	n, ok := b.get(key)
	if !ok {
		return 0
	}
	s, ok := scalar(n.ast)
	d, fits := parseDuration(s)
	if !ok || !fits {
		b.r.fail(n, "is %.64q, it takes a duration such as 50ms, 90s, 15m, 6h or 7d", s)
		return 0
	}
	if d < least || d > most {
		b.r.fail(n, "is %s, it lies in %s to %s", s, definition.FormatDuration(least), definition.FormatDuration(most))
		return 0
	}
	return d
}

var units = []struct {
	name string
	unit time.Duration
}{
	{"us", time.Microsecond}, {"ms", time.Millisecond}, {"s", time.Second}, {"m", time.Minute},
	{"h", time.Hour}, {"d", 24 * time.Hour}, {"w", 7 * 24 * time.Hour},
}

// parseDuration reads a whole number and a unit.
func parseDuration(s string) (time.Duration, bool) {
	digits := len(s) - len(strings.TrimLeft(s, "0123456789"))
	for _, u := range units {
		if s[digits:] != u.name {
			continue
		}
		v, err := strconv.ParseInt(s[:digits], 10, 64)
		if err != nil || v > math.MaxInt64/int64(u.unit) {
			return 0, false
		}
		return time.Duration(v) * u.unit, true
	}
	return 0, false
}

// scalar is a single value as it is written, without quotes.
func scalar(n ast.Node) (string, bool) {
	switch v := n.(type) {
	case *ast.StringNode:
		return v.Value, true
	case *ast.LiteralNode:
		return v.Value.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		return n.GetToken().Value, true
	}
	return "", false
}

func quoted(n ast.Node) bool {
	switch n.GetToken().Type {
	case token.SingleQuoteType, token.DoubleQuoteType, token.LiteralType, token.FoldedType:
		return true
	}
	return false
}

func kindOf(n ast.Node) string {
	switch n.(type) {
	case nil, *ast.NullNode:
		return "empty"
	case *ast.MappingNode, *ast.MappingValueNode:
		return "a map"
	case *ast.SequenceNode:
		return "a list"
	case *ast.AliasNode:
		return "an alias without an anchor"
	case *ast.TagNode:
		return "a tag, which is not understood"
	case *ast.BoolNode:
		return "true or false"
	case *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return "a number"
	}
	return "a text"
}
