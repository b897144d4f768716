// SPDX-License-Identifier: Apache-2.0

package expression

import (
	"math"
	"regexp"
	"slices"
	"strings"

	"github.com/expr-lang/expr/ast"

	"github.com/millrace-ml/millrace/featurestore/column"
)

func (c *compiler) unary(n *ast.UnaryNode, depth, at int) (*value, *Error) {
	v, bad := c.compile(n.Node, depth+1)
	if bad != nil {
		return nil, bad
	}
	f := v.num
	switch n.Operator {
	case "not", "!":
		if v.typ != column.Bool {
			return nil, errorAt(v.at, "not needs a bool, this is %s", v.name())
		}
		return made(&value{typ: column.Bool, num: func(r *Row) float64 { return 1 - f(r) }}, at, "not", v)
	case "+", "-":
		if !v.numeric() {
			return nil, errorAt(v.at, "%s needs a number, this is %s", n.Operator, v.name())
		}
		typ := arithmeticType(v, v)
		if n.Operator == "+" {
			return made(&value{typ: typ, num: f}, at, "+", v)
		}
		return made(&value{typ: typ, num: func(r *Row) float64 { return -f(r) }}, at, "-", v)
	}
	return nil, errorAt(at, "operator %s is no part of the language", n.Operator)
}

// spelling maps operators to the one way in which they are written in canonical form.
var spelling = map[string]string{"&&": "and", "||": "or", "^": "**"}

func (c *compiler) binary(n *ast.BinaryNode, depth, at int) (*value, *Error) {
	op := n.Operator
	if s, ok := spelling[op]; ok {
		op = s
	}
	a, bad := c.compile(n.Left, depth)
	if bad != nil {
		return nil, bad
	}
	if op == "in" {
		return c.in(a, n.Right, depth, at)
	}
	b, bad := c.compile(n.Right, depth+1)
	if bad != nil {
		return nil, bad
	}
	if op == "??" {
		return coalesce(a, b, at)
	}
	for _, v := range [...]*value{a, b} {
		if v.null() {
			return nil, errorAt(v.at, "nil has no value that %s could use; is_null(x) tells whether x is null", op)
		}
	}
	switch op {
	case "and", "or":
		return logic(op, a, b, at)
	case "==", "!=", "<", "<=", ">", ">=":
		return compare(op, a, b, at)
	case "+", "-", "*", "/", "%", "**":
		return arithmetic(op, a, b, at)
	case "contains", "startsWith", "endsWith", "matches":
		return textTest(op, a, b, at)
	}
	return nil, errorAt(at, "operator %s is no part of the language", op)
}

// arithmeticType is the type of a sum of the two.
func arithmeticType(a, b *value) column.Type {
	if a.whole() && b.whole() {
		return column.Int64
	}
	return column.Float64
}

func arithmetic(op string, a, b *value, at int) (*value, *Error) {
	switch {
	case a.typ == column.String && b.typ == column.String && op == "+":
		return concatenate(a, b, at)
	case a.typ == column.Timestamp || b.typ == column.Timestamp:
		return timeArithmetic(op, a, b, at)
	case !a.numeric() || !b.numeric():
		return nil, errorAt(at, "%s and %s cannot be combined by %s", a.name(), b.name(), op)
	}
	v := &value{typ: arithmeticType(a, b)}
	x, y := a.num, b.num
	switch op {
	case "+":
		v.num = func(r *Row) float64 { return finite(x(r) + y(r)) }
	case "-":
		v.num = func(r *Row) float64 { return finite(x(r) - y(r)) }
	case "*":
		v.num = func(r *Row) float64 { return finite(x(r) * y(r)) }
	case "/":
		v.typ, v.num = column.Float64, func(r *Row) float64 { return finite(x(r) / y(r)) }
	case "%":
		v.num = func(r *Row) float64 { return remainder(x(r), y(r)) }
	case "**":
		v.typ, v.num = column.Float64, func(r *Row) float64 { return finite(math.Pow(x(r), y(r))) }
	}
	return made(bounded(v), at, op, a, b)
}

