// SPDX-License-Identifier: Apache-2.0

//go:build cgo && unix

package onnxrt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/millrace-ml/millrace/engine"
	"github.com/millrace-ml/millrace/engine/tensor"
)

// fillStrings copies BYTES data into a string tensor of n elements.
func fillStrings(t *ort.StringTensor, data []byte, n int64) error {
	if n > int64(len(data))/4 {
		return fmt.Errorf("%d bytes cannot hold %d elements", len(data), n)
	}
	contents := make([]string, 0, n)
	for i := range n {
		element, rest, err := tensor.NextBytes(data)
		if err != nil {
			return fmt.Errorf("element %d: %w", i, err)
		}
		// The binding hands strings over as C strings, which would end here.
		if bytes.IndexByte(element, 0) >= 0 {
			return fmt.Errorf("%w: element %d holds a zero byte, which strings of an ONNX model cannot carry here: encode the bytes as text", engine.ErrInvalidInput, i)
		}
		contents = append(contents, string(element))
		data = rest
	}
	if len(data) > 0 {
		return fmt.Errorf("%d bytes follow the last of %d elements", len(data), n)
	}
	return t.SetContents(contents)
}

// appendStrings appends the elements of a string tensor to BYTES data.
func appendStrings(data []byte, v ort.Value) ([]byte, error) {
	t, ok := v.(*ort.StringTensor)
	if !ok {
		return nil, errors.New("the library gave another type than strings")
	}
	contents, err := stringsOf(t)
	if err != nil {
		return nil, err
	}
	for _, s := range contents {
		data = binary.LittleEndian.AppendUint32(data, uint32(len(s)))
		data = append(data, s...)
	}
	return data, nil
}

func stringsOf(t *ort.StringTensor) ([]string, error) {
	if len(t.GetShape()) > 0 {
		return t.GetContents()
	}
	// Without dimensions the binding counts no elements, though there is one.
	s, err := t.GetElement(0)
	return []string{s}, err
}
