// SPDX-License-Identifier: Apache-2.0

package expression

import (
	"math"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr/ast"

	"github.com/millrace-ml/millrace/featurestore/column"
)

// function compiles a call with arguments that are known to be as many as allowed.
type function struct {
	min, max int // numbers of arguments
	make     func(name string, args []*value, at int) (*value, *Error)
}

// argumentsMax bounds the arguments of min and max.
const argumentsMax = 32

var functions map[string]function

func init() { // by init, for calls refer back to the table
	functions = map[string]function{
		"abs": {1, 1, magnitude}, "min": {2, argumentsMax, extreme}, "max": {2, argumentsMax, extreme},
		"clamp": {3, 3, clamp}, "pow": {2, 2, power},
		"floor": {1, 1, real(math.Floor)}, "ceil": {1, 1, real(math.Ceil)}, "round": {1, 1, real(math.Round)},
		"sqrt": {1, 1, real(math.Sqrt)}, "exp": {1, 1, real(math.Exp)},
		"log": {1, 1, real(math.Log)}, "log1p": {1, 1, real(math.Log1p)},
		"lower": {1, 1, rewrite(strings.ToLower)}, "upper": {1, 1, rewrite(strings.ToUpper)},
		"trim": {1, 1, rewrite(strings.TrimSpace)}, "len": {1, 1, length}, "hash": {2, 2, hash},
		"is_null": {1, 1, isNull},
		"year":    {1, 2, calendar}, "month": {1, 2, calendar}, "day": {1, 2, calendar},
		"weekday": {1, 2, calendar}, "hour": {1, 2, calendar}, "minute": {1, 2, calendar},
		"epoch": {1, 1, epoch}, "timestamp": {1, 1, instant},
	}
}

