// SPDX-License-Identifier: Apache-2.0

// Package metric measures predictions against the truth. A metric is named by a text,
// such as "roc_auc", "precision@100" or "recall@fpr=0.01", or is written by a user as an
// expression (Definition). Values agree with scikit-learn's where it has the metric.
//
//	M1  A row of weight w that counts n times is w*n rows, and nothing else: metrics of
//	    draws are those of a sample in which rows are repeated.
//	M2  The order of rows does not matter. Rows of equal score have no order: those that
//	    compete for the last of the k highest places share them.
//	M3  What the truth does not define is NaN: ROC AUC of one class, recall without
//	    positives, R² of equal values. What only the decisions leave open is as in
//	    scikit-learn: precision is 0 where nothing is taken for positive.
//	M4  A row is positive from the threshold on. The class of a row is that of the highest
//	    score, the first of several.
//
// A metric is prepared once for a sample (sorting and the like) and then computed for any
// number of weightings of its rows, which is what the bootstrap needs.
//
// Concurrency: a Sample does not change while it is used. A Statistic belongs to one
// goroutine; Clone makes another for the same sample that shares what was prepared.
package metric

import (
	"errors"

	"github.com/millrace-ml/millrace/featurestore/column"
)

var (
	// ErrMetric means that a metric's name or definition is not sound.
	ErrMetric = errors.New("invalid metric")
	// ErrSample means that a sample cannot be measured: a score is NaN, a label is none of
	// the task's.
	ErrSample = errors.New("invalid sample")
)

// Task is what was predicted.
type Task uint8

// The tasks. Ranking has relevances as labels and a score for each row of a query.
const (
	Binary Task = iota
	Multiclass
	Regression
	Ranking
)

// Sample is rows with their truth and what a model said.
type Sample struct {
	Task Task
	// Labels are 0 and 1, numbers of classes, values, or relevances from 0.
	Labels []float64
	// Scores has Outputs numbers for each row: the probability of class 1 (any score, if
	// Uncalibrated), probabilities of all classes, the value, or what a ranking sorts by.
	Scores  []float64
	Outputs int
	// Uncalibrated scores are no probabilities; log loss and the like are refused.
	Uncalibrated bool
	// Classes are the texts of classes, for reports.
	Classes []string
	// Weights are positive weights of rows, nil for 1 each.
	Weights []float64
	// Queries numbers the query that a row of Ranking belongs to.
	Queries []int32
	// Columns are further columns, for expressions, slices and units; may be nil.
	Columns *column.Batch
}

// Rows counts the rows.
func (s *Sample) Rows() int { return len(s.Labels) }

// Metric is a metric that was parsed.
type Metric interface {
	// Name is the text that names it.
	Name() string
	// Better is 1 where more is better, -1 where less is, 0 where neither.
	Better() int
	// Tasks says whether the metric is for a task.
	Suits(t Task) bool
	// Prepare readies the metric for a sample, which is valid (Sample.Validate). An error
	// wraps ErrMetric or ErrSample, such as for a column that is missing.
	Prepare(s *Sample) (Statistic, error)
}

// Statistic is a metric of a sample.
type Statistic interface {
	// Value computes the metric with row i counting counts[i] times; nil counts each once.
	// It is NaN where the metric is not defined, such as ROC AUC with one class only.
	Value(counts []uint8) float64
	// Clone makes a Statistic for another goroutine.
	Clone() Statistic
}
