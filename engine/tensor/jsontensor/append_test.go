// SPDX-License-Identifier: Apache-2.0

package jsontensor

import (
	"errors"
	"math"
	"testing"

	"github.com/millrace-ml/millrace/engine/tensor"
)

func TestAppend(t *testing.T) {
	nan := math.Float32frombits(0x7fc00001)
	inf := float32(math.Inf(1))
	for _, test := range []struct {
		datatype tensor.Datatype
		shape    tensor.Shape
		data     []byte
		want     string
	}{
		{tensor.Bool, tensor.Shape{3}, []byte{0, 1, 2}, `[false,true,true]`},
		{tensor.Uint8, tensor.Shape{2}, []byte{0, 255}, `[0,255]`},
		{tensor.Uint16, tensor.Shape{1}, wire([]uint16{65535}), `[65535]`},
		{tensor.Uint32, tensor.Shape{1}, wire([]uint32{math.MaxUint32}), `[4294967295]`},
		{tensor.Uint64, tensor.Shape{1}, wire([]uint64{math.MaxUint64}), `[18446744073709551615]`},
		{tensor.Int8, tensor.Shape{2}, wire([]int8{-128, 127}), `[-128,127]`},
		{tensor.Int16, tensor.Shape{1}, wire([]int16{-32768}), `[-32768]`},
		{tensor.Int32, tensor.Shape{1}, wire([]int32{math.MinInt32}), `[-2147483648]`},
		{tensor.Int64, tensor.Shape{1}, wire([]int64{math.MinInt64}), `[-9223372036854775808]`},
		{tensor.FP16, tensor.Shape{3}, wire([]uint16{0x3c00, 0x0001, 0xfc00}), `[1,5.9604645e-08,"-Infinity"]`},
		{tensor.BF16, tensor.Shape{2}, wire([]uint16{0x3f80, 0x7fc0}), `[1,"NaN"]`},
		{tensor.FP32, tensor.Shape{2, 3}, wire([]float32{0.1, -0.5, 1e30, nan, inf, -inf}), `[0.1,-0.5,1e+30,"NaN","Infinity","-Infinity"]`},
		{tensor.FP64, tensor.Shape{2}, wire([]float64{0.1, math.Copysign(0, -1)}), `[0.1,-0]`},
		{tensor.Bytes, tensor.Shape{2}, wireStrings("é\"\\\n\r\t\x01\u2028", ""), `["é\"\\\n\r\t\u0001` + "\u2028" + `",""]`},
		{tensor.FP32, tensor.Shape{0, 4}, nil, `[]`},
		{tensor.Bytes, tensor.Shape{0}, nil, `[]`},
		{tensor.Int8, tensor.Shape{}, []byte{5}, `[5]`},
	} {
		got, err := Append([]byte("data:"), tensor.Tensor{Datatype: test.datatype, Shape: test.shape, Data: test.data})
		if want := "data:" + test.want; err != nil || string(got) != want {
			t.Errorf("%v %x is %s, %v; want %s", test.datatype, test.data, got, err, want)
		}
	}
}

func TestAppendErrors(t *testing.T) {
	for _, test := range []struct {
		datatype tensor.Datatype
		shape    tensor.Shape
		data     []byte
		want     string
		is       error
	}{
		{tensor.FP32, tensor.Shape{2}, make([]byte, 4), "4 bytes of FP32, want 2 elements of 4 for shape [2]", nil},
		{tensor.FP32, tensor.Shape{1}, make([]byte, 7), "7 bytes of FP32, want 1 elements of 4 for shape [1]", nil},
		{tensor.FP32, tensor.Shape{-1}, nil, "shape [-1]: dimension -1 is not specified in shape [-1]", nil},
		{tensor.Invalid, tensor.Shape{1}, []byte{1}, "datatype INVALID has no JSON form", nil},
		{tensor.Bytes, tensor.Shape{2}, wireStrings("a"), "element 1 of 2: incomplete string", tensor.ErrBytesTruncated},
		{tensor.Bytes, tensor.Shape{1}, wireStrings("a", "b"), "5 bytes follow the 1 elements of shape [1]", nil},
		{tensor.Bytes, tensor.Shape{2}, wireStrings("a", "\xff"), "element 1: not valid UTF-8: read it by gRPC or as binary data", ErrNotText},
	} {
		got, err := Append(nil, tensor.Tensor{Datatype: test.datatype, Shape: test.shape, Data: test.data})
		if err == nil || err.Error() != test.want || test.is != nil && !errors.Is(err, test.is) {
			t.Errorf("%v %v %x is %s with error\n  %v, want\n  %s", test.datatype, test.shape, test.data, got, err, test.want)
		}
	}
}

func BenchmarkAppend(b *testing.B) {
	const elements = 1024
	values := make([]float32, elements)
	for i := range values {
		values[i] = float32(i)*0.37 - 100
	}
	x := tensor.Tensor{Datatype: tensor.FP32, Shape: tensor.Shape{elements}, Data: wire(values)}
	b.Run("dtype=FP32/elements=1024", func(b *testing.B) {
		b.SetBytes(int64(len(x.Data)))
		b.ReportAllocs()
		var dst []byte
		for b.Loop() {
			var err error
			if dst, err = Append(dst[:0], x); err != nil {
				b.Fatal(err)
			}
		}
	})
}
