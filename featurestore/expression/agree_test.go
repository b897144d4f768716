// SPDX-License-Identifier: Apache-2.0

package expression

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/expr-lang/expr"

	"github.com/millrace-ml/millrace/featurestore/column"
)

// grammar writes random expressions that mean the same to the library's own machine:
// without nulls, divisions by zero, and numbers near any bound.
type grammar struct{ *rand.Rand }

func (g grammar) pick(choices ...func() string) string { return choices[g.IntN(len(choices))]() }

func (g grammar) oneOf(words ...string) string { return words[g.IntN(len(words))] }

func (g grammar) integer(depth int) string {
	if depth == 0 {
		return g.oneOf("i", "j", strconv.Itoa(g.IntN(9)))
	}
	d := depth - 1
	return g.pick(
		func() string { return g.integer(0) },
		func() string {
			return fmt.Sprintf("(%s %s %s)", g.integer(d), g.oneOf("+", "-", "*"), g.integer(d))
		},
		func() string { return fmt.Sprintf("(%s %% (abs(%s) + 1))", g.integer(d), g.integer(d)) },
		func() string { return "abs(" + g.integer(d) + ")" },
		func() string { return "(-" + g.group(g.integer(d)) + ")" },
		func() string { return fmt.Sprintf("(%s ? %s : %s)", g.truth(d), g.integer(d), g.integer(d)) },
		func() string { return fmt.Sprintf("%s(%s, %s)", g.oneOf("min", "max"), g.integer(d), g.integer(d)) },
		func() string { return "len(" + g.text(d) + ")" },
	)
}

func (g grammar) group(s string) string { return "(" + s + ")" }

func (g grammar) number(depth int) string {
	if depth == 0 {
		return g.oneOf("x", "y", fmt.Sprintf("%.2f", 10*g.Float64()))
	}
	d := depth - 1
	return g.pick(
		func() string { return g.number(0) },
		func() string { return g.integer(d) },
		func() string { return fmt.Sprintf("(%s %s %s)", g.number(d), g.oneOf("+", "-", "*"), g.number(d)) },
		func() string { return fmt.Sprintf("(%s / (abs(%s) + 1))", g.number(d), g.number(d)) },
		func() string { return fmt.Sprintf("(%s %s 2)", g.group(g.number(d)), g.oneOf("**", "^")) },
		func() string { return fmt.Sprintf("%s(%s)", g.oneOf("floor", "ceil", "round", "abs"), g.number(d)) },
		func() string { return fmt.Sprintf("%s(%s, %s)", g.oneOf("min", "max"), g.number(d), g.number(d)) },
		func() string { return fmt.Sprintf("(%s ? %s : %s)", g.truth(d), g.number(d), g.number(d)) },
	)
}

func (g grammar) truth(depth int) string {
	if depth == 0 {
		return g.oneOf("p", "q", "true", "false")
	}
	d := depth - 1
	comparison := func() string { return g.oneOf("==", "!=", "<", "<=", ">", ">=") }
	return g.pick(
		func() string { return g.truth(0) },
		func() string { return fmt.Sprintf("(%s %s %s)", g.number(d), comparison(), g.number(d)) },
		func() string { return fmt.Sprintf("(%s %s %s)", g.text(d), comparison(), g.text(d)) },
		func() string { return fmt.Sprintf("(%s %s %s)", g.truth(d), g.oneOf("==", "!="), g.truth(d)) },
		func() string {
			return fmt.Sprintf("(%s %s %s)", g.truth(d), g.oneOf("and", "or", "&&", "||"), g.truth(d))
		},
		func() string { return fmt.Sprintf("%s(%s)", g.oneOf("not ", "!"), g.truth(d)) },
		func() string { return fmt.Sprintf("(%s < %s <= %s)", g.integer(d), g.number(d), g.number(d)) },
		func() string {
			return fmt.Sprintf("(%s %s [1, 2, %d])", g.integer(d), g.oneOf("in", "not in"), g.IntN(9))
		},
		func() string { return fmt.Sprintf("(%s %s ['a', 'bc', 'B'])", g.text(d), g.oneOf("in", "not in")) },
		func() string {
			return fmt.Sprintf("(%s %s %s)", g.text(d), g.oneOf("contains", "startsWith", "endsWith", "not contains"), g.text(d))
		},
		func() string { return fmt.Sprintf("(%s matches '^[a-m]+')", g.text(d)) },
		func() string { return fmt.Sprintf("(%s ? %s : %s)", g.truth(d), g.truth(d), g.truth(d)) },
	)
}

