// SPDX-License-Identifier: Apache-2.0

package baseline

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/expression"
	"github.com/millrace-ml/millrace/training/learn"
	"github.com/millrace-ml/millrace/training/linear/graphtest"
)

// grow writes a random expression, of a number or of a bool.
func grow(r *rand.Rand, depth int, isBool bool) string {
	number := func() string { return grow(r, depth-1, false) }
	truths := func() string { return grow(r, depth-1, true) }
	if isBool {
		if depth <= 0 {
			return "n"
		}
		switch r.IntN(6) {
		case 0:
			return "(" + truths() + " and " + truths() + ")"
		case 1:
			return "(" + truths() + " or " + truths() + ")"
		case 2:
			return "not " + truths()
		case 3:
			return "is_null(" + number() + ")"
		}
		return "(" + number() + []string{" < ", " <= ", " > ", " >= ", " == ", " != "}[r.IntN(6)] + number() + ")"
	}
	if depth <= 0 {
		return []string{"a", "b", "3", "0.5", "c"}[r.IntN(5)]
	}
	switch r.IntN(7) {
	case 0:
		return "(" + truths() + " ? " + number() + " : " + number() + ")"
	case 1:
		return fmt.Sprintf("%s(%s, %s)", []string{"min", "max"}[r.IntN(2)], number(), number())
	case 2:
		return "abs(" + number() + ")"
	case 3:
		return "(a ?? " + number() + ")"
	}
	return "(" + number() + []string{" + ", " - ", " * ", " / "}[r.IntN(4)] + number() + ")"
}

// TestAgreesWithExpressions holds rules to package expression, whose language they are, and
// their exported graphs to the rules. All numbers are small and dyadic, so that 32 bits
// seldom round; where a rule does compare rounded numbers the two may differ, so a few
// rows in a hundred may.
func TestAgreesWithExpressions(t *testing.T) {
	features := []learn.Feature{
		{Name: "a", Type: column.Float64}, {Name: "b", Type: column.Int64}, {Name: "c", Type: column.Float64}, {Name: "n", Type: column.Bool},
	}
	r := rand.New(rand.NewPCG(11, 1))
	fields, values := make([]expression.Field, len(features)), make([][]float32, len(features))
	const rows = 200
	for i, f := range features {
		fields[i] = expression.Field{Name: f.Name, Type: fieldType(f)}
		for range rows {
			x := []float32{float32(r.IntN(9)) - 4, float32(r.IntN(3)), float32(r.IntN(16)) / 4, float32(r.IntN(2))}[i]
			if r.IntN(6) == 0 {
				x = nan
			}
			values[i] = append(values[i], x)
		}
	}
	compared, different := 0, 0
	for range 60 {
		text := grow(r, 3, r.IntN(2) == 0)
		program, err := expression.Compile(text, fields)
		if err != nil { // such as a part that is always null
			continue
		}
		root, _, err := parseRule(text, features)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		want, row := make([]float32, rows), make([]float64, len(features))
		for i := range rows {
			for f := range row {
				row[f] = float64(values[f][i])
			}
			got, expected := root.value(values, i), program.Number(&expression.Row{Numbers: row})
			want[i] = got
			compared++
			same := math.IsNaN(expected) && got != got || math.Abs(float64(got)-expected) <= 1e-5*max(1, math.Abs(expected))
			if !same {
				different++
			}
		}
		m := &rule{root: root, slope: 1}
		m.absent = nan
		answers := graphtest.Run(t, features, 1, graphtest.Columns(values), m.Export)
		graphtest.Equal(t, answers, want, func(int) float64 { return 0 })
		if t.Failed() {
			t.Fatalf("the rule is %s", text)
		}
	}
	if compared < 40*rows || different*50 > compared {
		t.Errorf("%d of %d results differ from those of the language", different, compared)
	}
	t.Logf("%d results, %d differ by rounding", compared, different)
}

// FuzzRule looks for texts that make the package panic, or compute an infinity.
func FuzzRule(f *testing.F) {
	for _, text := range []string{`a > 3 and n`, `1 < a < 3 ? b : -c`, `t in ["x", "y"] or is_null(t)`, `clamp(a, 1, 2) ?? min(b, c, 3)`} {
		f.Add(text)
	}
	features := []learn.Feature{
		{Name: "a", Type: column.Float64}, {Name: "b", Type: column.Int64}, {Name: "c", Type: column.Float64}, {Name: "n", Type: column.Bool},
		{Name: "t", Type: column.String, Categorical: true, Categories: []string{"x", "y"}},
	}
	values := [][]float32{{1, nan, -3e38}, {2, 0, nan}, {0.5, 3e38, 0}, {1, 0, nan}, {0, 1, nan}}
	f.Fuzz(func(t *testing.T, text string) {
		root, isBool, err := parseRule(text, features)
		if err != nil {
			return
		}
		for row := range values[0] {
			x := root.value(values, row)
			if math.IsInf(float64(x), 0) {
				t.Errorf("%s gives %v in row %d", text, x, row)
			}
			if isBool && x == x && x != 0 && x != 1 {
				t.Errorf("%s gives %v in row %d, no truth", text, x, row)
			}
		}
	})
}
