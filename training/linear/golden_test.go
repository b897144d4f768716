// SPDX-License-Identifier: Apache-2.0

package linear

import (
	"encoding/json"
	"math"
	"os"
	"testing"

	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/training/learn"
)

type goldenCase struct {
	Name, Task      string
	Columns         [][]float32
	Labels, Weights []float32
	L1, L2          float64
	Coefficients    [][]float64
	Intercepts      []float64
}

func numeric(n int) []learn.Feature {
	features := make([]learn.Feature, n)
	for i := range features {
		features[i] = learn.Feature{Name: string(rune('a' + i)), Type: column.Float64}
	}
	return features
}

// fitted fits a table with parameters; what is not given has its default.
func fitted(t *testing.T, table *learn.Table, given learn.Values) *model {
	t.Helper()
	m, err := trainerOf(t, table.Task, given).Fit(t.Context(), table, nil, learn.FitOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return m.(*model)
}

func trainerOf(t *testing.T, task learn.Task, given learn.Values) learn.Trainer {
	t.Helper()
	method := Methods()[0]
	if task == learn.Regression {
		method = Methods()[1]
	}
	values, err := method.Complete(given)
	if err != nil {
		t.Fatal(err)
	}
	trainer, err := method.New(values)
	if err != nil {
		t.Fatal(err)
	}
	return trainer
}

func TestAgreesWithScikitLearn(t *testing.T) {
	text, err := os.ReadFile("testdata/golden.json")
	if err != nil {
		t.Fatal(err)
	}
	var golden struct{ Cases []goldenCase }
	if err := json.Unmarshal(text, &golden); err != nil {
		t.Fatal(err)
	}
	if len(golden.Cases) != 10 {
		t.Fatalf("%d cases", len(golden.Cases))
	}
	for _, c := range golden.Cases {
		t.Run(c.Name, func(t *testing.T) { compareGolden(t, c) })
	}
}

func compareGolden(t *testing.T, c goldenCase) {
	task, err := learn.ParseTask(c.Task)
	if err != nil {
		t.Fatal(err)
	}
	table := &learn.Table{Task: task, Features: numeric(len(c.Columns)), Values: c.Columns, Labels: c.Labels, Weights: c.Weights}
	if task == learn.Multiclass {
		table.Classes = []string{"x", "y", "z"}
	}
	m := fitted(t, table, learn.Values{"l1": c.L1, "l2": c.L2, "tolerance": 1e-9, "iterations": 20_000})
	if !m.converged {
		t.Errorf("not converged")
	}
	largest := 0.0
	for _, row := range c.Coefficients {
		for _, w := range row {
			largest = max(largest, math.Abs(w))
		}
	}
	// Softmax does not change when all intercepts rise together.
	shift, want := mean(m.intercepts), mean(c.Intercepts)
	if task != learn.Multiclass {
		shift, want = 0, 0
	}
	for k, row := range c.Coefficients {
		for j, w := range row {
			got := m.weights[k][j] / m.recipe.terms[j].scale
			if math.Abs(got-w) > 1e-4*max(math.Abs(w), 0.1*largest) {
				t.Errorf("output %d, weight %d is %v, want %v", k, j, got, w)
			}
			if w == 0 && got != 0 {
				t.Errorf("output %d, weight %d is %v, want none", k, j, got)
			}
		}
		if got, w := m.intercepts[k]-shift, c.Intercepts[k]-want; math.Abs(got-w) > 1e-4*max(math.Abs(w), 0.1*largest) {
			t.Errorf("intercept %d is %v, want %v", k, got, w)
		}
	}
}

func mean(values []float64) float64 {
	sum := 0.0
	for _, x := range values {
		sum += x
	}
	return sum / float64(len(values))
}