func (g grammar) text(depth int) string {
	if depth == 0 {
		return g.oneOf("s", "z", "'a'", "'Bc é'", `""`)
	}
	d := depth - 1
	return g.pick(
		func() string { return g.text(0) },
		func() string { return fmt.Sprintf("(%s + %s)", g.text(d), g.text(d)) },
		func() string { return fmt.Sprintf("%s(%s)", g.oneOf("lower", "upper", "trim"), g.text(d)) },
		func() string { return fmt.Sprintf("(%s | %s())", g.text(d), g.oneOf("lower", "upper")) },
		func() string { return fmt.Sprintf("(%s ? %s : %s)", g.truth(d), g.text(d), g.text(d)) },
	)
}

// TestAgreesWithLibrary runs random expressions here and in the library's own machine.
func TestAgreesWithLibrary(t *testing.T) {
	const seed = 7
	g := grammar{rand.New(rand.NewPCG(seed, 1))}
	env := []Field{{"i", column.Int64}, {"j", column.Int64}, {"x", column.Float64}, {"y", column.Float64},
		{"p", column.Bool}, {"q", column.Bool}, {"s", column.String}, {"z", column.String}}
	runs := 6000
	if testing.Short() {
		runs = 1000
	}
	for n := range runs {
		text := g.pick(func() string { return g.number(4) }, func() string { return g.truth(4) }, func() string { return g.text(4) })
		if len(text) > TextMax {
			continue
		}
		p, err := Compile(text, env)
		if err != nil {
			if bad := err.(*Error); bad.Message == fmt.Sprintf("more than %d names, literals and operators", NodesMax) {
				continue
			}
			t.Fatalf("seed %d run %d: %s: %v", seed, n, text, err)
		}
		for range 3 {
			i, j := g.IntN(9)-4, g.IntN(9)-4
			x, y := math.Round(800*g.Float64()-400)/100, math.Round(800*g.Float64()-400)/100
			a, b := g.IntN(2) == 1, g.IntN(2) == 1
			s, z := g.oneOf("", "abc", "ABC é", " b "), g.oneOf("a", "B", "xyz")
			r := &Row{Numbers: []float64{float64(i), float64(j), x, y, truth(a), truth(b), 0, 0},
				Texts: []string{"", "", "", "", "", "", s, z}}
			want, err := expr.Eval(text, map[string]any{"i": i, "j": j, "x": x, "y": y, "p": a, "q": b, "s": s, "z": z})
			if err != nil {
				t.Fatalf("seed %d run %d: %s: library: %v", seed, n, text, err)
			}
			if got := outcome(p, r); got != spelled(want) {
				t.Fatalf("seed %d run %d: %s with %v %q: %v, library %v", seed, n, text, r.Numbers, r.Texts[6:], got, spelled(want))
			}
		}
	}
}

// outcome and spelled write results so that they can be compared across number types.
func outcome(p *Program, r *Row) string {
	switch p.Type() {
	case column.String:
		s, _ := p.Text(r)
		return strconv.Quote(s)
	case column.Bool:
		return strconv.FormatBool(p.True(r))
	}
	return fmt.Sprint(p.Number(r) + 0)
}

func spelled(v any) string {
	switch v := v.(type) {
	case string:
		return strconv.Quote(v)
	case bool:
		return strconv.FormatBool(v)
	case int:
		return fmt.Sprint(float64(v))
	case float64:
		return fmt.Sprint(v + 0)
	}
	return fmt.Sprintf("%T", v)
}

// FuzzCompile checks that no text panics, that errors have a place, and that what runs
// gives finite numbers and the same twice.
func FuzzCompile(f *testing.F) {
	for _, text := range []string{"amount > 100 and channel in ['pos', 'web'] ? log1p(amount) : 0", "1 < count < 9", "none ?? 3",
		"hour(at, 'Europe/Paris') + weekday(at)", "channel matches '^a+$' or not web", "-big ** 2 % 3", "count(amount, # > 1)", "let x = 1; x",
		"a.b[0]?.c", "\"\\u00e9\" + `raw`", "hash(channel, 10) in [1, 2]", "clamp(amount, 0, 1) // c", "timestamp('2018-07-25T00:00:00Z') - at", "::len(channel)"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := Compile(text, testEnv)
		if err != nil {
			bad, ok := err.(*Error)
			if !ok || bad.Offset < 0 || bad.Offset > len([]rune(text)) || bad.Message == "" {
				t.Fatalf("%q: error %#v", text, err)
			}
			return
		}
		r := testRow()
		x := p.Number(r)
		if math.IsInf(x, 0) || !same(x, p.Number(r)) {
			t.Fatalf("%q: %v, then %v", text, x, p.Number(r))
		}
		if p.Type() == column.Bool && x == x && x != 0 && x != 1 {
			t.Fatalf("%q: a bool is %v", text, x)
		}
		p.Text(r)
		again, err := Compile(p.String(), testEnv)
		if err != nil || again.Canonical() != p.Canonical() {
			t.Fatalf("%q: compiled again: %v", text, err)
		}
	})
}
