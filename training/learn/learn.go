// SPDX-License-Identifier: Apache-2.0

// Package learn says what a model builder is made of: tables of rows to learn from,
// the methods that learn, and the models that they give. Methods live in packages of
// their own (baseline, linear, trees, neural, command); package training puts them to
// work.
//
// Features are 32-bit floats here as they are in the served model, so that a model sees
// the same numbers when it learns and when it answers. NaN is a missing value. A
// categorical feature holds the number of its category, NaN for a category that was not
// seen in training.
//
// Concurrency: a Table and a Model do not change once made and may be read from many
// goroutines. A Trainer may be used from many goroutines at once.
package learn

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/millrace-ml/millrace/featurestore/column"
)

var (
	// ErrData means that the rows cannot be learnt from, such as labels of one class: the
	// data has to change.
	ErrData = errors.New("cannot learn from this data")
	// ErrParameters means that a parameter is unknown or out of its range.
	ErrParameters = errors.New("invalid parameters")
)

// Task is what is learnt.
type Task uint8

// The tasks. Labels are 0 and 1 (Binary), numbers of classes (Multiclass), values
// (Regression).
const (
	Binary Task = iota
	Multiclass
	Regression
)

var taskNames = []string{"binary", "multiclass", "regression"}

func (t Task) String() string { return taskNames[t] }

// ParseTask reads a task's name.
func ParseTask(name string) (Task, error) {
	if i := slices.Index(taskNames, name); i >= 0 {
		return Task(i), nil
	}
	return 0, fmt.Errorf("no task %q: there are binary, multiclass and regression", name)
}

// Feature is a column that a model reads.
type Feature struct {
	Name string
	// Type is what a request has: Bool, Int64, Float64 and Timestamp become numbers; a
	// String is categorical.
	Type column.Type
	// Categorical features have no order. Categories are the texts of their categories
	// (decimal for numbers), in order of their codes 0, 1, ...; at most CategoriesMax.
	Categorical bool
	Categories  []string
	// Monotone is 1 where a prediction must not fall as the feature rises, -1 where it must
	// not rise, 0 where it may do both. Trees honour it; others refuse it.
	Monotone int8
}

// CategoriesMax bounds the categories of a feature; rarer ones count as not seen.
const CategoriesMax = 4096

// Table is rows to learn from, by column.
type Table struct {
	Task     Task
	Features []Feature
	// Values has a column for each feature.
	Values [][]float32
	// Labels has a number for each row. Classes are the texts of classes, for Binary and
	// Multiclass.
	Labels  []float32
	Classes []string
	// Weights are positive, nil for 1 each.
	Weights []float32
	// Times are microseconds since 1970, nil if the rows have none. Groups number what rows
	// belong to, such as a customer; nil if they have none.
	Times  []int64
	Groups []int32
	// Carried are further columns that metrics read, such as keys, by name; may be nil.
	Carried *column.Batch
}

// Rows counts the rows.
func (t *Table) Rows() int { return len(t.Labels) }

// Outputs is how many raw scores a model of the table gives for a row: one for each class
// of Multiclass, else 1.
func (t *Table) Outputs() int {
	if t.Task == Multiclass {
		return len(t.Classes)
	}
	return 1
}

// Weight is the weight of a row.
func (t *Table) Weight(row int) float32 {
	if t.Weights == nil {
		return 1
	}
	return t.Weights[row]
}

// Select copies rows, in the order given, without what is carried.
func (t *Table) Select(rows []int32) *Table {
	s := *t
	s.Carried = nil
	s.Values = make([][]float32, len(t.Values))
	for f, values := range t.Values {
		s.Values[f] = pick(values, rows)
	}
	s.Labels, s.Weights = pick(t.Labels, rows), pick(t.Weights, rows)
	s.Times, s.Groups = pick(t.Times, rows), pick(t.Groups, rows)
	return &s
}

func pick[T any](values []T, rows []int32) []T {
	if values == nil {
		return nil
	}
	picked := make([]T, len(rows))
	for i, row := range rows {
		picked[i] = values[row]
	}
	return picked
}

// Link makes predictions of raw scores.
type Link uint8

// The links: raw scores are predictions; logits of probabilities; logits of classes.
const (
	Identity Link = iota
	Logistic
	Softmax
)

// LinkOf is the link of a task, which all methods use.
func LinkOf(t Task) Link { return [...]Link{Logistic, Softmax, Identity}[t] }

// Progress is told how far a fit is. Metrics of the step are by name ("train_loss",
// "valid_loss"); they become learning curves. An error ends the fit and is returned by
// it: this is how a search prunes a trial.
type Progress func(step, total int, metrics map[string]float64) error

// FitOptions are what every method takes.
type FitOptions struct {
	// Seed makes all chance of the fit. Equal seeds, tables and parameters give the same
	// model, bit for bit, with any number of workers.
	Seed uint64
	// Workers bounds the goroutines; 0 is one for each core.
	Workers int
	// Progress may be nil.
	Progress Progress
}

// Trainer learns with the parameters it was made with.
type Trainer interface {
	// Fit learns from train. Valid, which may be nil, is what early stopping looks at; it
	// has the features of train and is never learnt from. Errors wrap ErrData where the
	// rows are at fault. Fit ends soon after ctx does, with its error.
	Fit(ctx context.Context, train, valid *Table, o FitOptions) (Model, error)
}

// Model is what was learnt. Raw scores are before the link.
type Model interface {
	// Outputs is how many raw scores a row has.
	Outputs() int
	// Predict writes the raw scores of all rows of the columns, row after row:
	// len(to) = rows x Outputs. It may use several goroutines.
	Predict(values [][]float32, to []float32)
	// Export adds the model to a graph and returns the name of its raw scores, of shape
	// [rows, Outputs]. ONNX Runtime and our engine give what Predict does, within rounding.
	Export(g *Graph) (scores string, err error)
	// Importance says how much each feature matters, in the method's own measure (gain for
	// trees, |weight| x deviation for linear models), or nil.
	Importance() []float64
	// Describe sums the model up for its card, in one line: "412 trees, depth 6 at most".
	Describe() string
}

// Method is a way to learn, by name.
type Method struct {
	Name string
	// Doc is a sentence for help and errors.
	Doc        string
	Tasks      []Task
	Parameters []Parameter
	// New makes a trainer. Values have been checked against Parameters and completed with
	// defaults. An error wraps ErrParameters.
	New func(v Values) (Trainer, error)
}
