// SPDX-License-Identifier: Apache-2.0

package tabular

import (
	"slices"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/gemm"
)

// Without support vectors, the coefficients of a machine are those of the features.

// linearRows is a linear model with so many rows of coefficients.
func linearRows(coefficients, intercepts []float32, rows int) (*linear, error) {
	if len(coefficients) == 0 || len(coefficients)%rows != 0 {
		return nil, op.Invalid("%d coefficients for %d scores", len(coefficients), rows)
	}
	features := len(coefficients) / rows
	return &linear{weights: gemm.Pack(features, rows, coefficients, features, true), intercepts: intercepts}, nil
}

// linearSVMRegressor is a regressor without support vectors.
type linearSVMRegressor struct {
	*linear
	oneClass bool
}

func (o *linearSVMRegressor) Infer(in, out []*op.Value) error {
	rows, err := o.check(in[0])
	if err != nil {
		return err
	}
	return out[0].Set(tensor.FP32, int64(rows), 1)
}

func (o *linearSVMRegressor) Bind(in, out []*op.Value, s *op.Scratch) (op.Run, error) {
	y := op.Floats(out[0])
	predict := o.bind(in[0], len(y), y, s)
	return func() error {
		predict()
		if o.oneClass {
			signs(y)
		}
		return nil
	}, nil
}

// linearSVM is a classifier without support vectors: a score for each class, and the
// label of the highest. Two classes have a rule of their own, which is ONNX Runtime's.
type linearSVM struct {
	*linear
	labels labels
	// positive says that no coefficient is below 0.
	positive, probabilities bool
}

func buildLinearSVM(n *op.Node) (op.Operator, error) {
	o := &linearSVM{labels: labelsOf(n, "classlabels_strings", "classlabels_ints"), probabilities: len(n.Floats("prob_a")) > 0}
	rho := n.Floats("rho")
	if len(rho) != 1 || o.labels.len() < 2 {
		return nil, op.Invalid("rho has %d values for %d classes, want 1 for a model without support vectors", len(rho), o.labels.len())
	}
	coefficients := n.Floats("coefficients")
	var err error
	if o.linear, err = linearRows(coefficients, slices.Repeat(rho, o.labels.len()), o.labels.len()); err != nil {
		return nil, err
	}
	o.positive = !slices.ContainsFunc(coefficients, func(c float32) bool { return !(c >= 0) })
	if o.transform, err = transformOf(n); err != nil {
		return nil, err
	}
	return o, n.Arity(1, 1, 1, 2)
}

func (o *linearSVM) Infer(in, out []*op.Value) error {
	rows, err := o.check(in[0])
	if err != nil {
		return err
	}
	return o.labels.setOutputs(out, rows, o.labels.len())
}

func (o *linearSVM) Bind(in, out []*op.Value, s *op.Scratch) (op.Run, error) {
	rows, classes := int(out[0].Shape[0]), o.labels.len()
	scores := scoresOf(out, rows*classes)
	label, predict := o.labels.writer(out[0]), o.bind(in[0], rows, scores, s)
	return func() error {
		predict()
		o.transform.finish(scores, classes, label, o.class)
		return nil
	}, nil
}

// class is the class of a row of scores.
func (o *linearSVM) class(scores []float32) int {
	best := largest(scores)
	if len(scores) != 2 || o.probabilities {
		return best
	}
	if o.positive && scores[best] >= 0.5 || !o.positive && scores[best] > 0 {
		return 1
	}
	return best
}
