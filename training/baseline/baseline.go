// SPDX-License-Identifier: Apache-2.0

// Package baseline has the predictions that a model must beat to be worth its while: a
// constant, a rule that people wrote, and the label of the row before.
//
//   - constant: the shares of the classes; the mean or the median of values.
//   - rule: an expression over features (package expression), such as amount > 220.
//   - last_label: what the label was a moment ago, for streams in which labels follow
//     their rows at once. No request has it, so it cannot be exported.
//
// Models do not change and may be used from many goroutines.
package baseline

import (
	"errors"
	"fmt"
	"math"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/training/learn"
)

// ErrNotExported means that a model cannot be written as ONNX: it is for comparison only.
var ErrNotExported = errors.New("cannot be exported")

// Methods are constant, rule and last_label.
func Methods() []*learn.Method {
	return []*learn.Method{
		{
			Name:  "constant",
			Doc:   "the same prediction for every row: shares of classes, mean or median",
			Tasks: []learn.Task{learn.Binary, learn.Multiclass, learn.Regression},
			Parameters: []learn.Parameter{
				{Name: "value", Doc: "of a regression: mean or median", Kind: learn.Text, Default: valueMean, Options: []string{valueMean, valueMedian}},
			},
			New: func(v learn.Values) (learn.Trainer, error) { return constantTrainer{v.Text("value")}, nil },
		},
		{
			Name:  "rule",
			Doc:   "an expression over features, such as amount > 220",
			Tasks: []learn.Task{learn.Binary, learn.Regression},
			Parameters: []learn.Parameter{
				{Name: "expression", Doc: "a bool, or a score that is higher where class 1 is likelier", Kind: learn.Text, Default: ""},
			},
			New: newRule,
		},
		{
			Name:  "last_label",
			Doc:   "the label of the row before in time, for streams; for comparison only",
			Tasks: []learn.Task{learn.Binary, learn.Multiclass, learn.Regression},
			New:   func(learn.Values) (learn.Trainer, error) { return lastTrainer{}, nil },
		},
	}
}

// logit is the score whose logistic function is a share, which is kept away from 0 and 1.
func logit(share float64) float64 {
	share = min(max(share, 1e-6), 1-1e-6)
	return math.Log(share / (1 - share))
}

// checkTable reports tables that nothing can be counted of.
func checkTable(t *learn.Table) error {
	if t.Rows() == 0 {
		return fmt.Errorf("%w: there are no rows", learn.ErrData)
	}
	classes := t.Outputs()
	if t.Task == learn.Binary {
		classes = 2
	}
	for i, y := range t.Labels {
		if t.Task == learn.Regression && y-y == 0 {
			continue
		}
		if t.Task == learn.Regression || !(y >= 0 && int(y) < classes) || y != float32(int(y)) {
			return fmt.Errorf("%w: label %v of row %d is not one of the task %s", learn.ErrData, y, i, t.Task)
		}
	}
	return nil
}

// repeated exports the same scores for each row: of the first feature only the shape is used.
func repeated(g *learn.Graph, scores []float32) (string, error) {
	if len(g.Features) == 0 {
		return "", fmt.Errorf("%w: there is no feature that could say how many rows there are", ErrNotExported)
	}
	column := g.Apply("Gather", []string{g.Matrix, g.Integers("columns", []int64{0}, 1)}, onnx.IntAttribute("axis", 1))
	zero := g.Floats("zero", []float32{0}, 1, 1)
	zeros := g.Apply("Where", []string{g.Apply("IsNaN", []string{column}), zero, zero})
	return g.Apply("Add", []string{zeros, g.Floats("scores", scores, 1, int64(len(scores)))}), nil
}
