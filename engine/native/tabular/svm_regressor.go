// SPDX-License-Identifier: Apache-2.0

package tabular

import (
	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// svmRegressor is one weighted sum of the comparisons with the support vectors.
type svmRegressor struct {
	*machine
	coefficients []float32
	rho          float32
	// oneClass gives 1 for sums above 0 and -1 for others.
	oneClass bool
}

func buildSVMRegressor(n *op.Node) (op.Operator, error) {
	rho := n.Floats("rho")
	if len(rho) != 1 {
		return nil, op.Invalid("rho has %d values, want 1", len(rho))
	}
	// ONNX Runtime does nothing with it, the standard wants it applied to one score.
	if t := n.Text("post_transform", "NONE"); t != "NONE" {
		return nil, op.NotCovered("post_transform %q", t)
	}
	o := &svmRegressor{coefficients: n.Floats("coefficients"), rho: rho[0], oneClass: n.Int("one_class", 0) != 0}
	count := n.Int("n_supports", 0)
	if count == 0 {
		l, err := linearRows(o.coefficients, rho, 1)
		if err != nil {
			return nil, err
		}
		return &linearSVMRegressor{l, o.oneClass}, n.Arity(1, 1, 1, 1)
	}
	if count < 0 || count != int64(len(o.coefficients)) {
		return nil, op.Invalid("%d coefficients for %d support vectors", len(o.coefficients), count)
	}
	var err error
	if o.machine, err = machineOf(n, int(count)); err != nil {
		return nil, err
	}
	if o.similarity == similarityLinear {
		o.machine = o.summed(n.Floats("support_vectors"), 1, func(_ int, run func(int, []float32)) { run(0, o.coefficients) })
		o.coefficients = []float32{1}
	}
	return o, n.Arity(1, 1, 1, 1)
}

func (o *svmRegressor) Infer(in, out []*op.Value) error {
	rows, err := o.check(in[0])
	if err != nil {
		return err
	}
	return out[0].Set(tensor.FP32, int64(rows), 1)
}

func (o *svmRegressor) Bind(in, out []*op.Value, s *op.Scratch) (op.Run, error) {
	y := op.Floats(out[0])
	compare := o.bind(in[0], len(y), s)
	each := func(row int, k []float32) {
		y[row] = float32(weigh(o.coefficients, k) + float64(o.rho))
	}
	return func() error {
		compare(each)
		if o.oneClass {
			signs(y)
		}
		return nil
	}, nil
}

// signs makes scores those of a machine that knows one class.
func signs(scores []float32) {
	for i, x := range scores {
		scores[i] = -1
		if x > 0 {
			scores[i] = 1
		}
	}
}

// Cost implements op.Coster.
func (o *svmRegressor) Cost(_, out []*op.Value) float64 { return o.cost(out[0].Len(), 1) }

// Describe implements op.Describer.
func (o *svmRegressor) Describe(_, _ []*op.Value) string { return o.describe() }
