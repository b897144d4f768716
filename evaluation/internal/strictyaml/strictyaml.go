// SPDX-License-Identifier: Apache-2.0

// Package strictyaml reads a YAML file into structs, strictly: a key that is not known, a
// value of another kind, a key given twice are mistakes, and all of them are reported at
// once, each with its line and column.
//
// Fields are named by their yaml tags. A type that reads itself from text does so. A struct whose pointer has SetText(string) may be
// written as a single word. Keys of the first level that begin with x- are free, for notes
// and anchors.
//
// A File belongs to one goroutine.
package strictyaml

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"unicode/utf8"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"

	"github.com/millrace-ml/millrace/featurestore/definition"
)

// What a file may be like. The parser's stack and time grow with nesting, its time with
// the square of the entries of one map.
const (
	BytesMax   = 512 << 10
	nestingMax = 32
	indentMax  = 100
	entriesMax = 10_000
	// itemsMax bounds a list or a map of names.
	itemsMax = 1000
	// mistakesMax bounds the mistakes that are reported at once.
	mistakesMax = 50
)

// File is a file that is being read.
type File struct {
	name    string
	errs    definition.Errors
	count   int
	anchors map[string]ast.Node
	places  map[string][2]int
}

// Read reads a file into to, a pointer to a struct. The File then takes further mistakes,
// by Fail; Err has them all. An error is one of the file system.
func Read(name string, to any) (*File, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, BytesMax+1)) // one more than is allowed, which Parse refuses
	if err != nil {
		return nil, err
	}
	return Parse(name, data, to), nil
}

// Parse is Read of content that is at hand; name is for messages.
func Parse(name string, data []byte, to any) *File {
	f := &File{name: name, places: map[string][2]int{}}
	if root := f.parse(data); root != nil {
		f.decode(root, "", reflect.ValueOf(to).Elem())
	}
	return f
}

// Fail reports a mistake in the value of a path such as evaluations.fraud.gates[2].metric.
// A path that is not in the file has the place of what it would be in.
func (f *File) Fail(path, format string, args ...any) {
	at, known := f.places[path]
	for up := path; !known && up != ""; {
		up = parent(up)
		at, known = f.places[up]
	}
	f.add(at, path, format, args...)
}

// parent is the path of what a value is in.
func parent(path string) string {
	for i := len(path) - 1; i > 0; i-- {
		if path[i] == '.' || path[i] == '[' {
			return path[:i]
		}
	}
	return ""
}

// Err is nil if there is no mistake, else definition.Errors in the order of the file.
func (f *File) Err() error {
	if f.count == 0 {
		return nil
	}
	slices.SortStableFunc(f.errs, func(a, b definition.Error) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	if f.count > len(f.errs) {
		return append(f.errs, definition.Error{File: f.name, Message: fmt.Sprintf("%d more mistakes are not shown", f.count-len(f.errs))})
	}
	return f.errs
}

func (f *File) add(at [2]int, path, format string, args ...any) {
	e := definition.Error{File: f.name, Line: at[0], Column: at[1], Path: path, Message: fmt.Sprintf(format, args...)}
	if slices.Contains(f.errs, e) {
		return // what an alias repeats is one mistake
	}
	if f.count++; len(f.errs) < mistakesMax {
		f.errs = append(f.errs, e)
	}
}

// parse returns the file's only document, nil after a mistake or of an empty file.
func (f *File) parse(data []byte) (root ast.Node) {
	if len(data) > BytesMax {
		f.add([2]int{}, "", "the file has more than %d bytes", BytesMax)
		return nil
	}
	if !utf8.Valid(data) {
		f.add([2]int{}, "", "the file is not UTF-8")
		return nil
	}
	defer func() { // the parser is not ours: a fault in it is a refused file, no crash
		if fault := recover(); fault != nil {
			f.add([2]int{}, "", "the file cannot be read as YAML: %v", fault)
			root = nil
		}
	}()
	tokens := lexer.Tokenize(string(data))
	if !f.bounded(tokens) {
		return nil
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		f.syntax(err)
		return nil
	}
	for _, d := range file.Docs {
		switch {
		case d.Body == nil:
		case root == nil:
			root = d.Body
		default:
			f.add(place(d.Body), "", "a second document begins here; a file has one")
			return nil
		}
	}
	if root == nil {
		f.add([2]int{1, 1}, "", "the file is empty")
		return nil
	}
	f.collectAnchors(root)
	return root
}

func (f *File) collectAnchors(root ast.Node) {
	f.anchors = map[string]ast.Node{}
	for _, n := range ast.Filter(ast.AnchorType, root) {
		if a := n.(*ast.AnchorNode); a.Name != nil && a.Value != nil {
			f.anchors[a.Name.GetToken().Value] = a.Value
		}
	}
}

// resolve goes to what anchors and aliases stand for.
func (f *File) resolve(n ast.Node) ast.Node {
	const most = 8 // in a row, so that a circle of them ends
	for range most {
		switch v := n.(type) {
		case *ast.AnchorNode:
			n = v.Value
		case *ast.AliasNode:
			if v.Value == nil || f.anchors[v.Value.GetToken().Value] == nil {
				return n
			}
			n = f.anchors[v.Value.GetToken().Value]
		default:
			return n
		}
	}
	return n
}

// syntax reports what the parser says, where it says it.
func (f *File) syntax(err error) {
	at, message := [2]int{}, err.Error()
	var e interface {
		error
		GetToken() *token.Token
		GetMessage() string
	}
	if errors.As(err, &e) {
		message = e.GetMessage()
		if t := e.GetToken(); t != nil && t.Position != nil {
			at = [2]int{t.Position.Line, t.Position.Column}
		}
	}
	f.add(at, "", "this is not YAML: %s", message)
}

// bounded refuses what would cost the parser too much.
func (f *File) bounded(tokens token.Tokens) bool {
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
		at := [2]int{line, t.Position.Column}
		switch {
		case flow > nestingMax || inline > nestingMax:
			f.add(at, "", "values are nested more than %d deep", nestingMax)
		case first && t.Position.Column > indentMax && t.Type != token.CommentType:
			f.add(at, "", "the line is indented by more than %d characters", indentMax)
		case entries > entriesMax:
			f.add(at, "", "the file has more than %d keys", entriesMax)
		default:
			continue
		}
		return false
	}
	return true
}

// place is where a value begins. A map in block style begins with its first key.
func place(n ast.Node) [2]int {
	switch m := n.(type) {
	case *ast.MappingNode:
		if !m.IsFlowStyle && len(m.Values) > 0 {
			return place(m.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return place(m.Key)
	}
	if n == nil || n.GetToken() == nil || n.GetToken().Position == nil {
		return [2]int{}
	}
	p := n.GetToken().Position
	return [2]int{p.Line, p.Column}
}
