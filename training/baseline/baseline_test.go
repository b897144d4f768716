// SPDX-License-Identifier: Apache-2.0

package baseline

import (
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/training/learn"
	"github.com/millrace-ml/millrace/training/linear/graphtest"
)

var (
	nan = float32(math.NaN())
	inf = float32(math.Inf(1))
)

// fit trains a method by its name.
func fit(t *testing.T, name string, given learn.Values, table *learn.Table) (learn.Model, error) {
	t.Helper()
	for _, m := range Methods() {
		if m.Name != name {
			continue
		}
		values, err := m.Complete(given)
		if err != nil {
			t.Fatal(err)
		}
		trainer, err := m.New(values)
		if err != nil {
			return nil, err
		}
		return trainer.Fit(t.Context(), table, nil, learn.FitOptions{})
	}
	t.Fatalf("no method %s", name)
	return nil, nil
}

func fitted(t *testing.T, name string, given learn.Values, table *learn.Table) learn.Model {
	t.Helper()
	m, err := fit(t, name, given, table)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// agrees holds the exported model to Predict, exactly.
func agrees(t *testing.T, m learn.Model, features []learn.Feature, values [][]float32) []float32 {
	t.Helper()
	want := make([]float32, len(values[0])*m.Outputs())
	m.Predict(values, want)
	answers := graphtest.Run(t, features, m.Outputs(), graphtest.Columns(values), m.Export)
	graphtest.Equal(t, answers, want, func(int) float64 { return 0 })
	return want
}

func TestConstant(t *testing.T) {
	x := []learn.Feature{{Name: "x", Type: column.Float64}}
	values := [][]float32{{1, nan, inf, -inf}}
	binary := &learn.Table{Task: learn.Binary, Features: x, Values: values, Labels: []float32{0, 0, 0, 1}, Weights: []float32{1, 1, 1, 2}}
	if got := agrees(t, fitted(t, "constant", nil, binary), x, values)[0]; math.Abs(float64(got)-math.Log(2.0/3)) > 1e-6 {
		t.Errorf("score %v, want the logit of 2/5", got)
	}
	several := &learn.Table{Task: learn.Multiclass, Features: x, Values: values, Labels: []float32{0, 2, 2, 2}, Classes: []string{"a", "b", "c"}}
	if got := agrees(t, fitted(t, "constant", nil, several), x, values); math.Abs(float64(got[5])-math.Log(0.75)) > 1e-6 || got[1] > -10 {
		t.Errorf("scores %v", got)
	}
	numbers := &learn.Table{Task: learn.Regression, Features: x, Values: values, Labels: []float32{1, 2, 4, 9}}
	for value, want := range map[string]float32{valueMean: 4, valueMedian: 3} {
		if got := agrees(t, fitted(t, "constant", learn.Values{"value": value}, numbers), x, values); got[2] != want {
			t.Errorf("%s is %v, want %v", value, got[2], want)
		}
	}
	numbers.Weights = []float32{1, 1, 1, 5}
	if got := agrees(t, fitted(t, "constant", learn.Values{"value": valueMedian}, numbers), x, values); got[0] != 9 {
		t.Errorf("weighted median %v, want 9", got[0])
	}
}

func TestLastLabel(t *testing.T) {
	train := &learn.Table{Task: learn.Binary, Labels: []float32{1, 0, 0, 0, 1, 1}, Times: []int64{60, 10, 20, 30, 40, 50}, Values: [][]float32{make([]float32, 6)}}
	test := &learn.Table{Task: learn.Binary, Labels: []float32{1, 0, 0, 1}, Times: []int64{73, 71, 72, 70}, Values: [][]float32{make([]float32, 4)}}
	m := fitted(t, "last_label", nil, train)
	scores := make([]float32, 4)
	m.(Follower).Follow(test, scores)
	for i, before := range []float32{0, 1, 0, 1} { // in time 70, 71, 72, 73: 1 of training, 1, 0, 0
		if (scores[i] > 0) != (before == 1) {
			t.Errorf("row %d has score %v, the label before was %v", i, scores[i], before)
		}
	}
	if m.Predict(test.Values, scores); scores[0] != scores[3] || scores[0] <= 0 {
		t.Errorf("without labels the scores are %v", scores)
	}
	if _, err := m.Export(nil); !errors.Is(err, ErrNotExported) {
		t.Errorf("error %v", err)
	}
	several := &learn.Table{Task: learn.Multiclass, Classes: []string{"a", "b", "c"}, Labels: []float32{0, 1, 2, 2}}
	scores = make([]float32, 12)
	fitted(t, "last_label", nil, several).(Follower).Follow(several, scores)
	if scores[3] <= scores[4] || scores[7] <= scores[6] || scores[11] <= scores[9] {
		t.Errorf("scores %v", scores)
	}
	numbers := &learn.Table{Task: learn.Regression, Labels: []float32{5, 6, 7}}
	scores = make([]float32, 3)
	fitted(t, "last_label", nil, numbers).(Follower).Follow(numbers, scores)
	if !slices.Equal(scores, []float32{7, 5, 6}) {
		t.Errorf("values %v", scores)
	}
}

func payments() *learn.Table {
	return &learn.Table{
		Task: learn.Binary,
		Features: []learn.Feature{
			{Name: "amount", Type: column.Float64}, {Name: "night", Type: column.Bool},
			{Name: "channel", Type: column.String, Categorical: true, Categories: []string{"web", "pos", "atm"}},
			{Name: "at", Type: column.Timestamp},
		},
		Values: [][]float32{
			{10, 230, nan, 300, 221, 0, inf, -5},
			{0, 1, 1, 0, 0, nan, 1, 0},
			{0, 1, 2, 0, nan, 1, 0, 2},
			{1, 2, 3, 4, 5, 6, 7, 8},
		},
		Labels: []float32{0, 1, 0, 1, 1, 0, 0, 0},
	}
}

func TestRules(t *testing.T) {
	table := payments()
	for text, want := range map[string][]float32{ // 1 is true, of numbers the order counts
		`amount > 220`:                             {0, 1, 0, 1, 1, 0, 1, 0},
		`not (amount > 220)`:                       {1, 0, 0, 0, 0, 1, 0, 1},
		`amount > 100 and night`:                   {0, 1, 0, 0, 0, 0, 1, 0},
		`amount > 220 || night == 1`:               {0, 1, 1, 1, 1, 0, 1, 0},
		`channel == "pos"`:                         {0, 1, 0, 0, 0, 1, 0, 0},
		`"web" != channel`:                         {0, 1, 1, 0, 0, 1, 0, 1},
		`channel in ["atm", "web", "unheard"]`:     {1, 0, 1, 1, 0, 0, 1, 1},
		`channel == "unheard"`:                     {0, 0, 0, 0, 0, 0, 0, 0},
		`amount in [10, 300]`:                      {1, 0, 0, 1, 0, 0, 0, 0},
		`is_null(amount) or is_null(channel)`:      {0, 0, 1, 0, 1, 0, 0, 0},
		`0 <= amount <= 221`:                       {1, 0, 0, 0, 1, 1, 0, 0},
		`(amount ?? 500) > 400`:                    {0, 0, 1, 0, 0, 0, 1, 0},
		`night ? amount > 200 : amount > 290`:      {0, 1, 0, 1, 0, 0, 1, 0},
		`amount / 0 > 1 or true`:                   {1, 1, 1, 1, 1, 1, 1, 1},
		`true`:                                     {1, 1, 1, 1, 1, 1, 1, 1},
		`min(abs(amount), 7, 300) == 5`:            {0, 0, 0, 0, 0, 0, 0, 1},
		`clamp(amount, 0, 100) - 2 * night >= 100`: {0, 0, 0, 1, 1, 0, 0, 0},
	} {
		t.Run(text, func(t *testing.T) {
			m := fitted(t, "rule", learn.Values{"expression": text}, table)
			got := agrees(t, m, table.Features, table.Values)
			yes := m.(*rule).yes
			for i := range want {
				if (got[i] == yes) != (want[i] == 1) {
					t.Errorf("row %d has score %v, true has %v", i, got[i], yes)
				}
			}
			if m.(*rule).yes <= m.(*rule).no {
				t.Errorf("true has score %v, false %v", m.(*rule).yes, m.(*rule).no)
			}
		})
	}
}

func TestScores(t *testing.T) {
	table := payments()
	for _, text := range []string{`amount`, `max(amount, 20) * (night ? 2 : 1) - 3`, `channel == "web" ? -amount : amount / 3 + 1`, `5`, `amount * 1e38`} {
		t.Run(text, func(t *testing.T) {
			agrees(t, fitted(t, "rule", learn.Values{"expression": text}, table), table.Features, table.Values)
		})
	}
	m := fitted(t, "rule", learn.Values{"expression": "amount"}, payments())
	scores := make([]float32, 8)
	m.Predict(table.Values, scores)
	if !(scores[7] < scores[5] && scores[0] < scores[4] && scores[1] < scores[3]) {
		t.Errorf("scores %v do not rise with the amount", scores)
	}
	values := payments()
	values.Task = learn.Regression
	m = fitted(t, "rule", learn.Values{"expression": "amount + 1"}, values)
	if got := agrees(t, m, values.Features, values.Values); got[0] != 11 || got[2] != 0.375 {
		t.Errorf("values %v, want the rule's, and the mean for null", got)
	}
	m = fitted(t, "rule", learn.Values{"expression": "amount > 220"}, values)
	if got := agrees(t, m, values.Features, values.Values); got[1] != 0.75 || got[0] != 0 {
		t.Errorf("values %v, want means of either side", got)
	}
}

func TestRefused(t *testing.T) {
	for text, want := range map[string]string{
		``:                                       "is missing",
		`amount >`:                               "ends too early",
		`amonut > 220`:                           "did you mean amount",
		`channel`:                                "result is a text",
		`amount % 2 == 0`:                        "character 8: operator %",
		`night and log(amount) > 3`:              "character 11: function log",
		`amount > 0 and lower(channel) == "web"`: "character 16: function lower",
		`channel < "pos"`:                        "character 1: the text channel",
		`amount > 1e39`:                          "character 10: 1e+39",
		`hour(at) > 3`:                           "function hour",
		`(night ? "web" : "pos") == channel`:     "character 10",
		strings.Repeat("amount > 1 and ", 400) + "true": "bytes",
	} {
		_, err := fit(t, "rule", learn.Values{"expression": text}, payments())
		if !errors.Is(err, learn.ErrParameters) || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: error %v, want %q in it", text, err, want)
		}
	}
	for _, name := range []string{"constant", "last_label", "rule"} {
		given := learn.Values{}
		if name == "rule" {
			given["expression"] = "amount > 1"
		}
		empty := payments().Select(nil)
		if _, err := fit(t, name, given, empty); !errors.Is(err, learn.ErrData) {
			t.Errorf("%s without rows: error %v", name, err)
		}
		odd := payments()
		odd.Labels[2] = 0.5
		if _, err := fit(t, name, given, odd); !errors.Is(err, learn.ErrData) {
			t.Errorf("%s with half a label: error %v", name, err)
		}
	}
}
