// SPDX-License-Identifier: Apache-2.0

package command

import (
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/millrace-ml/millrace/bench/foreigntest"
	"github.com/millrace-ml/millrace/engine/native"
	"github.com/millrace-ml/millrace/featurestore/column"
	"github.com/millrace-ml/millrace/training/learn"
)

// learnable is a table that can be learnt from, with missing values.
func learnable(task learn.Task, rows int, seed uint64) *learn.Table {
	rng := rand.New(rand.NewPCG(seed, 0))
	t := &learn.Table{Task: task, Weights: make([]float32, rows), Values: make([][]float32, 4)}
	for _, name := range []string{"a", "b", "c", "d"} {
		t.Features = append(t.Features, learn.Feature{Name: name, Type: column.Float64})
	}
	switch task {
	case learn.Binary:
		t.Classes = []string{"no", "yes"}
	case learn.Multiclass:
		t.Classes = []string{"low", "middle", "high"}
	}
	for row := range rows {
		sum := 0.3 * rng.NormFloat64()
		for f := range t.Values {
			v := rng.NormFloat64()
			if f < 2 {
				sum += v
			}
			if rng.IntN(20) == 0 {
				v = math.NaN()
			}
			t.Values[f] = append(t.Values[f], float32(v))
		}
		label := sum
		if task != learn.Regression {
			label = math.Round(float64(len(t.Classes)-1) / (1 + math.Exp(-2*sum)))
		}
		t.Labels = append(t.Labels, float32(label))
		t.Weights[row] = float32(1 + row%2)
	}
	return t
}

// everyTaskVariable asks for all tasks of all examples, most of whose time is the loading
// of Python's libraries.
const everyTaskVariable = "MILLRACE_EVERY_TRAINER"

// TestExamples trains with the examples' programs, for real.
func TestExamples(t *testing.T) {
	if testing.Short() {
		t.Skip("fetches Python packages")
	}
	for _, example := range []struct {
		name, parameters string
		tasks            []learn.Task
	}{
		{"sklearn", `{"trees": 20, "depth": 6}`, []learn.Task{learn.Binary}},
		{"lightgbm", `{"rounds": 30, "min_data_in_leaf": 5}`, []learn.Task{learn.Multiclass}},
	} {
		if os.Getenv(everyTaskVariable) != "" {
			example.tasks = []learn.Task{learn.Binary, learn.Multiclass, learn.Regression}
		}
		t.Run(example.name, func(t *testing.T) {
			folder := filepath.Join("..", "..", "examples", "trainers", example.name)
			python := foreigntest.Python(t, filepath.Join(folder, "requirements.txt"))
			program := python + " " + filepath.Join(folder, "train.py")
			for _, task := range example.tasks {
				t.Run(task.String(), func(t *testing.T) {
					train, valid := learnable(task, 2000, 1), learnable(task, 500, 2)
					steps, losses := 0, 0
					m, err := trainerOf(t, "", learn.Values{"program": program, "parameters": example.parameters}).Fit(t.Context(), train, valid, learn.FitOptions{
						Seed: 3, Workers: 1, Progress: func(_, _ int, metrics map[string]float64) error {
							if steps++; metrics["valid_loss"] > 0 {
								losses++
							}
							return nil
						},
					})
					must(t, err)
					if losses == 0 || example.name == "lightgbm" && steps < 5 {
						t.Errorf("%d steps, %d with a loss", steps, losses)
					}
					got := make([]float32, valid.Rows()*m.Outputs())
					m.Predict(valid.Values, got)
					if share := explained(valid, m.Outputs(), got); share < 0.7 {
						t.Errorf("%.3f of the labels are explained", share)
					}
					for i, v := range runExported(t, m, valid, native.Backend{}) {
						if math.Abs(float64(v-got[i])) > 1e-4*(1+math.Abs(float64(got[i]))) {
							t.Fatalf("value %d: exported %v, predicted %v", i, v, got[i])
						}
					}
				})
			}
		})
	}
}

// explained is the accuracy of classes, and the explained variance of values.
func explained(t *learn.Table, outputs int, raw []float32) float64 {
	right, mean, rest, all := 0, 0.0, 0.0, 0.0
	for _, y := range t.Labels {
		mean += float64(y) / float64(t.Rows())
	}
	for row, y := range t.Labels {
		scores := raw[row*outputs : (row+1)*outputs]
		best := 0
		for k, v := range scores {
			if v > scores[best] {
				best = k
			}
		}
		if t.Task == learn.Binary && scores[0] > 0 {
			best = 1
		}
		if float32(best) == y {
			right++
		}
		rest += (float64(y) - float64(scores[0])) * (float64(y) - float64(scores[0]))
		all += (float64(y) - mean) * (float64(y) - mean)
	}
	if t.Task == learn.Regression {
		return 1 - rest/all
	}
	return float64(right) / float64(t.Rows())
}