// bounded makes integers that are not exact null.
func bounded(v *value) *value {
	if f := v.num; v.typ == column.Int64 {
		v.num = func(r *Row) float64 { return exact(f(r)) }
	}
	return v
}

// finite turns what is no number into null.
func finite(x float64) float64 {
	if x-x != 0 {
		return math.NaN()
	}
	return x
}

// exact turns integers that a float64 may not hold into null; one of 2^53 itself may be
// the rounded one of another.
func exact(x float64) float64 {
	if x >= column.IntegerMax || x <= -column.IntegerMax {
		return math.NaN()
	}
	return x
}

// remainder has the sign of x; it is null for y = 0.
func remainder(x, y float64) float64 {
	if math.Abs(x) <= column.IntegerMax && math.Abs(y) <= column.IntegerMax {
		if i, j := int64(x), int64(y); j != 0 && float64(i) == x && float64(j) == y {
			return float64(i % j)
		}
	}
	return finite(math.Mod(x, y))
}

func concatenate(a, b *value, at int) (*value, *Error) {
	x, y := a.text, b.text
	return made(&value{typ: column.String, text: func(r *Row) (string, bool) {
		s, null := x(r)
		if null {
			return "", true
		}
		t, null := y(r)
		if null {
			return "", true
		}
		return s + t, false
	}}, at, "+", a, b)
}

// comparable reports whether the two can be compared, which also makes them fit for
// the branches of a condition.
func comparable(a, b *value) bool {
	return a.typ == b.typ || a.numeric() && b.numeric()
}

func compare(op string, a, b *value, at int) (*value, *Error) {
	if !comparable(a, b) {
		hint := ""
		if a.typ == column.Timestamp && b.typ == column.String || a.typ == column.String && b.typ == column.Timestamp {
			hint = `; write timestamp("2006-01-02T15:04:05Z")`
		}
		return nil, errorAt(at, "%s and %s cannot be compared%s", a.name(), b.name(), hint)
	}
	v := &value{typ: column.Bool}
	switch {
	case a.typ == column.String:
		v.num = compareTexts(op, a.text, b.text)
	case b.constant:
		v.num = compareConstant(op, a.num, b.number)
	default:
		v.num = compareNumbers(op, a.num, b.num)
	}
	return made(v, at, op, a, b)
}

func compareNumbers(op string, x, y numberFunc) numberFunc {
	switch op {
	case "==":
		return func(r *Row) float64 { a, b := x(r), y(r); return known(a == b, a, b) }
	case "!=":
		return func(r *Row) float64 { a, b := x(r), y(r); return known(a != b, a, b) }
	case "<":
		return func(r *Row) float64 { a, b := x(r), y(r); return known(a < b, a, b) }
	case "<=":
		return func(r *Row) float64 { a, b := x(r), y(r); return known(a <= b, a, b) }
	case ">":
		return func(r *Row) float64 { a, b := x(r), y(r); return known(a > b, a, b) }
	}
	return func(r *Row) float64 { a, b := x(r), y(r); return known(a >= b, a, b) }
}

// compareConstant is the common case of a filter, with one call less.
func compareConstant(op string, x numberFunc, b float64) numberFunc {
	switch op {
	case "==":
		return func(r *Row) float64 { a := x(r); return known(a == b, a, b) }
	case "!=":
		return func(r *Row) float64 { a := x(r); return known(a != b, a, b) }
	case "<":
		return func(r *Row) float64 { a := x(r); return known(a < b, a, b) }
	case "<=":
		return func(r *Row) float64 { a := x(r); return known(a <= b, a, b) }
	case ">":
		return func(r *Row) float64 { a := x(r); return known(a > b, a, b) }
	}
	return func(r *Row) float64 { a := x(r); return known(a >= b, a, b) }
}

// known is the truth, or null if a or b is.
func known(b bool, x, y float64) float64 {
	if x != x || y != y {
		return math.NaN()
	}
	return truth(b)
}

