// SPDX-License-Identifier: Apache-2.0

package metric

import (
	"errors"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/featurestore/expression"
)

func TestDefinitionRefuses(t *testing.T) {
	for says, d := range map[string]Definition{
		"name: a metric needs a name":                     {Expression: "roc_auc()"},
		`name: there is a metric "f1@0.3" already`:        {Name: "f1@0.3", Expression: "roc_auc()"},
		"characters that are not printed":                 {Name: "a\nb", Expression: "roc_auc()"},
		`better: "more" is not higher or lower`:           {Name: "x", Expression: "roc_auc()", Better: "more"},
		"expression: it is empty":                         {Name: "x"},
		"expression: at character 6":                      {Name: "x", Expression: "sum(a "},
		"unknown function roc_acu; did you mean roc_auc?": {Name: "x", Expression: "roc_acu()"},
		"unknown function log1p; it is for a row":         {Name: "x", Expression: "log1p(amount)"},
		"amount is a value of a row: put it in sum":       {Name: "x", Expression: "amount + 1"},
		"the operator > is not for numbers over the rows": {Name: "x", Expression: "sum(amount) > 1"},
		"precision_at needs the number of places":         {Name: "x", Expression: "precision_at()"},
		"written out":               {Name: "x", Expression: "precision_at(sum(label))"},
		"k is 0":                    {Name: "x", Expression: "precision_at(0)"},
		"k is 2.5":                  {Name: "x", Expression: "precision_at(2.5)"},
		`there is no metric "nope"`: {Name: "x", Expression: `metric("nope")`},
		"quotes":                    {Name: "x", Expression: `metric(3)`},
		"it takes one expression of a row, not 2": {Name: "x", Expression: "sum(a, b)"},
		"the share is 2":                                          {Name: "x", Expression: "quantile(a, 2)"},
		"abs takes one argument":                                  {Name: "x", Expression: "abs(sum(a), 2)"},
		"lists, maps, members":                                    {Name: "x", Expression: "sum(a.b)"},
		"once: it needs by and unit":                              {Name: "x", Expression: "precision_at(3)", Once: true},
		"once: it needs precision_at(k)":                          {Name: "x", Expression: "roc_auc() + precision(0.4)", Once: true, By: "a", Unit: "b"},
		"has both 3 and 4 places":                                 {Name: "x", Expression: "precision_at(3) + recall_at(4)", Once: true, By: "a", Unit: "b"},
		"by: at character":                                        {Name: "x", Expression: "roc_auc()", By: "day("},
		"where: it is nested more than":                           {Name: "x", Expression: "roc_auc()", Where: strings.Repeat("-(", 99) + "1" + strings.Repeat(")", 99)},
		"where: it has more than 512 names":                       {Name: "x", Expression: "roc_auc()", Where: chained(12)},
		"where: it has 5000 bytes":                                {Name: "x", Expression: "roc_auc()", Where: strings.Repeat("1", 5000)},
		"by: it has more than 512 names":                          {Name: "x", Expression: "roc_auc()", By: strings.Repeat("date(", 6) + "at" + strings.Repeat(")", 6)},
		"f1 takes at most one number here; write metric(\"f1@...": {Name: "x", Expression: "f1(1, 2)"},
	} {
		if _, err := New(d); !errors.Is(err, ErrMetric) || !strings.Contains(err.Error(), says) {
			t.Errorf("error %v, it should say %q", err, says)
		}
	}
}

// chained is comparisons in comparisons, of which the parser doubles the middle.
func chained(levels int) string {
	if levels == 0 {
		return "1"
	}
	return "0 < (" + chained(levels-1) + ") < 2"
}

func TestDefinitionPrepareRefuses(t *testing.T) {
	s := smallSamples()[Binary]
	for says, d := range map[string]Definition{
		"unknown":                        {Name: "x", Expression: "sum(amoun)"},
		"did you mean amount":            {Name: "y", Expression: "sum(amoun)"},
		"is a text, a number is needed":  {Name: "x", Expression: "sum(country)"},
		"where:":                         {Name: "x", Expression: "roc_auc()", Where: "nothing"},
		"by:":                            {Name: "x", Expression: "roc_auc()", By: "nothing"},
		"unit: there is no column unitt": {Name: "x", Expression: "roc_auc()", Unit: "unitt"},
		"amount":                         {Name: "x", Expression: "sum(amount)", Unit: "unit"},
		"not for a binary task":          {Name: "x", Expression: "rmse()"},
		"did you mean unit?":             {Name: "x", Expression: "roc_auc()", Unit: "unitt"},
	} {
		m, err := New(d)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Prepare(s); err == nil || !strings.Contains(err.Error(), says) || !errors.Is(err, ErrMetric) && !errors.Is(err, ErrSample) {
			t.Errorf("%+v: error %v, it should say %q", d, err, says)
		}
	}
}

