// SPDX-License-Identifier: Apache-2.0

package metric

import (
	"fmt"
	"math"

	"github.com/expr-lang/expr/ast"
)

// term is a part of an expression: a number, for masses in the rows' order.
type term func(mass []float64) float64

// scope is what an expression is compiled for.
type scope struct {
	// metric is the kernel of a metric that is called, row the numbers of an expression of
	// a row. While a definition is only checked they give nil.
	metric func(b *standard) (kernel, error)
	row    func(node ast.Node) ([]float64, error)
	p      *prepared
}

// aggregates make a number of the numbers of all rows.
var aggregates map[string]func(s *scope, args []ast.Node) (term, error)

func init() { // by init, for terms refer back to the table
	aggregates = map[string]func(s *scope, args []ast.Node) (term, error){
		"sum": aggregated(sumOf), "mean": aggregated(meanOf), "count": count, "quantile": quantile,
		"min": aggregated(func(values []float64) term { return rowExtreme(values, false) }),
		"max": aggregated(func(values []float64) term { return rowExtreme(values, true) }),
	}
}

// numeric are functions of numbers.
var numeric = map[string]func(float64) float64{
	"abs": math.Abs, "sqrt": math.Sqrt, "log": math.Log, "exp": math.Exp, "floor": math.Floor, "ceil": math.Ceil,
}

// compileTerm compiles an expression; a result that is not finite is NaN.
func compileTerm(node ast.Node, s *scope) (term, error) {
	t, err := s.compile(node)
	if err != nil {
		return nil, err
	}
	return func(mass []float64) float64 {
		if v := t(mass); finite(v) {
			return v
		}
		return math.NaN()
	}, nil
}

func (s *scope) compile(node ast.Node) (term, error) {
	switch n := node.(type) {
	case *ast.IntegerNode:
		v := float64(n.Value)
		return func([]float64) float64 { return v }, nil
	case *ast.FloatNode:
		v := n.Value
		return func([]float64) float64 { return v }, nil
	case *ast.UnaryNode:
		return s.unary(n)
	case *ast.BinaryNode:
		return s.binary(n)
	case *ast.CallNode:
		return s.call(n)
	case *ast.IdentifierNode:
		return nil, fmt.Errorf("%s is a value of a row: put it in sum(...), mean(...) or the like", n.Value)
	}
	return nil, fmt.Errorf("%s is no arithmetic over the rows", clip(node.String()))
}

func (s *scope) unary(n *ast.UnaryNode) (term, error) {
	of, err := s.compile(n.Node)
	if err != nil {
		return nil, err
	}
	switch n.Operator {
	case "-":
		return func(mass []float64) float64 { return -of(mass) }, nil
	case "+":
		return of, nil
	}
	return nil, fmt.Errorf("the operator %s is not for numbers over the rows", n.Operator)
}

var operators = map[string]func(a, b float64) float64{
	"+": func(a, b float64) float64 { return a + b }, "-": func(a, b float64) float64 { return a - b },
	"*": func(a, b float64) float64 { return a * b }, "/": func(a, b float64) float64 { return a / b },
	"%": math.Mod, "**": math.Pow, "^": math.Pow,
	"??": func(a, b float64) float64 {
		if finite(a) {
			return a
		}
		return b
	},
}

func (s *scope) binary(n *ast.BinaryNode) (term, error) {
	f := operators[n.Operator]
	if f == nil {
		return nil, fmt.Errorf("the operator %s is not for numbers over the rows; it may be in sum(...), mean(...) or the like", n.Operator)
	}
	a, err := s.compile(n.Left)
	if err != nil {
		return nil, err
	}
	b, err := s.compile(n.Right)
	if err != nil {
		return nil, err
	}
	return func(mass []float64) float64 { return f(a(mass), b(mass)) }, nil
}

func (s *scope) call(n *ast.CallNode) (term, error) {
	callee, ok := n.Callee.(*ast.IdentifierNode)
	if !ok {
		return nil, fmt.Errorf("methods are no part of the language")
	}
	name := callee.Value
	if f := numeric[name]; f != nil || (name == "min" || name == "max") && len(n.Arguments) > 1 {
		return s.function(name, f, n.Arguments)
	}
	if f := aggregates[name]; f != nil {
		t, err := f(s, n.Arguments)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		return t, nil
	}
	text, err := callName(name, n.Arguments)
	if err != nil {
		return nil, err
	}
	m, err := Parse(text)
	if err != nil {
		return nil, err
	}
	k, err := s.metric(m.(*standard))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", text, err)
	}
	p := s.p
	return func(mass []float64) float64 { return p.inOrder(k, mass) }, nil
}

// function is abs and the like of one number, or min and max of several.
func (s *scope) function(name string, f func(float64) float64, args []ast.Node) (term, error) {
	if f != nil && len(args) != 1 {
		return nil, fmt.Errorf("%s takes one argument, not %d", name, len(args))
	}
	terms := make([]term, len(args))
	for i, a := range args {
		var err error
		if terms[i], err = s.compile(a); err != nil {
			return nil, err
		}
	}
	if f != nil {
		return func(mass []float64) float64 { return f(terms[0](mass)) }, nil
	}
	pick := math.Min
	if name == "max" {
		pick = math.Max
	}
	return func(mass []float64) float64 {
		v := terms[0](mass)
		for _, t := range terms[1:] {
			v = pick(v, t(mass))
		}
		return v
	}, nil
}

// aggregated is an aggregate of one expression of a row.
func aggregated(of func(values []float64) term) func(*scope, []ast.Node) (term, error) {
	return func(s *scope, args []ast.Node) (term, error) {
		if len(args) != 1 {
			return nil, fmt.Errorf("it takes one expression of a row, not %d", len(args))
		}
		values, err := s.row(args[0])
		if err != nil {
			return nil, err
		}
		return of(values), nil
	}
}

func sumOf(values []float64) term {
	return func(mass []float64) float64 {
		sum, _ := sums(values, mass)
		return sum
	}
}

func meanOf(values []float64) term {
	return func(mass []float64) float64 {
		sum, total := sums(values, mass)
		return sum / total
	}
}

// sums are over the rows that are not null.
func sums(values, mass []float64) (sum, total float64) {
	for i, m := range mass {
		if v := values[i]; v == v {
			sum += m * v
			total += m
		}
	}
	return sum, total
}

func rowExtreme(values []float64, largest bool) term {
	ordered := newSorted(values)
	return func(mass []float64) float64 { return ordered.extreme(mass, largest) }
}

// count is of the rows for which an expression is true, or of all.
func count(s *scope, args []ast.Node) (term, error) {
	if len(args) == 0 {
		return func(mass []float64) (n float64) {
			for _, m := range mass {
				n += m
			}
			return n
		}, nil
	}
	return aggregated(func(values []float64) term {
		return func(mass []float64) (n float64) {
			for i, m := range mass {
				if v := values[i]; v == v && v != 0 {
					n += m
				}
			}
			return n
		}
	})(s, args)
}

func quantile(s *scope, args []ast.Node) (term, error) {
	if len(args) != 2 {
		return nil, fmt.Errorf("it takes an expression of a row and a share, as in quantile(amount, 0.9)")
	}
	q, _, err := constant(args[1])
	if err != nil {
		return nil, err
	}
	if q < 0 || q > 1 {
		return nil, fmt.Errorf("the share is %v, it must be 0 to 1", q)
	}
	return aggregated(func(values []float64) term {
		ordered := newSorted(values)
		return func(mass []float64) float64 { return ordered.quantile(mass, q) }
	})(s, args[:1])
}
