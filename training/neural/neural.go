// SPDX-License-Identifier: Apache-2.0

// Package neural learns multi-layer perceptrons, with embeddings of categorical features,
// on gorgonia: gorgonia differentiates and runs the graph of a batch, everything around it
// (initial weights, order of rows, dropout masks, the optimiser) is made here, so that
// equal seeds give equal weights.
//
//	numbers ── fill ── logarithm ── standardise ──┐
//	missing ──────────────────────────────────────┼── dense ── activation ── ... ── scores
//	categories ── embedding ──────────────────────┘
//
// The optimiser is AdamW (Loshchilov and Hutter 2019, arXiv:1711.05101) with gradients
// clipped by their norm (Pascanu et al. 2013); the rate falls along a cosine. Weights begin
// as Glorot and Bengio 2010 (He et al. 2015 for relu). The loss is the weighted mean of
// softplus(z) - yz, of the cross-entropy of softmax, or of half the squared error.
//
// Invariants:
//
//   - N1: equal tables, parameters and seeds give equal weights, bit for bit.
//   - N2: what is learnt never leaves the range of finite numbers: a fit that diverges is
//     an error.
//   - N3: the forward pass of Predict, that of the graph and the exported model agree.
//
// Gorgonia takes no part in serving. Its graph and its machine belong to one goroutine, the
// one that calls Fit; its panics are errors here.
package neural

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/millrace-ml/millrace/training/learn"
)

// ErrDiverged means that weights or the loss left the range of numbers. A smaller
// learning_rate helps.
var ErrDiverged = errors.New("the fit diverged")

// Bounds of a network.
const (
	layersMax  = 8
	widthMax   = 4096
	weightsMax = 64 << 20
)

// Method is multi-layer perceptrons.
func Method() *learn.Method {
	return &learn.Method{
		Name:  "neural",
		Doc:   "multi-layer perceptron with embeddings, by AdamW",
		Tasks: []learn.Task{learn.Binary, learn.Multiclass, learn.Regression},
		Parameters: []learn.Parameter{
			{Name: "hidden", Kind: learn.Text, Default: "64,32", Doc: "widths of the hidden layers, such as 64,32"},
			{Name: "activation", Kind: learn.Text, Default: "relu", Options: []string{"relu", "tanh"}, Doc: "what follows a hidden layer"},
			{Name: "epochs", Kind: learn.Int, Default: int64(20), Min: 1, Max: 10_000, Doc: "passes over the rows, at most"},
			{Name: "batch", Kind: learn.Int, Default: int64(256), Min: 1, Max: 65536, SearchMin: 64, SearchMax: 1024, Log: true, Doc: "rows of a step"},
			{Name: "learning_rate", Kind: learn.Float, Default: 2e-3, Min: 1e-7, Max: 1, SearchMin: 1e-4, SearchMax: 1e-2, Log: true, Doc: "rate of the first steps"},
			{Name: "schedule", Kind: learn.Text, Default: "cosine", Options: []string{"cosine", "constant"}, Doc: "how the rate falls"},
			{Name: "weight_decay", Kind: learn.Float, Default: 1e-4, Max: 1, SearchMin: 1e-6, SearchMax: 1e-1, Log: true, Doc: "share of a weight that a step at rate 1 takes away"},
			{Name: "dropout", Kind: learn.Float, Default: 0.0, Max: 0.9, SearchMin: 0, SearchMax: 0.5, Doc: "share of hidden values left out in a step"},
			{Name: "clip", Kind: learn.Float, Default: 1.0, Min: 1e-6, Max: 1e6, Doc: "largest norm of a gradient"},
			{Name: "patience", Kind: learn.Int, Default: int64(5), Min: 1, Max: 10_000, Doc: "epochs without a lower loss on the validation rows before the fit ends; the best weights are kept"},
			{Name: "embedding", Kind: learn.Int, Default: int64(0), Max: 256, Doc: "width of embeddings; 0 goes by the number of categories"},
			{Name: "log", Kind: learn.Text, Default: "skewed", Options: []string{"none", "skewed", "all"}, Doc: "numbers to take the logarithm of, as sign(x) log(1+|x|)"},
		},
		New: newTrainer,
	}
}

type trainer struct {
	hidden       []int
	relu         bool
	epochs       int
	batch        int
	rate         float64
	cosine       bool
	decay        float64
	dropout      float64
	clip         float64
	patience     int
	embedding    int
	logarithmsOf string
}

func newTrainer(v learn.Values) (learn.Trainer, error) {
	t := &trainer{
		relu: v.Text("activation") == "relu", epochs: v.Int("epochs"), batch: v.Int("batch"), rate: v.Float("learning_rate"),
		cosine: v.Text("schedule") == "cosine", decay: v.Float("weight_decay"), dropout: v.Float("dropout"), clip: v.Float("clip"),
		patience: v.Int("patience"), embedding: v.Int("embedding"), logarithmsOf: v.Text("log"),
	}
	for text := range strings.SplitSeq(v.Text("hidden"), ",") {
		if text = strings.TrimSpace(text); text == "" {
			continue
		}
		width, err := strconv.Atoi(text)
		if err != nil || width < 1 || width > widthMax {
			return nil, fmt.Errorf("%w: neural.hidden: %q is no width from 1 to %d", learn.ErrParameters, text, widthMax)
		}
		t.hidden = append(t.hidden, width)
	}
	if len(t.hidden) > layersMax {
		return nil, fmt.Errorf("%w: neural.hidden: %d layers, at most %d", learn.ErrParameters, len(t.hidden), layersMax)
	}
	return t, nil
}

// Fit implements learn.Trainer.
func (t *trainer) Fit(ctx context.Context, train, valid *learn.Table, o learn.FitOptions) (_ learn.Model, err error) {
	defer func() {
		if fault := recover(); fault != nil { // gorgonia panics where others return errors
			err = fmt.Errorf("neural: internal error of the graph: %v", fault)
		}
	}()
	if err := checkTable(train); err != nil {
		return nil, err
	}
	m := &model{task: train.Task, recipe: t.newRecipe(train), relu: t.relu, outputs: train.Outputs()}
	m.standardiseTarget(train)
	m.layers, m.tables = t.newWeights(m.recipe, m.outputs, o.Seed)
	if n := m.weights(); n > weightsMax {
		return nil, fmt.Errorf("%w: neural: %d weights, at most %d", learn.ErrParameters, n, weightsMax)
	}
	f := &fit{trainer: t, model: m, ctx: ctx, options: o, train: train, valid: valid, unit: meanWeight(train)}
	if err := f.run(); err != nil {
		return nil, err
	}
	return m, nil
}

func checkTable(t *learn.Table) error {
	if t.Rows() == 0 {
		return fmt.Errorf("%w: there are no rows", learn.ErrData)
	}
	if t.Task != learn.Regression {
		first, varies := t.Labels[0], false
		for _, label := range t.Labels {
			varies = varies || label != first
		}
		if !varies {
			return fmt.Errorf("%w: all %d rows have the class %q", learn.ErrData, t.Rows(), t.Classes[int(first)])
		}
	}
	for i, values := range t.Values {
		for row, v := range values {
			if v-v != 0 && v == v {
				return fmt.Errorf("%w: feature %s is infinite in row %d", learn.ErrData, t.Features[i].Name, row+1)
			}
		}
		if t.Features[i].Monotone != 0 {
			return fmt.Errorf("%w: feature %s is to be monotone, which trees alone can promise", learn.ErrParameters, t.Features[i].Name)
		}
	}
	return nil
}
