// SPDX-License-Identifier: Apache-2.0

//go:build cgo && unix

package onnxrt

import (
	"unsafe"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/millrace-ml/millrace/engine/tensor"
)

// element is what the binding can do with values of one datatype. The functions
// are nil where it lacks the Go type (FP16, BF16) or has another way (BYTES).
type element struct {
	code ort.TensorElementDataType
	// view gives the bytes of a tensor that the library allocated. They stay valid
	// after the value is destroyed.
	view func(ort.Value) []byte
	// scalar makes a tensor without dimensions from its bytes.
	scalar func([]byte) (ort.Value, error)
	// unscalar copies such a tensor's element out.
	unscalar func(ort.Value, []byte)
}

var elements = [...]element{
	tensor.Bool:   elementOf[bool](ort.TensorElementDataTypeBool),
	tensor.Uint8:  elementOf[uint8](ort.TensorElementDataTypeUint8),
	tensor.Uint16: elementOf[uint16](ort.TensorElementDataTypeUint16),
	tensor.Uint32: elementOf[uint32](ort.TensorElementDataTypeUint32),
	tensor.Uint64: elementOf[uint64](ort.TensorElementDataTypeUint64),
	tensor.Int8:   elementOf[int8](ort.TensorElementDataTypeInt8),
	tensor.Int16:  elementOf[int16](ort.TensorElementDataTypeInt16),
	tensor.Int32:  elementOf[int32](ort.TensorElementDataTypeInt32),
	tensor.Int64:  elementOf[int64](ort.TensorElementDataTypeInt64),
	tensor.FP16:   {code: ort.TensorElementDataTypeFloat16},
	tensor.FP32:   elementOf[float32](ort.TensorElementDataTypeFloat),
	tensor.FP64:   elementOf[float64](ort.TensorElementDataTypeDouble),
	tensor.Bytes:  {code: ort.TensorElementDataTypeString},
	tensor.BF16:   {code: ort.TensorElementDataTypeBFloat16},
}

func elementOf[T ort.TensorData](code ort.TensorElementDataType) element {
	return element{
		code: code,
		view: func(v ort.Value) []byte {
			t, ok := v.(*ort.Tensor[T])
			if !ok {
				return nil
			}
			return bytesOf(t.GetData())
		},
		scalar: func(data []byte) (ort.Value, error) {
			value := make([]T, 1)
			copy(bytesOf(value), data)
			return ort.NewScalar(value[0])
		},
		unscalar: func(v ort.Value, data []byte) {
			if s, ok := v.(*ort.Scalar[T]); ok {
				copy(data, bytesOf([]T{s.GetData()}))
			}
		},
	}
}

// bytesOf is the memory of a slice of numbers. Both the wire and every machine the
// library runs on are little-endian.
func bytesOf[T ort.TensorData](values []T) []byte {
	var zero T
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(values))), len(values)*int(unsafe.Sizeof(zero)))
}
