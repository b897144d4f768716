// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"bytes"
	"slices"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// arrange computes a node that needs no arithmetic: constants, shapes that are known,
// and constants in another order or shape.
func (r *rewriter) arrange(n *node) (onnx.Tensor, bool) {
	switch n.op {
	case "Constant":
		return constantOf(n)
	case "Shape", "Gather", "Concat", "Slice", "Squeeze", "Unsqueeze", "Add", "Sub", "Mul", "Div", "Mod", "Where":
		if t, ok := knownList(n); ok {
			return t, true
		}
	case "Size":
		d, ok := dims(n.in(0))
		if total := product(d); ok && (len(d) == 0 || total.Value >= 0) {
			return onnx.TensorOf("", []int64{product(append(d[:len(d):len(d)], onnx.Extent(1))).Value}), true
		}
	case "Transpose":
		return r.transposed(n)
	case "Reshape", "Flatten":
		return reshaped(n)
	}
	if n.op == "Squeeze" || n.op == "Unsqueeze" {
		return reshaped(n)
	}
	return onnx.Tensor{}, false
}

// constantOf is the value of a Constant, whichever attribute holds it.
func constantOf(n *node) (onnx.Tensor, bool) {
	if len(n.attributes) != 1 || n.attributes[0].Ref != "" {
		return onnx.Tensor{}, false
	}
	switch a := n.attributes[0]; a.Name {
	case "value":
		if a.Tensor != nil {
			return *a.Tensor, true
		}
	case "value_float":
		return onnx.TensorOf("", []float32{a.Float}), true
	case "value_floats":
		return onnx.TensorOf("", a.Floats, int64(len(a.Floats))), true
	case "value_int":
		return onnx.TensorOf("", []int64{a.Int}), true
	case "value_ints":
		return onnx.TensorOf("", a.Ints, int64(len(a.Ints))), true
	case "value_string":
		return onnx.Tensor{Elem: onnx.ElemString, Strings: [][]byte{a.String}}, true
	case "value_strings":
		return onnx.Tensor{Elem: onnx.ElemString, Strings: a.Strings, Dims: []int64{int64(len(a.Strings))}}, true
	}
	return onnx.Tensor{}, false
}

// knownList is the result of a node that makes a list of integers, or a single one,
// from shapes, where all of it is known.
func knownList(n *node) (onnx.Tensor, bool) {
	if e := elem(n.out(0)); e != onnx.ElemInt64 || len(n.outputs) != 1 {
		return onnx.Tensor{}, false
	}
	entries, ok := partial(n.out(0))
	if !ok || slices.ContainsFunc(entries, func(e entry) bool { return !e.known }) {
		return onnx.Tensor{}, false
	}
	list := make([]int64, len(entries))
	for i, e := range entries {
		list[i] = e.n
	}
	switch rank(n.out(0)) {
	case 0:
		return onnx.TensorOf("", list), len(list) == 1
	case 1:
		return onnx.TensorOf("", list, int64(len(list))), true
	}
	return onnx.Tensor{}, false
}

// reshaped is a constant under other dimensions, sharing its data.
func reshaped(n *node) (onnx.Tensor, bool) {
	in := n.in(0)
	if in == nil || in.tensor == nil || in.tensor.External != nil {
		return onnx.Tensor{}, false
	}
	d, ok := dims(n.out(0))
	if !ok {
		return onnx.Tensor{}, false
	}
	result := *in.tensor
	result.Dims = make([]int64, len(d))
	for i := range d {
		if result.Dims[i] = d[i].Value; d[i].Value < 0 {
			return onnx.Tensor{}, false
		}
	}
	before, err := in.tensor.Elements()
	after, err2 := result.Elements()
	return result, err == nil && err2 == nil && before == after
}

// transposed is a constant with its dimensions in another order.
func (r *rewriter) transposed(n *node) (onnx.Tensor, bool) {
	in := n.in(0)
	if in == nil || in.tensor == nil || r.leftToProduct(n) {
		return onnx.Tensor{}, false
	}
	if size := roughBytes(in.tensor); size > growthFree && !r.allows(size, size) {
		return onnx.Tensor{}, false
	}
	t, err := in.tensor.Value()
	perm, ok := permutation(n, len(in.tensor.Dims))
	size := t.Datatype.Size()
	if err != nil || !ok || t.Datatype == tensor.Bytes || size == 0 {
		return onnx.Tensor{}, false
	}
	result := onnx.Tensor{Elem: in.tensor.Elem, Dims: make([]int64, len(perm))}
	strides := make([]int, len(perm)) // of the input, in the order of the result
	for i, p := range perm {
		result.Dims[i] = t.Shape[p]
		strides[i] = size
		for _, d := range t.Shape[p+1:] {
			strides[i] *= int(d)
		}
	}
	result.Raw = permute(t.Data, result.Dims, strides, size)
	return result, true
}

// permute copies elements of size bytes into row-major order of dims, each found by
// the strides.
func permute(data []byte, dims []int64, strides []int, size int) []byte {
	out := bytes.NewBuffer(make([]byte, 0, len(data)))
	index := make([]int64, len(dims))
	at := 0
	for range len(data) / size {
		out.Write(data[at : at+size])
		for axis := len(dims) - 1; axis >= 0; axis-- {
			index[axis]++
			at += strides[axis]
			if index[axis] < dims[axis] {
				break
			}
			at -= strides[axis] * int(dims[axis])
			index[axis] = 0
		}
	}
	return out.Bytes()
}

// leftToProduct reports whether a transposed constant is read by products alone that
// take it as it is, by an attribute.
func (r *rewriter) leftToProduct(n *node) bool {
	perm, ok := permutation(n, rank(n.in(0)))
	out := n.out(0)
	if !ok || len(perm) != 2 || perm[0] != 1 || len(out.slots) > 0 || len(out.users) == 0 || !r.options.Fusions.has(FuseLinear) {
		return false
	}
	internal := !r.options.Standard && elem(n.in(0)) == onnx.ElemFloat
	for user := range out.users {
		product := user.op == "Gemm" || user.op == "MatMul" && internal
		if !product || user.in(1) != out || user.in(0) == out || user.in(2) == out {
			return false
		}
	}
	return true
}
