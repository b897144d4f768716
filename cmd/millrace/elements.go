// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"unicode/utf8"

	"github.com/millrace-ml/millrace/engine/tensor"
)

// Tensor elements between JSON and the wire's raw layout. Numbers are numbers;
// "NaN", "Infinity" and "-Infinity" are strings. BYTES are strings, or
// {"b64": "..."} where they are not UTF-8.

// appendElement appends one JSON value to raw data as an element of datatype d.
func appendElement(raw []byte, d tensor.Datatype, value any) ([]byte, error) {
	switch d {
	case tensor.Bool:
		v, ok := value.(bool)
		if !ok {
			return nil, elementError(d, value)
		}
		if v {
			return append(raw, 1), nil
		}
		return append(raw, 0), nil
	case tensor.Bytes:
		return appendBytesElement(raw, value)
	case tensor.FP16, tensor.BF16, tensor.FP32, tensor.FP64:
		return appendFloat(raw, d, value)
	default:
		return appendInteger(raw, d, value)
	}
}

func elementError(d tensor.Datatype, value any) error {
	text, err := json.Marshal(value)
	if err != nil {
		return fmt.Errorf("value is not a %s", d)
	}
	return fmt.Errorf("%s is not a %s", text, d)
}

func appendBytesElement(raw []byte, value any) ([]byte, error) {
	switch v := value.(type) {
	case string:
		return tensor.AppendBytes(raw, []byte(v)), nil
	case map[string]any:
		encoded, ok := v["b64"].(string)
		if !ok || len(v) != 1 {
			break
		}
		element, err := base64.StdEncoding.DecodeString(encoded)
		if err != nil {
			return nil, fmt.Errorf("b64: %w", err)
		}
		return tensor.AppendBytes(raw, element), nil
	}
	return nil, elementError(tensor.Bytes, value)
}

func appendInteger(raw []byte, d tensor.Datatype, value any) ([]byte, error) {
	number, ok := value.(json.Number)
	if !ok {
		return nil, elementError(d, value)
	}
	bits := 8 * d.Size()
	var v uint64
	var err error
	switch d {
	case tensor.Int8, tensor.Int16, tensor.Int32, tensor.Int64:
		var signed int64
		signed, err = strconv.ParseInt(number.String(), 10, bits)
		v = uint64(signed)
	case tensor.Uint8, tensor.Uint16, tensor.Uint32, tensor.Uint64:
		v, err = strconv.ParseUint(number.String(), 10, bits)
	default:
		return nil, fmt.Errorf("datatype %s has no elements", d)
	}
	if err != nil {
		return nil, elementError(d, value)
	}
	return appendBits(raw, v, bits), nil
}

// appendBits appends the low bits of v, little-endian.
func appendBits(raw []byte, v uint64, bits int) []byte {
	switch bits {
	case 8:
		return append(raw, byte(v))
	case 16:
		return binary.LittleEndian.AppendUint16(raw, uint16(v))
	case 32:
		return binary.LittleEndian.AppendUint32(raw, uint32(v))
	default:
		return binary.LittleEndian.AppendUint64(raw, v)
	}
}

func appendFloat(raw []byte, d tensor.Datatype, value any) ([]byte, error) {
	v, err := parseFloat(value)
	if err != nil {
		return nil, elementError(d, value)
	}
	switch d {
	case tensor.FP64:
		return appendBits(raw, math.Float64bits(v), 64), nil
	case tensor.FP32:
		return appendBits(raw, uint64(math.Float32bits(float32(v))), 32), nil
	case tensor.BF16:
		return appendBits(raw, uint64(bf16Bits(float32(v))), 16), nil
	default:
		return appendBits(raw, uint64(fp16Bits(float32(v))), 16), nil
	}
}

func parseFloat(value any) (float64, error) {
	switch v := value.(type) {
	case json.Number:
		return v.Float64()
	case string:
		switch v {
		case "NaN", "Infinity", "-Infinity":
			return strconv.ParseFloat(v, 64)
		}
	}
	return 0, strconv.ErrSyntax
}

// appendElementJSON appends the first element of raw data as JSON and returns what
// follows it.
func appendElementJSON(text []byte, d tensor.Datatype, raw []byte) (_, rest []byte, err error) {
	if d == tensor.Bytes {
		element, rest, err := tensor.NextBytes(raw)
		if err != nil {
			return nil, nil, err
		}
		return appendBytesJSON(text, element), rest, nil
	}
	size := d.Size()
	if size == 0 || len(raw) < size {
		return nil, nil, fmt.Errorf("%d bytes end inside a %s", len(raw), d)
	}
	return appendFixedJSON(text, d, raw[:size]), raw[size:], nil
}

func appendFixedJSON(text []byte, d tensor.Datatype, raw []byte) []byte {
	switch d {
	case tensor.Bool:
		return strconv.AppendBool(text, raw[0] != 0)
	case tensor.Uint8:
		return strconv.AppendUint(text, uint64(raw[0]), 10)
	case tensor.Int8:
		return strconv.AppendInt(text, int64(int8(raw[0])), 10)
	case tensor.Uint16:
		return strconv.AppendUint(text, uint64(binary.LittleEndian.Uint16(raw)), 10)
	case tensor.Int16:
		return strconv.AppendInt(text, int64(int16(binary.LittleEndian.Uint16(raw))), 10)
	case tensor.Uint32:
		return strconv.AppendUint(text, uint64(binary.LittleEndian.Uint32(raw)), 10)
	case tensor.Int32:
		return strconv.AppendInt(text, int64(int32(binary.LittleEndian.Uint32(raw))), 10)
	case tensor.Uint64:
		return strconv.AppendUint(text, binary.LittleEndian.Uint64(raw), 10)
	case tensor.Int64:
		return strconv.AppendInt(text, int64(binary.LittleEndian.Uint64(raw)), 10)
	case tensor.FP16:
		return appendFloatJSON(text, float64(tensor.FP16ToFloat32(binary.LittleEndian.Uint16(raw))), 32)
	case tensor.BF16:
		return appendFloatJSON(text, float64(bf16Value(binary.LittleEndian.Uint16(raw))), 32)
	case tensor.FP32:
		return appendFloatJSON(text, float64(math.Float32frombits(binary.LittleEndian.Uint32(raw))), 32)
	default:
		return appendFloatJSON(text, math.Float64frombits(binary.LittleEndian.Uint64(raw)), 64)
	}
}

func appendFloatJSON(text []byte, v float64, bits int) []byte {
	switch {
	case math.IsNaN(v):
		return append(text, `"NaN"`...)
	case math.IsInf(v, 1):
		return append(text, `"Infinity"`...)
	case math.IsInf(v, -1):
		return append(text, `"-Infinity"`...)
	}
	return strconv.AppendFloat(text, v, 'g', -1, bits)
}

func appendBytesJSON(text, element []byte) []byte {
	var value any = string(element)
	if !utf8.Valid(element) {
		value = map[string]string{"b64": base64.StdEncoding.EncodeToString(element)}
	}
	encoded, err := json.Marshal(value)
	if err != nil { // strings and maps of strings always encode
		panic(err)
	}
	return append(text, encoded...)
}