// Functions are the names of the functions, sorted.
func Functions() []string {
	names := make([]string, 0, len(functions))
	for name := range functions {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (c *compiler) call(n *ast.CallNode, depth, at int) (*value, *Error) {
	callee, ok := n.Callee.(*ast.IdentifierNode)
	if !ok {
		return nil, errorAt(at, "methods are no part of the language")
	}
	name := callee.Value
	f, ok := functions[name]
	if !ok {
		return nil, errorAt(at, "unknown function %s%s", name, suggest(name, Functions()))
	}
	if len(n.Arguments) < f.min || len(n.Arguments) > f.max {
		return nil, errorAt(at, "%s takes %s, not %d", name, count(f.min, f.max), len(n.Arguments))
	}
	args := make([]*value, len(n.Arguments))
	for i, node := range n.Arguments {
		v, bad := c.compile(node, depth+1)
		if bad != nil {
			return nil, bad
		}
		if v.null() {
			return nil, errorAt(v.at, "nil is no argument of a function")
		}
		args[i] = v
	}
	return f.make(name, args, at)
}

func count(least, most int) string {
	switch {
	case least == most && least == 1:
		return "one argument"
	case least == most:
		return strconv.Itoa(least) + " arguments"
	}
	return strconv.Itoa(least) + " to " + strconv.Itoa(most) + " arguments"
}

// wantNumbers checks that all arguments are numbers.
func wantNumbers(name string, args []*value) *Error {
	for _, v := range args {
		if !v.numeric() {
			return errorAt(v.at, "%s needs numbers, this is %s", name, v.name())
		}
	}
	return nil
}

// real is a function of one number that gives a float64.
func real(f func(float64) float64) func(string, []*value, int) (*value, *Error) {
	return func(name string, args []*value, at int) (*value, *Error) {
		if bad := wantNumbers(name, args); bad != nil {
			return nil, bad
		}
		x := args[0].num
		return made(&value{typ: column.Float64, num: func(r *Row) float64 { return finite(f(x(r))) }}, at, name, args...)
	}
}

func magnitude(name string, args []*value, at int) (*value, *Error) {
	if bad := wantNumbers(name, args); bad != nil {
		return nil, bad
	}
	x := args[0].num
	return made(&value{typ: arithmeticType(args[0], args[0]), num: func(r *Row) float64 { return math.Abs(x(r)) }}, at, name, args...)
}

func power(_ string, args []*value, at int) (*value, *Error) {
	return arithmetic("**", args[0], args[1], at)
}

// extreme is min or max, of numbers or of times.
func extreme(name string, args []*value, at int) (*value, *Error) {
	typ := args[0].typ
	if typ != column.Timestamp {
		typ = column.Int64
	}
	for _, v := range args {
		switch {
		case v.typ == column.String || (v.typ == column.Timestamp) != (typ == column.Timestamp):
			return nil, errorAt(v.at, "%s needs numbers or times, not both, this is %s", name, v.name())
		case v.typ == column.Float64:
			typ = column.Float64
		}
	}
	sign := 1.0 // max(a, b) is -min(-a, -b)
	if name == "max" {
		sign = -1
	}
	list := make([]numberFunc, len(args))
	for i, v := range args {
		list[i] = v.num
	}
	return made(&value{typ: typ, num: func(r *Row) float64 {
		best := list[0](r)
		for _, f := range list[1:] {
			x := f(r)
			if x != x {
				return x
			}
			if x*sign < best*sign {
				best = x
			}
		}
		return best
	}}, at, name, args...)
}

func clamp(name string, args []*value, at int) (*value, *Error) {
	if bad := wantNumbers(name, args); bad != nil {
		return nil, bad
	}
	if lo, hi := args[1], args[2]; lo.constant && hi.constant && lo.number > hi.number {
		return nil, errorAt(lo.at, "clamp(x, lowest, highest) needs lowest <= highest")
	}
	x, lo, hi := args[0].num, args[1].num, args[2].num
	typ := column.Int64
	for _, v := range args {
		if !v.whole() {
			typ = column.Float64
		}
	}
	return made(&value{typ: typ, num: func(r *Row) float64 {
		a, l, h := x(r), lo(r), hi(r)
		if a != a || !(l <= h) {
			return math.NaN()
		}
		return max(l, min(a, h))
	}}, at, name, args...)
}

// rewrite is a function of a text that gives a text.
func rewrite(f func(string) string) func(string, []*value, int) (*value, *Error) {
	return func(name string, args []*value, at int) (*value, *Error) {
		if args[0].typ != column.String {
			return nil, errorAt(args[0].at, "%s needs a string, this is %s", name, args[0].name())
		}
		x := args[0].text
		return made(&value{typ: column.String, text: func(r *Row) (string, bool) {
			s, null := x(r)
			if null {
				return "", true
			}
			return f(s), false
		}}, at, name, args...)
	}
}

func length(name string, args []*value, at int) (*value, *Error) {
	if args[0].typ != column.String {
		return nil, errorAt(args[0].at, "%s needs a string, this is %s", name, args[0].name())
	}
	x := args[0].text
	return made(&value{typ: column.Int64, num: func(r *Row) float64 {
		s, null := x(r)
		if null {
			return math.NaN()
		}
		return float64(utf8.RuneCountInString(s))
	}}, at, name, args...)
}

func isNull(name string, args []*value, at int) (*value, *Error) {
	v := &value{typ: column.Bool}
	if x := args[0].text; x != nil {
		v.num = func(r *Row) float64 { _, null := x(r); return truth(null) }
	} else {
		x := args[0].num
		v.num = func(r *Row) float64 { n := x(r); return truth(n != n) }
	}
	return made(v, at, name, args...)
}

// bucketsMax bounds the buckets of hash.
const bucketsMax = 1 << 31

// hash compiles hash(x, buckets): a stable number from 0 to buckets-1. An integer has
// the hash of its decimal text.
func hash(name string, args []*value, at int) (*value, *Error) {
	a, b := args[0], args[1]
	switch {
	case a.typ != column.String && a.typ != column.Int64:
		return nil, errorAt(a.at, "hash needs a string or an int64, this is %s", a.name())
	case !b.constant || b.typ != column.Int64 || b.number < 1 || b.number > bucketsMax:
		return nil, errorAt(b.at, "the buckets of hash are a literal from 1 to 2^31")
	}
	buckets := uint64(b.number)
	v := &value{typ: column.Int64}
	if x := a.text; x != nil {
		v.num = func(r *Row) float64 {
			s, null := x(r)
			if null {
				return math.NaN()
			}
			return bucketOf(hashText(s), buckets)
		}
	} else {
		x := a.num
		v.num = func(r *Row) float64 {
			n := x(r)
			if n != n {
				return n
			}
			return bucketOf(hashInteger(int64(n)), buckets)
		}
	}
	return made(v, at, name, args...)
}

// bucketOf maps a hash to a bucket by its share of the range (Lemire 2019,
// arXiv:1805.10941).
func bucketOf(h, buckets uint64) float64 {
	high, _ := bits.Mul64(h, buckets)
	return float64(high)
}

// FNV-1a, mixed at the end as in splitmix64, since bucketOf looks at the high bits.
const (
	fnvOffset = 14695981039346656037
	fnvPrime  = 1099511628211
)

func hashText(s string) uint64 {
	h := uint64(fnvOffset)
	for i := range len(s) {
		h = (h ^ uint64(s[i])) * fnvPrime
	}
	return mix(h)
}

func hashInteger(n int64) uint64 {
	var digits [20]byte
	h := uint64(fnvOffset)
	for _, b := range strconv.AppendInt(digits[:0], n, 10) {
		h = (h ^ uint64(b)) * fnvPrime
	}
	return mix(h)
}

func mix(h uint64) uint64 {
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
