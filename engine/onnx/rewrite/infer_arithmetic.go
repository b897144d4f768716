// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"slices"
	"strings"

	"github.com/millrace-ml/millrace/engine/onnx"
)

func inferSame(_ *rewriter, n *node) onnx.Type {
	if in := n.in(0); in != nil {
		return in.typ
	}
	return onnx.Type{}
}

// inferBroadcast is for operators whose result has the type of their first input.
func inferBroadcast(_ *rewriter, n *node) onnx.Type {
	d, ok := broadcast(n.inputs)
	e := elem(n.in(0))
	for _, in := range n.inputs {
		if e == onnx.ElemUndefined && n.op != "Pow" {
			e = elem(in)
		}
	}
	return tensorOf(e, d, ok)
}

func inferCompare(_ *rewriter, n *node) onnx.Type {
	d, ok := broadcast(n.inputs)
	return tensorOf(onnx.ElemBool, d, ok)
}

func inferWhere(_ *rewriter, n *node) onnx.Type {
	d, ok := broadcast(n.inputs)
	return tensorOf(elem(n.in(1)), d, ok)
}

// broadcast is the shape of elementwise arithmetic on values.
func broadcast(values []*value) ([]onnx.Dim, bool) {
	var result []onnx.Dim
	for _, v := range values {
		d, ok := dims(v)
		if !ok {
			return nil, false
		}
		if len(d) > len(result) {
			result = append(slices.Repeat([]onnx.Dim{onnx.Extent(1)}, len(d)-len(result)), result...)
		}
		shift := len(result) - len(d)
		for i := range d {
			result[shift+i] = broadcastDim(result[shift+i], d[i])
		}
	}
	return result, len(values) > 0
}

func broadcastDim(a, b onnx.Dim) onnx.Dim {
	switch {
	case a.Value == 1:
		return b
	case b.Value == 1, a.Value >= 0, a.Param != "" && a.Param == b.Param:
		return a
	case b.Value >= 0:
		return b
	}
	return onnx.Unknown()
}

func inferMatMul(_ *rewriter, n *node) onnx.Type {
	a, ok := dims(n.in(0))
	b, okb := dims(n.in(1))
	e := eitherElem(n)
	if !ok || !okb || len(a) == 0 || len(b) == 0 {
		return tensorOf(e, nil, false)
	}
	var tail []onnx.Dim
	if len(a) > 1 {
		tail = append(tail, a[len(a)-2])
	}
	if len(b) > 1 {
		tail = append(tail, b[len(b)-1])
	}
	lead, _ := broadcast([]*value{ranked(a[:max(len(a)-2, 0)]), ranked(b[:max(len(b)-2, 0)])})
	return tensorOf(e, append(lead, tail...), true)
}

// ranked is a value of a shape, for inference over parts of shapes.
func ranked(d []onnx.Dim) *value { return &value{typ: tensorOf(onnx.ElemUndefined, d, true)} }

func inferMatMulInteger(r *rewriter, n *node) onnx.Type {
	t := inferMatMul(r, n)
	t.Elem = onnx.ElemInt32
	return t
}

// inferLinear is for products with constant weights on the right.
func inferLinear(_ *rewriter, n *node) onnx.Type {
	w := n.in(1)
	if rank(w) != 2 {
		return tensorOf(onnx.ElemFloat, nil, false)
	}
	width := w.typ.Dims[1]
	if n.int(AttrTransB, 0) != 0 {
		width = w.typ.Dims[0]
	}
	a, ok := dims(n.in(0))
	if !ok || len(a) == 0 {
		return tensorOf(onnx.ElemFloat, nil, false)
	}
	return tensorOf(onnx.ElemFloat, append(slices.Clone(a[:len(a)-1]), width), true)
}

func inferLinearInt8(_ *rewriter, n *node) onnx.Type {
	e := onnx.ElemFloat
	if zero := n.in(int8OutputZero); zero != nil {
		e = elem(zero)
	}
	product := node{op: n.op, inputs: []*value{n.in(0), n.in(int8Weights)}, attributes: n.attributes}
	t := inferLinear(nil, &product)
	t.Elem = e
	return t
}

