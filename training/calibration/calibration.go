// SPDX-License-Identifier: Apache-2.0

// Package calibration turns the raw scores of a classifier into probabilities that mean
// what they say. A calibrator is fitted on rows that the model has not learnt from, and
// becomes part of the exported graph.
//
// The methods, for two classes:
//
//   - none: the logistic function of the score, or the softmax of the scores.
//   - platt: the logistic function of a x score + b, fitted by Newton's method to targets
//     drawn in from 0 and 1 (Platt 1999; the algorithm is that of Lin, Lin and Weng 2007,
//     "A note on Platt's probabilistic outputs for support vector machines").
//   - isotonic: the rising function of the score that is nearest to the labels, by pooling
//     adjacent violators (Barlow et al. 1972), linear between its blocks.
//   - temperature: the logistic function, or softmax, of the scores over one number (Guo et
//     al. 2017, arXiv:1706.04599).
//
// With more classes, platt and isotonic calibrate each class against the others, on the
// logarithm of its softmax, and divide by the sum (Zadrozny and Elkan 2002).
//
// Invariants:
//
//	C1  Probabilities are within 0 and 1; those of a row of several classes add up to 1.
//	C2  For two classes they never fall as the score rises.
//	C3  Isotonic blocks are tilted by 1 part in 10,000 (see tilt) and go on tilted beyond the
//	    scores that were seen, so that rows of different scores rarely tie: what ranks
//	    rows, such as ROC AUC, stays nearly as it was.
//
// A Calibrator does not change and may be used from many goroutines.
package calibration

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/millrace-ml/millrace/training/learn"
)

// The methods.
const (
	None        = "none"
	Platt       = "platt"
	Isotonic    = "isotonic"
	Temperature = "temperature"
)

// Methods lists the methods.
func Methods() []string { return []string{None, Platt, Isotonic, Temperature} }

// Calibrator makes probabilities of raw scores.
type Calibrator struct {
	method  string
	outputs int
	inverse float64  // of the temperature; 1 for none
	lines   []line   // platt, one for each output
	curves  []*curve // isotonic, one for each output
}

// line is the argument of a logistic function: slope x score + offset.
type line struct{ slope, offset float64 }

// Fit fits a calibrator to rows. Raw has outputs scores for each label, row after row: one
// for two classes (labels 0 and 1), else one for each class. Weights may be nil. None
// needs no rows. Errors wrap learn.ErrParameters for an unknown method or sizes that do
// not fit, and learn.ErrData for rows that cannot be calibrated on.
func Fit(method string, outputs int, raw, labels, weights []float32) (*Calibrator, error) {
	if !slices.Contains(Methods(), method) {
		return nil, fmt.Errorf("%w: calibration %q: it is one of %s", learn.ErrParameters, method, strings.Join(Methods(), ", "))
	}
	if outputs < 1 {
		return nil, fmt.Errorf("%w: calibration of %d scores a row", learn.ErrParameters, outputs)
	}
	c := &Calibrator{method: method, outputs: outputs, inverse: 1}
	if method == None {
		return c, nil
	}
	if err := check(outputs, raw, labels, weights); err != nil {
		return nil, fmt.Errorf("%s calibration: %w", method, err)
	}
	return c, c.fit(raw, labels, weights)
}

func (c *Calibrator) fit(raw, labels, weights []float32) error {
	if c.method == Temperature {
		c.inverse = fitTemperature(c.outputs, raw, labels, weights)
		return nil
	}
	scores, own := raw, labels
	if c.outputs > 1 {
		scores, own = make([]float32, len(labels)), make([]float32, len(labels))
		raw = logSoftmax(c.outputs, raw)
	}
	for k := range c.outputs {
		if c.outputs > 1 {
			for i := range scores {
				scores[i], own[i] = raw[i*c.outputs+k], truth(int(labels[i]) == k)
			}
		}
		if c.method == Platt {
			c.lines = append(c.lines, fitPlatt(scores, own, weights))
		} else {
			c.curves = append(c.curves, newCurve(pool(scores, own, weights)))
		}
	}
	return nil
}

func truth(b bool) float32 {
	if b {
		return 1
	}
	return 0
}

