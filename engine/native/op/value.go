// SPDX-License-Identifier: Apache-2.0

package op

import (
	"fmt"
	"unsafe"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// Alignment in bytes of the memory of every value.
const Alignment = 64

// Value is one tensor of a plan. Infer sees Type and Shape, and the contents of Const
// values; Bind and the run see memory as well.
type Value struct {
	Name  string
	Type  tensor.Datatype
	Shape tensor.Shape
	// Data is the elements in the engine's layout, except for strings.
	Data []byte
	// Strings are the elements of a BYTES value. They alias the request, the model or
	// memory of the operator that made them, and must not be changed.
	Strings [][]byte
	// Const says that the contents are known before the run.
	Const bool
	// Sequence says that this is no tensor but the list in Elements, which only an
	// Expander takes.
	Sequence bool
	Elements []*Value
}

// Len is the number of elements. Shapes in a plan are checked when they are inferred,
// so that the product does not overflow.
func (v *Value) Len() int {
	n := 1
	for _, d := range v.Shape {
		n *= int(d)
	}
	return n
}

// Rank is the number of dimensions.
func (v *Value) Rank() int { return len(v.Shape) }

// IsConst reports whether v is there and its contents are known before the run.
func (v *Value) IsConst() bool { return v != nil && v.Const }

// Element is a Go type of a tensor's elements. FP16 and BF16 are uint16, BOOL is uint8
// or bool.
type Element interface {
	bool | int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64 | float32 | float64
}

// As is v's memory as a slice of its elements. The caller has checked v's type.
func As[T Element](v *Value) []T {
	var zero T
	n := len(v.Data) / int(unsafe.Sizeof(zero))
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*T)(unsafe.Pointer(unsafe.SliceData(v.Data))), n)
}

// Floats is As[float32].
func Floats(v *Value) []float32 { return As[float32](v) }

// Allocate gives v memory of its own, of v's type and shape.
func (v *Value) Allocate() {
	if v.Type == tensor.Bytes {
		v.Strings = make([][]byte, v.Len())
		return
	}
	v.Data = AlignedBytes(v.Len() * v.Type.Size())
}

// AlignedBytes is zeroed memory at an address that is a multiple of Alignment.
func AlignedBytes(n int) []byte {
	memory := make([]byte, n+Alignment)
	skip := (Alignment - int(uintptr(unsafe.Pointer(unsafe.SliceData(memory)))%Alignment)) % Alignment
	return memory[skip : skip+n : skip+n]
}

// Constant is the value of a tensor of the model, in memory of its own.
func Constant(t *onnx.Tensor) (*Value, error) {
	x, err := t.Value()
	if err != nil {
		return nil, err
	}
	if !bounded(x.Shape) {
		return nil, Invalid("tensor %q of shape %v is too large", t.Name, x.Shape)
	}
	v := &Value{Name: t.Name, Type: x.Datatype, Shape: x.Shape, Const: true}
	if x.Datatype == tensor.Bytes {
		v.Strings, err = SplitStrings(nil, x.Data, v.Len())
		return v, err
	}
	v.Data = AlignedBytes(len(x.Data))
	copy(v.Data, x.Data)
	return v, nil
}

// Tensor is v, whose contents are known, as a tensor of a model.
func (v *Value) Tensor(name string) onnx.Tensor {
	t := onnx.Tensor{Name: name, Dims: append([]int64{}, v.Shape...), Elem: onnx.ElemTypeOf(v.Type)}
	if v.Type == tensor.Bytes {
		t.Strings = v.Strings
		return t
	}
	t.Raw = v.Data
	if t.Raw == nil {
		t.Raw = []byte{}
	}
	return t
}

// SplitStrings appends the n elements of BYTES data to list. They alias data.
func SplitStrings(list [][]byte, data []byte, n int) ([][]byte, error) {
	for i := range n {
		element, rest, err := tensor.NextBytes(data)
		if err != nil {
			return list, fmt.Errorf("element %d of %d: %w", i, n, err)
		}
		list, data = append(list, element), rest
	}
	if len(data) > 0 {
		return list, fmt.Errorf("%d bytes after the last of %d elements", len(data), n)
	}
	return list, nil
}
