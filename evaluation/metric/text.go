// SPDX-License-Identifier: Apache-2.0

package metric

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

	"github.com/millrace-ml/millrace/featurestore/expression"
)

// parseText parses an expression. As in package featurestore/expression, no function of
// the library's is known: every call is one of a name that is looked up here.
func parseText(text string) (node ast.Node, err error) {
	switch {
	case strings.TrimSpace(text) == "":
		return nil, errors.New("it is empty")
	case len(text) > textMax:
		return nil, fmt.Errorf("it has %d bytes, at most %d are allowed", len(text), textMax)
	case !utf8.ValidString(text):
		return nil, errors.New("it is not valid UTF-8")
	}
	defer func() { // the parser is not ours: a fault in it is a refused text, no crash
		if r := recover(); r != nil {
			node, err = nil, fmt.Errorf("it cannot be parsed: %v", r)
		}
	}()
	config := &conf.Config{MaxNodes: nodesMax, Functions: conf.FunctionsTable{}}
	for _, name := range builtin.Names {
		config.Functions[name] = nil
	}
	tree, err := parser.ParseWithConfig(text, config)
	if err != nil {
		var at *file.Error
		if errors.As(err, &at) {
			return nil, fmt.Errorf("at character %d: %s", at.From+1, at.Message)
		}
		return nil, err
	}
	if tree.Node == nil {
		return nil, errors.New("it cannot be parsed")
	}
	m := measure{}
	if err := m.look(tree.Node, 0); err != nil {
		return nil, err
	}
	return tree.Node, nil
}

// measure holds a parsed text to bounds. The parser turns a < b < c into two comparisons that
// share b, so that a tree may be far larger than its text.
type measure struct{ nodes int }

func (m *measure) look(node ast.Node, depth int) error {
	if m.nodes++; m.nodes > nodesMax {
		return fmt.Errorf("it has more than %d names, literals and operators", nodesMax)
	}
	if depth > expression.NestingMax {
		return fmt.Errorf("it is nested more than %d levels deep", expression.NestingMax)
	}
	// The left sides of a chain of operators count once.
	for n, ok := node.(*ast.BinaryNode); ok; n, ok = node.(*ast.BinaryNode) {
		if m.nodes++; m.nodes > nodesMax {
			break
		}
		if err := m.look(n.Right, depth+1); err != nil {
			return err
		}
		node = n.Left
	}
	below, err := parts(node)
	if err != nil {
		return err
	}
	for _, n := range below {
		if err := m.look(n, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// parts are the nodes right below one.
func parts(node ast.Node) ([]ast.Node, error) {
	switch n := node.(type) {
	case *ast.NilNode, *ast.IdentifierNode, *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.StringNode:
		return nil, nil
	case *ast.UnaryNode:
		return []ast.Node{n.Node}, nil
	case *ast.BinaryNode:
		return []ast.Node{n.Left, n.Right}, nil
	case *ast.ConditionalNode:
		return []ast.Node{n.Cond, n.Exp1, n.Exp2}, nil
	case *ast.ArrayNode:
		return n.Nodes, nil
	case *ast.CallNode:
		if _, ok := n.Callee.(*ast.IdentifierNode); ok {
			return n.Arguments, nil
		}
		return nil, errors.New("methods are no part of the language")
	}
	return nil, errors.New("lists, maps, members, variables and loops are no part of the language")
}

// rowText is an expression of a row with date(t) put in words of the language; period says
// that day(t) as a whole is meant to be a date too.
func rowText(text string, period bool) (string, error) {
	if text == "" {
		return "", nil
	}
	tree, err := parseText(text)
	if err != nil {
		return "", err
	}
	if c, ok := tree.(*ast.CallNode); ok && period {
		if name, ok := c.Callee.(*ast.IdentifierNode); ok && name.Value == "day" {
			name.Value = "date"
		}
	}
	if tree, err = withDates(tree); err != nil {
		return "", err
	}
	return tree.String(), nil
}

// withDates puts date(t) in words of the language of rows.
func withDates(node ast.Node) (ast.Node, error) {
	ast.Walk(&node, dates{})
	m := measure{} // the argument is there three times now
	return node, m.look(node, 0)
}

// dates replaces date(t) by year(t)*10000 + month(t)*100 + day(t).
type dates struct{}

// Visit implements ast.Visitor.
func (dates) Visit(node *ast.Node) {
	c, ok := (*node).(*ast.CallNode)
	if !ok {
		return
	}
	if name, ok := c.Callee.(*ast.IdentifierNode); !ok || name.Value != "date" || len(c.Arguments) == 0 {
		return
	}
	part := func(name string, times int) ast.Node {
		var n ast.Node = &ast.CallNode{Callee: &ast.IdentifierNode{Value: name}, Arguments: c.Arguments}
		if times > 1 {
			n = &ast.BinaryNode{Operator: "*", Left: n, Right: &ast.IntegerNode{Value: times}}
		}
		return n
	}
	ast.Patch(node, &ast.BinaryNode{Operator: "+", Right: part("day", 1),
		Left: &ast.BinaryNode{Operator: "+", Left: part("year", 10_000), Right: part("month", 100)}})
}

// callName is the name of the metric that a call in an expression means: f1(0.3) is
// f1@0.3, precision_at(100) is precision@k=100, metric("...") what the text says.
func callName(function string, args []ast.Node) (string, error) {
	if len(args) > 1 {
		return "", fmt.Errorf("%s takes at most one number here; write metric(\"%s@...\") for more", function, function)
	}
	if function == "metric" {
		if len(args) == 1 {
			if s, ok := args[0].(*ast.StringNode); ok {
				return s.Value, nil
			}
		}
		return "", errors.New(`metric needs the name of one in quotes, as in metric("recall@fpr=0.01")`)
	}
	base, places := strings.CutSuffix(function, "_at")
	if families[base] == nil {
		return "", unknownFunction(function)
	}
	if len(args) == 0 {
		if places {
			return "", fmt.Errorf("%s needs the number of places", function)
		}
		return base, nil
	}
	value, whole, err := constant(args[0])
	if err != nil {
		return "", fmt.Errorf("%s: %w", function, err)
	}
	text := strconv.FormatFloat(value, 'f', -1, 64)
	switch {
	case places:
		return base + "@k=" + text, nil
	case !whole && value == math.Trunc(value):
		text += ".0"
	}
	return base + "@" + text, nil
}

// constant is a number that is written out, and whether it is written without a point.
func constant(node ast.Node) (value float64, whole bool, err error) {
	switch n := node.(type) {
	case *ast.IntegerNode:
		return float64(n.Value), true, nil
	case *ast.FloatNode:
		return n.Value, false, nil
	case *ast.UnaryNode:
		if n.Operator == "-" {
			v, whole, err := constant(n.Node)
			return -v, whole, err
		}
	}
	return 0, false, errors.New("the argument must be a number that is written out")
}

func unknownFunction(function string) error {
	known := append([]string{"metric"}, Names()...)
	for name := range aggregates {
		known = append(known, name)
	}
	for name := range numeric {
		known = append(known, name)
	}
	for _, base := range []string{"precision", "recall", "ndcg", "map"} {
		known = append(known, base+"_at")
	}
	hint := ""
	if c := expression.Closest(function, known); c != "" {
		hint = "; did you mean " + c + "?"
	}
	for _, name := range expression.Functions() {
		if name == function {
			hint = "; it is for a row: put it in sum(...), mean(...) or the like"
		}
	}
	return fmt.Errorf("unknown function %s%s", function, hint)
}
