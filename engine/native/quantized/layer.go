// SPDX-License-Identifier: Apache-2.0

package quantized

import (
	"github.com/millrace-ml/millrace/engine/native/activation"
	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/onnx/rewrite"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/quant"
)

// layer is what the layers of 8-bit weights have in common.
type layer struct {
	weights
	epilogue quant.Epilogue // without AScale
	// after is an activation that the kernel does not have.
	after func(dst, src []float32)
}

// setEpilogue reads the scale of the weights, the bias and the activation.
func (o *layer) setEpilogue(n *op.Node, scale, bias *op.Value, hasBias bool) error {
	if scale == nil || scale.Type != tensor.FP32 || (scale.Len() != 1 && scale.Len() != o.N()) {
		return op.NotCovered("the scale of the weights is not constant, or not one or %d FP32", o.N())
	}
	o.epilogue.WScale = op.Floats(scale)
	if hasBias {
		if bias == nil || bias.Type != tensor.FP32 || bias.Len() != o.N() {
			return op.NotCovered("bias is not a constant of %d FP32", o.N())
		}
		o.epilogue.Bias = op.Floats(bias)
	}
	a, err := activation.Of(n)
	if err != nil {
		return err
	}
	if a.Limits() {
		o.epilogue.Activation, o.epilogue.Alpha, o.epilogue.Beta = quant.Clip, a.Low, a.High
	}
	o.after = a.After
	return nil
}

// finish applies the activation that the kernel does not have.
func (o *layer) finish(y []float32) {
	if o.after != nil {
		o.after(y, y)
	}
}

// Cost implements op.Coster.
func (o *layer) Cost(in, _ []*op.Value) float64 { return o.cost(in[0]) }

// Describe implements op.Describer.
func (o *layer) Describe(_, _ []*op.Value) string {
	text := o.describe()
	if o.epilogue.Bias != nil {
		text += " + bias"
	}
	if o.epilogue.Activation != quant.None || o.after != nil {
		text += " + activation"
	}
	return text
}

// linearDynamicInt8 quantises its input by the range that it finds there.
type linearDynamicInt8 struct{ layer }

func buildLinearDynamicInt8(n *op.Node) (op.Operator, error) {
	if err := n.Arity(3, 5, 1, 1); err != nil {
		return nil, err
	}
	if n.Has(3) && n.In(3) == nil {
		return nil, op.NotCovered("a zero point of the weights that is not constant")
	}
	o := &linearDynamicInt8{}
	var err error
	if o.weights, err = pack(n.In(1), n.In(3), false); err != nil {
		return nil, err
	}
	return o, o.setEpilogue(n, n.In(2), n.In(4), n.Has(4))
}

// Releases implements op.Releaser: the weights are packed.
func (*linearDynamicInt8) Releases() []int { return []int{1} }

func (o *linearDynamicInt8) Infer(in, out []*op.Value) error {
	if err := op.Want(in[0], "input", tensor.FP32); err != nil {
		return err
	}
	if _, err := o.rows(in[0]); err != nil {
		return err
	}
	return out[0].Set(tensor.FP32, o.shape(in[0])...)
}

func (o *linearDynamicInt8) Bind(in, out []*op.Value, s *op.Scratch) (op.Run, error) {
	m, err := o.rows(in[0])
	if err != nil {
		return nil, err
	}
	s.Quant.Reserve(m, o.Packed)
	x, y, e := op.Floats(in[0]), op.Floats(out[0]), o.epilogue
	bytes := make([]uint8, len(x))
	return func() error {
		scale, zero := quant.DynamicQuantize(bytes, x)
		e.AScale = scale
		quant.Gemm(m, bytes, o.K(), zero, o.Packed, y, o.N(), &e, &s.Quant)
		o.finish(y)
		return nil
	}, nil
}

// linearInt8 is a layer whose input and output have scales that are known.
type linearInt8 struct {
	layer
	inScale, outScale float32
	inZero, outZero   *op.Value // outZero is nil where the output is FP32
}

func buildLinearInt8(n *op.Node) (op.Operator, error) {
	if err := n.Arity(6, 9, 1, 1); err != nil {
		return nil, err
	}
	return newLinearInt8(n, linearInputs{
		scale: n.In(1), zero: n.In(2), weights: n.In(3), weightScale: n.In(4), weightZero: n.In(5),
		bias: n.In(6), hasBias: n.Has(6), outScale: n.In(7), outZero: n.In(8), quantises: n.Has(7),
	}, n.Int(rewrite.AttrTransB, 0) != 0)
}

// buildQLinearMatMul is the standard's form of the same, without bias and activation.
func buildQLinearMatMul(n *op.Node) (op.Operator, error) {
	if err := n.Arity(8, 8, 1, 1); err != nil {
		return nil, err
	}
	return newLinearInt8(n, linearInputs{
		scale: n.In(1), zero: n.In(2), weights: n.In(3), weightScale: n.In(4), weightZero: n.In(5),
		outScale: n.In(6), outZero: n.In(7), quantises: true,
	}, false)
}

// linearInputs are the constants of a layer, wherever the operator has them.
type linearInputs struct {
	scale, zero, weights, weightScale, weightZero, bias, outScale, outZero *op.Value

	hasBias, quantises bool
}

