// SPDX-License-Identifier: Apache-2.0

// Package attribution says how much each feature of a row adds to a model's raw score:
// reason codes for a decision.
//
// For tree ensembles these are Shapley values of the score, where a feature that is not
// known sends a row down both sides of a split, in proportion to the training rows that
// went there ("path-dependent" TreeSHAP: Lundberg et al. 2020, "From local explanations to
// global understanding with explainable AI for trees"). The model has to say how many
// those were: nodes_hitrates. For linear models a feature adds what its terms do, compared
// with a row whose terms are all 0, which is the mean row where features are standardised;
// a term of several features, such as a product, counts in equal parts for each.
//
// How the trees are done: let a leaf of value v have the features j on its path, each with
// o, which is 1 where the row goes the leaf's way at all of j's splits and else 0, and z,
// the product of the shares of rows that do. The value of a set of features is v times the
// product of o over the set and of z over the others, and Shapley's weights of sets are
// integrals of t^k (1-t)^(m-1-k), so that feature j is owed
//
//	v (o_j - z_j) integral over t in [0,1] of the product over i≠j of (z_i (1-t) + o_i t).
//
// The integrand is a polynomial below degree m, which Gauss-Legendre quadrature with m/2
// points integrates exactly. At each point the products are made on the way down the tree
// and summed over leaves on the way up, so a row costs the number of nodes times the
// number of points, as in Linear TreeSHAP (Yu et al. 2022), which interpolates the same
// polynomials. z and all that follows from it does not depend on the row and is computed
// by Open: what is left is one multiplication and two additions per node and point.
//
// Invariant: base and the features' parts add up to the raw score.
//
// Concurrency: an Explainer does not change and may be used from many goroutines.
package attribution

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync"

	"github.com/millrace-ml/millrace/engine/onnx"
)

// ErrNoAttribution means that a model's scores are not of a kind that can be attributed to
// features. Errors that wrap it say why; the model serves without reason codes.
var ErrNoAttribution = errors.New("no attribution for this model")

func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrNoAttribution, fmt.Sprintf(format, args...))
}

// matrixName is the value of exported models that has all features as numbers, where the
// model has an input for each.
const matrixName = "features"

// Explainer attributes a model's raw scores to the features of a row.
type Explainer struct {
	matrix            string
	features, outputs int
	// columns are what the scores are computed of.
	columns []column
	bases   []float64
	// One of them is there.
	trees []*tree
	terms []term
	// nodes is the most that a tree has.
	nodes   int
	scratch sync.Pool
}

// Open finds the scores of a model and prepares to attribute them. The scores are the
// model's only TreeEnsembleRegressor, TreeEnsembleClassifier, LinearRegressor,
// LinearClassifier, Gemm or MatMul; what comes after, such as a link or a calibration, is
// left aside. Open may take a while and memory in proportion to the model's nodes.
func Open(m *onnx.Model) (*Explainer, error) {
	if m == nil || m.Graph == nil {
		return nil, refuse("there is no graph")
	}
	scorer, err := scorerOf(m.Graph)
	if err != nil {
		return nil, err
	}
	w := newWalker(m.Graph)
	e := &Explainer{}
	if e.columns, err = e.findColumns(w, scorer.Inputs[0]); err != nil {
		return nil, err
	}
	if scorer.OpType == "TreeEnsembleRegressor" || scorer.OpType == "TreeEnsembleClassifier" {
		err = e.readTrees(scorer)
	} else {
		err = e.readLinear(w, scorer)
	}
	if err != nil {
		return nil, fmt.Errorf("%s %q: %w", scorer.OpType, scorer.Name, err)
	}
	e.scratch.New = func() any {
		return &scratch{
			columns: make([]float32, len(e.columns)), products: make([][4]float64, e.nodes), sums: make([][4]float64, e.nodes),
			goes: make([]uint8, e.nodes+1), cases: make([]uint8, e.nodes),
		}
	}
	return e, nil
}

// Matrix is the name of the value whose rows are explained: the model's input, or where it
// has one for each feature, the value that has all of them as numbers.
func (e *Explainer) Matrix() string { return e.matrix }

// Features is the length of a row.
func (e *Explainer) Features() int { return e.features }

// Outputs is how many raw scores the model has.
func (e *Explainer) Outputs() int { return e.outputs }

// Explain writes what each feature of a row adds to each raw score, output by output:
// len(row) = Features(), len(to) = Features() x Outputs(). It returns what the first score
// is without any feature; Base tells it of the others. It does not allocate.
func (e *Explainer) Explain(row []float32, to []float64) (base float64) {
	s := e.read(row)
	for output := range e.outputs {
		e.add(s, output, to[output*e.features:(output+1)*e.features])
	}
	e.scratch.Put(s)
	return e.bases[0]
}

