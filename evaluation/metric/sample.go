// SPDX-License-Identifier: Apache-2.0

package metric

import (
	"fmt"
	"math"
)

// Limits of a sample.
const (
	// RowsMax is the largest number of rows, so that a row's number fits 32 bits.
	RowsMax = 1 << 30
	// OutputsMax is the largest number of classes.
	OutputsMax = 1 << 16
	// sumTolerance is how far from 1 the probabilities of a row may sum to; those of a
	// FP32 softmax over many classes are off by a little.
	sumTolerance = 1e-3
)

// String is the task's name.
func (t Task) String() string {
	switch t {
	case Binary:
		return "binary"
	case Multiclass:
		return "multiclass"
	case Regression:
		return "regression"
	case Ranking:
		return "ranking"
	}
	return fmt.Sprintf("task %d", uint8(t))
}

// Validate says whether the sample can be measured: sizes agree, no number is NaN or
// infinite, labels and scores are those of the task. The error names the first row that is
// wrong, from 0, and wraps ErrSample.
func (s *Sample) Validate() error {
	for _, check := range []func() error{s.checkSizes, s.checkLabels, s.checkScores, s.checkWeights, s.checkQueries} {
		if err := check(); err != nil {
			return fmt.Errorf("%w: %w", ErrSample, err)
		}
	}
	return nil
}

func (s *Sample) checkSizes() error {
	rows := s.Rows()
	switch {
	case s.Task > Ranking:
		return fmt.Errorf("there is no %v", s.Task)
	case rows == 0:
		return fmt.Errorf("there are no rows")
	case rows > RowsMax:
		return fmt.Errorf("%d rows, at most %d are allowed", rows, RowsMax)
	case s.Task == Multiclass && (s.Outputs < 2 || s.Outputs > OutputsMax):
		return fmt.Errorf("%d outputs, a multiclass sample has 2 to %d", s.Outputs, OutputsMax)
	case s.Task != Multiclass && s.Outputs != 1:
		return fmt.Errorf("%d outputs, a %v sample has 1", s.Outputs, s.Task)
	case len(s.Scores)/s.Outputs != rows || len(s.Scores)%s.Outputs != 0:
		return fmt.Errorf("%d scores for %d rows of %d outputs", len(s.Scores), rows, s.Outputs)
	case s.Weights != nil && len(s.Weights) != rows:
		return fmt.Errorf("%d weights for %d rows", len(s.Weights), rows)
	case s.Task == Ranking && len(s.Queries) != rows:
		return fmt.Errorf("%d numbers of queries for %d rows; a ranking sample says which query each row belongs to", len(s.Queries), rows)
	case s.Task == Multiclass && s.Classes != nil && len(s.Classes) != s.Outputs:
		return fmt.Errorf("%d names of classes for %d outputs", len(s.Classes), s.Outputs)
	case s.Columns != nil && s.Columns.Rows != rows:
		return fmt.Errorf("the columns have %d rows, the labels %d", s.Columns.Rows, rows)
	}
	if s.Columns == nil {
		return nil
	}
	for i := range s.Columns.Columns {
		if c := &s.Columns.Columns[i]; c.Len() != rows {
			return fmt.Errorf("column %q has %d values for %d rows", c.Name, c.Len(), rows)
		}
	}
	return nil
}

func (s *Sample) checkLabels() error {
	for i, y := range s.Labels {
		if !finite(y) {
			return fmt.Errorf("row %d: the label is %v", i, y)
		}
		switch s.Task {
		case Binary:
			if y != 0 && y != 1 {
				return fmt.Errorf("row %d: label %v, a binary label is 0 or 1", i, y)
			}
		case Multiclass:
			if y < 0 || y >= float64(s.Outputs) || y != math.Trunc(y) {
				return fmt.Errorf("row %d: label %v, a class is numbered 0 to %d", i, y, s.Outputs-1)
			}
		case Ranking:
			if y < 0 {
				return fmt.Errorf("row %d: relevance %v is negative", i, y)
			}
		}
	}
	return nil
}

func (s *Sample) checkScores() error {
	probabilities := !s.Uncalibrated && (s.Task == Binary || s.Task == Multiclass)
	for at := 0; at < len(s.Scores); at += s.Outputs {
		row, sum := at/s.Outputs, 0.0
		for k, p := range s.Scores[at : at+s.Outputs] {
			if !finite(p) {
				return fmt.Errorf("row %d: %s is %v", row, s.scoreName(k), p)
			}
			if probabilities && (p < 0 || p > 1) {
				return fmt.Errorf("row %d: %s is %v, a probability is 0 to 1; scores that are none are marked uncalibrated", row, s.scoreName(k), p)
			}
			sum += p
		}
		if probabilities && s.Task == Multiclass && math.Abs(sum-1) > sumTolerance {
			return fmt.Errorf("row %d: the probabilities sum to %v, not to 1", row, sum)
		}
	}
	return nil
}

func (s *Sample) scoreName(k int) string {
	if s.Outputs == 1 {
		return "the score"
	}
	return fmt.Sprintf("the score of class %s", s.className(k))
}

func (s *Sample) className(k int) string {
	if k < len(s.Classes) {
		return fmt.Sprintf("%q", s.Classes[k])
	}
	return fmt.Sprint(k)
}

func (s *Sample) checkWeights() error {
	for i, w := range s.Weights {
		if !finite(w) || w <= 0 {
			return fmt.Errorf("row %d: weight %v, a weight is a positive number", i, w)
		}
	}
	return nil
}

func (s *Sample) checkQueries() error {
	for i, q := range s.Queries {
		if q < 0 {
			return fmt.Errorf("row %d: query %d is negative", i, q)
		}
	}
	return nil
}

func finite(x float64) bool { return !math.IsNaN(x) && !math.IsInf(x, 0) }
