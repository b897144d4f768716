// SPDX-License-Identifier: Apache-2.0

package elementwise

import (
	"math"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/onnx/rewrite"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/act"
)

// unary is a function of one element.
type unary struct {
	name    string
	float32 func(dst, src []float32)
	float64 func(x float64) float64 // nil: FP64 is not covered
	ints    func(x int64) int64     // nil: integers are not covered
}

// nanosPerElement is what the slower kernels take, for estimates.
const nanosPerElement = 0.4

func mapOperators() []op.Definition {
	var list []op.Definition
	for _, u := range []unary{
		{"Relu", act.Relu, func(x float64) float64 { return clamp(x, 0, math.Inf(1)) }, func(x int64) int64 { return max(x, 0) }},
		{"Sigmoid", act.Sigmoid, func(x float64) float64 { return 1 / (1 + math.Exp(-x)) }, nil},
		{"Tanh", act.Tanh, math.Tanh, nil},
		{"Exp", act.Exp, math.Exp, nil},
		{"Log", act.Log, math.Log, nil},
		{"Sqrt", act.Sqrt, math.Sqrt, nil},
		{"Reciprocal", act.Reciprocal, func(x float64) float64 { return 1 / x }, nil},
		{"Neg", act.Neg, func(x float64) float64 { return -x }, func(x int64) int64 { return -x }},
		{"Abs", act.Abs, math.Abs, func(x int64) int64 { return max(x, -x) }},
		{"Sign", act.Sign, sign, func(x int64) int64 { return min(max(x, -1), 1) }},
		{"Floor", act.Floor, math.Floor, nil},
		{"Ceil", act.Ceil, math.Ceil, nil},
		{"Round", act.Round, math.RoundToEven, nil},
		{"Erf", act.Erf, math.Erf, nil},
		{"Softplus", act.Softplus, softplus, nil},
		{"Softsign", act.Softsign, func(x float64) float64 { return x / (1 + math.Abs(x)) }, nil},
		{"HardSwish", act.HardSwish, func(x float64) float64 { return x * clamp(x/6+0.5, 0, 1) }, nil},
		{"Mish", act.Mish, func(x float64) float64 { return x * math.Tanh(softplus(x)) }, nil},
		slow("Sin", math.Sin), slow("Cos", math.Cos), slow("Tan", math.Tan),
		slow("Asin", math.Asin), slow("Acos", math.Acos), slow("Atan", math.Atan),
		slow("Sinh", math.Sinh), slow("Cosh", math.Cosh),
		slow("Asinh", math.Asinh), slow("Acosh", math.Acosh), slow("Atanh", math.Atanh),
	} {
		list = append(list, op.Definition{Name: u.name, Since: 1, Build: u.build})
	}
	for _, name := range []string{rewrite.OpHardSwish, rewrite.OpMish} {
		for _, d := range list {
			if d.Name == name {
				list = append(list, op.Definition{Domain: rewrite.Domain, Name: name, Since: 1, Build: d.Build})
				break
			}
		}
	}
	return append(list, parametricOperators()...)
}

// slow is a function that no kernel computes.
func slow(name string, f func(x float64) float64) unary {
	return unary{name: name, float64: f, float32: func(dst, src []float32) {
		for i, x := range src {
			dst[i] = float32(f(float64(x)))
		}
	}}
}

func parametricOperators() []op.Definition {
	return []op.Definition{
		{Name: "LeakyRelu", Since: 1, Build: buildLeakyRelu},
		{Name: "ThresholdedRelu", Since: 1, Build: buildThresholdedRelu},
		{Name: "Elu", Since: 1, Build: buildElu},
		{Name: "Selu", Since: 1, Build: buildSelu},
		{Name: "Celu", Since: 12, Build: buildCelu},
		{Name: "HardSigmoid", Since: 1, Build: buildHardSigmoid},
		{Name: "Gelu", Since: 20, Build: buildGelu},
		{Domain: rewrite.Domain, Name: rewrite.OpGelu, Since: 1, Build: buildGelu},
		{Name: "Swish", Since: 24, Build: buildSwish},
		{Domain: rewrite.Domain, Name: rewrite.OpSwish, Since: 1, Build: buildSwish},
		{Name: "Clip", Since: 6, Build: buildClip},
		{Domain: "ai.onnx.ml", Name: "Binarizer", Since: 1, Build: buildBinarizer},
	}
}

