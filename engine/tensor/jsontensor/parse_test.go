// SPDX-License-Identifier: Apache-2.0

package jsontensor

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/engine/tensor"
)

// wire lays out values, which have a fixed size, as the wire does.
func wire(values any) []byte {
	data, err := binary.Append(nil, binary.LittleEndian, values)
	if err != nil {
		panic(err)
	}
	return data
}

// wireStrings lays out the elements of a BYTES tensor.
func wireStrings(elements ...string) []byte {
	data := []byte{}
	for _, e := range elements {
		data = tensor.AppendBytes(data, []byte(e))
	}
	return data
}

func TestParse(t *testing.T) {
	for _, test := range []struct {
		datatype tensor.Datatype
		shape    tensor.Shape
		data     string
		want     []byte
	}{
		{tensor.Bool, tensor.Shape{2}, `[true,false]`, []byte{1, 0}},
		{tensor.Uint8, tensor.Shape{2}, `[0,255]`, []byte{0, 255}},
		{tensor.Uint16, tensor.Shape{1}, `[65535]`, wire([]uint16{65535})},
		{tensor.Uint32, tensor.Shape{1}, `[4294967295]`, wire([]uint32{math.MaxUint32})},
		{tensor.Uint64, tensor.Shape{2}, `[18446744073709551615, 9007199254740993]`, wire([]uint64{math.MaxUint64, 1<<53 + 1})},
		{tensor.Int8, tensor.Shape{2}, `[-128,127]`, wire([]int8{-128, 127})},
		{tensor.Int16, tensor.Shape{2}, `[-32768,32767]`, wire([]int16{-32768, 32767})},
		{tensor.Int32, tensor.Shape{2}, `[-2147483648,-0]`, wire([]int32{math.MinInt32, 0})},
		{tensor.Int64, tensor.Shape{2}, `[-9223372036854775808,9007199254740993]`, wire([]int64{math.MinInt64, 1<<53 + 1})},
		{tensor.FP32, tensor.Shape{4}, `[1,-2.5,1e-3,0.1]`, wire([]float32{1, -2.5, 1e-3, 0.1})},
		{tensor.FP32, tensor.Shape{3}, `["NaN","Infinity","-Infinity"]`, wire([]uint32{0x7fc00000, 0x7f800000, 0xff800000})},
		// Just below a tie, which is what it would become in float64.
		{tensor.FP32, tensor.Shape{1}, `[1.00000017881393432617187499]`, wire([]float32{1.0000001})},
		{tensor.FP64, tensor.Shape{3}, `[0.1,-0,1.7976931348623157e308]`, wire([]float64{0.1, math.Copysign(0, -1), math.MaxFloat64})},
		{tensor.FP16, tensor.Shape{4}, `[1,-2,65504,"NaN"]`, wire([]uint16{0x3c00, 0xc000, 0x7bff, 0x7e00})},
		// Just above a tie, which is what it would become in float32.
		{tensor.FP16, tensor.Shape{1}, `[1.000488281251]`, wire([]uint16{0x3c01})},
		{tensor.BF16, tensor.Shape{3}, `[1,-2,"Infinity"]`, wire([]uint16{0x3f80, 0xc000, 0x7f80})},
		{tensor.Bytes, tensor.Shape{3}, `["","abc","é€😀"]`, wireStrings("", "abc", "é€😀")},
		{tensor.Bytes, tensor.Shape{1}, `["\"\\\/\b\f\n\r\t\u0041\u20AC\ud83d\ude00\u0000"]`, wireStrings("\"\\/\b\f\n\r\tA€😀\x00")},

		{tensor.Int8, tensor.Shape{2, 3}, `[1,2,3,4,5,6]`, []byte{1, 2, 3, 4, 5, 6}},
		{tensor.Int8, tensor.Shape{2, 3}, " [ [1 ,2,3] ,\r\n\t[ 4,5,6 ]] ", []byte{1, 2, 3, 4, 5, 6}},
		{tensor.Int8, tensor.Shape{2, 1, 2}, `[[[1,2]],[[3,4]]]`, []byte{1, 2, 3, 4}},
		{tensor.Int8, tensor.Shape{}, `[7]`, []byte{7}},
		{tensor.Int8, tensor.Shape{0, 3}, `[]`, []byte{}},
		{tensor.Int8, tensor.Shape{2, 0}, `[[],[]]`, []byte{}},
	} {
		got, err := Parse([]byte(test.data), test.datatype, test.shape, []byte("before"))
		if want := append([]byte("before"), test.want...); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%v %v %s is %x, %v; want %x", test.datatype, test.shape, test.data, got, err, want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for _, test := range []struct {
		datatype tensor.Datatype
		shape    tensor.Shape
		data     string
		want     string
	}{
		{tensor.Uint8, tensor.Shape{2}, `[1,300]`, "element 1: 300 is out of range for UINT8"},
		{tensor.Uint64, tensor.Shape{1}, `[-1]`, "element 0: -1 is out of range for UINT64"},
		{tensor.Int64, tensor.Shape{1}, `[9223372036854775808]`, "element 0: 9223372036854775808 is out of range for INT64"},
		{tensor.Int32, tensor.Shape{1}, `[1.0]`, "element 0: 1.0 is not written as an integer, want one for INT32"},
		{tensor.Int32, tensor.Shape{1}, `[1e2]`, "element 0: 1e2 is not written as an integer, want one for INT32"},
		{tensor.FP32, tensor.Shape{1}, `[1e39]`, "element 0: 1e39 is out of range for FP32"},
		{tensor.FP64, tensor.Shape{1}, `[-1e309]`, "element 0: -1e309 is out of range for FP64"},
		{tensor.FP16, tensor.Shape{1}, `[65520]`, "element 0: 65520 is out of range for FP16"},
		{tensor.BF16, tensor.Shape{1}, `[3.4e38]`, "element 0: 3.4e+38 is out of range for BF16"},
		{tensor.FP32, tensor.Shape{1}, `["1"]`, "element 0: string at offset 1, want a number for FP32"},
		{tensor.FP32, tensor.Shape{2}, `[1,null]`, "element 1: null at offset 3, want a number for FP32"},
		{tensor.Bool, tensor.Shape{1}, `[1]`, "element 0: number at offset 1, want true or false for BOOL"},
		{tensor.Bytes, tensor.Shape{1}, `[true]`, "element 0: boolean at offset 1, want a string for BYTES"},
		{tensor.Bytes, tensor.Shape{1}, `[{}]`, "element 0: object at offset 1, want a string for BYTES"},
		{tensor.Invalid, tensor.Shape{1}, `[1]`, "element 0: datatype INVALID has no JSON form"},

		{tensor.Int8, tensor.Shape{2, 2}, `[1,2,3]`, "3 elements, want 4 for shape [2,2]"},
		{tensor.Int8, tensor.Shape{2, 2}, `[1,2,3,4,5]`, "more than 4 elements, want 4 for shape [2,2]"},
		{tensor.Int8, tensor.Shape{2, 2}, `[[1,2],[3]]`, "array of 1 items before element 3, want 2 for dimension 1 of shape [2,2]"},
		{tensor.Int8, tensor.Shape{2, 2}, `[[1,2]]`, "array of 1 items before element 2, want 2 for dimension 0 of shape [2,2]"},
		{tensor.Int8, tensor.Shape{2, 2}, `[[1,2,3],[4]]`, "array of more than 2 items before element 2, want 2 for dimension 1 of shape [2,2]"},
		{tensor.Int8, tensor.Shape{2, 2}, `[[1,2],3,4]`, `'3' at offset 7, want '['`},
		{tensor.Int8, tensor.Shape{2}, `[[1,2]]`, "element 0: array at offset 1, want a number for INT8"},
		{tensor.Int8, tensor.Shape{}, `[[1]]`, "element 0: array at offset 1, want a number for INT8"},
		{tensor.Int8, tensor.Shape{-1}, `[1]`, "shape [-1]: dimension -1 is not specified in shape [-1]"},
		{tensor.Int8, tensor.Shape{math.MaxInt64}, `[1]`, "1 elements, want 9223372036854775807 for shape [9223372036854775807]"},

		{tensor.Int8, tensor.Shape{1}, ``, "data ends at offset 0, want '['"},
		{tensor.Int8, tensor.Shape{1}, `1`, `'1' at offset 0, want '['`},
		{tensor.Int8, tensor.Shape{1}, `[`, "data ends at offset 1, want ',' or ']'"},
		{tensor.Int8, tensor.Shape{2}, `[1 2]`, `'2' at offset 3, want ',' or ']'`},
		{tensor.Int8, tensor.Shape{2}, `[1,]`, `element 1: ']' at offset 3, want a number`},
		{tensor.Int8, tensor.Shape{1}, `[,1]`, `element 0: ',' at offset 1, want a number`},
		{tensor.Int8, tensor.Shape{1}, `[1]]`, `']' at offset 3, want the end`},
		{tensor.Int8, tensor.Shape{1}, `[01]`, "element 0: number at offset 1, want a number for INT8"},
		{tensor.Int8, tensor.Shape{1}, `[+1]`, `element 0: '+' at offset 1, want a number`},
		{tensor.FP32, tensor.Shape{1}, `[1.]`, "element 0: number 1. at offset 1 lacks digits"},
		{tensor.FP32, tensor.Shape{1}, `[1e+]`, "element 0: number 1e+ at offset 1 lacks digits"},
		{tensor.FP32, tensor.Shape{1}, `[NaN]`, `element 0: 'N' at offset 1, want a number`},

		{tensor.Bytes, tensor.Shape{1}, `["a`, "element 0: string has no end"},
		{tensor.Bytes, tensor.Shape{1}, `["a\`, "element 0: string has no end"},
		{tensor.Bytes, tensor.Shape{1}, `["\x"]`, `element 0: unknown escape \x at offset 2`},
		{tensor.Bytes, tensor.Shape{1}, `["\u12"]`, "element 0: escape at offset 2 is no Unicode character"},
		{tensor.Bytes, tensor.Shape{1}, `["\ud800"]`, "element 0: escape at offset 2 is no Unicode character"},
		{tensor.Bytes, tensor.Shape{1}, `["\ud800\u0041"]`, "element 0: escape at offset 2 is no Unicode character"},
		{tensor.Bytes, tensor.Shape{1}, "[\"\n\"]", `element 0: control character '\n' at offset 2, want it escaped`},
		{tensor.Bytes, tensor.Shape{1}, "[\"\xff\"]", "element 0: byte 0xff at offset 2 is not UTF-8: send it by gRPC or as binary data"},
	} {
		got, err := Parse([]byte(test.data), test.datatype, test.shape, nil)
		if err == nil || err.Error() != test.want {
			t.Errorf("%v %v %s is %x with error\n  %v, want\n  %s", test.datatype, test.shape, test.data, got, err, test.want)
		}
	}
}

// TestParseBounds: neither nesting nor claims nor long tokens take more than their due.
func TestParseBounds(t *testing.T) {
	deep := make(tensor.Shape, depthMax+1)
	for i := range deep {
		deep[i] = 1
	}
	nested := strings.Repeat("[", len(deep)) + "1" + strings.Repeat("]", len(deep))
	if _, err := Parse([]byte(nested), tensor.Int8, deep, nil); err == nil || !strings.Contains(err.Error(), "send it flat") {
		t.Errorf("data of %d dimensions: error is %v", len(deep), err)
	}
	if _, err := Parse([]byte(nested[1:len(nested)-1]), tensor.Int8, deep[1:], nil); err != nil {
		t.Errorf("data of %d dimensions: %v", len(deep)-1, err)
	}
	if got, err := Parse([]byte(`[1]`), tensor.Int8, deep, nil); err != nil || len(got) != 1 {
		t.Errorf("flat data of %d dimensions: %v", len(deep), err)
	}

	p := parser{data: []byte(`[1,2]`), datatype: tensor.FP64}
	if hint := p.sizeHint(math.MaxInt64); hint > 8*len(p.data) {
		t.Errorf("%d bytes of data reserve %d", len(p.data), hint)
	}

	long := "[" + strings.Repeat("9", 1<<20) + "]"
	if _, err := Parse([]byte(long), tensor.Int64, tensor.Shape{1}, nil); err == nil || len(err.Error()) > 200 {
		t.Errorf("error for a long number is missing or long: %.300v", err)
	}
}

// TestParseSteadyState: with room in dst, numbers and strings take no memory.
func TestParseSteadyState(t *testing.T) {
	for _, test := range []struct {
		datatype tensor.Datatype
		data     string
	}{
		{tensor.FP32, `[[1.5,2],[3e-2,-4]]`},
		{tensor.Int64, `[[1,2],[3,-4]]`},
		{tensor.Bytes, `[["abc","\u00e9"],["",""]]`},
	} {
		data, dst := []byte(test.data), make([]byte, 0, 256)
		shape := tensor.Shape{2, 2}
		parse := func() {
			if _, err := Parse(data, test.datatype, shape, dst); err != nil {
				t.Fatal(err)
			}
		}
		if n := testing.AllocsPerRun(100, parse); n > 1 { // the parser itself may escape
			t.Errorf("%v: %v allocations", test.datatype, n)
		}
	}
}

func BenchmarkParse(b *testing.B) {
	for _, datatype := range []tensor.Datatype{tensor.FP32, tensor.FP16, tensor.Int64, tensor.Bytes} {
		const elements = 1024
		var items []string
		for i := range elements {
			switch datatype {
			case tensor.Int64:
				items = append(items, fmt.Sprint(i*7919-4_000_000))
			case tensor.Bytes:
				items = append(items, fmt.Sprintf("%q", fmt.Sprint("merchant-", i)))
			default:
				items = append(items, fmt.Sprint(float32(i)*0.37-100))
			}
		}
		data := []byte("[" + strings.Join(items, ",") + "]")
		b.Run(fmt.Sprintf("dtype=%v/elements=%d", datatype, elements), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			var dst []byte
			for b.Loop() {
				var err error
				if dst, err = Parse(data, datatype, tensor.Shape{elements}, dst[:0]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
