// SPDX-License-Identifier: Apache-2.0

package blend

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/training/learn"
	"github.com/millrace-ml/millrace/training/linear"
	"github.com/millrace-ml/millrace/training/linear/graphtest"
	"github.com/millrace-ml/millrace/training/neural"
	"github.com/millrace-ml/millrace/training/trees"
)

// table has a positive row in about seven, which the first two features tell.
func table(rows int) *learn.Table {
	r := rand.New(rand.NewPCG(1, 2))
	t := &learn.Table{Task: learn.Binary, Classes: []string{"0", "1"}, Labels: make([]float32, rows)}
	for f := range 3 {
		t.Features = append(t.Features, learn.Feature{Name: fmt.Sprint("x", f), Type: column.Float64})
		t.Values = append(t.Values, make([]float32, rows))
	}
	for i := range t.Labels {
		for f := range t.Values {
			t.Values[f][i] = float32(r.NormFloat64())
		}
		z := -2.5 + 1.5*float64(t.Values[0][i]) + math.Abs(float64(t.Values[1][i]))
		if r.Float64() < 1/(1+math.Exp(-z)) {
			t.Labels[i] = 1
		}
	}
	return t
}

func fit(t *testing.T, text string, train *learn.Table, seed uint64) learn.Model {
	t.Helper()
	method := Method(others())
	values, err := method.Complete(learn.Values{"members": text})
	if err != nil {
		t.Fatal(err)
	}
	trainer, err := method.New(values)
	if err != nil {
		t.Fatal(err)
	}
	m, err := trainer.Fit(t.Context(), train, nil, learn.FitOptions{Seed: seed, Workers: 2})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func predict(m learn.Model, t *learn.Table) []float32 {
	to := make([]float32, t.Rows())
	m.Predict(t.Values, to)
	return to
}

const twoMembers = `
- {method: trees, parameters: {trees: 20, max_depth: 3, subsample: 0.7}, bags: 3, negatives: 0.3, bootstrap: true, weight: 2}
- {method: logistic, parameters: {products: true}}
`

func TestScoresAreTheWeightedMean(t *testing.T) {
	rows := table(2000)
	trees := predict(fit(t, "- {method: trees, parameters: {trees: 20}}", rows, 1), rows)
	logistic := predict(fit(t, "- {method: logistic}", rows, 1), rows)
	both := predict(fit(t, "[{method: trees, parameters: {trees: 20}, weight: 3}, {method: logistic}]", rows, 1), rows)
	for i := range both {
		if want := 0.75*trees[i] + 0.25*logistic[i]; math.Abs(float64(both[i]-want)) > 1e-5 {
			t.Fatalf("row %d: %v, want %v", i, both[i], want)
		}
	}
}

// Probabilities stay near the truth though the members saw few of the negative rows.
func TestNegativesLeftOutAreTakenBack(t *testing.T) {
	rows := table(20_000)
	predicted, positive := 0.0, 0.0
	for i, score := range predict(fit(t, "- {method: logistic, negatives: 0.1, bags: 4}", rows, 3), rows) {
		predicted += 1 / (1 + math.Exp(-float64(score)))
		positive += float64(rows.Labels[i])
	}
	if ratio := predicted / positive; ratio < 0.9 || ratio > 1.1 {
		t.Errorf("the model expects %.0f positive rows, there are %.0f", predicted, positive)
	}
}

func TestSeedsMakeAllChance(t *testing.T) {
	rows := table(2000)
	first := predict(fit(t, twoMembers, rows, 5), rows)
	if !slices.Equal(first, predict(fit(t, twoMembers, rows, 5), rows)) {
		t.Error("two fits of one seed differ")
	}
	if slices.Equal(first, predict(fit(t, twoMembers, rows, 6), rows)) {
		t.Error("fits of two seeds are the same")
	}
}

func TestExportedGivesWhatPredictDoes(t *testing.T) {
	rows := table(2000)
	m := fit(t, twoMembers, rows, 5)
	answers := graphtest.Run(t, rows.Features, 1, graphtest.Columns(rows.Values), m.Export)
	graphtest.Equal(t, answers, predict(m, rows), func(int) float64 { return 1e-4 })
	if len(m.Importance()) != 3 || !strings.Contains(m.Describe(), "3 x trees") {
		t.Error(m.Importance(), m.Describe())
	}
}

func TestPoisson(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 3))
	sum, squares, n := 0.0, 0.0, 100_000
	for range n {
		k := float64(poisson(r))
		sum, squares = sum+k, squares+k*k
	}
	mean := sum / float64(n)
	if variance := squares/float64(n) - mean*mean; math.Abs(mean-1) > 0.02 || math.Abs(variance-1) > 0.04 {
		t.Errorf("mean %v, variance %v, want 1 and 1", mean, variance)
	}
}

func TestMistakes(t *testing.T) {
	method := Method(others())
	for text, want := range map[string]string{
		"":                                          "0 members",
		"- {method: forest}":                        `no method "forest"`,
		"- {method: blend}":                         `no method "blend"`,
		"- {method: trees, weight: -1}":             "weight is -1",
		"- {method: trees, negatives: 2}":           "negatives is 2",
		"- {method: trees, bags: 1000}":             "1000 bags",
		"- {method: trees, colour: red}":            "colour",
		"- {method: trees, parameters: {depth: 1}}": `no parameter "depth"`,
		"- [":                      "blend.members",
		strings.Repeat("#", 1<<17): "bytes",
	} {
		_, err := method.New(learn.Values{"members": text})
		if !errors.Is(err, learn.ErrParameters) || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40q: %v, want %s", text, err, want)
		}
	}
	trainer, err := New(others(), []Member{{Method: "linear", Negatives: 0.5}})
	if err != nil {
		t.Fatal(err)
	}
	rows := table(100)
	rows.Task = learn.Regression
	if _, err := trainer.Fit(t.Context(), rows, nil, learn.FitOptions{}); !errors.Is(err, learn.ErrParameters) {
		t.Error("a share of the negatives of a regression:", err)
	}
}

// others are the methods that are blended.
func others() []*learn.Method {
	boosted := trees.Method()
	return append(linear.Methods(), &boosted, neural.Method())
}
