// SPDX-License-Identifier: Apache-2.0

// Package card writes the card of a model: what it is for, what it learnt from, how it did
// beside the others that were tried, what it looks at, where not to trust it, and what it
// takes to make it again. The form follows Mitchell et al., Model Cards for Model Reporting
// (2019). A Card is data only; package training fills it in.
//
// Invariants:
//
//   - C1: equal cards give equal bytes.
//   - C2: no text of a card becomes markup, a link or a command of a terminal; numbers that
//     are not finite are shown as a dash.
//   - C3: the page asks no host for anything and needs no script.
//   - C4: lists are cut at the bounds of this package, saying so.
//
// Concurrency: functions only read the card and may be called from many goroutines.
package card

import "time"

// Card is what is to be known of a model. Parts that are empty are left out of documents.
type Card struct {
	Name    string
	Version string
	Created time.Time
	// Millrace is the version of the program that made the model.
	Millrace string
	// Task is binary, multiclass or regression; Target the column that is predicted.
	Task   string
	Target string
	// Description is the author's, in words: what the model is for and what not.
	Description string
	// Service is the feature service whose vectors the model reads.
	Service string
	// Summary is the model in a line: "412 trees, depth 6 at most".
	Summary  string
	Features []Feature
	Data     Data
	// Metric is what the model was chosen by, Better higher or lower.
	Metric     string
	Better     string
	Candidates []Candidate
	// Curves are of the chosen model.
	Curves      []Curve
	Calibration *Calibration
	// Limits say where the model should not be trusted.
	Limits []string
	// Manifest is what makes the model again, bit for bit: hashes, seed, versions.
	Manifest map[string]string
}

// Feature is what the model reads.
type Feature struct {
	Name string
	Type string
	// Importance is the method's own measure, of any scale; Attribution the mean size of
	// what the feature adds to or takes from a score. NaN or 0 is not known.
	Importance  float64
	Attribution float64
}

// Data is what was learnt from. Hash is of the file.
type Data struct {
	Path string
	Hash string
	Rows int
	// Positives is for binary tasks, Classes counts labels by class.
	Positives int
	Classes   map[string]int
	// From and To are the times of the first and last row, zero if rows have none.
	From, To time.Time
	// Split says how rows were put to work: "4 prequential folds of 7 days, 7 days apart".
	Split string
	// Excluded counts rows left out, by reason.
	Excluded map[string]int
}

// Candidate is a model that was tried.
type Candidate struct {
	Name   string
	Method string
	// Summary is the candidate in a line, or empty.
	Summary    string
	Parameters map[string]any
	// Metrics are means over the folds, Spread their standard deviations (may be nil).
	Metrics map[string]float64
	Spread  map[string]float64
	// Trials counts those of a search; 0 without one.
	Trials int
	// Seconds may be 0 in all, so that cards of equal builds are equal.
	Seconds  float64
	Chosen   bool
	Baseline bool
	// Error is why the candidate is out.
	Error string
}

// Curve is a learning curve. Those whose names differ in what is before the first _ only
// (train_loss, valid_loss) are drawn together.
type Curve struct {
	Name   string
	Steps  []int
	Values []float64
}

// Calibration is how scores were made probabilities.
type Calibration struct {
	// Method is platt or isotonic; Rows those it was fitted on.
	Method string
	Rows   int
	// Before and After are metrics without and with it.
	Before, After map[string]float64
	// Reliability are lines of the share of positives over the predicted probability.
	Reliability []Line
}

// Line is a line of a plot.
type Line struct {
	Name string
	X, Y []float64
}
