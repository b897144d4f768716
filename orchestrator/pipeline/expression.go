// SPDX-License-Identifier: Apache-2.0

package pipeline

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/parser"
	"github.com/expr-lang/expr/vm"
)

// nodesMax and memoryMax bound what an expression is made of and what it makes.
const (
	nodesMax  = 500
	memoryMax = 100_000
)

// Reference is a name in an expression: of `train.auc` Root is train and Field auc. Field
// is empty where the whole is meant, or one that is computed.
type Reference struct{ Root, Field string }

// Expression is a compiled expression.
type Expression struct {
	Text       string
	References []Reference
	program    *vm.Program
}

// Env holds the names of an expression.
type Env map[string]any

// compile checks the syntax only; what the names stand for is for the caller.
func compile(text string) (*Expression, error) {
	if len(text) > expressionBytes {
		return nil, fmt.Errorf("the expression has %d bytes, at most %d are allowed", len(text), expressionBytes)
	}
	tree, err := parser.Parse(text)
	if err != nil {
		return nil, oneLine(err)
	}
	// The time at which an expression is evaluated must not be in its result: a run that is
	// resumed would go on with another value. run.time is the same throughout.
	program, err := expr.Compile(text, expr.DisableBuiltin("now"), expr.MaxNodes(nodesMax), expr.Patch(rooted{}))
	if err != nil {
		return nil, oneLine(err)
	}
	c := &collector{}
	ast.Walk(&tree.Node, c)
	e := &Expression{Text: text, program: program}
	for _, r := range c.found {
		if !slices.Contains(c.declared, r.Root) && !slices.Contains(e.References, r) {
			e.References = append(e.References, r)
		}
	}
	return e, nil
}

// oneLine leaves out the picture of the place that the compiler draws.
func oneLine(err error) error {
	first, _, _ := strings.Cut(err.Error(), "\n")
	return fmt.Errorf("%s", first)
}

// rooted makes X.Y mean the name X of the environment where a function has that name too,
// such as split or first.
type rooted struct{}

func (rooted) Visit(node *ast.Node) {
	member, ok := (*node).(*ast.MemberNode)
	if !ok {
		return
	}
	if root, ok := member.Node.(*ast.IdentifierNode); ok && root.Value != "$env" && isBuiltin(root.Value) {
		member.Node = &ast.MemberNode{Node: &ast.IdentifierNode{Value: "$env"}, Property: &ast.StringNode{Value: root.Value}}
	}
}

func isBuiltin(name string) bool {
	_, ok := builtin.Index[name]
	return ok
}

// collector collects names. A member is met after its parts, so the name alone that was
// noted for it is taken back.
type collector struct {
	found    []Reference
	declared []string
}

func (c *collector) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		c.found = append(c.found, Reference{Root: n.Value})
	case *ast.VariableDeclaratorNode:
		c.declared = append(c.declared, n.Name)
	case *ast.MemberNode:
		root, isName := n.Node.(*ast.IdentifierNode)
		field, isText := n.Property.(*ast.StringNode)
		if !isName || !isText {
			return
		}
		for i := len(c.found) - 1; i >= 0; i-- {
			if c.found[i] == (Reference{Root: root.Value}) {
				c.found[i].Field = field.Value
				return
			}
		}
	}
}

// Eval computes the expression. It never panics, and uses bounded memory.
func (e *Expression) Eval(env Env) (result any, err error) {
	machine := vm.VM{MemoryBudget: memoryMax}
	result, err = machine.Run(e.program, map[string]any(env))
	if err != nil {
		return nil, fmt.Errorf("expression %q: %w", e.Text, oneLine(err))
	}
	return result, nil
}

// True computes a condition, which has to be true or false; nothing is false.
func (e *Expression) True(env Env) (bool, error) {
	result, err := e.Eval(env)
	if err != nil {
		return false, err
	}
	switch r := result.(type) {
	case bool:
		return r, nil
	case nil:
		return false, nil
	}
	return false, fmt.Errorf("expression %q gives %v, want true or false", e.Text, result)
}

