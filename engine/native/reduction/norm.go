// SPDX-License-Identifier: Apache-2.0

package reduction

import (
	"math"
	"slices"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/onnx/rewrite"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/act"
	"github.com/millrace-ml/millrace/kernels/vec"
)

func normOperators() []op.Definition {
	return []op.Definition{
		{Name: "LayerNormalization", Since: 17, Build: buildLayerNorm},
		{Domain: rewrite.Domain, Name: rewrite.OpLayerNormalization, Since: 1, Build: buildLayerNorm},
		{Name: "RMSNormalization", Since: 23, Build: buildRMSNorm},
		{Domain: rewrite.Domain, Name: rewrite.OpRMSNormalization, Since: 1, Build: buildRMSNorm},
		{Name: "BatchNormalization", Since: 9, Build: buildBatchNorm},
		{Name: "InstanceNormalization", Since: 6, Build: buildInstanceNorm},
		{Name: "LpNormalization", Since: 1, Build: buildLpNorm},
		{Domain: "ai.onnx.ml", Name: "Normalizer", Since: 1, Build: buildNormalizer},
	}
}

// layerNorm normalises rows: all that lies behind an axis.
type layerNorm struct {
	axis    int64
	epsilon float32
	rms     bool
}

func buildLayerNorm(n *op.Node) (op.Operator, error) {
	for _, name := range n.Outputs[min(1, len(n.Outputs)):] {
		if name != "" {
			return nil, op.NotCovered("mean and deviation as outputs")
		}
	}
	return &layerNorm{axis: n.Int("axis", -1), epsilon: n.Float("epsilon", 1e-5)}, n.Arity(2, 3, 1, 3)
}

func buildRMSNorm(n *op.Node) (op.Operator, error) {
	return &layerNorm{n.Int("axis", -1), n.Float("epsilon", 1e-5), true}, n.Arity(2, 2, 1, 1)
}

// rows are how many there are and of how many elements.
func (o *layerNorm) rows(in []*op.Value) (rows, cols int, err error) {
	axis, err := op.Axis(o.axis, in[0].Rank())
	if err != nil {
		return 0, 0, err
	}
	l := linesOf(in[0].Shape, axis)
	return l.outer, l.extent * l.inner, nil
}

func (o *layerNorm) Infer(in, out []*op.Value) error {
	axis, err := op.Axis(o.axis, in[0].Rank())
	if err != nil {
		return err
	}
	row := in[0].Shape[axis:]
	for i, v := range in {
		if v == nil {
			continue
		}
		if err := op.Want(v, "input", tensor.FP32); err != nil {
			return err
		}
		if i > 0 && !slices.Equal(significant(v.Shape), significant(row)) {
			return op.NotCovered("scale or bias of shape %v for rows of shape %v", v.Shape, row)
		}
	}
	return out[0].Set(tensor.FP32, in[0].Shape...)
}

// significant is a shape from its first dimension other than 1 on.
func significant(shape tensor.Shape) tensor.Shape {
	for len(shape) > 0 && shape[0] == 1 {
		shape = shape[1:]
	}
	return shape
}

func (o *layerNorm) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	rows, cols, err := o.rows(in)
	if err != nil {
		return nil, err
	}
	x, y, gamma := op.Floats(in[0]), op.Floats(out[0]), op.Floats(in[1])
	if o.rms {
		return func() error {
			act.RMSNorm(y, x, rows, cols, gamma, o.epsilon)
			return nil
		}, nil
	}
	var beta []float32
	if len(in) > 2 && in[2] != nil {
		beta = op.Floats(in[2])
	}
	return func() error {
		act.LayerNorm(y, x, rows, cols, gamma, beta, o.epsilon)
		return nil
	}, nil
}

func (o *layerNorm) Rowwise(in []*op.Value, carries []bool) bool {
	axis, err := op.Axis(o.axis, in[0].Rank())
	return err == nil && axis > 0 && firstCarries(carries)
}

func (*layerNorm) InPlace() []int { return []int{0} }

// batchNorm is a factor and a term for each channel, the second dimension.
type batchNorm struct{ epsilon float32 }

func buildBatchNorm(n *op.Node) (op.Operator, error) {
	if n.Int("training_mode", 0) != 0 || len(n.Outputs) > 1 {
		return nil, op.NotCovered("training mode")
	}
	return &batchNorm{n.Float("epsilon", 1e-5)}, n.Arity(5, 5, 1, 1)
}

func (o *batchNorm) Infer(in, out []*op.Value) error {
	channels := int64(1)
	if in[0].Rank() > 1 {
		channels = in[0].Shape[1]
	}
	for _, v := range in {
		if err := op.Want(v, "input", tensor.FP32); err != nil {
			return err
		}
	}
	for _, v := range in[1:] {
		if int64(v.Len()) != channels {
			return op.Invalid("parameters of shape %v for %d channels", v.Shape, channels)
		}
	}
	return out[0].Set(tensor.FP32, in[0].Shape...)
}

func (o *batchNorm) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	channels := in[1].Len()
	factor, term := make([]float32, channels), make([]float32, channels)
	prepare := func() {
		gamma, beta, mean, variance := op.Floats(in[1]), op.Floats(in[2]), op.Floats(in[3]), op.Floats(in[4])
		for c := range factor {
			f := float64(gamma[c]) / math.Sqrt(float64(variance[c])+float64(o.epsilon))
			factor[c], term[c] = float32(f), float32(float64(beta[c])-float64(mean[c])*f)
		}
	}
	known := in[1].Const && in[2].Const && in[3].Const && in[4].Const
	if known {
		prepare()
	}
	x, y := op.Floats(in[0]), op.Floats(out[0])
	plane := 1
	for _, d := range in[0].Shape[min(2, in[0].Rank()):] {
		plane *= int(d)
	}
	planes := in[0].Len() / max(1, plane)
	return func() error {
		if !known {
			prepare()
		}
		if plane == 1 {
			vec.MulAddRow(y, x, planes/max(1, channels), channels, factor, term)
			return nil
		}
		for p := range planes {
			to := y[p*plane : (p+1)*plane]
			vec.MulScalar(to, x[p*plane:], factor[p%channels])
			vec.AddScalar(to, to, term[p%channels])
		}
		return nil
	}, nil
}

