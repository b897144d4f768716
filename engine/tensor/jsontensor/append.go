// SPDX-License-Identifier: Apache-2.0

package jsontensor

import (
	"encoding/binary"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/millrace-ml/millrace/engine/tensor"
)

// Append appends the elements of t to dst as one flat JSON array. The error wraps
// ErrNotText where the tensor has no JSON form, and is the tensor's own fault
// otherwise: data that does not fit its shape. On an error the result is nil.
func Append(dst []byte, t tensor.Tensor) ([]byte, error) {
	elements, err := t.Shape.Elements()
	if err != nil {
		return nil, fmt.Errorf("shape %v: %w", t.Shape, err)
	}
	if t.Datatype == tensor.Bytes {
		return appendStrings(dst, t, elements)
	}
	size := t.Datatype.Size()
	if size == 0 {
		return nil, fmt.Errorf("datatype %v has no JSON form", t.Datatype)
	}
	if len(t.Data)%size != 0 || int64(len(t.Data)/size) != elements {
		return nil, fmt.Errorf("%d bytes of %v, want %d elements of %d for shape %v", len(t.Data), t.Datatype, elements, size, t.Shape)
	}
	return appendElements(dst, t.Datatype, t.Data), nil
}

func appendElements(dst []byte, datatype tensor.Datatype, data []byte) []byte {
	dst = append(dst, '[')
	size := datatype.Size()
	for i := 0; i < len(data); i += size {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendElement(dst, datatype, data[i:i+size])
	}
	return append(dst, ']')
}

func appendElement(dst []byte, datatype tensor.Datatype, element []byte) []byte {
	order := binary.LittleEndian
	switch datatype {
	case tensor.Bool:
		return strconv.AppendBool(dst, element[0] != 0)
	case tensor.Uint8:
		return strconv.AppendUint(dst, uint64(element[0]), 10)
	case tensor.Uint16:
		return strconv.AppendUint(dst, uint64(order.Uint16(element)), 10)
	case tensor.Uint32:
		return strconv.AppendUint(dst, uint64(order.Uint32(element)), 10)
	case tensor.Uint64:
		return strconv.AppendUint(dst, order.Uint64(element), 10)
	case tensor.Int8:
		return strconv.AppendInt(dst, int64(int8(element[0])), 10)
	case tensor.Int16:
		return strconv.AppendInt(dst, int64(int16(order.Uint16(element))), 10)
	case tensor.Int32:
		return strconv.AppendInt(dst, int64(int32(order.Uint32(element))), 10)
	case tensor.Int64:
		return strconv.AppendInt(dst, int64(order.Uint64(element)), 10)
	case tensor.FP16:
		return appendFloat(dst, float64(tensor.FP16ToFloat32(order.Uint16(element))), 32)
	case tensor.BF16:
		return appendFloat(dst, float64(math.Float32frombits(uint32(order.Uint16(element))<<16)), 32)
	case tensor.FP32:
		return appendFloat(dst, float64(math.Float32frombits(order.Uint32(element))), 32)
	default: // FP64 is what remains of the datatypes that have a size
		return appendFloat(dst, math.Float64frombits(order.Uint64(element)), 64)
	}
}

// appendFloat writes the fewest digits that give v back at the given precision.
func appendFloat(dst []byte, v float64, bits int) []byte {
	switch {
	case v != v:
		return append(dst, jsonNaN...)
	case math.IsInf(v, 1):
		return append(dst, jsonInfinity...)
	case math.IsInf(v, -1):
		return append(dst, jsonNegInfinity...)
	}
	return strconv.AppendFloat(dst, v, 'g', -1, bits)
}

func appendStrings(dst []byte, t tensor.Tensor, elements int64) ([]byte, error) {
	dst = append(dst, '[')
	rest := t.Data
	for i := range elements {
		var element []byte
		var err error
		if element, rest, err = tensor.NextBytes(rest); err != nil {
			return nil, fmt.Errorf("element %d of %d: %w", i, elements, err)
		}
		if !utf8.Valid(element) {
			return nil, fmt.Errorf("element %d: %w: read it by gRPC or as binary data", i, ErrNotText)
		}
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = appendText(dst, element)
	}
	if len(rest) > 0 {
		return nil, fmt.Errorf("%d bytes follow the %d elements of shape %v", len(rest), elements, t.Shape)
	}
	return append(dst, ']'), nil
}
