// SPDX-License-Identifier: Apache-2.0

// Package linear learns weighted sums: logistic regression for two or more classes, and
// linear regression, both with L1 and L2 penalties.
//
// Numbers are standardised within the model, missing ones take the mean of the rows that
// have one, and a term of its own may say that one was missing. Categories are one term
// each; one that was not seen has none. On request numbers are taken as logarithms, as
// broken lines (knots), as steps (bins), and in pairs (products): all of it is part of the
// exported graph.
//
// What is minimised, over weights w on standardised terms, intercepts being free, is
//
//	mean loss + l1 x sum |w| + l2/2 x sum w^2
//
// with the means weighted; the loss is half the squared error, or minus the logarithm of
// the probability of the label's class. In scikit-learn's terms l2 is 1/(C rows) for
// LogisticRegression and alpha/rows for Ridge; l1 is alpha for Lasso. Without l1 the method
// is L-BFGS of gonum (Nocedal and Wright 2006, algorithm 7.5), with it OWL-QN (Andrew and
// Gao 2007, "Scalable training of L1-regularized log-linear models").
//
// Invariants:
//
//	L1  Sums over rows are made in an order that does not depend on the number of workers,
//	    so that equal input gives equal weights, bit for bit.
//	L2  A model gives a finite score for every row of numbers, infinities and NaN included:
//	    terms are held within a million deviations.
package linear

import (
	"context"
	"fmt"

	"github.com/millrace-ml/millrace/training/learn"
)

const (
	// knotsMax and binsMax bound the terms of a feature, termsMax those of a model,
	// cellsMax the numbers of a design matrix (4 bytes each).
	knotsMax = 64
	binsMax  = 256
	termsMax = 1 << 17
	cellsMax = 1 << 31
)

// The values of the parameter log.
const (
	logNone   = "none"
	logSkewed = "skewed"
	logAll    = "all"
)

// Methods are logistic and linear.
func Methods() []*learn.Method {
	return []*learn.Method{
		{
			Name:       "logistic",
			Doc:        "logistic regression, multinomial for more than two classes",
			Tasks:      []learn.Task{learn.Binary, learn.Multiclass},
			Parameters: parameters(),
			New:        newTrainer,
		},
		{
			Name:       "linear",
			Doc:        "linear regression: ridge, lasso and elastic net",
			Tasks:      []learn.Task{learn.Regression},
			Parameters: parameters(),
			New:        newTrainer,
		},
	}
}

func parameters() []learn.Parameter {
	return []learn.Parameter{
		{Name: "l2", Doc: "weight of the squares of weights", Kind: learn.Float, Default: 1e-4, Max: 1e6, SearchMin: 1e-6, SearchMax: 0.1, Log: true},
		{Name: "l1", Doc: "weight of the magnitudes of weights, which makes some of them 0", Kind: learn.Float, Default: 0.0, Max: 1e6},
		{Name: "knots", Doc: "numbers become broken lines with so many bends, at quantiles", Kind: learn.Int, Default: int64(0), Max: knotsMax, SearchMin: 0, SearchMax: 16},
		{Name: "bins", Doc: "numbers have steps as well, at so many quantiles", Kind: learn.Int, Default: int64(0), Max: binsMax},
		{Name: "log", Doc: "which numbers are taken as sign(x) log(1 + |x|)", Kind: learn.Text, Default: logNone, Options: []string{logNone, logSkewed, logAll}},
		{Name: "products", Doc: "products of pairs of numbers, and squares, are terms too", Kind: learn.Flag, Default: false},
		{Name: "missing_indicator", Doc: "that a number is missing is a term of its own", Kind: learn.Flag, Default: true},
		{Name: "iterations", Doc: "steps at most", Kind: learn.Int, Default: int64(500), Min: 1, Max: 100_000},
		{Name: "tolerance", Doc: "largest element of the gradient at which to stop", Kind: learn.Float, Default: 1e-6, Min: 1e-12, Max: 1},
	}
}

// trainer fits with its settings.
type trainer struct {
	l1, l2, tolerance float64
	knots, bins       int
	iterations        int
	log               string
	products, missing bool
}

func newTrainer(v learn.Values) (learn.Trainer, error) {
	return &trainer{
		l1: v.Float("l1"), l2: v.Float("l2"), tolerance: v.Float("tolerance"),
		knots: v.Int("knots"), bins: v.Int("bins"), iterations: v.Int("iterations"),
		log: v.Text("log"), products: v.Flag("products"), missing: v.Flag("missing_indicator"),
	}, nil
}

// Fit implements learn.Trainer.
func (t *trainer) Fit(ctx context.Context, train, valid *learn.Table, o learn.FitOptions) (learn.Model, error) {
	if err := checkTable(train); err != nil {
		return nil, err
	}
	r, err := t.newRecipe(train)
	if err != nil {
		return nil, err
	}
	d, err := newDesign(ctx, r, train, o.Workers)
	if err != nil {
		return nil, err
	}
	p := &problem{design: d, task: train.Task, outputs: train.Outputs(), l1: t.l1, l2: t.l2}
	p.setLabels(train)
	var judge func(theta []float64) float64
	if valid != nil && valid.Rows() > 0 && o.Progress != nil {
		if judge, err = p.onRows(ctx, r, valid, o.Workers); err != nil {
			return nil, err
		}
	}
	watch := func(step int, theta []float64, loss float64) error {
		if err := ctx.Err(); err != nil || o.Progress == nil {
			return err
		}
		metrics := map[string]float64{"train_loss": loss}
		if judge != nil {
			metrics["valid_loss"] = judge(theta)
		}
		return o.Progress(step, t.iterations, metrics)
	}
	theta, converged, err := t.minimise(p, watch)
	if err != nil {
		return nil, err
	}
	return newModel(r, p, theta, converged), nil
}

func checkTable(t *learn.Table) error {
	if t.Rows() == 0 {
		return fmt.Errorf("%w: there are no rows", learn.ErrData)
	}
	for _, f := range t.Features {
		if f.Monotone != 0 {
			return fmt.Errorf("%w: feature %s is monotone, which linear models do not promise; use trees", learn.ErrParameters, f.Name)
		}
	}
	classes := t.Outputs()
	if t.Task == learn.Binary {
		classes = 2
	}
	seen := make([]bool, classes)
	for i, y := range t.Labels {
		switch {
		case y-y != 0:
			return fmt.Errorf("%w: label %v of row %d is not finite", learn.ErrData, y, i)
		case t.Task == learn.Regression:
			continue
		case !(y >= 0 && int(y) < classes) || y != float32(int(y)):
			return fmt.Errorf("%w: label %v of row %d is none of %d classes", learn.ErrData, y, i, classes)
		}
		seen[int(y)] = true
	}
	if t.Task == learn.Regression {
		return nil
	}
	several := 0
	for _, s := range seen {
		if s {
			several++
		}
	}
	if several < 2 {
		return fmt.Errorf("%w: all %d labels are of one class", learn.ErrData, t.Rows())
	}
	return nil
}
