// SPDX-License-Identifier: Apache-2.0

// Package quantized holds the operators of 8-bit arithmetic: conversions, exact integer
// products, and layers whose weights and inputs are of 8 bits.
//
// Quantisation rounds half to even and saturates, as the standard says. Integer products
// are exact at every CPU level.
package quantized

import (
	"slices"

	"github.com/millrace-ml/millrace/engine/native/op"
	"github.com/millrace-ml/millrace/engine/onnx/rewrite"
	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/kernels/quant"
)

// Operators lists what this package runs.
func Operators() []op.Definition {
	return []op.Definition{
		{Name: "QuantizeLinear", Since: 10, Build: buildQuantize},
		{Name: "DequantizeLinear", Since: 10, Build: buildDequantize},
		{Name: "DynamicQuantizeLinear", Since: 11, Build: buildDynamicQuantize},
		{Name: "MatMulInteger", Since: 10, Build: buildMatMulInteger},
		{Name: "QLinearMatMul", Since: 10, Build: buildQLinearMatMul},
		{Domain: rewrite.Domain, Name: rewrite.OpLinearInt8, Since: 1, Build: buildLinearInt8},
		{Domain: rewrite.Domain, Name: rewrite.OpLinearDynamicInt8, Since: 1, Build: buildLinearDynamicInt8},
	}
}

// isByte reports whether a type is of 8 bits.
func isByte(t tensor.Datatype) bool { return t == tensor.Uint8 || t == tensor.Int8 }

// zeroOf is an 8-bit zero point, 0 where it is left out.
func zeroOf[T quant.Byte](v *op.Value) T {
	if v == nil || v.Len() == 0 {
		return 0
	}
	if v.Type == tensor.Int8 {
		return T(op.As[int8](v)[0])
	}
	return T(op.As[uint8](v)[0])
}

// lines is how an array falls apart along the axis of its scales: outer blocks of
// channels, each with inner elements.
type lines struct{ outer, channels, inner int }

// linesOf reads scale's length and the axis. A single scale is one line of everything.
func linesOf(v, scale *op.Value, axis int64) (lines, error) {
	if scale.Len() == 1 {
		return lines{1, 1, v.Len()}, nil
	}
	at, err := op.Axis(axis, v.Rank())
	if err != nil {
		return lines{}, err
	}
	if scale.Rank() != 1 || int64(scale.Len()) != v.Shape[at] {
		return lines{}, op.NotCovered("scales of shape %v for axis %d of shape %v", scale.Shape, at, v.Shape)
	}
	l := lines{1, scale.Len(), 1}
	for _, d := range v.Shape[:at] {
		l.outer *= int(d)
	}
	for _, d := range v.Shape[at+1:] {
		l.inner *= int(d)
	}
	return l, nil
}

// each calls visit with the range and the channel of every line.
func (l lines) each(visit func(from, to, channel int)) {
	for i := range l.outer * l.channels {
		visit(i*l.inner, (i+1)*l.inner, i%l.channels)
	}
}

// perRow reports whether rows stay apart: the scales are not along the first dimension.
func perRow(in []*op.Value, carries []bool, axis int64) bool {
	if !carries[0] || in[0].Rank() == 0 || slices.Contains(carries[1:], true) {
		return false
	}
	at, err := op.Axis(axis, in[0].Rank())
	return in[1].Len() == 1 || (err == nil && at != 0)
}