func compareTexts(op string, x, y textFunc) numberFunc {
	test := map[string]func(int) bool{
		"==": func(c int) bool { return c == 0 }, "!=": func(c int) bool { return c != 0 },
		"<": func(c int) bool { return c < 0 }, "<=": func(c int) bool { return c <= 0 },
		">": func(c int) bool { return c > 0 }, ">=": func(c int) bool { return c >= 0 },
	}[op]
	return bothTexts(x, y, func(s, t string) bool { return test(strings.Compare(s, t)) })
}

// bothTexts tests two texts; null if either is.
func bothTexts(x, y textFunc, test func(s, t string) bool) numberFunc {
	return func(r *Row) float64 {
		s, null := x(r)
		if null {
			return math.NaN()
		}
		t, null := y(r)
		if null {
			return math.NaN()
		}
		return truth(test(s, t))
	}
}

func textTest(op string, a, b *value, at int) (*value, *Error) {
	if a.typ != column.String || b.typ != column.String {
		return nil, errorAt(at, "%s needs two strings, not %s and %s", op, a.name(), b.name())
	}
	v := &value{typ: column.Bool}
	switch op {
	case "contains":
		v.num = bothTexts(a.text, b.text, strings.Contains)
	case "startsWith":
		v.num = bothTexts(a.text, b.text, strings.HasPrefix)
	case "endsWith":
		v.num = bothTexts(a.text, b.text, strings.HasSuffix)
	case "matches":
		if !b.constant {
			return nil, errorAt(b.at, "the pattern of matches must be a literal")
		}
		pattern, err := regexp.Compile(b.word)
		if err != nil {
			return nil, errorAt(b.at, "%s; patterns are those of RE2", strings.TrimPrefix(err.Error(), "error parsing regexp: "))
		}
		v.num = bothTexts(a.text, b.text, func(s, _ string) bool { return pattern.MatchString(s) })
	}
	return made(v, at, op, a, b)
}

// in compiles a test for being in a list of literals.
func (c *compiler) in(a *value, right ast.Node, depth, at int) (*value, *Error) {
	list, ok := right.(*ast.ArrayNode)
	if !ok || len(list.Nodes) == 0 {
		return nil, errorAt(at, "in needs a list of literals on its right, such as [1, 2]")
	}
	items := make([]*value, len(list.Nodes))
	for i, node := range list.Nodes {
		v, bad := c.compile(node, depth+1)
		switch {
		case bad != nil:
			return nil, bad
		case v.null() || !v.constant:
			return nil, errorAt(v.at, "a list may only have literals")
		case a.null() || !comparable(a, v):
			return nil, errorAt(v.at, "%s and %s cannot be compared", a.name(), v.name())
		}
		items[i] = v
	}
	if a.typ == column.String {
		return inTexts(a, items, at)
	}
	return inNumbers(a, items, at)
}

func inNumbers(a *value, items []*value, at int) (*value, *Error) {
	set := make([]float64, len(items))
	for i, v := range items {
		set[i] = v.number
	}
	slices.Sort(set)
	set = slices.Compact(set)
	x := a.num
	v := &value{typ: column.Bool, num: func(r *Row) float64 {
		n := x(r)
		if n != n {
			return n
		}
		_, found := slices.BinarySearch(set, n)
		return truth(found)
	}}
	parts := []*value{a}
	for _, n := range set {
		parts = append(parts, number(column.Float64, n))
	}
	return made(v, at, "in", parts...)
}

func inTexts(a *value, items []*value, at int) (*value, *Error) {
	set := make([]string, len(items))
	for i, v := range items {
		set[i] = v.word
	}
	slices.Sort(set)
	set = slices.Compact(set)
	x := a.text
	v := &value{typ: column.Bool, num: func(r *Row) float64 {
		s, null := x(r)
		if null {
			return math.NaN()
		}
		_, found := slices.BinarySearch(set, s)
		return truth(found)
	}}
	parts := []*value{a}
	for _, s := range set {
		parts = append(parts, word(s))
	}
	return made(v, at, "in", parts...)
}
