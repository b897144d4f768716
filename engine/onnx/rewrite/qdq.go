// SPDX-License-Identifier: Apache-2.0

package rewrite

import "github.com/millrace-ml/millrace/engine/onnx"

// quantized is what a DequantizeLinear is made of.
type quantized struct {
	v, scale, zero *value
	node           *node
}

// quantizedOf reads a value as dequantised from 8 bits by a constant scale. A zero
// point that is left out is made.
func quantizedOf(v *value) (quantized, bool) {
	n := v.madeBy("DequantizeLinear")
	if n == nil || n.in(0) == nil || n.has("block_size") && n.int("block_size", 0) != 0 {
		return quantized{}, false
	}
	q := quantized{n.in(0), n.in(1), n.in(2), n}
	e := elem(q.v)
	if !isByte(e) || q.scale == nil || q.scale.tensor == nil || q.scale.tensor.Elem != onnx.ElemFloat {
		return quantized{}, false
	}
	if q.zero == nil {
		zeros := make([]uint8, max(elements(q.scale), 0))
		t := onnx.TensorOf("", zeros, q.scale.tensor.Dims...)
		t.Elem = e
		q.zero = constant(q.scale.name+"_zero", t)
	}
	return q, q.zero.tensor != nil && q.zero.tensor.Elem == e
}

// quantizedWeights reads the right side of a product as quantised constant weights,
// with a scale for all or for each column.
func quantizedWeights(v *value, transposed bool) (q quantized, transB, ok bool) {
	if n := v.madeBy("Transpose"); n != nil {
		perm, ok := permutation(n, rank(n.in(0)))
		if !ok || len(perm) != 2 {
			return q, false, false
		}
		transposed = transposed != (perm[0] == 1)
		v = n.in(0)
	}
	q, ok = quantizedOf(v)
	if !ok || !byteMatrix(q.v) {
		return q, false, false
	}
	column := 1
	if transposed {
		column = 0
	}
	columns := q.v.tensor.Dims[column]
	if !perColumn(q.scale, onnx.ElemFloat, columns) || !perColumn(q.zero, q.v.tensor.Elem, columns) {
		return q, false, false
	}
	if elements(q.scale) > 1 || elements(q.zero) > 1 {
		if at, ok := axis(q.node.int("axis", 1), 2); !ok || at != column {
			return q, false, false
		}
	}
	return q, transposed, true
}

// fuseQDQ makes OpLinearInt8 of a product of two dequantised values, the right one
// constant.
func fuseQDQ(r *rewriter, n *node) {
	if n.op == "Gemm" && (n.int("transA", 0) != 0 || n.float("alpha", 1) != 1) {
		return
	}
	x, ok := quantizedOf(n.in(0))
	w, transB, okw := quantizedWeights(n.in(1), n.op == "Gemm" && n.int("transB", 0) != 0)
	if !ok || !okw || x.v.tensor != nil || !one(x.scale) || !one(x.zero) {
		return
	}
	var bias *value
	if n.op == "Gemm" && n.in(2) != nil {
		columns := w.v.tensor.Dims[1]
		if transB {
			columns = w.v.tensor.Dims[0]
		}
		if bias, ok = int8BiasOf(n.in(2), columns, 2); !ok || n.float("beta", 1) != 1 {
			return
		}
	}
	var attributes []onnx.Attribute
	if transB {
		attributes = append(attributes, onnx.IntAttribute(AttrTransB, 1))
	}
	inputs := []*value{x.v, x.scale, x.zero, w.v, w.scale, w.zero, bias}
	r.replace("int8", n, newNode(Domain, OpLinearInt8, inputs, attributes...), x.node, w.node)
}

// fuseQLinearMatMul makes OpLinearInt8 of QLinearMatMul with constant weights.
func fuseQLinearMatMul(r *rewriter, n *node) {
	if len(n.inputs) != 8 {
		return
	}
	for _, v := range n.inputs {
		if v == nil {
			return
		}
	}
	a, w := n.inputs[:3], n.inputs[3:6]
	scale, zero := n.in(6), n.in(7)
	if !byteMatrix(w[0]) || a[0].tensor != nil || !floatOne(a[1]) || !byteOne(a[2]) || !floatOne(scale) || !byteOne(zero) {
		return
	}
	columns := w[0].tensor.Dims[1]
	if !perColumn(w[1], onnx.ElemFloat, columns) || !perColumn(w[2], w[0].tensor.Elem, columns) {
		return
	}
	inputs := []*value{a[0], a[1], a[2], w[0], w[1], w[2], nil, scale, zero}
	r.replace("int8", n, newNode(Domain, OpLinearInt8, inputs))
}

func floatOne(v *value) bool { return one(v) && v.tensor.Elem == onnx.ElemFloat }

func byteOne(v *value) bool { return one(v) && isByte(v.tensor.Elem) }

// quantizeOutput puts the QuantizeLinear after a product into it.
func quantizeOutput(r *rewriter, n *node) {
	producer := n.in(0).onlyFor(n, internalOp(OpLinearInt8))
	if producer == nil || producer.in(int8OutputScale) != nil || n.has("output_dtype") || !floatOne(n.in(1)) {
		return
	}
	zero := n.in(2)
	if zero == nil {
		zero = constant(n.in(1).name+"_zero", onnx.TensorOf("", []uint8{0}))
	}
	if !byteOne(zero) {
		return
	}
	inputs := make([]*value, int8OutputZero+1)
	copy(inputs, producer.inputs)
	inputs[int8OutputScale], inputs[int8OutputZero] = n.in(1), zero
	r.replace("int8", n, newNode(Domain, OpLinearInt8, inputs, producer.attributes...), producer)
}

// quantizeInput puts the QuantizeLinear before a product into it, where it serves
// nobody else and goes by the same scale.
func quantizeInput(r *rewriter, n *node) {
	quantize := n.in(0).onlyFor(n, "QuantizeLinear")
	if quantize == nil || !isFloat(quantize.in(0)) || quantize.has("output_dtype") || !equal(quantize.in(1), n.in(1)) {
		return
	}
	if zero := quantize.in(2); zero == nil || !equal(zero, n.in(2)) {
		return
	}
	n.setInput(0, quantize.in(0))
	r.fused("int8", quantize)
	r.sweep(quantize)
}

// equal reports whether two values are constants of one element, the same.
func equal(a, b *value) bool {
	if a == b {
		return true
	}
	if !one(a) || !one(b) || a.tensor.Elem != b.tensor.Elem {
		return false
	}
	x, ok := data(a, a.tensor.Elem)
	y, oky := data(b, b.tensor.Elem)
	return ok && oky && string(x) == string(y)
}
