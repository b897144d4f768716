// SPDX-License-Identifier: Apache-2.0

package definition

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// Limits of a file. The parser's time grows with the square of the keys of a mapping and
// its stack with the depth, so both are bounded before it runs.
const (
	fileBytesMax  = 512 << 10
	filesMax      = 256
	tokensMax     = 200_000
	depthMax      = 32
	entriesMax    = 5_000
	nodesMax      = 200_000 // of all files, aliases counted as often as they are used
	scalarTextMax = 64 << 10
)

// kind is what a node is.
type kind uint8

const (
	nullKind kind = iota
	boolKind
	integerKind
	floatKind
	textKind
	listKind
	mappingKind
)

var kindNames = [...]string{"nothing", "a bool", "an integer", "a number", "a text", "a list", "a mapping"}

// node is a part of a file: only what definitions are made of, with its place.
type node struct {
	kind    kind
	text    string // a scalar as it was written, without quotes
	at      place
	origin  string // a scalar with its quotes, if it is on one line
	entries []entry
	items   []*node
}

// entry is a key of a mapping and its value.
type entry struct{ key, value *node }

// parseFile parses a file into its documents. Mistakes go to the collector.
func (l *loader) parseFile(name string, data []byte) (documents []*node) {
	start := place{name, 1, 1}
	data = bytes.TrimPrefix(data, []byte("\ufeff")) // the mark that some editors begin a file with
	switch {
	case len(data) > fileBytesMax:
		l.add(place{file: name}, "", "the file has %d bytes, at most %d are allowed: split it", len(data), fileBytesMax)
		return nil
	case !utf8.Valid(data):
		l.add(place{file: name}, "", "the file is not UTF-8")
		return nil
	}
	defer func() { // the parser is not ours: a fault in it is a refused file, no crash
		if r := recover(); r != nil {
			documents = nil
			l.add(start, "", "the file cannot be parsed: %v", r)
		}
	}()
	tokens := lexer.Tokenize(string(data))
	if at, problem := measure(tokens); problem != "" {
		l.add(place{name, at.Line, at.Column}, "", "%s", problem)
		return nil
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		l.syntaxError(start, err)
		return nil
	}
	c := &converter{loader: l, file: name, anchors: map[string]ast.Node{}}
	for _, d := range file.Docs {
		if d.Body == nil {
			continue
		}
		if n := c.convert(d.Body, 0); n != nil {
			documents = append(documents, n)
		}
	}
	return documents
}

func (l *loader) syntaxError(at place, err error) {
	var syntax yaml.Error
	if !errors.As(err, &syntax) {
		l.add(at, "", "%v", err)
		return
	}
	if t := syntax.GetToken(); t != nil && t.Position != nil {
		at.line, at.column = max(t.Position.Line, 1), max(t.Position.Column, 1)
	}
	message := syntax.GetMessage()
	switch {
	case strings.Contains(message, "mapping value is not allowed"):
		message += "; a text with ': ' in it needs quotes"
	case strings.Contains(message, "'\t' that cannot start"):
		message = "found a tab: indent with spaces"
	case strings.Contains(message, "value is not allowed in this context"):
		message += "; does the line begin in the right column?"
	}
	l.add(at, "", "%s", message)
}

// measure reports what would cost the parser too much, and where.
func measure(tokens token.Tokens) (at *token.Position, problem string) {
	if len(tokens) > tokensMax {
		return tokens[tokensMax].Position, fmt.Sprintf("more than %d words and signs: split the file", tokensMax)
	}
	type level struct{ column, entries int }
	var blocks []level
	flow := 0
	for i, t := range tokens {
		opens := t.Type == token.SequenceEntryType || t.Type == token.MappingKeyType ||
			i+1 < len(tokens) && tokens[i+1].Type == token.MappingValueType
		switch {
		case t.Type == token.MappingStartType || t.Type == token.SequenceStartType:
			flow++
		case t.Type == token.MappingEndType || t.Type == token.SequenceEndType:
			flow--
		case opens && flow <= 0:
			for len(blocks) > 0 && blocks[len(blocks)-1].column > t.Position.Column {
				blocks = blocks[:len(blocks)-1]
			}
			if len(blocks) == 0 || blocks[len(blocks)-1].column < t.Position.Column {
				blocks = append(blocks, level{column: t.Position.Column})
			}
			blocks[len(blocks)-1].entries++
			if blocks[len(blocks)-1].entries > entriesMax {
				return t.Position, fmt.Sprintf("more than %d entries in a mapping or a list", entriesMax)
			}
		}
		if len(blocks)+max(flow, 0) > depthMax {
			return t.Position, fmt.Sprintf("nested more than %d levels deep", depthMax)
		}
	}
	return nil, ""
}

// converter turns the parser's nodes of a file into ours.
type converter struct {
	*loader
	file    string
	anchors map[string]ast.Node
}