// check reports all that Fit cannot use.
func check(outputs int, raw, labels, weights []float32) error {
	switch {
	case len(raw) != len(labels)*outputs:
		return fmt.Errorf("%w: %d scores for %d rows of %d", learn.ErrParameters, len(raw), len(labels), outputs)
	case weights != nil && len(weights) != len(labels):
		return fmt.Errorf("%w: %d weights for %d rows", learn.ErrParameters, len(weights), len(labels))
	case len(labels) == 0:
		return fmt.Errorf("%w: there are no rows", learn.ErrData)
	}
	for i, s := range raw {
		if !(s >= -scoreMax && s <= scoreMax) {
			return fmt.Errorf("%w: score %v of row %d is not within %v of 0", learn.ErrData, s, i/outputs, scoreMax)
		}
	}
	classes := max(outputs, 2)
	rows := make([]int, classes)
	for i, y := range labels {
		if !(y >= 0 && y < float32(classes)) || y != float32(int(y)) {
			return fmt.Errorf("%w: label %v of row %d is none of %d classes", learn.ErrData, y, i, classes)
		}
		if weights != nil && !(weights[i] > 0 && weights[i] <= math.MaxFloat32) {
			return fmt.Errorf("%w: weight %v of row %d is not positive", learn.ErrData, weights[i], i)
		}
		rows[int(y)]++
	}
	var problems []error
	for k, n := range rows {
		if n == 0 {
			problems = append(problems, fmt.Errorf("%w: none of its %d rows has class %d; give it more rows", learn.ErrData, len(labels), k))
		}
	}
	return errors.Join(problems...)
}

// Method is the name of the method.
func (c *Calibrator) Method() string { return c.method }

// Outputs is how many raw scores a row has.
func (c *Calibrator) Outputs() int { return c.outputs }

// Describe sums the calibrator up for a model card, in one line.
func (c *Calibrator) Describe() string {
	switch c.method {
	case Temperature:
		return fmt.Sprintf("temperature %.4g", 1/c.inverse)
	case Platt:
		parts := make([]string, 0, 4)
		for _, l := range c.lines[:min(len(c.lines), 3)] {
			parts = append(parts, fmt.Sprintf("%.4g x score %+.4g", l.slope, l.offset))
		}
		if len(c.lines) > 3 {
			parts = append(parts, "...")
		}
		return "platt, logistic of " + strings.Join(parts, "; ")
	case Isotonic:
		points := 0
		for _, f := range c.curves {
			points += len(f.at)
		}
		return fmt.Sprintf("isotonic, %d points", points)
	}
	return "none"
}

// Apply writes probabilities: of class 1 for two classes, else of each class, row after
// row; len(to) = len(raw). To may be raw. The exported graph gives the same within the
// rounding of 32-bit floats.
func (c *Calibrator) Apply(raw, to []float32) {
	if c.outputs == 1 {
		c.applyBinary(raw, to)
		return
	}
	row, p := make([]float64, c.outputs), make([]float64, c.outputs)
	for at := 0; at < len(raw); at += c.outputs {
		for k := range row {
			row[k] = float64(raw[at+k]) * c.inverse
		}
		total := logSumExp(row)
		sum := 0.0
		for k := range row {
			p[k] = c.of(k, row[k]-total)
			sum += p[k]
		}
		for k := range p {
			if sum > 0 {
				to[at+k] = float32(p[k] / sum)
			} else {
				to[at+k] = float32(1 / float64(c.outputs))
			}
		}
	}
}

func (c *Calibrator) applyBinary(raw, to []float32) {
	for i, s := range raw {
		switch c.method {
		case Platt:
			to[i] = float32(logistic(c.lines[0].slope*float64(s) + c.lines[0].offset))
		case Isotonic:
			to[i] = float32(c.curves[0].value(s))
		default:
			to[i] = float32(logistic(float64(s) * c.inverse))
		}
	}
}

// of is what a class gets before the sum is divided out, of the logarithm of its softmax.
func (c *Calibrator) of(k int, score float64) float64 {
	switch c.method {
	case Platt:
		return logistic(c.lines[k].slope*score + c.lines[k].offset)
	case Isotonic:
		return c.curves[k].value(float32(score))
	}
	return math.Exp(score)
}

func logistic(x float64) float64 {
	if x >= 0 {
		return 1 / (1 + math.Exp(-x))
	}
	e := math.Exp(x)
	return e / (1 + e)
}

func logSumExp(row []float64) float64 {
	top := slices.Max(row)
	if math.IsInf(top, 0) {
		return top
	}
	sum := 0.0
	for _, x := range row {
		sum += math.Exp(x - top)
	}
	return top + math.Log(sum)
}

func logSoftmax(outputs int, raw []float32) []float32 {
	logs, row := make([]float32, len(raw)), make([]float64, outputs)
	for at := 0; at < len(raw); at += outputs {
		for k := range row {
			row[k] = float64(raw[at+k])
		}
		total := logSumExp(row)
		for k := range row {
			logs[at+k] = float32(row[k] - total)
		}
	}
	return logs
}
