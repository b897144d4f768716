// SPDX-License-Identifier: Apache-2.0

package exporters

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"math"
)

// elements are a tensor's, in row-major order: numbers, or strings if it is of BYTES.
type elements struct {
	numbers []number
	strings []string
}

// number is an element of any numeric datatype. In JSON, null is NaN.
type number float64

func (n *number) UnmarshalJSON(text []byte) error {
	if string(text) == "null" {
		*n = number(math.NaN())
		return nil
	}
	return json.Unmarshal(text, (*float64)(n))
}

func (e *elements) UnmarshalJSON(text []byte) error {
	if json.Unmarshal(text, &e.numbers) == nil {
		return nil
	}
	e.numbers = nil
	return json.Unmarshal(text, &e.strings)
}

func (e elements) count() int { return len(e.numbers) + len(e.strings) }

// encode gives the elements from first to before end as a request has them.
func (e elements) encode(datatype string, first, end int) []byte {
	var raw []byte
	if datatype == "BYTES" {
		for _, s := range e.strings[first:end] {
			raw = binary.LittleEndian.AppendUint32(raw, uint32(len(s)))
			raw = append(raw, s...)
		}
		return raw
	}
	for _, n := range e.numbers[first:end] {
		switch datatype {
		case "FP32":
			raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(float32(n)))
		case "FP64":
			raw = binary.LittleEndian.AppendUint64(raw, math.Float64bits(float64(n)))
		case "INT64":
			raw = binary.LittleEndian.AppendUint64(raw, uint64(int64(n)))
		case "INT32":
			raw = binary.LittleEndian.AppendUint32(raw, uint32(int32(n)))
		}
	}
	return raw
}

// decode appends the elements of a response.
func (e *elements) decode(datatype string, raw []byte) error {
	if datatype == "BYTES" {
		return e.decodeStrings(raw)
	}
	width := map[string]int{"INT32": 4, "INT64": 8, "FP32": 4, "FP64": 8}[datatype]
	if width == 0 || len(raw)%width != 0 {
		return fmt.Errorf("%d bytes of %s", len(raw), datatype)
	}
	for ; len(raw) > 0; raw = raw[width:] {
		var n float64
		switch datatype {
		case "INT32":
			n = float64(int32(binary.LittleEndian.Uint32(raw)))
		case "INT64":
			n = float64(int64(binary.LittleEndian.Uint64(raw)))
		case "FP32":
			n = float64(math.Float32frombits(binary.LittleEndian.Uint32(raw)))
		case "FP64":
			n = math.Float64frombits(binary.LittleEndian.Uint64(raw))
		}
		e.numbers = append(e.numbers, number(n))
	}
	return nil
}

func (e *elements) decodeStrings(raw []byte) error {
	for len(raw) > 0 {
		if len(raw) < 4 || uint64(len(raw)-4) < uint64(binary.LittleEndian.Uint32(raw)) {
			return errors.New("strings end within an element")
		}
		end := 4 + binary.LittleEndian.Uint32(raw)
		e.strings = append(e.strings, string(raw[4:end]))
		raw = raw[end:]
	}
	return nil
}