func (c *converter) place(n ast.Node) place {
	at := place{c.file, 1, 1}
	if t := n.GetToken(); t != nil && t.Position != nil {
		at.line, at.column = max(t.Position.Line, 1), max(t.Position.Column, 1)
	}
	return at
}

// convert returns nil after a mistake.
func (c *converter) convert(n ast.Node, depth int) *node {
	if n == nil {
		return nil
	}
	at := c.place(n)
	if depth > depthMax {
		c.add(at, "", "nested more than %d levels deep", depthMax)
		return nil
	}
	if c.nodes++; c.nodes > nodesMax {
		if c.nodes == nodesMax+1 {
			c.add(at, "", "the definitions have more than %d parts", nodesMax)
		}
		return nil
	}
	switch n := n.(type) {
	case *ast.MappingNode:
		return c.mapping(n.Values, at, n.IsFlowStyle, depth)
	case *ast.MappingValueNode:
		return c.mapping([]*ast.MappingValueNode{n}, at, false, depth)
	case *ast.SequenceNode:
		list := &node{kind: listKind, at: at}
		for _, item := range n.Values {
			if v := c.convert(item, depth+1); v != nil {
				list.items = append(list.items, v)
			}
		}
		return list
	case *ast.AnchorNode:
		if n.Name != nil && n.Value != nil {
			c.anchors[n.Name.GetToken().Value] = n.Value
		}
		return c.convert(n.Value, depth+1)
	case *ast.AliasNode:
		return c.alias(n, at, depth)
	}
	return c.scalar(n, at)
}

func (c *converter) alias(n *ast.AliasNode, at place, depth int) *node {
	name := ""
	if n.Value != nil {
		name = n.Value.GetToken().Value
	}
	target, ok := c.anchors[name]
	if !ok {
		c.add(at, "", "no anchor &%s before this", name)
		return nil
	}
	return c.convert(target, depth+1)
}

func (c *converter) mapping(values []*ast.MappingValueNode, at place, flow bool, depth int) *node {
	m := &node{kind: mappingKind, at: at}
	for i, v := range values {
		if _, merge := v.Key.(*ast.MergeKeyNode); merge {
			c.add(c.place(v.Key), "", "merging by << is not understood: write the keys out")
			continue
		}
		key := c.scalar(v.Key, c.place(v.Key))
		if key == nil {
			continue
		}
		if i == 0 && !flow {
			m.at = key.at
		}
		if value := c.convert(v.Value, depth+1); value != nil {
			m.entries = append(m.entries, entry{key, value})
		}
	}
	return m
}

func (c *converter) scalar(n ast.Node, at place) *node {
	s := &node{at: at}
	t := n.GetToken()
	if t == nil {
		return nil
	}
	s.text = t.Value
	switch n := n.(type) {
	case *ast.NullNode:
		s.kind = nullKind
	case *ast.BoolNode:
		s.kind = boolKind
	case *ast.IntegerNode:
		s.kind = integerKind
	case *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		s.kind = floatKind
	case *ast.StringNode:
		s.kind, s.text = textKind, n.Value
		if o := strings.TrimSpace(t.Origin); !strings.ContainsAny(o, "\r\n") {
			s.origin = o
		}
	case *ast.LiteralNode:
		s.kind = textKind
		if n.Value != nil {
			s.text = n.Value.Value
		}
	default:
		c.add(at, "", "%s is not understood here", strings.ToLower(n.Type().YAMLName()))
		return nil
	}
	if len(s.text) > scalarTextMax {
		c.add(at, "", "a text of %d bytes, at most %d are allowed", len(s.text), scalarTextMax)
		return nil
	}
	return s
}

// within is the place of a character of a scalar's text. ok is false if the text is
// spread over lines, and the place that of its beginning.
func (n *node) within(offset int) (at place, ok bool) {
	at = n.at
	origin := n.origin
	switch {
	case origin == "":
		return at, offset == 0
	case origin[0] == '\'' || origin[0] == '"':
		at.column += 1 + quoted(origin[1:], origin[0], offset)
	case origin == n.text:
		at.column += offset
	default:
		return at, offset == 0
	}
	return at, true
}

// quoted is how many characters of a quoted text stand for the first ones of its value.
func quoted(origin string, quote byte, values int) (characters int) {
	runes := []rune(origin)
	i := 0
	for ; values > 0 && i < len(runes); values-- {
		switch {
		case quote == '\'' && runes[i] == '\'', quote == '"' && runes[i] == '\\':
			i += escapeLength(runes[i:], quote)
		default:
			i++
		}
	}
	return min(i, len(runes))
}

// escapeLength is the length of the escape that begins the text.
func escapeLength(runes []rune, quote byte) int {
	if quote == '"' && len(runes) > 1 {
		switch runes[1] {
		case 'x':
			return 4
		case 'u':
			return 6
		case 'U':
			return 10
		}
	}
	return 2
}