func inferGemm(_ *rewriter, n *node) onnx.Type {
	result := unknownDims(2)
	if a, ok := dims(n.in(0)); ok && len(a) == 2 {
		result[0] = a[min(n.int("transA", 0), 1)&1]
	}
	if b, ok := dims(n.in(1)); ok && len(b) == 2 {
		result[1] = b[1-min(n.int("transB", 0), 1)&1]
	}
	return tensorOf(eitherElem(n), result, true)
}

// eitherElem is the element type of an operator whose first two inputs share it.
func eitherElem(n *node) onnx.ElemType {
	if e := elem(n.in(0)); e != onnx.ElemUndefined {
		return e
	}
	return elem(n.in(1))
}

// inferConv knows the rank and the channels.
func inferConv(_ *rewriter, n *node) onnx.Type {
	x, ok := dims(n.in(0))
	w, okw := dims(n.in(1))
	switch {
	case !ok && okw && len(w) > 0:
		x = unknownDims(len(w))
	case !ok || len(x) == 0:
		return tensorOf(eitherElem(n), nil, false)
	}
	result := unknownDims(len(x))
	if result[0] = x[0]; okw && len(w) > 1 && len(result) > 1 {
		result[1] = w[0]
	}
	return tensorOf(eitherElem(n), result, true)
}

// inferPool keeps rows and channels; global pooling leaves one element of the rest.
func inferPool(_ *rewriter, n *node) onnx.Type {
	x, ok := dims(n.in(0))
	if !ok || len(x) < 2 {
		return tensorOf(elem(n.in(0)), nil, false)
	}
	result := append(slices.Clone(x[:2]), unknownDims(len(x)-2)...)
	if strings.HasPrefix(n.op, "Global") {
		for i := range result[2:] {
			result[2+i] = onnx.Extent(1)
		}
	}
	return tensorOf(elem(n.in(0)), result, true)
}

// inferArg is for ArgMax and ArgMin.
func inferArg(_ *rewriter, n *node) onnx.Type {
	d, ok := dims(n.in(0))
	at, okAxis := axis(n.int("axis", 0), len(d))
	if !ok || !okAxis {
		return tensorOf(onnx.ElemInt64, nil, false)
	}
	result := slices.Clone(d)
	if result[at] = onnx.Extent(1); n.int("keepdims", 1) == 0 {
		result = slices.Delete(result, at, at+1)
	}
	return tensorOf(onnx.ElemInt64, result, true)
}

func inferReduce(_ *rewriter, n *node) onnx.Type {
	d, ok := dims(n.in(0))
	axes, known := n.axes(1)
	if !ok || !known {
		return tensorOf(elem(n.in(0)), nil, false)
	}
	reduced := make([]bool, len(d))
	for _, a := range axes {
		i, ok := axis(a, len(d))
		if !ok {
			return onnx.Type{}
		}
		reduced[i] = true
	}
	if len(axes) == 0 {
		if n.int("noop_with_empty_axes", 0) != 0 {
			return n.in(0).typ
		}
		reduced = slices.Repeat([]bool{true}, len(d))
	}
	var result []onnx.Dim
	for i := range d {
		switch {
		case !reduced[i]:
			result = append(result, d[i])
		case n.int("keepdims", 1) != 0:
			result = append(result, onnx.Extent(1))
		}
	}
	return tensorOf(elem(n.in(0)), result, true)
}

func inferQuantize(_ *rewriter, n *node) onnx.Type {
	d, ok := dims(n.in(0))
	e := onnx.ElemUint8
	if zero := n.in(2); zero != nil {
		e = elem(zero)
	} else if n.has("output_dtype") {
		e = onnx.ElemUndefined
	}
	return tensorOf(e, d, ok)
}

func inferDequantize(_ *rewriter, n *node) onnx.Type {
	d, ok := dims(n.in(0))
	return tensorOf(elem(n.in(1)), d, ok)
}