func TestDefinitionValues(t *testing.T) {
	s := &Sample{Outputs: 1, Labels: []float64{1, 0, 1, 0}, Scores: []float64{0.9, 0.8, 0.3, 0.1}, Weights: []float64{1, 1, 1, 2}}
	s.Columns = &column.Batch{Rows: 4, Columns: []column.Column{{Name: "amount", Type: column.Float64, Numbers: []float64{10, 20, math.NaN(), 40}}}}
	for text, want := range map[string]float64{
		"sum(amount)": 110, "mean(amount)": 27.5, "count()": 5, "count(amount > 15)": 3, "max(amount)": 40, "min(amount)": 10,
		"quantile(amount, 0.5)": 30, "quantile(amount, 0)": 10, "quantile(amount, 1)": 40,
		"sum(label * weight) / count()": 0.4, "sum(score > 0.5 ? 1 : 0)": 2, "2 ** 3 - -1": 9, "7 % 4 + max(1, 2, 3)": 6,
		"sqrt(4) + abs(-1) + floor(1.5) + ceil(1.5) + exp(0) + log(1)": 7,
		"1 / 0": math.NaN(), "(1 / 0) ?? 3": 3, "precision(0.5)": 0.5, "precision(1)": 1, "precision(1.0)": 0,
		"recall_at(2)": 0.5, `metric("lift@0.2")`: 2.5, "roc_auc() * 0 + 1": 1, "mean(label == 1 and score > 0.5)": 0.2,
	} {
		m, err := New(Definition{Name: "x", Expression: text})
		if err != nil {
			t.Fatal(err)
		}
		if got := valueOf(t, m, s, nil); !closeTo(got, want, 1e-12) {
			t.Errorf("%s is %v, want %v", text, got, want)
		}
	}
}

func TestDefinitionWhereAndBy(t *testing.T) {
	s := smallSamples()[Regression]
	s.Columns.Columns[2] = column.Column{Name: "amount", Type: column.Float64, Numbers: []float64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, math.NaN()}}
	for _, c := range []struct {
		d    Definition
		want float64
	}{
		{Definition{Expression: "count()", Where: "amount > 4"}, 7},
		{Definition{Expression: "count()", Where: "not (amount > 4)"}, 4},
		{Definition{Expression: "sum(amount)", By: "amount > 4"}, (10 + 56) / 2.},
		{Definition{Expression: "count()", By: "amount > 4 ? 1 : 0"}, (7 + 5) / 2.},
		{Definition{Expression: "mean(amount)", By: "amount % 2", Where: "amount != 11"}, (5 + 6) / 2.},
		{Definition{Expression: "count()", Where: "amount > 99"}, math.NaN()},
	} {
		c.d.Name = "x"
		m, err := New(c.d)
		if err != nil {
			t.Fatal(err)
		}
		if got := valueOf(t, m, s, nil); !closeTo(got, c.want, 1e-12) {
			t.Errorf("%+v is %v, want %v", c.d, got, c.want)
		}
	}
}

func TestDefinitionSuits(t *testing.T) {
	for _, c := range []struct {
		d    Definition
		want [4]bool
	}{
		{Definition{Expression: "count()"}, [4]bool{true, true, true, true}},
		{Definition{Expression: "count()", Unit: "a"}, [4]bool{true, false, false, false}},
		{Definition{Expression: "rmse() / mae()"}, [4]bool{false, false, true, false}},
		{Definition{Expression: "precision_at(3)"}, [4]bool{true, false, false, true}},
		{Definition{Expression: "roc_auc() + mcc()"}, [4]bool{true, true, false, false}},
	} {
		c.d.Name = "x"
		m, err := New(c.d)
		if err != nil {
			t.Fatal(err)
		}
		for task, want := range c.want {
			if m.Suits(Task(task)) != want {
				t.Errorf("%+v suits %v: %v", c.d, Task(task), !want)
			}
		}
	}
}

