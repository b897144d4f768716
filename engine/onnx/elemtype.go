// SPDX-License-Identifier: Apache-2.0

package onnx

import (
	"fmt"

	"github.com/millrace-ml/millrace/engine/tensor"
)

// ElemType is the type of a tensor's elements, numbered as in the file.
type ElemType int32

// The element types of ONNX.
const (
	ElemUndefined ElemType = iota
	ElemFloat
	ElemUint8
	ElemInt8
	ElemUint16
	ElemInt16
	ElemInt32
	ElemInt64
	ElemString
	ElemBool
	ElemFloat16
	ElemDouble
	ElemUint32
	ElemUint64
	ElemComplex64
	ElemComplex128
	ElemBFloat16
	ElemFloat8E4M3FN
	ElemFloat8E4M3FNUZ
	ElemFloat8E5M2
	ElemFloat8E5M2FNUZ
	ElemUint4
	ElemInt4
	ElemFloat4E2M1
	ElemFloat8E8M0
	ElemUint2
	ElemInt2
)

// elemTypes holds, for each element type, its name in ONNX, the bits that one
// element takes in raw data (0 where elements vary) and the datatype of the same
// elements, where the inference protocol has one.
var elemTypes = [...]struct {
	name     string
	bits     int64
	datatype tensor.Datatype
}{
	ElemUndefined:      {"undefined", 0, tensor.Invalid},
	ElemFloat:          {"float", 32, tensor.FP32},
	ElemUint8:          {"uint8", 8, tensor.Uint8},
	ElemInt8:           {"int8", 8, tensor.Int8},
	ElemUint16:         {"uint16", 16, tensor.Uint16},
	ElemInt16:          {"int16", 16, tensor.Int16},
	ElemInt32:          {"int32", 32, tensor.Int32},
	ElemInt64:          {"int64", 64, tensor.Int64},
	ElemString:         {"string", 0, tensor.Bytes},
	ElemBool:           {"bool", 8, tensor.Bool},
	ElemFloat16:        {"float16", 16, tensor.FP16},
	ElemDouble:         {"double", 64, tensor.FP64},
	ElemUint32:         {"uint32", 32, tensor.Uint32},
	ElemUint64:         {"uint64", 64, tensor.Uint64},
	ElemComplex64:      {"complex64", 64, tensor.Invalid},
	ElemComplex128:     {"complex128", 128, tensor.Invalid},
	ElemBFloat16:       {"bfloat16", 16, tensor.BF16},
	ElemFloat8E4M3FN:   {"float8e4m3fn", 8, tensor.Invalid},
	ElemFloat8E4M3FNUZ: {"float8e4m3fnuz", 8, tensor.Invalid},
	ElemFloat8E5M2:     {"float8e5m2", 8, tensor.Invalid},
	ElemFloat8E5M2FNUZ: {"float8e5m2fnuz", 8, tensor.Invalid},
	ElemUint4:          {"uint4", 4, tensor.Invalid},
	ElemInt4:           {"int4", 4, tensor.Invalid},
	ElemFloat4E2M1:     {"float4e2m1", 4, tensor.Invalid},
	ElemFloat8E8M0:     {"float8e8m0", 8, tensor.Invalid},
	ElemUint2:          {"uint2", 2, tensor.Invalid},
	ElemInt2:           {"int2", 2, tensor.Invalid},
}

func (e ElemType) known() bool { return e >= 0 && int(e) < len(elemTypes) }

// String is the name that ONNX gives the type, such as "float".
func (e ElemType) String() string {
	if e.known() {
		return elemTypes[e].name
	}
	return fmt.Sprintf("elem_type(%d)", int32(e))
}

// Datatype is the same type in the words of the inference protocol, or
// tensor.Invalid where it has none (complex numbers, floats of 8 bits and less).
func (e ElemType) Datatype() tensor.Datatype {
	if e.known() {
		return elemTypes[e].datatype
	}
	return tensor.Invalid
}

// bits is the size of one element in raw data, 0 where unknown or varying.
func (e ElemType) bits() int64 {
	if e.known() {
		return elemTypes[e].bits
	}
	return 0
}

// ElemTypeOf is the element type of a datatype, ElemUndefined for tensor.Invalid.
func ElemTypeOf(d tensor.Datatype) ElemType {
	for e := range elemTypes {
		if elemTypes[e].datatype == d && d != tensor.Invalid {
			return ElemType(e)
		}
	}
	return ElemUndefined
}
