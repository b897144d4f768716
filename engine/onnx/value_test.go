// SPDX-License-Identifier: Apache-2.0

package onnx_test

import (
	"errors"
	"testing"

	"github.com/millrace-ml/millrace/engine/onnx"
	"github.com/millrace-ml/millrace/engine/tensor"
)

func TestValueOfTypedData(t *testing.T) {
	two := []int64{2}
	for _, c := range []struct {
		tensor   onnx.Tensor
		datatype tensor.Datatype
		want     string
	}{
		{onnx.Tensor{Elem: onnx.ElemFloat, Floats: []float32{1, -2}}, tensor.FP32, "\x00\x00\x80\x3f\x00\x00\x00\xc0"},
		{onnx.Tensor{Elem: onnx.ElemDouble, Doubles: []float64{0, 1}}, tensor.FP64, "\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\xf0\x3f"},
		{onnx.Tensor{Elem: onnx.ElemInt64, Int64s: []int64{-1, 1}}, tensor.Int64, "\xff\xff\xff\xff\xff\xff\xff\xff\x01\x00\x00\x00\x00\x00\x00\x00"},
		{onnx.Tensor{Elem: onnx.ElemUint64, Uint64s: []uint64{1, 2}}, tensor.Uint64, "\x01\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00"},
		{onnx.Tensor{Elem: onnx.ElemUint32, Uint64s: []uint64{1, 1<<32 - 1}}, tensor.Uint32, "\x01\x00\x00\x00\xff\xff\xff\xff"},
		{onnx.Tensor{Elem: onnx.ElemInt32, Int32s: []int32{-2, 3}}, tensor.Int32, "\xfe\xff\xff\xff\x03\x00\x00\x00"},
		{onnx.Tensor{Elem: onnx.ElemInt16, Int32s: []int32{-2, 3}}, tensor.Int16, "\xfe\xff\x03\x00"},
		{onnx.Tensor{Elem: onnx.ElemFloat16, Int32s: []int32{0x3c00, 0xc000}}, tensor.FP16, "\x00\x3c\x00\xc0"},
		{onnx.Tensor{Elem: onnx.ElemBFloat16, Int32s: []int32{0x3f80, 0}}, tensor.BF16, "\x80\x3f\x00\x00"},
		{onnx.Tensor{Elem: onnx.ElemInt8, Int32s: []int32{-1, 5}}, tensor.Int8, "\xff\x05"},
		{onnx.Tensor{Elem: onnx.ElemBool, Int32s: []int32{1, 0}}, tensor.Bool, "\x01\x00"},
		{onnx.Tensor{Elem: onnx.ElemString, Strings: [][]byte{[]byte("ab"), nil}}, tensor.Bytes, "\x02\x00\x00\x00ab\x00\x00\x00\x00"},
		{onnx.Tensor{Elem: onnx.ElemInt8, Raw: []byte{7, 8}}, tensor.Int8, "\x07\x08"},
	} {
		c.tensor.Dims = two
		v, err := c.tensor.Value()
		if err != nil || v.Datatype != c.datatype || string(v.Data) != c.want || v.Shape.String() != "[2]" {
			t.Errorf("%s: got %s %v %q, error %v, want %q", c.tensor.Elem, v.Datatype, v.Shape, v.Data, err, c.want)
		}
	}
}

func TestValueFaults(t *testing.T) {
	outside := onnx.Tensor{Elem: onnx.ElemFloat, External: &onnx.External{Location: "w"}}
	if _, err := outside.Value(); !errors.Is(err, onnx.ErrExternalData) {
		t.Errorf("external data gave %v", err)
	}
	short := onnx.Tensor{Elem: onnx.ElemFloat, Dims: []int64{2}, Raw: make([]byte, 4)}
	if _, err := short.Value(); !errors.Is(err, onnx.ErrCorrupt) {
		t.Errorf("short data gave %v", err)
	}
	tiny := onnx.Tensor{Elem: onnx.ElemFloat8E5M2, Dims: []int64{1}, Raw: make([]byte, 1)}
	if v, err := tiny.Value(); err == nil {
		t.Errorf("a float of 8 bits gave %v", v)
	}
}

func TestTensorOf(t *testing.T) {
	for _, c := range []struct {
		got  onnx.Tensor
		elem onnx.ElemType
		raw  string
	}{
		{onnx.TensorOf("", []bool{true}), onnx.ElemBool, "\x01"},
		{onnx.TensorOf("", []int8{-1}), onnx.ElemInt8, "\xff"},
		{onnx.TensorOf("", []int16{-1}), onnx.ElemInt16, "\xff\xff"},
		{onnx.TensorOf("", []int32{1}), onnx.ElemInt32, "\x01\x00\x00\x00"},
		{onnx.TensorOf("", []int64{1}), onnx.ElemInt64, "\x01\x00\x00\x00\x00\x00\x00\x00"},
		{onnx.TensorOf("", []uint8{1}), onnx.ElemUint8, "\x01"},
		{onnx.TensorOf("", []uint16{1}), onnx.ElemUint16, "\x01\x00"},
		{onnx.TensorOf("", []uint32{1}), onnx.ElemUint32, "\x01\x00\x00\x00"},
		{onnx.TensorOf("", []uint64{1}), onnx.ElemUint64, "\x01\x00\x00\x00\x00\x00\x00\x00"},
		{onnx.TensorOf("", []float32{1}), onnx.ElemFloat, "\x00\x00\x80\x3f"},
		{onnx.TensorOf("", []float64{1}), onnx.ElemDouble, "\x00\x00\x00\x00\x00\x00\xf0\x3f"},
	} {
		if c.got.Elem != c.elem || string(c.got.Raw) != c.raw {
			t.Errorf("got %s %q, want %s %q", c.got.Elem, c.got.Raw, c.elem, c.raw)
		}
	}
}
