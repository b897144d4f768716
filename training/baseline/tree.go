// SPDX-License-Identifier: Apache-2.0

package baseline

import (
	"fmt"
	"math"

	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/builtin"
	"github.com/expr-lang/expr/conf"
	"github.com/expr-lang/expr/parser"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/expression"
	"github.com/millrace-ml/millrace/training/learn"
)

// node is a rule, or a part of one, whose value is a 32-bit float: NaN is null, truth is 0
// or 1. It is computed in the same steps here and in the exported graph, so that both give
// the same bits.
type node struct {
	op       string
	args     []*node
	feature  int     // of op feature
	constant float32 // of op constant
}

// The operators that are not spelled as in the language.
const (
	opFeature   = "feature"
	opConstant  = "constant"
	opNegative  = "negative"
	opCondition = "?:"
)

// kept are the operators and functions that can be exported, by how many arguments.
var kept = map[string]int{
	"+": 2, "-": 2, "*": 2, "/": 2, "==": 2, "!=": 2, "<": 2, "<=": 2, ">": 2, ">=": 2, "and": 2, "or": 2, "??": 2,
	"not": 1, "abs": 1, "is_null": 1, "min": -1, "max": -1, "clamp": 3,
}

// parseRule checks an expression over features and makes it a tree. What the language has
// but ONNX has not is refused with its place.
func parseRule(text string, features []learn.Feature) (root *node, isBool bool, err error) {
	fields := make([]expression.Field, len(features))
	for i, f := range features {
		fields[i] = expression.Field{Name: f.Name, Type: fieldType(f)}
	}
	program, err := expression.Compile(text, fields)
	if err != nil {
		return nil, false, err
	}
	if program.Type() == column.String {
		return nil, false, fmt.Errorf("the result is a text; a bool or a number is wanted")
	}
	defer func() { // the parser is not ours: a fault in it is a refused text, no crash
		if fault := recover(); fault != nil {
			root, err = nil, fmt.Errorf("the text cannot be parsed: %v", fault)
		}
	}()
	c := &conf.Config{MaxNodes: expression.NodesMax, Functions: conf.FunctionsTable{}}
	for _, name := range append(expression.Functions(), builtin.Names...) {
		c.Functions[name] = nil
	}
	tree, err := parser.ParseWithConfig(text, c)
	if err != nil {
		return nil, false, err
	}
	b := &treeBuilder{features: features}
	root = b.build(tree.Node)
	return root, program.Type() == column.Bool, b.err
}

// fieldType is what an expression takes a feature for.
func fieldType(f learn.Feature) column.Type {
	if f.Categorical {
		return column.String
	}
	if f.Type == column.Bool || f.Type == column.Timestamp {
		return f.Type
	}
	return column.Float64
}

// treeBuilder turns the parser's nodes into ours. Its first error stays.
type treeBuilder struct {
	features []learn.Feature
	err      error
}

func (b *treeBuilder) refuse(n ast.Node, what string) *node {
	if b.err == nil {
		b.err = &expression.Error{Offset: n.Location().From, Message: what + " cannot be part of an exported rule"}
	}
	return &node{op: opConstant}
}

func (b *treeBuilder) build(n ast.Node) *node {
	switch n := n.(type) {
	case *ast.NilNode:
		return constantOf(math.NaN())
	case *ast.BoolNode:
		return constantOf(float64(truth(n.Value)))
	case *ast.IntegerNode:
		return constantOf(float64(n.Value))
	case *ast.FloatNode:
		if math.Abs(n.Value) > math.MaxFloat32 {
			return b.refuse(n, fmt.Sprintf("%v, which 32 bits do not hold,", n.Value))
		}
		return constantOf(n.Value)
	case *ast.IdentifierNode:
		return b.name(n)
	case *ast.UnaryNode:
		switch n.Operator {
		case "+":
			return b.build(n.Node)
		case "-":
			return &node{op: opNegative, args: []*node{b.build(n.Node)}}
		}
		return &node{op: "not", args: []*node{b.build(n.Node)}}
	case *ast.BinaryNode:
		return b.binary(n)
	case *ast.ConditionalNode:
		return &node{op: opCondition, args: []*node{b.build(n.Cond), b.build(n.Exp1), b.build(n.Exp2)}}
	case *ast.CallNode:
		return b.call(n)
	}
	return b.refuse(n, fmt.Sprintf("%q", n.String()))
}

