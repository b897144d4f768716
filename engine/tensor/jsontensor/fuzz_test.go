// SPDX-License-Identifier: Apache-2.0

package jsontensor

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/millrace-ml/millrace/engine/tensor"
)

// FuzzParse: nothing panics; what Parse takes is JSON, and survives Append and
// Parse unchanged.
//
//	go test -run '^$' -fuzz FuzzParse -fuzztime 20s ./engine/tensor/jsontensor
func FuzzParse(f *testing.F) {
	f.Add([]byte(`[1,-2.5e3,"NaN"]`), uint8(tensor.FP32), int8(3), int8(1))
	f.Add([]byte(`[[1,2],[3,4]]`), uint8(tensor.Int64), int8(2), int8(2))
	f.Add([]byte(`["a\ud83d\ude00","é"]`), uint8(tensor.Bytes), int8(2), int8(-1))
	f.Add([]byte(`[true]`), uint8(tensor.Bool), int8(1), int8(1))
	f.Add([]byte(`[0.1,6e-8]`), uint8(tensor.FP16), int8(1), int8(2))
	f.Fuzz(func(t *testing.T, data []byte, kind uint8, rows, columns int8) {
		datatype := tensor.Datatype(kind)
		shape := tensor.Shape{int64(rows)}
		if columns >= 0 {
			shape = append(shape, int64(columns))
		}
		elements, err := Parse(data, datatype, shape, nil)
		if err != nil {
			return
		}
		if !json.Valid(data) {
			t.Fatalf("%q is taken and is not JSON", data)
		}
		if datatype == tensor.Invalid || kind > uint8(tensor.BF16) {
			return // no elements, so that the datatype does not matter to Parse
		}
		x := tensor.Tensor{Datatype: datatype, Shape: shape, Data: elements}
		written, err := Append(nil, x)
		if err != nil {
			t.Fatalf("%q is %x, which cannot be written: %v", data, elements, err)
		}
		if again, err := Parse(written, datatype, shape, nil); err != nil || !bytes.Equal(again, elements) {
			t.Fatalf("%q is %x, then %s is %x: %v", data, elements, written, again, err)
		}
	})
}

// FuzzAppend: any tensor that can be written is JSON and is read back as it was,
// but for the payloads of NaN and the values of true.
func FuzzAppend(f *testing.F) {
	f.Add([]byte{1, 2, 3, 4, 5, 6, 7, 8}, uint8(tensor.FP64))
	f.Add(wireStrings("a\x00", "\"é"), uint8(tensor.Bytes))
	f.Add([]byte{0xff, 0x7f, 0x01, 0x00}, uint8(tensor.BF16))
	f.Fuzz(func(t *testing.T, data []byte, kind uint8) {
		x := tensor.Tensor{Datatype: tensor.Datatype(kind), Data: data, Shape: tensor.Shape{0}}
		for rest, err := data, error(nil); len(rest) > 0 && err == nil; x.Shape[0]++ {
			if size := x.Datatype.Size(); size > 0 {
				rest = rest[min(size, len(rest)):]
			} else {
				_, rest, err = tensor.NextBytes(rest)
			}
		}
		written, err := Append(nil, x)
		if err != nil {
			return
		}
		if !json.Valid(written) {
			t.Fatalf("%v %x is written as %s, which is not JSON", x.Datatype, data, written)
		}
		read, err := Parse(written, x.Datatype, x.Shape, nil)
		if err != nil {
			t.Fatalf("%v %x is written as %s: %v", x.Datatype, data, written, err)
		}
		if x.Datatype == tensor.Bool || x.Datatype != tensor.Bytes && strings.Contains(string(written), jsonNaN) {
			return
		}
		if !bytes.Equal(read, data) {
			t.Fatalf("%v %x is written as %s and read as %x", x.Datatype, data, written, read)
		}
	})
}