func TestDefinitionYAML(t *testing.T) {
	var d Definition
	text := "name: card_precision@100\nexpression: precision_at(100)\nby: day(event_timestamp)\nunit: customer_id\nonce: true\nbetter: higher\n"
	if err := yaml.UnmarshalWithOptions([]byte(text), &d, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	if d != cardPrecision {
		t.Errorf("%+v", d)
	}
	m, err := New(d)
	if err != nil || m.Name() != d.Name || m.Better() != 1 || !m.Suits(Binary) || m.Suits(Regression) {
		t.Errorf("%v, %+v", err, m)
	}
}

// TestRowTextsKeepTheirMeaning holds expressions of rows that are parsed and printed to
// what was written.
func TestRowTextsKeepTheirMeaning(t *testing.T) {
	env := []expression.Field{
		{Name: "a", Type: column.Float64}, {Name: "b", Type: column.Float64}, {Name: "s", Type: column.String}, {Name: "t", Type: column.Timestamp},
	}
	for _, text := range []string{
		"a - (b - a) - b", "-(a + b) * -a ** 2", "(-a) ** 2", "a ?? (b ?? 1)", "not (a > b) and a < b or a == 1", "(a > 1 ? b : a) + 1",
		"a > 1 ? (b > 1 ? 1 : 2) : 3", `s in ["x", "it's", "\"q\"\n"]`, `s not in ["x"]`, "a % 3 / (b * 2)", "1e-3 + 1e300 + 0x10 + .5", "a < b < 3",
		"hour(t) >= 6 && !is_null(a)", `hash(s, 7) % 10 == 3`, `t > timestamp("2018-01-01T00:00:00Z")`, "clamp(a, 0, 1) + min(a, b, 3)",
		"a / b / 2 - 3 - (4 - 5)", "(a + b) * 2", "a * (b % 2)", `s + "x" == 'y'`, "1_000 * a", "if a > 1 { b } else { 2 }",
	} {
		want, err := expression.Compile(text, env)
		if err != nil {
			t.Logf("%s: %v", text, err)
			continue
		}
		printed, err := rowText(text, false)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		got, err := expression.Compile(printed, env)
		if err != nil || got.Canonical() != want.Canonical() {
			t.Errorf("%s became %s: %v", text, printed, err)
		}
	}
}

// FuzzDefinition checks that definitions are taken or refused without a panic.
func FuzzDefinition(f *testing.F) {
	for _, d := range append(testDefinitions, cardPrecision) {
		f.Add(d.Expression, d.Where, d.By, d.Unit, d.Once)
	}
	f.Add(chained(6), chained(9), `date(at, "Europe/Paris")`, "unit", false)
	samples := smallSamples()
	f.Fuzz(func(t *testing.T, text, where, by, unit string, once bool) {
		m, err := New(Definition{Name: "x", Expression: text, Where: where, By: by, Unit: unit, Once: once})
		if err != nil {
			if !errors.Is(err, ErrMetric) {
				t.Fatalf("%v is not ErrMetric", err)
			}
			return
		}
		prepareAnywhere(t, m, samples)
	})
}

// TestPartsOfUnits draws some rows of units only.
func TestPartsOfUnits(t *testing.T) {
	rng := rand.New(rand.NewPCG(19, 20))
	m, err := New(Definition{Name: "x", Expression: "precision_at(3) + roc_auc() / 2", By: "day", Unit: "unit", Once: true})
	if err != nil {
		t.Fatal(err)
	}
	found := 0
	for range 100 {
		s := randomSample(rng, Binary, 40, false)
		counts := make([]uint8, 40)
		var rows []int32
		for i := range counts {
			if counts[i] = uint8(rng.IntN(2)); counts[i] > 0 {
				rows = append(rows, int32(i))
			}
		}
		if len(rows) == 0 {
			continue
		}
		part := repeated(s, counts)
		got, want := valueOf(t, m, s, counts), valueOf(t, m, part, nil)
		if !closeTo(got, want, 1e-12) {
			t.Fatalf("%v by counts, %v of the rows alone", got, want)
		}
		if !math.IsNaN(got) {
			found++
		}
	}
	if found < 50 {
		t.Errorf("defined %d times only", found)
	}
}
