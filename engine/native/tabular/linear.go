// SPDX-License-Identifier: Apache-2.0

package tabular

import (
	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/gemm"
)

// linear is a linear model: one row of coefficients for each target, and intercepts.
type linear struct {
	carriesRows
	weights    *gemm.Packed
	intercepts []float32
	transform  transform
}

func linearOf(n *op.Node, targets int) (*linear, error) {
	coefficients, intercepts := n.Floats("coefficients"), n.Floats("intercepts")
	if targets < 1 || len(coefficients) == 0 || len(coefficients)%targets != 0 {
		return nil, op.Invalid("%d coefficients for %d targets", len(coefficients), targets)
	}
	if len(intercepts) != 0 && len(intercepts) != targets {
		return nil, op.Invalid("%d intercepts for %d targets", len(intercepts), targets)
	}
	t, err := transformOf(n)
	if err != nil {
		return nil, err
	}
	features := len(coefficients) / targets
	o := &linear{weights: gemm.Pack(features, targets, coefficients, features, true), transform: t}
	if len(intercepts) > 0 {
		o.intercepts = intercepts
	}
	return o, nil
}

// check reports an input that the model cannot read.
func (o *linear) check(v *op.Value) (rows int, err error) {
	if err := op.Want(v, "input", numeric...); err != nil {
		return 0, err
	}
	rows, cols, err := matrix(v)
	if err == nil && cols != o.weights.K() {
		err = op.Invalid("input of shape %v for %d coefficients", v.Shape, o.weights.K())
	}
	return rows, err
}

// bind makes the function that computes the scores before the transformation.
func (o *linear) bind(v *op.Value, rows int, scores []float32, s *op.Scratch) func() {
	s.Gemm.Reserve(rows, o.weights)
	load, e := floats(v), &gemm.Epilogue{Bias: o.intercepts}
	return func() {
		gemm.Gemm(rows, load(), o.weights.K(), o.weights, scores, o.weights.N(), e, &s.Gemm)
	}
}

// Cost implements op.Coster.
func (o *linear) Cost(in, _ []*op.Value) float64 { return 20 + float64(in[0].Len()*o.weights.N())/20 }

// Describe implements op.Describer.
func (o *linear) Describe(_, _ []*op.Value) string { return "gemm f32 + intercepts" }

// linearRegressor gives the scores, transformed.
type linearRegressor struct{ *linear }

func buildLinearRegressor(n *op.Node) (op.Operator, error) {
	targets := n.Int("targets", 1)
	if targets < 1 || targets > 1<<20 {
		return nil, op.Invalid("targets is %d", targets)
	}
	o, err := linearOf(n, int(targets))
	if err != nil {
		return nil, err
	}
	return &linearRegressor{o}, n.Arity(1, 1, 1, 1)
}

func (o *linearRegressor) Infer(in, out []*op.Value) error {
	rows, err := o.check(in[0])
	if err != nil {
		return err
	}
	return out[0].Set(tensor.FP32, int64(rows), int64(o.weights.N()))
}

func (o *linearRegressor) Bind(in, out []*op.Value, s *op.Scratch) (op.Run, error) {
	scores, targets := op.Floats(out[0]), o.weights.N()
	predict := o.bind(in[0], int(out[0].Shape[0]), scores, s)
	return func() error {
		predict()
		if o.transform != transformNone {
			for at := 0; at < len(scores); at += targets {
				o.transform.apply(scores[at : at+targets])
			}
		}
		return nil
	}, nil
}

// linearClassifier gives labels and scores. With one row of coefficients for two
// classes, the score of the first class is the complement of that of the second.
type linearClassifier struct {
	*linear
	labels labels
}

func buildLinearClassifier(n *op.Node) (op.Operator, error) {
	o := &linearClassifier{labels: labelsOf(n, "classlabels_strings", "classlabels_ints")}
	// The standard does not give the number of rows of coefficients; intercepts do.
	targets := len(n.Floats("intercepts"))
	if targets == 0 {
		targets = o.labels.len()
	}
	var err error
	if o.linear, err = linearOf(n, targets); err != nil {
		return nil, err
	}
	if classes := o.labels.len(); classes != targets && (classes != 2 || targets != 1) {
		return nil, op.Invalid("%d class labels for %d rows of coefficients", classes, targets)
	}
	return o, n.Arity(1, 1, 1, 2)
}

func (o *linearClassifier) Infer(in, out []*op.Value) error {
	rows, err := o.check(in[0])
	if err != nil {
		return err
	}
	return o.labels.setOutputs(out, rows, o.labels.len())
}

func (o *linearClassifier) Bind(in, out []*op.Value, s *op.Scratch) (op.Run, error) {
	rows, classes := int(out[0].Shape[0]), o.labels.len()
	scores := scoresOf(out, rows*classes)
	label := o.labels.writer(out[0])
	if o.weights.N() < classes {
		sums := make([]float32, rows)
		predict := o.bind(in[0], rows, sums, s)
		return func() error {
			predict()
			for i, sum := range sums {
				label(i, o.binary(sum, scores[2*i:2*i+2]))
			}
			return nil
		}, nil
	}
	predict := o.bind(in[0], rows, scores, s)
	return func() error {
		predict()
		o.transform.finish(scores, classes, label, largest)
		return nil
	}, nil
}

// binary writes the scores of both classes and gives the class.
func (o *linearClassifier) binary(sum float32, scores []float32) (class int) {
	if o.transform == transformLogistic {
		scores[0], scores[1] = logistic(-sum), logistic(sum)
	} else {
		scores[0], scores[1] = -sum, sum
		o.transform.apply(scores)
	}
	if sum > 0 {
		return 1
	}
	return 0
}