func newLinearInt8(n *op.Node, in linearInputs, transposed bool) (op.Operator, error) {
	o := &linearInt8{inZero: in.zero}
	var err error
	if o.weights, err = pack(in.weights, in.weightZero, transposed); err != nil {
		return nil, err
	}
	if n.Has(5) && in.weightZero == nil {
		return nil, op.NotCovered("a zero point of the weights that is not constant")
	}
	if o.inScale, err = scalar(in.scale, "the scale of the input"); err != nil {
		return nil, err
	}
	if in.zero == nil || !isByte(in.zero.Type) || in.zero.Len() != 1 {
		return nil, op.NotCovered("a zero point of the input that is not one constant")
	}
	if in.quantises {
		if o.outScale, err = scalar(in.outScale, "the scale of the output"); err != nil {
			return nil, err
		}
		if o.outZero = in.outZero; o.outZero == nil || !isByte(o.outZero.Type) || o.outZero.Len() != 1 {
			return nil, op.NotCovered("a zero point of the output that is not one constant")
		}
	}
	if err := o.setEpilogue(n, in.weightScale, in.bias, in.hasBias); err != nil {
		return nil, err
	}
	o.epilogue.AScale = o.inScale
	return o, nil
}

func scalar(v *op.Value, what string) (float32, error) {
	if v == nil || v.Type != tensor.FP32 || v.Len() != 1 {
		return 0, op.NotCovered("%s is not one constant FP32", what)
	}
	return op.Floats(v)[0], nil
}

// Releases implements op.Releaser: the weights are packed.
func (*linearInt8) Releases() []int { return []int{3} }

func (o *linearInt8) Infer(in, out []*op.Value) error {
	if in[0].Type != tensor.FP32 && in[0].Type != o.inZero.Type {
		return op.Invalid("input of type %s with a zero point of type %s", in[0].Type, o.inZero.Type)
	}
	if _, err := o.rows(in[0]); err != nil {
		return err
	}
	datatype := tensor.FP32
	if o.outZero != nil {
		datatype = o.outZero.Type
	}
	return out[0].Set(datatype, o.shape(in[0])...)
}

func (o *linearInt8) Bind(in, out []*op.Value, s *op.Scratch) (op.Run, error) {
	m, err := o.rows(in[0])
	if err != nil {
		return nil, err
	}
	s.Quant.Reserve(m, o.Packed)
	if o.inZero.Type == tensor.Int8 {
		return bindLinearInt8[int8](o, m, in[0], out[0], s), nil
	}
	return bindLinearInt8[uint8](o, m, in[0], out[0], s), nil
}

// bindLinearInt8 is Bind for inputs that are, or are quantised to, T.
func bindLinearInt8[T int8 | uint8](o *linearInt8, m int, in, out *op.Value, s *op.Scratch) op.Run {
	x, zero := op.As[T](in), zeroOf[T](o.inZero)
	prepare := func() {}
	if in.Type == tensor.FP32 {
		source, bytes := op.Floats(in), make([]T, in.Len())
		x, prepare = bytes, func() { quantizeTo(bytes, source, o.inScale, zero) }
	}
	multiply := o.bindOutput(out, func(kind outputKind, y *op.Value) {
		switch e := &o.epilogue; kind {
		case toFloat:
			quant.Gemm(m, x, o.K(), zero, o.Packed, op.Floats(y), o.N(), e, &s.Quant)
		case toUint8:
			quant.GemmU8(m, x, o.K(), zero, o.Packed, op.As[uint8](y), o.N(), o.outScale, zeroOf[uint8](o.outZero), e, &s.Quant)
		case toInt8:
			quant.GemmS8(m, x, o.K(), zero, o.Packed, op.As[int8](y), o.N(), o.outScale, zeroOf[int8](o.outZero), e, &s.Quant)
		}
	})
	return func() error {
		prepare()
		multiply()
		return nil
	}
}

func quantizeTo[T int8 | uint8](dst []T, src []float32, scale float32, zero T) {
	switch to := any(dst).(type) {
	case []int8:
		quant.QuantizeS8(to, src, scale, int8(zero))
	case []uint8:
		quant.QuantizeU8(to, src, scale, uint8(zero))
	}
}

// outputKind is what the product stores.
type outputKind uint8

const (
	toFloat outputKind = iota
	toUint8
	toInt8
)

// bindOutput arranges for what comes after the product: nothing, an activation, or an
// activation and then quantisation where the kernel cannot do both at once.
func (o *linearInt8) bindOutput(out *op.Value, multiply func(kind outputKind, y *op.Value)) func() {
	kind := toFloat
	if o.outZero != nil {
		kind = toUint8
		if o.outZero.Type == tensor.Int8 {
			kind = toInt8
		}
	}
	if o.after == nil {
		return func() { multiply(kind, out) }
	}
	if kind == toFloat {
		return func() {
			multiply(toFloat, out)
			o.finish(op.Floats(out))
		}
	}
	wide := &op.Value{Type: tensor.FP32, Shape: out.Shape}
	wide.Allocate()
	return func() {
		multiply(toFloat, wide)
		o.finish(op.Floats(wide))
		if kind == toInt8 {
			quant.QuantizeS8(op.As[int8](out), op.Floats(wide), o.outScale, zeroOf[int8](o.outZero))
		} else {
			quant.QuantizeU8(op.As[uint8](out), op.Floats(wide), o.outScale, zeroOf[uint8](o.outZero))
		}
	}
}

func (o *linearInt8) Rowwise(in []*op.Value, carries []bool) bool {
	return carries[0] && in[0].Rank() > 1
}
