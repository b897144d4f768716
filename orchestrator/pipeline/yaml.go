// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Limits that keep the parser's time and stack bounded: its time grows with the square of
// the keys of a mapping, its stack with the depth.
const (
	tokensMax  = 100_000
	entriesMax = 5_000
	valuesMax  = 100_000 // aliases counted as often as they are used
)

// value is a part of a file with its place. scalar is nil, bool, int64, float64 or string;
// a mapping has keys, a list has only items.
type value struct {
	line, column int
	path         string
	scalar       any
	keys         []key
	items        []*value
	kind         kind
}

type kind uint8

const (
	scalarKind kind = iota
	listKind
	mappingKind
)

type key struct {
	name         string
	line, column int
}

// yamlReader turns a file into values.
type yamlReader struct {
	file     string
	mistakes Mistakes
	anchors  map[string]ast.Node
	values   int
}

func (r *yamlReader) fail(line, column int, path, format string, args ...any) {
	if len(r.mistakes) < mistakesMax {
		r.mistakes = append(r.mistakes, Mistake{r.file, line, column, path, fmt.Sprintf(format, args...)})
	}
}

// parse returns the only document of a file, nil after a mistake or where there is none.
func (r *yamlReader) parse(data []byte) (root *value) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	switch {
	case len(data) > FileBytesMax:
		r.fail(0, 0, "", "the file has %d bytes, at most %d are allowed: split it", len(data), FileBytesMax)
		return nil
	case !utf8.Valid(data):
		r.fail(0, 0, "", "the file is not UTF-8")
		return nil
	}
	defer func() { // the parser is not ours: a fault in it is a refused file, no crash
		if fault := recover(); fault != nil {
			root = nil
			r.fail(1, 1, "", "the file cannot be read as YAML: %v", fault)
		}
	}()
	tokens := lexer.Tokenize(string(data))
	if at, problem := measure(tokens); problem != "" {
		r.fail(at.Line, at.Column, "", "%s", problem)
		return nil
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		r.syntax(err)
		return nil
	}
	r.anchors = map[string]ast.Node{}
	for _, d := range file.Docs {
		if d.Body == nil {
			continue
		}
		if root != nil {
			line, column := place(d.Body)
			r.fail(line, column, "", "a second document begins here; a file has one")
			return nil
		}
		root = r.convert(d.Body, "", 0)
	}
	return root
}

func (r *yamlReader) syntax(err error) {
	line, column, message := 1, 1, err.Error()
	var syntax yaml.Error
	if errors.As(err, &syntax) {
		message = syntax.GetMessage()
		if t := syntax.GetToken(); t != nil && t.Position != nil {
			line, column = max(t.Position.Line, 1), max(t.Position.Column, 1)
		}
	}
	switch {
	case strings.Contains(message, "mapping value is not allowed"):
		message += "; a text with ': ' in it needs quotes"
	case strings.Contains(message, "'\t' that cannot start"):
		message = "found a tab: indent with spaces"
	case strings.Contains(message, "could not find flow map"):
		message += "; a text that begins with {{ needs quotes"
	}
	r.fail(line, column, "", "%s", message)
}

// measure reports what would cost the parser too much, and where.
func measure(tokens token.Tokens) (at *token.Position, problem string) {
	if len(tokens) > tokensMax {
		return tokens[tokensMax].Position, fmt.Sprintf("more than %d words and signs: split the file", tokensMax)
	}
	type level struct{ column, entries int }
	var blocks []level
	flow, flowEntries := 0, 0
	for i, t := range tokens {
		opens := t.Type == token.SequenceEntryType || t.Type == token.MappingKeyType ||
			i+1 < len(tokens) && tokens[i+1].Type == token.MappingValueType
		switch {
		case t.Type == token.MappingStartType || t.Type == token.SequenceStartType:
			flow++
		case t.Type == token.MappingEndType || t.Type == token.SequenceEndType:
			if flow--; flow <= 0 {
				flowEntries = 0
			}
		case t.Type == token.CollectEntryType:
			flowEntries++
		case opens && flow <= 0:
			for len(blocks) > 0 && blocks[len(blocks)-1].column > t.Position.Column {
				blocks = blocks[:len(blocks)-1]
			}
			if len(blocks) == 0 || blocks[len(blocks)-1].column < t.Position.Column {
				blocks = append(blocks, level{column: t.Position.Column})
			}
			blocks[len(blocks)-1].entries++
		}
		if flowEntries > entriesMax || len(blocks) > 0 && blocks[len(blocks)-1].entries > entriesMax {
			return t.Position, fmt.Sprintf("more than %d entries in a mapping or a list", entriesMax)
		}
		if len(blocks)+max(flow, 0) > nestingMax {
			return t.Position, fmt.Sprintf("nested more than %d levels deep", nestingMax)
		}
	}
	return nil, ""
}