func (*batchNorm) Rowwise(in []*op.Value, carries []bool) bool {
	return firstCarries(carries) && in[0].Rank() > 1
}

func (*batchNorm) InPlace() []int { return []int{0} }

// instanceNorm normalises each channel of each row by itself.
type instanceNorm struct{ epsilon float32 }

func buildInstanceNorm(n *op.Node) (op.Operator, error) {
	return &instanceNorm{n.Float("epsilon", 1e-5)}, n.Arity(3, 3, 1, 1)
}

func (o *instanceNorm) Infer(in, out []*op.Value) error {
	if in[0].Rank() < 3 {
		return op.Invalid("shape %v, want at least 3 dimensions", in[0].Shape)
	}
	for i, v := range in {
		if err := op.Want(v, "input", tensor.FP32); err != nil {
			return err
		}
		if i > 0 && int64(v.Len()) != in[0].Shape[1] {
			return op.Invalid("parameters of shape %v for shape %v", v.Shape, in[0].Shape)
		}
	}
	return out[0].Set(tensor.FP32, in[0].Shape...)
}

func (o *instanceNorm) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	x, y, gamma, beta := op.Floats(in[0]), op.Floats(out[0]), op.Floats(in[1]), op.Floats(in[2])
	planes, channels := int(in[0].Shape[0]*in[0].Shape[1]), int(in[0].Shape[1])
	plane := in[0].Len() / max(1, planes)
	return func() error {
		act.LayerNorm(y, x, planes, plane, nil, nil, o.epsilon)
		for p := range planes {
			to := y[p*plane : (p+1)*plane]
			vec.MulScalar(to, to, gamma[p%channels])
			vec.AddScalar(to, to, beta[p%channels])
		}
		return nil
	}, nil
}

func (*instanceNorm) Rowwise(_ []*op.Value, carries []bool) bool { return firstCarries(carries) }

// lpNorm divides lines by their length.
type lpNorm struct {
	axis int64
	norm vec.Norm
	// standard is LpNormalization, whose lines of length 0 become 0 as 0/0 is left to
	// the implementation; otherwise it is the Normalizer of ai.onnx.ml.
	standard bool
}

func buildLpNorm(n *op.Node) (op.Operator, error) {
	norm := vec.NormL2
	switch p := n.Int("p", 2); p {
	case 1:
		norm = vec.NormL1
	case 2:
	default:
		return nil, op.Invalid("p is %d", p)
	}
	return &lpNorm{n.Int("axis", -1), norm, true}, n.Arity(1, 1, 1, 1)
}

func buildNormalizer(n *op.Node) (op.Operator, error) {
	norms := map[string]vec.Norm{"MAX": vec.NormMax, "L1": vec.NormL1, "L2": vec.NormL2}
	norm, ok := norms[n.Text("norm", "MAX")]
	if !ok {
		return nil, op.Invalid("norm %q", n.Text("norm", ""))
	}
	return &lpNorm{-1, norm, false}, n.Arity(1, 1, 1, 1)
}

func (o *lpNorm) Infer(in, out []*op.Value) error {
	axis, err := op.Axis(o.axis, in[0].Rank())
	if err != nil {
		return err
	}
	types := []tensor.Datatype{tensor.FP32}
	if !o.standard {
		types = append(types, tensor.FP64, tensor.Int64, tensor.Int32)
	}
	if err := op.Want(in[0], "input", types...); err != nil {
		return err
	}
	if axis != in[0].Rank()-1 {
		return op.NotCovered("axis %d of shape %v", axis, in[0].Shape)
	}
	return out[0].Set(tensor.FP32, in[0].Shape...)
}

func (o *lpNorm) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	l := linesOf(in[0].Shape, in[0].Rank()-1)
	y := op.Floats(out[0])
	load := func() []float32 { return op.Floats(in[0]) }
	switch in[0].Type {
	case tensor.FP64:
		load = func() []float32 { vec.F64ToF32(y, op.As[float64](in[0])); return y }
	case tensor.Int64:
		load = func() []float32 { vec.Int64ToF32(y, op.As[int64](in[0])); return y }
	case tensor.Int32:
		load = func() []float32 { vec.Int32ToF32(y, op.As[int32](in[0])); return y }
	}
	if o.norm == vec.NormMax {
		return func() error {
			divideByLargest(y, load(), l.outer, l.extent)
			return nil
		}, nil
	}
	return func() error {
		vec.NormalizeRows(y, load(), l.outer, l.extent, o.norm)
		return nil
	}, nil
}

// divideByLargest divides each row by its largest element, which may be negative: the
// standard says max(X), not the largest magnitude. A row whose largest is 0 is copied.
func divideByLargest(dst, src []float32, rows, cols int) {
	for r := range rows {
		to, from := dst[r*cols:][:cols], src[r*cols:][:cols]
		divisor := float32(1)
		if largest := vec.MaxValue(from); cols > 0 && largest != 0 {
			divisor = largest
		}
		vec.DivScalar(to, from, divisor)
	}
}

func (*lpNorm) Rowwise(in []*op.Value, carries []bool) bool { return carries[0] && in[0].Rank() > 1 }

func (*lpNorm) InPlace() []int { return []int{0} }