func buildLeakyRelu(n *op.Node) (op.Operator, error) {
	alpha := n.Float("alpha", 0.01)
	return unary{name: "LeakyRelu",
		float32: func(dst, src []float32) { act.LeakyRelu(dst, src, alpha) },
		float64: func(x float64) float64 {
			if x < 0 {
				return float64(alpha) * x
			}
			return x
		}}.build(n)
}

func buildThresholdedRelu(n *op.Node) (op.Operator, error) {
	alpha := n.Float("alpha", 1)
	return unary{name: "ThresholdedRelu", float32: func(dst, src []float32) { act.ThresholdedRelu(dst, src, alpha) }}.build(n)
}

func buildElu(n *op.Node) (op.Operator, error) {
	alpha := n.Float("alpha", 1)
	return unary{name: "Elu", float32: func(dst, src []float32) { act.Elu(dst, src, alpha) }}.build(n)
}

func buildSelu(n *op.Node) (op.Operator, error) {
	alpha, gamma := n.Float("alpha", 1.67326319217681884765625), n.Float("gamma", 1.05070102214813232421875)
	return unary{name: "Selu", float32: func(dst, src []float32) { act.Selu(dst, src, alpha, gamma) }}.build(n)
}

func buildCelu(n *op.Node) (op.Operator, error) {
	alpha := n.Float("alpha", 1)
	return unary{name: "Celu", float32: func(dst, src []float32) { act.Celu(dst, src, alpha) }}.build(n)
}

func buildHardSigmoid(n *op.Node) (op.Operator, error) {
	alpha, beta := n.Float("alpha", 0.2), n.Float("beta", 0.5)
	return unary{name: "HardSigmoid", float32: func(dst, src []float32) { act.HardSigmoid(dst, src, alpha, beta) }}.build(n)
}

func buildGelu(n *op.Node) (op.Operator, error) {
	switch mode := n.Text("approximate", "none"); mode {
	case "none":
		return unary{name: "Gelu", float32: act.Gelu,
			float64: func(x float64) float64 { return x / 2 * (1 + math.Erf(x/math.Sqrt2)) }}.build(n)
	case "tanh":
		return unary{name: "Gelu", float32: act.GeluTanh}.build(n)
	default:
		return nil, op.Invalid("approximate %q", mode)
	}
}

func buildSwish(n *op.Node) (op.Operator, error) {
	alpha := n.Float("alpha", 1)
	if alpha == 1 {
		return unary{name: "Swish", float32: act.Silu, float64: func(x float64) float64 { return x / (1 + math.Exp(-x)) }}.build(n)
	}
	return slow("Swish", func(x float64) float64 { return x / (1 + math.Exp(-float64(alpha)*x)) }).build(n)
}

func buildBinarizer(n *op.Node) (op.Operator, error) {
	threshold := n.Float("threshold", 0)
	return unary{name: "Binarizer", float32: func(dst, src []float32) {
		for i, x := range src {
			dst[i] = 0
			if x > threshold {
				dst[i] = 1
			}
		}
	}}.build(n)
}

func (u unary) build(n *op.Node) (op.Operator, error) { return &u, n.Arity(1, 1, 1, 1) }

func (u *unary) Infer(in, out []*op.Value) error {
	switch in[0].Type {
	case tensor.FP32:
		return out[0].Set(tensor.FP32, in[0].Shape...)
	case tensor.FP64:
		if u.float64 != nil {
			return out[0].Set(tensor.FP64, in[0].Shape...)
		}
	case tensor.Int64, tensor.Int32, tensor.Int8:
		if u.ints != nil {
			return out[0].Set(in[0].Type, in[0].Shape...)
		}
	}
	return op.NotCovered("type %s", in[0].Type)
}

func (u *unary) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	switch in[0].Type {
	case tensor.FP32:
		x, y := op.Floats(in[0]), op.Floats(out[0])
		return func() error {
			u.float32(y, x)
			return nil
		}, nil
	case tensor.FP64:
		return mapLoop(op.As[float64](out[0]), op.As[float64](in[0]), u.float64), nil
	case tensor.Int64:
		return mapLoop(op.As[int64](out[0]), op.As[int64](in[0]), u.ints), nil
	case tensor.Int32:
		return mapLoop(op.As[int32](out[0]), op.As[int32](in[0]), func(x int32) int32 { return int32(u.ints(int64(x))) }), nil
	}
	return mapLoop(op.As[int8](out[0]), op.As[int8](in[0]), func(x int8) int8 { return int8(u.ints(int64(x))) }), nil
}

