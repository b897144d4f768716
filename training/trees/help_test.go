// SPDX-License-Identifier: Apache-2.0

package trees

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/training/learn"
)

func trainerOf(t testing.TB, v learn.Values) learn.Trainer {
	t.Helper()
	method := Method()
	complete, err := method.Complete(v)
	if err != nil {
		t.Fatal(err)
	}
	trainer, err := method.New(complete)
	if err != nil {
		t.Fatal(err)
	}
	return trainer
}

func fitted(t testing.TB, v learn.Values, train, valid *learn.Table, o learn.FitOptions) *model {
	t.Helper()
	m, err := trainerOf(t, v).Fit(t.Context(), train, valid, o)
	if err != nil {
		t.Fatal(err)
	}
	return m.(*model)
}

func predict(m learn.Model, t *learn.Table) []float32 {
	to := make([]float32, t.Rows()*m.Outputs())
	m.Predict(t.Values, to)
	return to
}

// numbers makes a table of features with an order.
func numbers(task learn.Task, labels []float32, values ...[]float32) *learn.Table {
	t := &learn.Table{Task: task, Values: values, Labels: labels}
	for i := range values {
		t.Features = append(t.Features, learn.Feature{Name: fmt.Sprint("x", i), Type: column.Float64})
	}
	if task == learn.Binary {
		t.Classes = []string{"no", "yes"}
	}
	return t
}

// Synthetic makes rows whose label depends on nine of the features, not in a straight
// line.
func Synthetic(rows, features int, seed uint64) *learn.Table {
	r := rand.New(rand.NewPCG(seed, 7))
	values, labels := make([][]float32, features), make([]float32, rows)
	for f := range values {
		values[f] = make([]float32, rows)
		for i := range values[f] {
			values[f][i] = float32(r.NormFloat64())
		}
	}
	for i := range labels {
		x := func(f int) float64 { return float64(values[f%features][i]) }
		z := 1.5*x(0)*x(1) + 2*math.Sin(2*x(2)) + x(3) - 0.8*x(4)*x(4) + 1.2*math.Abs(x(5)) + 0.7*x(6)*x(7) - 0.5*x(8) - 0.15
		if r.Float64() < 1/(1+math.Exp(-1.5*z)) {
			labels[i] = 1
		}
	}
	return numbers(learn.Binary, labels, values...)
}

func areaUnder(scores, labels []float32) float64 {
	order := make([]int, len(scores))
	for i := range order {
		order[i] = i
	}
	slices.SortFunc(order, func(a, b int) int {
		if scores[a] < scores[b] {
			return -1
		}
		return 1
	})
	positives, ranks := 0.0, 0.0
	for rank, i := range order {
		if labels[i] > 0 {
			positives++
			ranks += float64(rank + 1)
		}
	}
	return (ranks - positives*(positives+1)/2) / (positives * (float64(len(labels)) - positives))
}