// mentions says whether an expression has one of some names.
func (e *Expression) mentions(roots ...string) bool {
	return slices.ContainsFunc(e.References, func(r Reference) bool { return slices.Contains(roots, r.Root) })
}

// template is a text with expressions: texts[0] expressions[0] texts[1] ...
type template struct {
	texts       []string
	expressions []*Expression
}

// parseTemplate returns nil for a text without expressions.
func parseTemplate(text string) (*template, error) {
	if !strings.Contains(text, "{{") {
		return nil, nil
	}
	t := &template{}
	for {
		before, rest, found := strings.Cut(text, "{{")
		t.texts = append(t.texts, before)
		if !found {
			return t, nil
		}
		end := endOf(rest)
		if end < 0 {
			return nil, fmt.Errorf("the {{ has no }}")
		}
		e, err := compile(strings.TrimSpace(rest[:end]))
		if err != nil {
			return nil, err
		}
		t.expressions = append(t.expressions, e)
		text = rest[end+2:]
	}
}

// endOf is where the }} of an expression is, outside of quotes and braces of its own.
func endOf(text string) int {
	depth, quote := 0, byte(0)
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case quote != 0:
			if c == '\\' && quote != '`' {
				i++
			} else if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'' || c == '`':
			quote = c
		case c == '{':
			depth++
		case c == '}' && depth > 0:
			depth--
		case c == '}' && i+1 < len(text) && text[i+1] == '}':
			return i
		}
	}
	return -1
}

// expand gives the value of an expression that is all of the text, else a text.
func (t *template) expand(env Env) (any, error) {
	if len(t.expressions) == 1 && t.texts[0] == "" && t.texts[1] == "" {
		return t.expressions[0].Eval(env)
	}
	var b strings.Builder
	for i, text := range t.texts {
		b.WriteString(text)
		if i < len(t.expressions) {
			result, err := t.expressions[i].Eval(env)
			if err != nil {
				return nil, err
			}
			b.WriteString(Text(result))
		}
	}
	return b.String(), nil
}

// Text writes a value as it appears in a text: lists and mappings as JSON, times in RFC
// 3339, nothing as an empty text.
func Text(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case float64:
		if v == math.Trunc(v) && math.Abs(v) < 1e15 {
			return strconv.FormatFloat(v, 'f', -1, 64)
		}
		return strconv.FormatFloat(v, 'g', -1, 64)
	case time.Time:
		return v.Format(time.RFC3339Nano)
	case bool, int, int64, time.Duration:
		return fmt.Sprint(v)
	}
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Sprint(v)
	}
	return string(data)
}

// Expand replaces the templates in a value of With. Values that were not in a template
// stay as they are.
func Expand(v any, env Env) (any, error) {
	switch v := v.(type) {
	case string:
		t, err := parseTemplate(v)
		if t == nil || err != nil {
			return v, err
		}
		return t.expand(env)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			var err error
			if out[i], err = Expand(v[i], env); err != nil {
				return nil, fmt.Errorf("[%d]: %w", i, err)
			}
		}
		return out, nil
	case map[string]any:
		out := make(map[string]any, len(v))
		for _, k := range sortedKeys(v) {
			expanded, err := Expand(v[k], env)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", k, err)
			}
			out[k] = expanded
		}
		return out, nil
	}
	return v, nil
}

// HasTemplate says whether a value has a template in it.
func HasTemplate(v any) bool {
	switch v := v.(type) {
	case string:
		return strings.Contains(v, "{{")
	case []any:
		return slices.ContainsFunc(v, HasTemplate)
	case map[string]any:
		for _, item := range v {
			if HasTemplate(item) {
				return true
			}
		}
	}
	return false
}

func sortedKeys[V any](m map[string]V) []string {
	names := make([]string, 0, len(m))
	for k := range m {
		names = append(names, k)
	}
	slices.Sort(names)
	return names
}