func constantOf(x float64) *node { return &node{op: opConstant, constant: float32(x)} }

func (b *treeBuilder) find(name string) int {
	for i := len(b.features) - 1; i >= 0; i-- {
		if b.features[i].Name == name {
			return i
		}
	}
	return -1
}

func (b *treeBuilder) name(n *ast.IdentifierNode) *node {
	i := b.find(n.Value)
	switch {
	case i < 0:
		return b.refuse(n, n.Value)
	case b.features[i].Categorical:
		return b.refuse(n, "the text "+n.Value+", other than compared with a literal by ==, != or in,")
	case b.features[i].Type == column.Timestamp:
		return b.refuse(n, "the time "+n.Value)
	}
	return &node{op: opFeature, feature: i}
}

func (b *treeBuilder) binary(n *ast.BinaryNode) *node {
	op := n.Operator
	switch op {
	case "&&":
		op = "and"
	case "||":
		op = "or"
	case "in":
		return b.in(n)
	}
	if equal := b.textEqual(n.Left, n.Right); equal != nil && (op == "==" || op == "!=") {
		if op == "!=" {
			return &node{op: "not", args: []*node{equal}}
		}
		return equal
	}
	if kept[op] != 2 {
		return b.refuse(n, "operator "+n.Operator)
	}
	return &node{op: op, args: []*node{b.build(n.Left), b.build(n.Right)}}
}

// textEqual compares a categorical feature with a literal, whichever side it is on; nil if
// that is not what the two are.
func (b *treeBuilder) textEqual(x, y ast.Node) *node {
	if _, ok := x.(*ast.StringNode); ok {
		x, y = y, x
	}
	name, isName := x.(*ast.IdentifierNode)
	literal, isText := y.(*ast.StringNode)
	if !isName || !isText {
		return nil
	}
	i := b.find(name.Value)
	if i < 0 || !b.features[i].Categorical {
		return nil
	}
	code := -1 // no category has it: unequal to all
	for k, category := range b.features[i].Categories {
		if category == literal.Value {
			code = k
		}
	}
	return &node{op: "==", args: []*node{{op: opFeature, feature: i}, constantOf(float64(code))}}
}

// in is an or of comparisons, of which all are null or none.
func (b *treeBuilder) in(n *ast.BinaryNode) *node {
	list, ok := n.Right.(*ast.ArrayNode)
	if !ok {
		return b.refuse(n, "operator in without a list")
	}
	var any *node
	for _, item := range list.Nodes {
		one := b.textEqual(n.Left, item)
		if one == nil {
			one = &node{op: "==", args: []*node{b.build(n.Left), b.build(item)}}
		}
		if any == nil {
			any = one
		} else {
			any = &node{op: "or", args: []*node{any, one}}
		}
	}
	return any
}

func (b *treeBuilder) call(n *ast.CallNode) *node {
	callee, ok := n.Callee.(*ast.IdentifierNode)
	if !ok || kept[callee.Value] == 0 {
		return b.refuse(n, "function "+n.Callee.String())
	}
	if callee.Value == "is_null" {
		if name, ok := n.Arguments[0].(*ast.IdentifierNode); ok {
			if i := b.find(name.Value); i >= 0 {
				return &node{op: "is_null", args: []*node{{op: opFeature, feature: i}}}
			}
		}
	}
	made := &node{op: callee.Value}
	for _, argument := range n.Arguments {
		made.args = append(made.args, b.build(argument))
	}
	return made
}

func truth(b bool) float32 {
	if b {
		return 1
	}
	return 0
}
