// SPDX-License-Identifier: Apache-2.0

package expression

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/parser"

	"github.com/millrace-ml/millrace/featurestore/column"
)

// Limits of an expression.
const (
	// TextMax is the largest number of bytes of a text.
	TextMax = 4 << 10
	// NodesMax is the largest number of nodes: names, literals, operators, calls.
	NodesMax = 512
	// NestingMax is how deep nodes may be nested; the left sides of a chain of operators,
	// as in a + b + c, count once.
	NestingMax = 64
)

// Compile checks an expression over fields and makes it ready to run. Where several
// fields have the same name, the last one counts. The error is an *Error.
func Compile(text string, env []Field) (*Program, error) {
	tree, bad := parse(text)
	if bad != nil {
		return nil, bad
	}
	c := &compiler{env: env, used: map[int]bool{}}
	v, bad := c.compile(tree, 0)
	if bad == nil && v.null() {
		bad = errorAt(v.at, "the result is always null")
	}
	if bad != nil {
		return nil, bad
	}
	return &Program{text: text, value: *v, fields: sortedSet(c.used)}, nil
}

// parserConfig makes the parser take every call for a call of a named function, the
// library's own loops among them, so that none of its functions is known but ours.
func parserConfig() *conf.Config {
	c := &conf.Config{MaxNodes: NodesMax, Functions: conf.FunctionsTable{}}
	for _, name := range builtin.Names {
		c.Functions[name] = nil
	}
	for name := range functions {
		c.Functions[name] = nil
	}
	return c
}

func parse(text string) (node ast.Node, bad *Error) {
	if len(text) > TextMax {
		return nil, errorAt(0, "the text has %d bytes, at most %d are allowed", len(text), TextMax)
	}
	if !utf8.ValidString(text) {
		return nil, errorAt(0, "the text is not valid UTF-8")
	}
	if strings.TrimSpace(text) == "" {
		return nil, errorAt(0, "the text is empty")
	}
	defer func() { // the parser is not ours: a fault in it is a refused text, no crash
		if r := recover(); r != nil {
			node, bad = nil, errorAt(0, "the text cannot be parsed: %v", r)
		}
	}()
	tree, err := parser.ParseWithConfig(text, parserConfig())
	if err != nil {
		return nil, syntaxError(err, utf8.RuneCountInString(text))
	}
	if tree.Node == nil {
		return nil, errorAt(0, "the text cannot be parsed")
	}
	return tree.Node, nil
}

// syntaxError puts the parser's complaint in our words.
func syntaxError(err error, length int) *Error {
	var at *file.Error
	if !errors.As(err, &at) {
		return errorAt(0, "%v", err)
	}
	message := at.Message
	switch {
	case strings.Contains(message, "exceeds maximum allowed nodes"):
		return errorAt(0, "more than %d names, literals and operators", NodesMax)
	case strings.HasSuffix(message, "token EOF"), strings.Contains(message, "unexpected end"):
		return errorAt(length, "the expression ends too early")
	case strings.Contains(message, " literal"):
		message = "the number is malformed or too large"
	case strings.Contains(message, "cannot be mixed"):
		message = "?? beside another operator: put one of them in brackets"
	case strings.HasPrefix(message, "unexpected token "):
		message = strings.TrimPrefix(message, "unexpected token ")
		if i := strings.IndexByte(message, '('); i >= 0 && strings.HasSuffix(message, ")") {
			message = message[i+1 : len(message)-1]
		}
		message = "unexpected " + message
	}
	return errorAt(min(max(at.From, 0), length), "%s", message)
}

// compiler turns the parser's nodes into values.
type compiler struct {
	env   []Field
	used  map[int]bool
	nodes int
}

// compile compiles a node that lies under depth others.
func (c *compiler) compile(node ast.Node, depth int) (*value, *Error) {
	if node == nil {
		return nil, errorAt(0, "the text cannot be parsed")
	}
	at := node.Location().From
	if n, ok := node.(*ast.ConditionalNode); ok && n.Cond != nil { // the parser's place is behind it
		at = n.Cond.Location().From
	}
	// A chain such as a < b < c has b twice, so a tree can have more nodes than the parser made.
	if c.nodes++; c.nodes > NodesMax {
		return nil, errorAt(0, "more than %d names, literals and operators", NodesMax)
	}
	if depth > NestingMax {
		return nil, errorAt(at, "nested more than %d levels deep", NestingMax)
	}
	v, bad := c.dispatch(node, depth, at)
	if bad != nil {
		return nil, bad
	}
	v.at = at
	return v, nil
}