// ExplainOutput is Explain for one raw score, from 0 to Outputs()-1: to has a number for
// each feature, and what is returned is the score's own base.
func (e *Explainer) ExplainOutput(row []float32, output int, to []float64) (base float64) {
	s := e.read(row)
	e.add(s, output, to[:e.features])
	e.scratch.Put(s)
	return e.bases[output]
}

// Base is what a raw score is where no feature is known.
func (e *Explainer) Base(output int) float64 { return e.bases[output] }

// read computes the columns of a row.
func (e *Explainer) read(row []float32) *scratch {
	row = row[:e.features]
	s := e.scratch.Get().(*scratch)
	for i := range e.columns {
		if p := e.columns[i].plain; p >= 0 {
			s.columns[i] = row[p]
		} else {
			s.columns[i] = e.columns[i].eval(row)
		}
	}
	return s
}

// add computes the parts of an output.
func (e *Explainer) add(s *scratch, output int, to []float64) {
	clear(to)
	for _, t := range e.trees {
		if t.output == output {
			t.explain(s, to)
		}
	}
	for _, t := range e.terms {
		if t.output == output {
			sources := e.columns[t.column].sources
			part := t.weight * float64(s.columns[t.column]) / float64(len(sources))
			for _, f := range sources {
				to[f] += part
			}
		}
	}
}

var scorers = []string{"TreeEnsembleRegressor", "TreeEnsembleClassifier", "LinearRegressor", "LinearClassifier", "Gemm", "MatMul"}

// learners are operators that make a model another kind than those.
var learners = []string{"TreeEnsemble", "SVMRegressor", "SVMClassifier", "Conv", "LSTM", "GRU", "RNN", "QLinearMatMul", "MatMulInteger", "Relu", "Tanh"}

// scorerOf finds the node that makes the scores.
func scorerOf(g *onnx.Graph) (*onnx.Node, error) {
	var found *onnx.Node
	for i := range g.Nodes {
		n := &g.Nodes[i]
		if slices.Contains(learners, n.OpType) {
			return nil, refuse("it has operator %s", n.OpType)
		}
		if !slices.Contains(scorers, n.OpType) {
			continue
		}
		if found != nil {
			return nil, refuse("its scores are made by several operators, %s and %s among them", found.OpType, n.OpType)
		}
		found = n
	}
	if found == nil {
		return nil, refuse("it has neither trees nor a linear model")
	}
	if len(found.Inputs) == 0 {
		return nil, refuse("%s has no input", found.OpType)
	}
	return found, nil
}

// findColumns walks from the scores' input back to the model's input, or as far as to the
// matrix of features.
func (e *Explainer) findColumns(w *walker, name string) ([]column, error) {
	matrix, width, err := inputOf(w.graph)
	if err == nil {
		var v *value
		w.from(matrix, width)
		if v, err = w.value(name); err == nil && !v.flat {
			e.matrix, e.features = matrix, width
			return v.columns, nil
		}
	}
	n, ok := w.makers[matrixName]
	if !ok || n.OpType != "Concat" {
		if err == nil {
			err = refuse("scores of a value of one dimension")
		}
		return nil, err
	}
	// Its parts are columns of features.
	w.from(matrixName, len(n.Inputs))
	v, err := w.value(name)
	if err != nil {
		return nil, err
	}
	e.matrix, e.features = matrixName, len(n.Inputs)
	return v.columns, nil
}

// inputOf finds the only input, a matrix of floats.
func inputOf(g *onnx.Graph) (name string, width int, err error) {
	initial := map[string]bool{}
	for i := range g.Initializers {
		initial[g.Initializers[i].Name] = true
	}
	inputs := 0
	for _, in := range g.Inputs {
		if initial[in.Name] {
			continue
		}
		inputs++
		t := in.Type
		if t.Kind == onnx.KindTensor && t.Elem == onnx.ElemFloat && len(t.Dims) == 2 && t.Dims[1].Value > 0 && t.Dims[1].Value <= columnsMax {
			name, width = in.Name, int(t.Dims[1].Value)
		}
	}
	if inputs != 1 || name == "" {
		return "", 0, refuse("it has no single input of floats with a fixed number of columns, nor a value %q", matrixName)
	}
	return name, width, nil
}

// single is the feature that a column depends on, alone.
func (e *Explainer) single(c int64) (int32, error) {
	if c < 0 || c >= int64(len(e.columns)) {
		return 0, refuse("a split reads column %d of %d", c, len(e.columns))
	}
	if sources := e.columns[c].sources; len(sources) == 1 {
		return sources[0], nil
	}
	return 0, refuse("column %d is made of %d features", c, len(e.columns[c].sources))
}

// basesOf completes base values to one for each output.
func basesOf(base []float32, outputs int) ([]float64, error) {
	bases := make([]float64, outputs)
	if len(base) != 0 && len(base) != outputs {
		return nil, refuse("%d base values for %d outputs", len(base), outputs)
	}
	for i, b := range base {
		if math.IsNaN(float64(b)) {
			return nil, refuse("base value %d is not a number", i)
		}
		bases[i] = float64(b)
	}
	return bases, nil
}
