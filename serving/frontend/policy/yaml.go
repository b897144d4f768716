// SPDX-License-Identifier: Apache-2.0

package policy

import (
	"fmt"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/expression"
)

// What a file may be like. The YAML parser's stack and time grow with nesting, its time
// with the square of the entries of one map.
const (
	nestingMax = 32
	indentMax  = 100
	entriesMax = 10_000
	// errorsMax bounds the mistakes that are reported at once.
	errorsMax = 50
)

// reader reads a file strictly: what is not known is an error, and reading goes on.
type reader struct {
	file    string
	anchors map[string]ast.Node
	errs    definition.Errors
	// failures counts all mistakes, of which errs has the first.
	failures int
}

// node is a value of the file and the way to it.
type node struct {
	ast  ast.Node
	path string
}

func (n node) there() bool { return n.ast != nil }

func (n node) child(key string) string {
	if n.path == "" {
		return key
	}
	return n.path + "." + key
}

// fail reports a mistake at a node.
func (r *reader) fail(n node, format string, args ...any) {
	line, column := place(n.ast)
	r.failAt(line, column, n.path, format, args...)
}

func (r *reader) failAt(line, column int, path, format string, args ...any) {
	r.failures++
	e := definition.Error{File: r.file, Line: line, Column: column, Path: path, Message: fmt.Sprintf(format, args...)}
	// What an alias repeats is one mistake.
	if len(r.errs) < errorsMax && !slices.Contains(r.errs, e) {
		r.errs = append(r.errs, e)
	}
}

// place is where a value begins. A map in block style begins with its first key.
func place(n ast.Node) (line, column int) {
	if m, ok := n.(*ast.MappingNode); ok && !m.IsFlowStyle && len(m.Values) > 0 {
		return place(m.Values[0].Key)
	}
	if m, ok := n.(*ast.MappingValueNode); ok {
		return place(m.Key)
	}
	if n == nil || n.GetToken() == nil || n.GetToken().Position == nil {
		return 0, 0
	}
	p := n.GetToken().Position
	return p.Line, p.Column
}

// parse returns the file's only document; an empty file has none.
func (r *reader) parse(data []byte) (root node) {
	if len(data) > fileBytesMax {
		r.failAt(0, 0, "", "the file has %d bytes, at most %d are allowed", len(data), fileBytesMax)
		return node{}
	}
	if !utf8.Valid(data) {
		r.failAt(0, 0, "", "the file is not UTF-8")
		return node{}
	}
	// The parser is not ours: a fault in it is a file that is refused, not a crash.
	defer func() {
		if fault := recover(); fault != nil {
			r.failAt(0, 0, "", "the file cannot be read as YAML: %v", fault)
			root = node{}
		}
	}()
	tokens := lexer.Tokenize(string(data))
	if !r.bounded(tokens) {
		return node{}
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		r.syntax(err)
		return node{}
	}
	var bodies []ast.Node
	for _, d := range file.Docs {
		if d.Body != nil {
			bodies = append(bodies, d.Body)
		}
	}
	if len(bodies) == 0 {
		return node{}
	}
	if len(bodies) > 1 {
		r.fail(node{ast: bodies[1]}, "a second document begins here; a file has one")
		return node{}
	}
	r.collectAnchors(bodies[0])
	return r.node(bodies[0], "")
}

func (r *reader) collectAnchors(body ast.Node) {
	r.anchors = map[string]ast.Node{}
	for _, n := range ast.Filter(ast.AnchorType, body) {
		a := n.(*ast.AnchorNode)
		if a.Name == nil || a.Value == nil {
			continue
		}
		name := a.Name.GetToken().Value
		if r.anchors[name] != nil {
			r.fail(node{ast: a.Name}, "the anchor &%s is given twice", name)
		}
		r.anchors[name] = a.Value
	}
}

// node goes to what anchors and aliases stand for. How often a value can be reached by
// aliases is bounded by the limits of lists and by the depth of what is read.
func (r *reader) node(n ast.Node, path string) node {
	const most = 8 // anchors and aliases in a row, so that a circle of them ends
	for range most {
		switch v := n.(type) {
		case *ast.AnchorNode:
			n = v.Value
		case *ast.AliasNode:
			if v.Value == nil || r.anchors[v.Value.GetToken().Value] == nil {
				return node{ast: n, path: path}
			}
			n = r.anchors[v.Value.GetToken().Value]
		default:
			return node{ast: n, path: path}
		}
	}
	return node{ast: n, path: path}
}

// syntax reports what the parser says, where it says it.
func (r *reader) syntax(err error) {
	line, column, message := 0, 0, err.Error()
	if e, ok := err.(interface {
		GetToken() *token.Token
		GetMessage() string
	}); ok {
		message = e.GetMessage()
		if t := e.GetToken(); t != nil && t.Position != nil {
			line, column = t.Position.Line, t.Position.Column
		}
	}
	r.failAt(line, column, "", "this is not YAML: %s", message)
}