// place is where a node begins; a block mapping begins with its first key.
func place(n ast.Node) (line, column int) {
	switch m := n.(type) {
	case *ast.MappingNode:
		if !m.IsFlowStyle && len(m.Values) > 0 {
			return place(m.Values[0].Key)
		}
	case *ast.MappingValueNode:
		return place(m.Key)
	}
	if n == nil || n.GetToken() == nil || n.GetToken().Position == nil {
		return 1, 1
	}
	p := n.GetToken().Position
	return max(p.Line, 1), max(p.Column, 1)
}

func (r *yamlReader) convert(n ast.Node, path string, depth int) *value {
	line, column := place(n)
	v := &value{line: line, column: column, path: path}
	if r.values++; r.values > valuesMax || depth > nestingMax {
		if r.values == valuesMax+1 || r.values <= valuesMax {
			r.fail(line, column, path, "more than %d values, or %d levels", valuesMax, nestingMax)
			r.values = valuesMax + 1
		}
		return v
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		r.mapping(v, n.Values, depth)
	case *ast.MappingValueNode:
		r.mapping(v, []*ast.MappingValueNode{n}, depth)
	case *ast.SequenceNode:
		v.kind = listKind
		for i, item := range n.Values {
			v.items = append(v.items, r.convert(item, path+"["+strconv.Itoa(i)+"]", depth+1))
		}
	case *ast.AnchorNode:
		inner := r.convert(n.Value, path, depth+1)
		r.anchors[n.Name.GetToken().Value] = n.Value
		return inner
	case *ast.AliasNode:
		name := n.Value.GetToken().Value
		if target, ok := r.anchors[name]; ok {
			return r.convert(target, path, depth+1)
		}
		r.fail(line, column, path, "no anchor &%s before this", name)
	default:
		v.scalar = r.scalar(n, v)
	}
	return v
}

func (r *yamlReader) mapping(v *value, values []*ast.MappingValueNode, depth int) {
	v.kind = mappingKind
	seen := map[string]bool{}
	for _, entry := range values {
		line, column := place(entry.Key)
		if _, merge := entry.Key.(*ast.MergeKeyNode); merge {
			r.fail(line, column, v.path, "merging by << is not understood: write the keys out")
			continue
		}
		name := entry.Key.GetToken().Value
		if seen[name] {
			r.fail(line, column, join(v.path, name), "the key is here twice")
			continue
		}
		seen[name] = true
		v.keys = append(v.keys, key{name, line, column})
		v.items = append(v.items, r.convert(entry.Value, join(v.path, name), depth+1))
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func (r *yamlReader) scalar(n ast.Node, v *value) any {
	switch n := n.(type) {
	case *ast.NullNode:
		return nil
	case *ast.BoolNode:
		return n.Value
	case *ast.IntegerNode:
		switch i := n.Value.(type) {
		case int64:
			return i
		case uint64:
			if i <= math.MaxInt64 {
				return int64(i)
			}
			r.fail(v.line, v.column, v.path, "the number %d is too large", i)
			return nil
		}
	case *ast.FloatNode:
		return n.Value
	case *ast.StringNode:
		return n.Value
	case *ast.LiteralNode:
		return n.Value.Value
	}
	r.fail(v.line, v.column, v.path, "a %s is not understood here", strings.ToLower(n.Type().YAMLName()))
	return nil
}

// plain is a value as Go values: map[string]any, []any and scalars.
func (v *value) plain() any {
	switch v.kind {
	case mappingKind:
		m := make(map[string]any, len(v.keys))
		for i, k := range v.keys {
			m[k.name] = v.items[i].plain()
		}
		return m
	case listKind:
		l := make([]any, len(v.items))
		for i, item := range v.items {
			l[i] = item.plain()
		}
		return l
	}
	return v.scalar
}

// each walks the scalars of a value.
func (v *value) each(do func(*value)) {
	if v.kind == scalarKind {
		do(v)
		return
	}
	for _, item := range v.items {
		item.each(do)
	}
}
