// SPDX-License-Identifier: Apache-2.0

// Package trees learns gradient-boosted decision trees from histograms.
//
// Boosting is of second order (Friedman 2001, "Greedy function approximation"; Chen and
// Guestrin 2016, "XGBoost", equations 5 to 7): each tree is grown on the gradients g and
// the second derivatives h of the loss, a leaf's value is -G/(H+lambda) and a split's gain
// is G²/(H+lambda) of its sides less that of the whole. Values are put in at most 256 bins
// first, so that a split is found by adding up g and h by bin (Ke et al. 2017, "LightGBM").
//
// What makes it fast:
//   - g and h are whole numbers of 32 bits in one word of 64, at a scale that makes the sums
//     fit, so that one addition to memory adds both (see packed.go). Gradients of a few bits
//     are known to do (Shi et al. 2022, "Quantized training of gradient boosting decision
//     trees"); here an average one has log2(2³¹/rows) bits. The leaves' values are computed
//     from the gradients themselves.
//   - The bins of up to eight features of a row are one word of 64 bits, and the histograms
//     of such a group of features fit the first-level cache.
//   - Only the smaller of two children is added up; the other is the rest of the parent.
//
// Invariants: sums of whole numbers do not depend on their order, and sums of floats are
// made in an order that rows alone give, so a model depends on the table, the parameters
// and the seed but not on the number of goroutines or their timing. A value x goes left of
// threshold t where x <= t, in training, in Predict and in the exported model alike.
//
// Concurrency: a trainer and a model may be used from many goroutines at once. Goroutines
// that a call starts end before it returns.
package trees

import (
	"fmt"
	"math"

	"github.com/millrace-ml/millrace/training/learn"
)

// Losses of regression.
const (
	lossSquared = "squared"
	lossHuber   = "huber"
	lossPinball = "pinball"
)

// treesMax and depthMax bound a model.
const (
	treesMax  = 20_000
	depthMax  = 30
	leavesMax = 4096
)

// options are the parameters of a fit.
type options struct {
	trees, maxDepth, maxLeaves, bins int
	minChildRows, patience           int
	learningRate                     float64
	minChildWeight                   float64
	lambda, alpha, gamma             float64
	subsample, featureFraction       float64
	categorySmoothing                float64
	loss                             string
	quantile, huberDelta             float64
}

// Method learns gradient-boosted trees.
func Method() learn.Method {
	return learn.Method{
		Name:  "trees",
		Doc:   "gradient-boosted decision trees: missing values, categories, monotone features, early stopping",
		Tasks: []learn.Task{learn.Binary, learn.Multiclass, learn.Regression},
		Parameters: []learn.Parameter{
			{Name: "trees", Doc: "rounds of boosting at most; of several classes each has a tree in each", Kind: learn.Int, Default: int64(300), Min: 1, Max: treesMax},
			{Name: "learning_rate", Doc: "how much of a tree's answer counts", Kind: learn.Float, Default: 0.1, Min: 1e-4, Max: 1, SearchMin: 0.02, SearchMax: 0.3, Log: true},
			{Name: "max_depth", Doc: "splits on the way to a leaf at most", Kind: learn.Int, Default: int64(6), Min: 1, Max: depthMax, SearchMin: 3, SearchMax: 10},
			{Name: "max_leaves", Doc: "leaves of a tree at most, the most useful first; 0 grows level by level", Kind: learn.Int, Default: int64(0), Min: 0, Max: leavesMax},
			{Name: "bins", Doc: "bins of a feature's values at most, the one for missing ones included", Kind: learn.Int, Default: int64(binsMax), Min: 3, Max: binsMax},
			{Name: "min_child_weight", Doc: "least sum of second derivatives of a leaf", Kind: learn.Float, Default: 1.0, Min: 0, Max: 1e9, SearchMin: 0.1, SearchMax: 100, Log: true},
			{Name: "min_child_rows", Doc: "least rows of a leaf", Kind: learn.Int, Default: int64(1), Min: 1, Max: 1e9},
			{Name: "lambda", Doc: "L2 penalty of leaf values", Kind: learn.Float, Default: 1.0, Min: 0, Max: 1e9, SearchMin: 0.01, SearchMax: 100, Log: true},
			{Name: "alpha", Doc: "L1 penalty of leaf values", Kind: learn.Float, Default: 0.0, Min: 0, Max: 1e9},
			{Name: "gamma", Doc: "gain that a split must exceed", Kind: learn.Float, Default: 0.0, Min: 0, Max: 1e9},
			{Name: "subsample", Doc: "share of the rows that each tree learns from", Kind: learn.Float, Default: 1.0, Min: 0.01, Max: 1, SearchMin: 0.5, SearchMax: 1},
			{Name: "feature_fraction", Doc: "share of the features that each tree may use", Kind: learn.Float, Default: 1.0, Min: 0.01, Max: 1, SearchMin: 0.4, SearchMax: 1},
			{Name: "category_smoothing", Doc: "weight added to a category's when categories are put in order, and to lambda where they are split", Kind: learn.Float, Default: 10.0, Min: 0, Max: 1e9},
			{Name: "patience", Doc: "rounds without a better loss on the validation rows before the fit ends; 0 runs all and keeps them all", Kind: learn.Int, Default: int64(50), Min: 0, Max: treesMax},
			{Name: "loss", Doc: "loss of regression", Kind: learn.Text, Default: lossSquared, Options: []string{lossSquared, lossHuber, lossPinball}},
			{Name: "quantile", Doc: "quantile that the pinball loss aims at", Kind: learn.Float, Default: 0.5, Min: 0.001, Max: 0.999},
			{Name: "huber_delta", Doc: "error from which the Huber loss grows in a straight line", Kind: learn.Float, Default: 1.0, Min: 1e-9, Max: 1e9},
		},
		New: newTrainer,
	}
}

func newTrainer(v learn.Values) (learn.Trainer, error) {
	o := options{
		trees: v.Int("trees"), maxDepth: v.Int("max_depth"), maxLeaves: v.Int("max_leaves"), bins: v.Int("bins"),
		minChildRows: v.Int("min_child_rows"), patience: v.Int("patience"),
		learningRate: v.Float("learning_rate"), minChildWeight: v.Float("min_child_weight"),
		lambda: v.Float("lambda"), alpha: v.Float("alpha"), gamma: v.Float("gamma"),
		subsample: v.Float("subsample"), featureFraction: v.Float("feature_fraction"),
		categorySmoothing: v.Float("category_smoothing"),
		loss:              v.Text("loss"), quantile: v.Float("quantile"), huberDelta: v.Float("huber_delta"),
	}
	if o.maxLeaves == 1 {
		return nil, fmt.Errorf("%w: trees.max_leaves: a tree of one leaf does not split: give 2 or more, or 0 for no bound", learn.ErrParameters)
	}
	return &trainer{o}, nil
}

// trainer implements learn.Trainer.
type trainer struct{ options options }

// finite reports whether x is a number.
func finite(x float32) bool { return !math.IsNaN(float64(x)) && !math.IsInf(float64(x), 0) }