// bounded refuses what would cost the parser too much.
func (r *reader) bounded(tokens token.Tokens) bool {
	flow, inline, entries, line := 0, 0, 0, 0
	for _, t := range tokens {
		if t.Position == nil {
			continue
		}
		first := t.Position.Line != line
		if first {
			line, inline = t.Position.Line, 0
		}
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			flow++
		case token.MappingEndType, token.SequenceEndType:
			flow = max(0, flow-1)
		case token.SequenceEntryType, token.MappingKeyType, token.TagType, token.AnchorType:
			inline++
		case token.MappingValueType:
			entries++
		}
		switch {
		case flow > nestingMax || inline > nestingMax:
			r.failAt(line, t.Position.Column, "", "values are nested more than %d deep", nestingMax)
		case first && t.Position.Column > indentMax && t.Type != token.CommentType:
			r.failAt(line, t.Position.Column, "", "the line is indented by more than %d characters", indentMax)
		case entries > entriesMax:
			r.failAt(line, t.Position.Column, "", "the file has more than %d keys: split it", entriesMax)
		default:
			continue
		}
		return false
	}
	return true
}

// entry is a key of a map and its value.
type entry struct {
	key   string
	keyAt node
	value node
}

// entries reads a map, in the order of the file; what is what it holds, for messages.
func (r *reader) entries(n node, what string, most int) []entry {
	values, ok := r.mapping(n, what)
	if !ok {
		return nil
	}
	if len(values) > most {
		r.fail(n, "has %d %s, at most %d are allowed", len(values), what, most)
		values = values[:most]
	}
	list := make([]entry, 0, len(values))
	seen := make(map[string]int, len(values))
	for _, v := range values {
		at := node{ast: v.Key, path: n.path}
		if v.Key.IsMergeKey() {
			r.fail(at, "merging by << is not understood: write the keys out")
			continue
		}
		key, ok := scalar(v.Key)
		if !ok || key == "" {
			r.fail(at, "the key has to be a name")
			continue
		}
		at.path = n.child(key)
		line, _ := place(v.Key)
		if first, ok := seen[key]; ok {
			r.fail(at, "given twice, first in line %d", first)
			continue
		}
		seen[key] = line
		list = append(list, entry{key: key, keyAt: at, value: r.node(v.Value, at.path)})
	}
	return list
}

func (r *reader) mapping(n node, what string) ([]*ast.MappingValueNode, bool) {
	switch m := n.ast.(type) {
	case *ast.MappingNode:
		return m.Values, true
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{m}, true
	}
	r.fail(n, "is %s, it takes a map of %s", kindOf(n.ast), what)
	return nil, false
}

// items reads a list of least to most values; least is 0 or 1.
func (r *reader) items(n node, what string, least, most int) []node {
	s, ok := n.ast.(*ast.SequenceNode)
	if !ok {
		r.fail(n, "is %s, it takes a list of %s", kindOf(n.ast), what)
		return nil
	}
	switch {
	case len(s.Values) < least:
		r.fail(n, "is empty, it takes a list of %s", what)
	case len(s.Values) > most:
		r.fail(n, "has %d %s, at most %d are allowed", len(s.Values), what, most)
		return nil
	}
	list := make([]node, len(s.Values))
	for i, v := range s.Values {
		list[i] = r.node(v, fmt.Sprintf("%s[%d]", n.path, i))
	}
	return list
}

// block is a map whose keys are known.
type block struct {
	r      *reader
	at     node
	values map[string]node
}

// block reads a map that may have these keys only.
func (r *reader) block(n node, keys ...string) (block, bool) {
	b := block{r: r, at: n, values: make(map[string]node, len(keys))}
	if _, ok := r.mapping(n, "settings"); !ok {
		return b, false
	}
	for _, e := range r.entries(n, "keys", entriesMax) {
		if n.path == "" && strings.HasPrefix(e.key, "x-") {
			continue // free for notes and anchors
		}
		if !slices.Contains(keys, e.key) {
			r.fail(e.keyAt, "unknown key%s", orOneOf(e.key, keys))
			continue
		}
		b.values[e.key] = e.value
	}
	return b, true
}

// orOneOf suggests the nearest name, or lists all.
func orOneOf(name string, known []string) string {
	if c := expression.Closest(name, known); c != "" {
		return fmt.Sprintf("; did you mean %s?", c)
	}
	if len(known) == 0 {
		return ""
	}
	return "; it is one of " + someOf(known)
}

// get returns the value of a key, if it is there.
func (b block) get(key string) (node, bool) {
	n, ok := b.values[key]
	return n, ok
}

// need returns the value of a key that may not be left out.
func (b block) need(key string) (node, bool) {
	n, ok := b.values[key]
	if !ok {
		b.r.fail(b.at, "%s is missing", key)
	}
	return n, ok
}
