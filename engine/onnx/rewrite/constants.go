// SPDX-License-Identifier: Apache-2.0

package rewrite

import (
	"encoding/binary"
	"math"

	"github.com/millrace-ml/millrace/engine/onnx"
)

// The functions of this file read constants. They say no for a value that is not
// constant or whose data is not at hand.

// data is the raw data of a constant of an element type.
func data(v *value, elem onnx.ElemType) ([]byte, bool) {
	if v == nil || v.tensor == nil || v.tensor.Elem != elem {
		return nil, false
	}
	t, err := v.tensor.Value()
	if err != nil {
		return nil, false
	}
	return t.Data, true
}

// floats are the elements of a float constant.
func floats(v *value) ([]float32, bool) {
	raw, ok := data(v, onnx.ElemFloat)
	if !ok {
		return nil, false
	}
	list := make([]float32, len(raw)/4)
	for i := range list {
		list[i] = math.Float32frombits(binary.LittleEndian.Uint32(raw[4*i:]))
	}
	return list, true
}

// elements is the number of elements of a constant, -1 where it is none.
func elements(v *value) int64 {
	if v == nil || v.tensor == nil {
		return -1
	}
	n, err := v.tensor.Elements()
	if err != nil {
		return -1
	}
	return n
}

// scalar is the one element of a float, double or integer constant, whatever its rank.
func scalar(v *value) (float64, bool) {
	if elements(v) != 1 {
		return 0, false
	}
	switch v.tensor.Elem {
	case onnx.ElemFloat:
		list, ok := floats(v)
		return at(list, ok)
	case onnx.ElemDouble:
		raw, ok := data(v, onnx.ElemDouble)
		if !ok {
			return 0, false
		}
		return math.Float64frombits(binary.LittleEndian.Uint64(raw)), true
	case onnx.ElemInt64, onnx.ElemInt32:
		list, ok := intList(v)
		return at(list, ok)
	}
	return 0, false
}

func at[T float32 | int64](list []T, ok bool) (float64, bool) {
	if !ok || len(list) != 1 {
		return 0, false
	}
	return float64(list[0]), true
}

// floatScalar is the one element of a float constant.
func floatScalar(v *value) (float64, bool) {
	if v == nil || v.tensor == nil || v.tensor.Elem != onnx.ElemFloat {
		return 0, false
	}
	return scalar(v)
}

// intListMax bounds the lists read as integers: they are shapes, axes and the like.
const intListMax = 1 << 12

// intList are the elements of a constant of type int64 or int32.
func intList(v *value) ([]int64, bool) {
	if n := elements(v); n < 0 || n > intListMax {
		return nil, false
	}
	if raw, ok := data(v, onnx.ElemInt64); ok {
		list := make([]int64, len(raw)/8)
		for i := range list {
			list[i] = int64(binary.LittleEndian.Uint64(raw[8*i:]))
		}
		return list, true
	}
	raw, ok := data(v, onnx.ElemInt32)
	if !ok {
		return nil, false
	}
	list := make([]int64, len(raw)/4)
	for i := range list {
		list[i] = int64(int32(binary.LittleEndian.Uint32(raw[4*i:])))
	}
	return list, true
}

func boolScalar(v *value) (value, ok bool) {
	if elements(v) != 1 {
		return false, false
	}
	raw, ok := data(v, onnx.ElemBool)
	if !ok || len(raw) != 1 {
		return false, false
	}
	return raw[0] != 0, true
}

// bytesOf is the size of a constant's data in memory.
func bytesOf(t *onnx.Tensor) int64 {
	v, err := t.Value()
	if err != nil {
		return 0
	}
	return int64(len(v.Data))
}

// roughBytes is that size without looking at the data.
func roughBytes(t *onnx.Tensor) int64 {
	return int64(len(t.Raw) + 4*len(t.Floats) + 4*len(t.Int32s) + 8*len(t.Int64s) + 8*len(t.Doubles) + 8*len(t.Uint64s))
}

// near reports whether two numbers are the same constant, written with the precision
// of float32 or a little less.
func near(a, b float64) bool { return math.Abs(a-b) <= 2e-6*math.Abs(b) }

// typeOfTensor is the type of a constant.
func typeOfTensor(t *onnx.Tensor) onnx.Type {
	dims := make([]onnx.Dim, len(t.Dims))
	for i, d := range t.Dims {
		dims[i] = onnx.Extent(d)
	}
	return onnx.TensorType(t.Elem, dims...)
}