func mapLoop[T, R any](y []R, x []T, f func(T) R) op.Run {
	return func() error {
		for i, v := range x {
			y[i] = f(v)
		}
		return nil
	}
}

func (*unary) Rowwise(in []*op.Value, carries []bool) bool { return carries[0] && in[0].Rank() > 0 }

func (*unary) InPlace() []int { return []int{0} }

// Cost implements op.Coster.
func (*unary) Cost(in, _ []*op.Value) float64 { return nanosPerElement * float64(in[0].Len()) }

func powKernel(dst, src []float32, exponent float32) { act.Pow(dst, src, exponent) }

func sign(x float64) float64 {
	switch {
	case x > 0:
		return 1
	case x < 0:
		return -1
	}
	return x
}

// softplus is log(1+exp(x)) without overflow.
func softplus(x float64) float64 { return max(x, 0) + math.Log1p(math.Exp(-math.Abs(x))) }

// clamp keeps NaN.
func clamp(x, lo, hi float64) float64 {
	if x < lo {
		return lo
	}
	if x > hi {
		return hi
	}
	return x
}

// clip limits its input to bounds, which are inputs since opset 11, and attributes of
// floats before.
type clip struct{ lo, hi float32 }

func buildClip(n *op.Node) (op.Operator, error) {
	o := &clip{float32(math.Inf(-1)), float32(math.Inf(1))}
	if n.Version < 11 {
		o.lo, o.hi = n.Float("min", -math.MaxFloat32), n.Float("max", math.MaxFloat32)
		return o, n.Arity(1, 1, 1, 1)
	}
	return o, n.Arity(1, 3, 1, 1)
}

func (o *clip) Infer(in, out []*op.Value) error {
	if err := op.Want(in[0], "input", tensor.FP32, tensor.FP64, tensor.Int64, tensor.Int32, tensor.Int8, tensor.Uint8); err != nil {
		return err
	}
	for _, bound := range in[1:] {
		if bound != nil && (bound.Type != in[0].Type || bound.Len() != 1) {
			return op.Invalid("a bound of type %s and shape %v", bound.Type, bound.Shape)
		}
	}
	return out[0].Set(in[0].Type, in[0].Shape...)
}

func (o *clip) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	var lo, hi *op.Value
	if len(in) > 1 {
		lo = in[1]
	}
	if len(in) > 2 {
		hi = in[2]
	}
	switch in[0].Type {
	case tensor.FP32:
		x, y := op.Floats(in[0]), op.Floats(out[0])
		return func() error {
			act.Clip(y, x, boundOf(lo, o.lo), boundOf(hi, o.hi))
			return nil
		}, nil
	case tensor.FP64:
		return clipLoop(out[0], in[0], lo, hi, float64(o.lo), float64(o.hi)), nil
	case tensor.Int64:
		return clipLoop[int64](out[0], in[0], lo, hi, math.MinInt64, math.MaxInt64), nil
	case tensor.Int32:
		return clipLoop[int32](out[0], in[0], lo, hi, math.MinInt32, math.MaxInt32), nil
	case tensor.Int8:
		return clipLoop[int8](out[0], in[0], lo, hi, math.MinInt8, math.MaxInt8), nil
	}
	return clipLoop[uint8](out[0], in[0], lo, hi, 0, math.MaxUint8), nil
}

func boundOf[T op.Element](v *op.Value, missing T) T {
	if v == nil {
		return missing
	}
	return op.As[T](v)[0]
}

func clipLoop[T number](out, in, lo, hi *op.Value, least, most T) op.Run {
	x, y := op.As[T](in), op.As[T](out)
	return func() error {
		from, to := boundOf(lo, least), boundOf(hi, most)
		for i, v := range x {
			y[i] = min(max(v, from), to)
		}
		return nil
	}
}

func (*clip) Rowwise(in []*op.Value, carries []bool) bool { return carries[0] && in[0].Rank() > 0 }

func (*clip) InPlace() []int { return []int{0} }
