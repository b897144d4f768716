// SPDX-License-Identifier: Apache-2.0

package expression

import (
	"math"

	"github.com/expr-lang/expr/ast"

	"github.com/millrace-ml/millrace/featurestore/column"
)

// logic compiles and, or with three values.
func logic(op string, a, b *value, at int) (*value, *Error) {
	for _, v := range [...]*value{a, b} {
		if v.typ != column.Bool {
			return nil, errorAt(v.at, "%s needs bools, this is %s", op, v.name())
		}
	}
	x, y := a.num, b.num
	v := &value{typ: column.Bool}
	if op == "and" {
		v.num = func(r *Row) float64 { return decided(x, y, r, 0) }
	} else {
		v.num = func(r *Row) float64 { return decided(x, y, r, 1) }
	}
	return made(v, at, op, a, b)
}

// decided is by, if x or y is: false decides an and, true an or. Else it is null if
// either is, and the opposite if none is.
func decided(x, y numberFunc, r *Row, by float64) float64 {
	a := x(r)
	if a == by {
		return by
	}
	b := y(r)
	if b == by || a == a {
		return b
	}
	return a
}

// conditional compiles c ? a : b.
func (c *compiler) conditional(n *ast.ConditionalNode, depth, at int) (*value, *Error) {
	if !n.Ternary {
		return nil, errorAt(at, "write a condition as: test ? a : b")
	}
	test, bad := c.compile(n.Cond, depth+1)
	if bad != nil {
		return nil, bad
	}
	if test.typ != column.Bool {
		return nil, errorAt(test.at, "the test of ? : needs a bool, this is %s", test.name())
	}
	a, bad := c.compile(n.Exp1, depth+1)
	if bad != nil {
		return nil, bad
	}
	b, bad := c.compile(n.Exp2, depth+1)
	if bad != nil {
		return nil, bad
	}
	typ, ok := either(a, b)
	if !ok {
		return nil, errorAt(b.at, "the branches of ? : are %s and %s, they must be alike", a.name(), b.name())
	}
	if test.constant { // also keeps a constant nil branch from being folded into null
		if test.number != 0 {
			return typed(a, typ), nil
		}
		return typed(b, typ), nil
	}
	cond := test.num
	v := &value{typ: typ}
	if typ == column.String {
		s, t := texts(a), texts(b)
		v.text = func(r *Row) (string, bool) {
			if cond(r) == 1 {
				return s(r)
			}
			return t(r)
		}
	} else {
		x, y := numbers(a), numbers(b)
		v.num = func(r *Row) float64 {
			if cond(r) == 1 {
				return x(r)
			}
			return y(r)
		}
	}
	return made(v, at, "?:", test, a, b)
}

// coalesce compiles a ?? b.
func coalesce(a, b *value, at int) (*value, *Error) {
	typ, ok := either(a, b)
	switch {
	case a.null() || b.null():
		return nil, errorAt(at, "nil has no use beside ??")
	case !ok:
		return nil, errorAt(at, "the sides of ?? are %s and %s, they must be alike", a.name(), b.name())
	case a.constant:
		return typed(a, typ), nil
	}
	v := &value{typ: typ}
	if typ == column.String {
		s, t := a.text, b.text
		v.text = func(r *Row) (string, bool) {
			if word, null := s(r); !null {
				return word, false
			}
			return t(r)
		}
	} else {
		x, y := a.num, b.num
		v.num = func(r *Row) float64 {
			if n := x(r); n == n {
				return n
			}
			return y(r)
		}
	}
	return made(v, at, "??", a, b)
}

// either is the type of a value that is one of the two; nil takes the other's.
func either(a, b *value) (column.Type, bool) {
	switch {
	case a.typ == b.typ:
		return a.typ, !a.null()
	case a.null():
		return b.typ, true
	case b.null():
		return a.typ, true
	case a.numeric() && b.numeric():
		return arithmeticType(a, b), true
	}
	return column.Invalid, false
}

// typed gives a branch that is always taken the type of both.
func typed(v *value, t column.Type) *value {
	if v.constant && !v.null() && v.typ != column.String {
		return number(t, v.number)
	}
	if v.typ != t && !v.null() {
		w := *v
		w.typ, w.field, w.canon = t, -1, "("+t.String()+" "+v.canon+")"
		return &w
	}
	return v
}

func numbers(v *value) numberFunc {
	if v.null() {
		return func(*Row) float64 { return math.NaN() }
	}
	return v.num
}

func texts(v *value) textFunc {
	if v.null() {
		return func(*Row) (string, bool) { return "", true }
	}
	return v.text
}
