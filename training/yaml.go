// SPDX-License-Identifier: Apache-2.0

package training

import (
	"fmt"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// What a file may be like: the decoder's stack grows with nesting, its memory with aliases
// of what has aliases itself.
const (
	nestingMax = 32
	indentMax  = 100
	nodesMax   = 100_000 // aliases counted as often as they are used
)

// checkYAML refuses files that would cost the decoder too much. Mistakes of another kind
// are left to it.
func checkYAML(data []byte) error {
	tokens := lexer.Tokenize(string(data))
	if len(tokens) > nodesMax {
		return fmt.Errorf("the file has more than %d words and signs", nodesMax)
	}
	if err := checkNesting(tokens); err != nil {
		return err
	}
	file, err := parser.Parse(tokens, 0)
	if err != nil {
		return nil
	}
	w := &weigher{anchors: map[string]ast.Node{}, sizes: map[string]int{}}
	for _, d := range file.Docs {
		for _, n := range ast.Filter(ast.AnchorType, d) {
			a := n.(*ast.AnchorNode)
			if a.Name == nil || a.Value == nil {
				continue
			}
			name := a.Name.GetToken().Value
			if w.anchors[name] != nil {
				return fmt.Errorf("line %d: the anchor &%s is there twice", a.Name.GetToken().Position.Line, name)
			}
			w.anchors[name] = a.Value
		}
	}
	for _, d := range file.Docs {
		if w.size(d) > nodesMax {
			return fmt.Errorf("the file has more than %d values, with aliases counted as often as they are used", nodesMax)
		}
	}
	return nil
}

func checkNesting(tokens token.Tokens) error {
	flow, inline, line := 0, 0, 0
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
		}
		if flow > nestingMax || inline > nestingMax || first && t.Position.Column > indentMax && t.Type != token.CommentType {
			return fmt.Errorf("line %d: values are nested more than %d deep", line, nestingMax)
		}
	}
	return nil
}

// weigher counts nodes.
type weigher struct {
	anchors map[string]ast.Node
	sizes   map[string]int // of anchors; 0 while one is counted, so that a circle ends
	count   int
}

// size is how many nodes there are with aliases replaced, at most a little over nodesMax.
func (w *weigher) size(n ast.Node) int {
	inner := &weigher{anchors: w.anchors, sizes: w.sizes}
	ast.Walk(inner, n)
	return min(inner.count, nodesMax+1)
}

// Visit implements ast.Visitor.
func (w *weigher) Visit(n ast.Node) ast.Visitor {
	w.count++
	alias, ok := n.(*ast.AliasNode)
	if !ok || alias.Value == nil {
		return w
	}
	name := alias.Value.GetToken().Value
	if _, known := w.sizes[name]; !known && w.anchors[name] != nil {
		w.sizes[name] = 0
		w.sizes[name] = w.size(w.anchors[name])
	}
	w.count = min(w.count+w.sizes[name], nodesMax+1)
	return nil
}
