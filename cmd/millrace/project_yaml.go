// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/parser"

	"github.com/millrace-ml/millrace/featurestore/definition"
	"github.com/millrace-ml/millrace/featurestore/expression"
)

// projectReader reads a project file strictly: what it does not know is a mistake with
// its place, and reading goes on.
type projectReader struct {
	file string
	errs definition.Errors
}

// Limits of a file besides its size, before the parser recurses into it.
const (
	projectBracketsMax = 200
	projectIndentMax   = 64
)

func (r *projectReader) add(line, column int, path, format string, args ...any) {
	r.errs = append(r.errs, definition.Error{File: r.file, Line: line, Column: column, Path: path, Message: fmt.Sprintf(format, args...)})
}

// at reports a mistake at a node.
func (r *projectReader) at(n ast.Node, path, format string, args ...any) {
	switch m := n.(type) { // whose own token is a colon
	case *ast.MappingNode:
		if !m.IsFlowStyle && len(m.Values) > 0 {
			n = m.Values[0].Key
		}
	case *ast.MappingValueNode:
		n = m.Key
	}
	line, column := 1, 1
	if t := n.GetToken(); t != nil && t.Position != nil {
		line, column = max(t.Position.Line, 1), max(t.Position.Column, 1)
	}
	r.add(line, column, path, format, args...)
}

// parse returns the mapping that a project file is, nil after a mistake.
func (r *projectReader) parse(data []byte) (root ast.Node) {
	if problem := projectShape(data); problem != "" {
		r.add(0, 0, "", "%s", problem)
		return nil
	}
	defer func() { // the parser is not ours: a fault in it is a refused file, no crash
		if fault := recover(); fault != nil {
			root = nil
			r.add(1, 1, "", "the file cannot be parsed: %v", fault)
		}
	}()
	file, err := parser.ParseBytes(data, 0, parser.AllowDuplicateMapKey())
	var syntax yaml.Error
	switch {
	case errors.As(err, &syntax) && syntax.GetToken() != nil && syntax.GetToken().Position != nil:
		p := syntax.GetToken().Position
		r.add(max(p.Line, 1), max(p.Column, 1), "", "%s", syntax.GetMessage())
	case err != nil:
		r.add(1, 1, "", "%v", err)
	case len(file.Docs) == 0 || file.Docs[0].Body == nil:
		r.add(1, 1, "", "the file is empty; millrace init writes one to begin with")
	case len(file.Docs) > 1:
		r.at(file.Docs[1], "", "a project file is one document")
	default:
		return file.Docs[0].Body
	}
	return nil
}

// projectShape says what would cost the parser too much.
func projectShape(data []byte) string {
	switch {
	case len(data) > projectBytesMax:
		return fmt.Sprintf("the file has more than %d bytes", projectBytesMax)
	case !utf8.Valid(data):
		return "the file is not UTF-8"
	case bytes.Count(data, []byte("["))+bytes.Count(data, []byte("{")) > projectBracketsMax:
		return fmt.Sprintf("the file has more than %d brackets", projectBracketsMax)
	}
	for line := range bytes.Lines(data) {
		if len(line)-len(bytes.TrimLeft(line, " -?:")) > projectIndentMax {
			return fmt.Sprintf("a line is indented by more than %d", projectIndentMax)
		}
	}
	return ""
}

// projectObject is a mapping with known keys. One that is not there has no keys.
type projectObject struct {
	r    *projectReader
	node ast.Node
	path string
	keys map[string]ast.Node
}

// object checks that a node is a mapping with these keys only.
func (r *projectReader) object(n ast.Node, path string, keys ...string) *projectObject {
	o := &projectObject{r: r, node: n, path: path, keys: map[string]ast.Node{}}
	var entries []*ast.MappingValueNode
	switch n := n.(type) {
	case *ast.MappingNode:
		entries = n.Values
	case *ast.MappingValueNode:
		entries = []*ast.MappingValueNode{n}
	default:
		r.at(n, path, "needs a mapping of keys to values")
	}
	for _, e := range entries {
		key := e.Key.GetToken().Value
		switch {
		case !slices.Contains(keys, key):
			r.at(e.Key, join(path, key), "unknown key%s", didYouMean(key, keys))
		case o.keys[key] != nil:
			r.at(e.Key, join(path, key), "the key is there twice")
		case e.Value == nil || e.Value.Type() == ast.NullType:
			r.at(e.Key, join(path, key), "has no value: give one or leave the key out")
		default:
			o.keys[key] = e.Value
		}
	}
	return o
}

func join(path, key string) string { return strings.Trim(path+"."+key, ".") }

// didYouMean ends a message about an unknown word.
func didYouMean(word string, known []string) string {
	if c := expression.Closest(word, known); c != "" {
		return "; did you mean " + c + "?"
	}
	return "; known: " + strings.Join(known, ", ")
}

func (o *projectObject) has(key string) bool { return o.keys[key] != nil }

