// SPDX-License-Identifier: Apache-2.0

package rewrite

import "github.com/millrace-ml/millrace/engine/onnx"

// Where OpLinearInt8 has its inputs.
const (
	int8Weights     = 3
	int8Bias        = 6
	int8OutputScale = 7
	int8OutputZero  = 8
	// dynamicBias is where OpLinearDynamicInt8 has its bias.
	dynamicBias = 4
)

func isByte(e onnx.ElemType) bool { return e == onnx.ElemInt8 || e == onnx.ElemUint8 }

// byteMatrix reports whether a value is constant weights of 8 bits.
func byteMatrix(v *value) bool {
	return v != nil && v.tensor != nil && isByte(v.tensor.Elem) && len(v.tensor.Dims) == 2
}

// perColumn reports whether a value is a constant of an element type with one entry, or
// one for each of so many columns.
func perColumn(v *value, e onnx.ElemType, columns int64) bool {
	if v == nil || v.tensor == nil || v.tensor.Elem != e || len(v.tensor.Dims) > 1 {
		return false
	}
	n := elements(v)
	return n == 1 || n == columns
}

// one reports whether a value is a constant of one element that adds no dimension.
func one(v *value) bool { return elements(v) == 1 && len(v.tensor.Dims) <= 1 }

// fuseDynamicInt8 makes OpLinearDynamicInt8 of what quantising tools write for a
// product: Cast(MatMulInteger(...)) times the scale of the left side times that of the
// weights.
func fuseDynamicInt8(r *rewriter, n *node) {
	for i := range 2 {
		cast := n.in(i).onlyFor(n, "Cast")
		if cast == nil || onnx.ElemType(cast.int("to", 0)) != onnx.ElemFloat {
			continue
		}
		product := cast.in(0).onlyFor(cast, "MatMulInteger")
		scales := n.in(1 - i).madeBy("Mul")
		if product == nil || scales == nil || product.in(0) == nil {
			continue
		}
		quantize := product.in(0).madeBy("DynamicQuantizeLinear")
		w := product.in(1)
		if quantize == nil || len(quantize.outputs) != 3 || product.in(2) != quantize.out(2) || product.in(2) == nil || !byteMatrix(w) {
			continue
		}
		scale := otherOf(scales, quantize.out(1))
		zero := product.in(3)
		columns := w.tensor.Dims[1]
		if !perColumn(scale, onnx.ElemFloat, columns) || zero != nil && !perColumn(zero, w.tensor.Elem, columns) {
			continue
		}
		inputs := []*value{quantize.in(0), w, scale, zero}
		r.replace("dynamic_int8", n, newNode(Domain, OpLinearDynamicInt8, inputs), cast, product, scales, quantize)
		return
	}
}

// otherOf is the input of a node of two beside a given one, nil where it has not that.
func otherOf(n *node, v *value) *value {
	switch {
	case v == nil:
		return nil
	case n.in(0) == v:
		return n.in(1)
	case n.in(1) == v:
		return n.in(0)
	}
	return nil
}

// addInt8Bias makes the constant added to a quantised product its bias.
func addInt8Bias(r *rewriter, n *node) {
	for i := range 2 {
		producer := n.in(i).onlyFor(n, internalOp(OpLinearInt8), internalOp(OpLinearDynamicInt8))
		if producer == nil || producer.has(AttrActivation) {
			continue
		}
		at, weights := int8Bias, producer.in(int8Weights)
		if producer.op == internalOp(OpLinearDynamicInt8) {
			at, weights = dynamicBias, producer.in(1)
		}
		if producer.in(at) != nil || producer.in(int8OutputScale) != nil {
			continue
		}
		if !byteMatrix(weights) {
			continue
		}
		columns := weights.tensor.Dims[1]
		if producer.int(AttrTransB, 0) != 0 {
			columns = weights.tensor.Dims[0]
		}
		bias, ok := int8BiasOf(n.in(1-i), columns, rank(n.in(i)))
		if !ok {
			continue
		}
		inputs := make([]*value, at+1)
		copy(inputs, producer.inputs)
		inputs[at] = bias
		r.replace("linear", n, newNode(Domain, producer.opType, inputs, producer.attributes...), producer)
		return
	}
}

// int8BiasOf reads a constant, float or dequantised from int32, as one entry for each
// column of a result of some rank.
func int8BiasOf(v *value, columns int64, rank int) (*value, bool) {
	v, ok := dequantized(v)
	if !ok || v.tensor == nil {
		return nil, false
	}
	a := affine{n: &node{}, weights: v, channels: columns, rank: rank}
	a.bias, ok = a.perChannel(v)
	if !ok {
		return nil, false
	}
	return a.newBias(nil, nil)
}

// dequantized is a constant computed from what DequantizeLinear makes of an int32
// constant without a zero point; other values are given as they are.
func dequantized(v *value) (*value, bool) {
	n := v.madeBy("DequantizeLinear")
	if n == nil {
		return v, v != nil
	}
	list, ok := intList(n.in(0))
	scales, okScale := floats(n.in(1))
	if !ok || !okScale || len(n.in(0).tensor.Dims) != 1 || len(scales) != 1 && len(scales) != len(list) || len(scales) == 0 {
		return nil, false
	}
	if zero := n.in(2); zero != nil {
		zeros, ok := intList(zero)
		for _, z := range zeros {
			ok = ok && z == 0
		}
		if !ok {
			return nil, false
		}
	}
	result := make([]float32, len(list))
	for i := range list {
		result[i] = float32(list[i]) * scales[i%len(scales)]
	}
	return constant(n.in(0).name, onnx.TensorOf("", result, int64(len(result)))), true
}
