// SPDX-License-Identifier: Apache-2.0

package quantized

import (
	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/quant"
)

// quantize is round(x/scale) + zero point.
type quantize struct{ axis int64 }

func buildQuantize(n *op.Node) (op.Operator, error) {
	if err := n.Only("axis", "saturate"); err != nil {
		return nil, err
	}
	return &quantize{n.Int("axis", 1)}, n.Arity(2, 3, 1, 1)
}

func (o *quantize) Infer(in, out []*op.Value) error {
	if err := op.Want(in[0], "input", tensor.FP32); err != nil {
		return err
	}
	if err := op.Want(in[1], "scale", tensor.FP32); err != nil {
		return err
	}
	if _, err := linesOf(in[0], in[1], o.axis); err != nil {
		return err
	}
	datatype := tensor.Uint8
	if len(in) > 2 && in[2] != nil {
		datatype = in[2].Type
		if !isByte(datatype) || in[2].Len() != in[1].Len() {
			return op.NotCovered("zero points %s%v for scales %v", in[2].Type, in[2].Shape, in[1].Shape)
		}
	}
	return out[0].Set(datatype, in[0].Shape...)
}

func (o *quantize) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	l, err := linesOf(in[0], in[1], o.axis)
	if err != nil {
		return nil, err
	}
	x, scale := op.Floats(in[0]), op.Floats(in[1])
	var zero *op.Value
	if len(in) > 2 {
		zero = in[2]
	}
	if out[0].Type == tensor.Int8 {
		y, zeros := op.As[int8](out[0]), zerosOf[int8](zero, len(scale))
		return func() error {
			l.each(func(from, to, c int) { quant.QuantizeS8(y[from:to], x[from:to], scale[c], zeros[c]) })
			return nil
		}, nil
	}
	y, zeros := op.As[uint8](out[0]), zerosOf[uint8](zero, len(scale))
	return func() error {
		l.each(func(from, to, c int) { quant.QuantizeU8(y[from:to], x[from:to], scale[c], zeros[c]) })
		return nil
	}, nil
}

// zerosOf is v's elements, or as many zeros where it is left out.
func zerosOf[T op.Element](v *op.Value, n int) []T {
	if v == nil {
		return make([]T, n)
	}
	return op.As[T](v)
}

func (o *quantize) Rowwise(in []*op.Value, carries []bool) bool { return perRow(in, carries, o.axis) }

// dequantize is (x - zero point) * scale.
type dequantize struct{ axis int64 }

func buildDequantize(n *op.Node) (op.Operator, error) {
	if err := n.Only("axis"); err != nil {
		return nil, err
	}
	return &dequantize{n.Int("axis", 1)}, n.Arity(2, 3, 1, 1)
}

func (o *dequantize) Infer(in, out []*op.Value) error {
	if err := op.Want(in[0], "input", tensor.Uint8, tensor.Int8, tensor.Int32); err != nil {
		return err
	}
	if err := op.Want(in[1], "scale", tensor.FP32); err != nil {
		return err
	}
	if len(in) > 2 && in[2] != nil && (in[2].Type != in[0].Type || in[2].Len() != in[1].Len()) {
		return op.Invalid("zero points %s%v for scales %v", in[2].Type, in[2].Shape, in[1].Shape)
	}
	if _, err := linesOf(in[0], in[1], o.axis); err != nil {
		return err
	}
	return out[0].Set(tensor.FP32, in[0].Shape...)
}

func (o *dequantize) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	l, err := linesOf(in[0], in[1], o.axis)
	if err != nil {
		return nil, err
	}
	y, scale := op.Floats(out[0]), op.Floats(in[1])
	var zero *op.Value
	if len(in) > 2 {
		zero = in[2]
	}
	var line func(from, to, c int)
	switch in[0].Type {
	case tensor.Uint8:
		x, zeros := op.As[uint8](in[0]), zerosOf[uint8](zero, len(scale))
		line = func(from, to, c int) { quant.DequantizeU8(y[from:to], x[from:to], scale[c], zeros[c]) }
	case tensor.Int8:
		x, zeros := op.As[int8](in[0]), zerosOf[int8](zero, len(scale))
		line = func(from, to, c int) { quant.DequantizeS8(y[from:to], x[from:to], scale[c], zeros[c]) }
	default:
		x, zeros := op.As[int32](in[0]), zerosOf[int32](zero, len(scale))
		if zero == nil {
			line = func(from, to, c int) { quant.Dequantize32(y[from:to], x[from:to], scale[c:c+1]) }
			break
		}
		line = func(from, to, c int) {
			for i := from; i < to; i++ {
				y[i] = float32(x[i]-zeros[c]) * scale[c]
			}
		}
	}
	return func() error {
		l.each(line)
		return nil
	}, nil
}

func (o *dequantize) Rowwise(in []*op.Value, carries []bool) bool { return perRow(in, carries, o.axis) }

// dynamicQuantize finds scale and zero point of the whole input, so that rows hang
// together.
type dynamicQuantize struct{}

func buildDynamicQuantize(n *op.Node) (op.Operator, error) {
	return dynamicQuantize{}, n.Arity(1, 1, 3, 3)
}

func (dynamicQuantize) Infer(in, out []*op.Value) error {
	if err := op.Want(in[0], "input", tensor.FP32); err != nil {
		return err
	}
	if err := out[0].Set(tensor.Uint8, in[0].Shape...); err != nil {
		return err
	}
	if err := out[1].Set(tensor.FP32); err != nil {
		return err
	}
	return out[2].Set(tensor.Uint8)
}

func (dynamicQuantize) Bind(in, out []*op.Value, _ *op.Scratch) (op.Run, error) {
	x := op.Floats(in[0])
	y := make([]uint8, len(x))
	if out[0] != nil {
		y = op.As[uint8](out[0])
	}
	return func() error {
		scale, zero := quant.DynamicQuantize(y, x)
		if out[1] != nil {
			op.Floats(out[1])[0] = scale
		}
		if out[2] != nil {
			op.As[uint8](out[2])[0] = zero
		}
		return nil
	}, nil
}