// bad reports a mistake at a key, or at the object where it is not there.
func (o *projectObject) bad(key, format string, args ...any) {
	n := o.keys[key]
	if n == nil {
		n = o.node
	}
	o.r.at(n, join(o.path, key), format, args...)
}

// object is the mapping of a key; one that is not there is empty.
func (o *projectObject) object(key string, keys ...string) *projectObject {
	if !o.has(key) {
		return &projectObject{r: o.r, node: o.node, path: join(o.path, key)}
	}
	return o.r.object(o.keys[key], join(o.path, key), keys...)
}

// entries are those of a mapping whose keys are names.
func (o *projectObject) entries(key string) []*ast.MappingValueNode {
	switch n := o.keys[key].(type) {
	case *ast.MappingNode:
		return n.Values
	case *ast.MappingValueNode:
		return []*ast.MappingValueNode{n}
	}
	o.bad(key, "needs a mapping of names")
	return nil
}

// scalar is the text of a key's value.
func (o *projectObject) scalar(key string) (text string, ok bool) {
	if !o.has(key) {
		return "", false
	}
	return o.r.scalar(o.keys[key], join(o.path, key))
}

func (r *projectReader) scalar(n ast.Node, path string) (text string, ok bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode:
		return n.GetToken().Value, true
	case *ast.AnchorNode, *ast.AliasNode:
		r.at(n, path, "anchors are not for project files: write it out")
	default:
		r.at(n, path, "needs a single value")
	}
	return "", false
}

func (o *projectObject) text(key, otherwise string) string {
	if text, ok := o.scalar(key); ok {
		return text
	}
	return otherwise
}

// texts reads a list, or a single value as a list of one.
func (o *projectObject) texts(key string, otherwise ...string) []string {
	if !o.has(key) {
		return otherwise
	}
	list, ok := o.keys[key].(*ast.SequenceNode)
	if !ok {
		return []string{o.text(key, "")}
	}
	var all []string
	for i, item := range list.Values {
		if text, ok := o.r.scalar(item, fmt.Sprintf("%s[%d]", join(o.path, key), i)); ok {
			all = append(all, text)
		}
	}
	if len(list.Values) == 0 {
		o.bad(key, "the list is empty")
	}
	return all
}

func (o *projectObject) truth(key string, otherwise bool) bool {
	text, ok := o.scalar(key)
	if !ok {
		return otherwise
	}
	value, err := strconv.ParseBool(text)
	if err != nil {
		o.bad(key, "needs true or false, not %q", text)
	}
	return value
}

func (o *projectObject) integer(key string, otherwise, least, most int) int {
	text, ok := o.scalar(key)
	if !ok {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		o.bad(key, "needs a whole number from %d to %d, not %q", least, most, text)
		return otherwise
	}
	return n
}

// bytes reads a size such as 512MiB or 4GiB; 0 where there is none.
func (o *projectObject) bytes(key string) int64 {
	text, ok := o.scalar(key)
	if !ok {
		return 0
	}
	for unit, factor := range map[string]int64{"MiB": 1 << 20, "GiB": 1 << 30} {
		if number, found := strings.CutSuffix(text, unit); found {
			if n, err := strconv.ParseInt(number, 10, 64); err == nil && n > 0 && n < 1<<20 {
				return n * factor
			}
		}
	}
	o.bad(key, "needs a size such as 512MiB or 4GiB, not %q", text)
	return 0
}

// duration reads 90s, 15m, 6h, 7d or 4w.
func (o *projectObject) duration(key string, otherwise time.Duration) time.Duration {
	text, ok := o.scalar(key)
	if !ok {
		return otherwise
	}
	units := map[string]time.Duration{"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour}
	number := strings.TrimRight(text, "mshdw")
	unit, known := units[text[len(number):]]
	n, err := strconv.ParseInt(number, 10, 64)
	if !known || err != nil || n < 1 || n > int64(100*366*24*time.Hour/unit) {
		o.bad(key, "needs a duration such as 90s, 15m, 6h, 7d or 4w, not %q", text)
		return otherwise
	}
	return time.Duration(n) * unit
}

// moment reads a date or a time, zero where there is none.
func (o *projectObject) moment(key string) time.Time {
	text, ok := o.scalar(key)
	if !ok {
		return time.Time{}
	}
	t, err := parseMoment(text)
	if err != nil {
		o.bad(key, "%v", err)
	}
	return t
}

// parseMoment reads 2006-01-02 or 2006-01-02T15:04:05Z.
func parseMoment(text string) (time.Time, error) {
	for _, form := range []string{time.DateOnly, time.RFC3339} {
		if t, err := time.Parse(form, text); err == nil {
			return t.UTC(), nil
		}
	}
	return time.Time{}, fmt.Errorf("%q is no time: write 2006-01-02 or 2006-01-02T15:04:05Z", text)
}

// environment is text with ${NAME} taken from the environment.
func (o *projectObject) environment(key string) string {
	replaced, unset := fromEnvironment(o.text(key, ""))
	for _, name := range unset {
		o.bad(key, "the environment has no %s", name)
	}
	return replaced
}
