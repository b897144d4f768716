// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"unicode/utf8"

	"github.com/millrace-ml/millrace/engine/tensor"
	"github.com/millrace-ml/millrace/engine/tensor/jsontensor"
)

// Elements in JSON are those of the REST protocol. Elements of BYTES that are not
// text are objects here: {"b64": "..."} in both directions.

// encodeElements gives the wire form of JSON values.
func encodeElements(d tensor.Datatype, values []any) ([]byte, error) {
	if d == tensor.Bytes {
		return encodeBytes(values)
	}
	text, err := json.Marshal(values)
	if err != nil {
		return nil, err
	}
	return jsontensor.Parse(text, d, tensor.Shape{int64(len(values))}, nil)
}

func encodeBytes(values []any) (raw []byte, err error) {
	for i, value := range values {
		if raw, err = appendBytesElement(raw, value); err != nil {
			return nil, fmt.Errorf("element %d: %w", i, err)
		}
	}
	return raw, nil
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
	return nil, fmt.Errorf(`BYTES take a string, or {"b64": "..."} for what is not text, not %v`, value)
}

// decodeElements writes the first elements of a tensor, or all when elementsMax is
// negative, as a flat JSON array, and reports whether there are more.
func decodeElements(d tensor.Datatype, raw []byte, elementsMax int) (text []byte, more bool, err error) {
	if d == tensor.Bytes {
		return decodeBytes(raw, elementsMax)
	}
	if d.Size() == 0 || len(raw)%d.Size() != 0 {
		return nil, false, fmt.Errorf("%d bytes are not whole elements of %s", len(raw), d)
	}
	count := len(raw) / d.Size()
	if elementsMax >= 0 && count > elementsMax {
		count, more = elementsMax, true
	}
	text, err = jsontensor.Append(nil, tensor.Tensor{Datatype: d, Shape: tensor.Shape{int64(count)}, Data: raw[:count*d.Size()]})
	return text, more, err
}

func decodeBytes(raw []byte, elementsMax int) (text []byte, more bool, err error) {
	elements := []any{}
	for len(raw) > 0 {
		if len(elements) == elementsMax {
			more = true
			break
		}
		var element []byte
		if element, raw, err = tensor.NextBytes(raw); err != nil {
			return nil, false, fmt.Errorf("element %d: %w", len(elements), err)
		}
		if utf8.Valid(element) {
			elements = append(elements, string(element))
		} else {
			elements = append(elements, map[string]string{"b64": base64.StdEncoding.EncodeToString(element)})
		}
	}
	text, err = json.Marshal(elements)
	return text, more, err
}