func (c *compiler) dispatch(node ast.Node, depth, at int) (*value, *Error) {
	switch n := node.(type) {
	case *ast.NilNode:
		return &value{field: -1, canon: "nil", constant: true, number: math.NaN()}, nil
	case *ast.BoolNode:
		return number(column.Bool, truth(n.Value)), nil
	case *ast.IntegerNode:
		if n.Value > column.IntegerMax || n.Value < -column.IntegerMax {
			return nil, errorAt(at, "%d is beyond 2^53, up to which integers are exact", n.Value)
		}
		return number(column.Int64, float64(n.Value)), nil
	case *ast.FloatNode:
		if math.IsInf(n.Value, 0) || math.IsNaN(n.Value) {
			return nil, errorAt(at, "the number is too large")
		}
		return number(column.Float64, n.Value), nil
	case *ast.StringNode:
		return word(n.Value), nil
	case *ast.IdentifierNode:
		return c.name(n.Value, at)
	case *ast.UnaryNode:
		return c.unary(n, depth, at)
	case *ast.BinaryNode:
		return c.binary(n, depth, at)
	case *ast.ConditionalNode:
		return c.conditional(n, depth, at)
	case *ast.CallNode:
		return c.call(n, depth, at)
	}
	return nil, errorAt(at, "%s are no part of the language", kindOf(node))
}

// kindOf names what the parser knows and we do not take.
func kindOf(node ast.Node) string {
	switch node.(type) {
	case *ast.ArrayNode:
		return "lists, but on the right of in,"
	case *ast.MapNode, *ast.PairNode:
		return "maps"
	case *ast.MemberNode, *ast.ChainNode, *ast.SliceNode:
		return "members, indices and slices"
	case *ast.VariableDeclaratorNode, *ast.SequenceNode:
		return "variables and sequences"
	case *ast.PredicateNode, *ast.PointerNode, *ast.BuiltinNode:
		return "loops"
	}
	return fmt.Sprintf("parts such as %q", node.String())
}

// name compiles the use of a field.
func (c *compiler) name(name string, at int) (*value, *Error) {
	i := len(c.env) - 1
	for i >= 0 && c.env[i].Name != name {
		i--
	}
	if i < 0 {
		known := make([]string, len(c.env))
		for i, f := range c.env {
			known[i] = f.Name
		}
		if _, isFunction := functions[name]; isFunction {
			return nil, errorAt(at, "%s is a function: write %s(...)", name, name)
		}
		return nil, errorAt(at, "unknown name %s%s", name, suggest(name, known))
	}
	f := c.env[i]
	v := &value{typ: f.Type, field: i, canon: name + ":" + f.Type.String()}
	switch {
	case f.Type == column.String:
		v.text = func(r *Row) (string, bool) { return r.Texts[i], r.NullTexts != nil && r.NullTexts[i] }
	case f.Type.Number():
		v.num = func(r *Row) float64 { return r.Numbers[i] }
	default:
		return nil, errorAt(at, "%s has no type", name)
	}
	c.used[i] = true
	return v, nil
}

// number is a constant that is no text; NaN is null.
func number(t column.Type, x float64) *value {
	v := &value{typ: t, field: -1, constant: true, number: x, num: func(*Row) float64 { return x }}
	switch t {
	case column.Bool:
		v.canon = strconv.FormatBool(x != 0)
	case column.Int64:
		v.canon = strconv.FormatFloat(x, 'f', -1, 64)
	case column.Timestamp:
		v.canon = "@" + strconv.FormatFloat(x, 'f', -1, 64)
	default:
		v.canon = strconv.FormatFloat(x, 'e', -1, 64)
	}
	return v
}

// word is a constant text.
func word(s string) *value {
	return &value{typ: column.String, field: -1, constant: true, word: s, canon: strconv.Quote(s),
		text: func(*Row) (string, bool) { return s, false }}
}

func truth(b bool) float64 {
	if b {
		return 1
	}
	return 0
}

// made finishes an operator or a call: its canonical form, and its value if all parts
// are constant. name and parts say what it is.
func made(v *value, at int, name string, parts ...*value) (*value, *Error) {
	v.field = -1
	constant := true
	var canon strings.Builder
	canon.WriteString("(" + name)
	for _, p := range parts {
		canon.WriteString(" " + p.canon)
		constant = constant && p.constant
	}
	v.canon = canon.String() + ")"
	if !constant {
		return v, nil
	}
	if v.typ == column.String {
		s, null := v.text(&Row{})
		if null {
			return nil, errorAt(at, "this is always null")
		}
		return word(s), nil
	}
	x := v.num(&Row{})
	if x != x {
		return nil, errorAt(at, "this is always null")
	}
	return number(v.typ, x), nil
}
